"""What a TIFF's tags say: whether its pixels can be trusted, how they are coloured, and how large they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal
from xml.etree import ElementTree

import numpy as np
import tifffile

from ats_cli.slides.reader import MPP_BELIEVED, MPP_OF_POWER

_ORIENTATION, _X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 274, 282, 283, 296
_MICRONS_A_UNIT = {2: 25400.0, 3: 10000.0}
_MICRONS = {
    "m": 1e6, "dm": 1e5, "cm": 1e4, "mm": 1e3, "µm": 1.0, "μm": 1.0, "um": 1.0, "nm": 1e-3, "pm": 1e-6, "Å": 1e-4,
    "in": 25400.0, "ft": 304800.0, "thou": 25.4,
}  # fmt: skip
_PLANES = {"Z": "focal planes", "C": "channels", "T": "time points"}
# Decoders that give RGB where the tag says YCbCr; of any other, the colours would be wrong.
_DECODED_TO_RGB = {6, 7, 34712, 50001}


@dataclass(frozen=True)
class TiffFacts:
    vendor: str
    properties: dict[str, str]
    mpp: tuple[float, float] | None
    mpp_source: str | None


@dataclass(frozen=True)
class TiffKind:
    """How the samples of a pixel make a colour: 1 or 3 `colours`, then perhaps alpha, then what is ignored."""

    colours: int
    alpha: Literal["none", "straight", "premultiplied"]
    inverted: bool


def refusal(tiff: tifffile.TiffFile) -> str | None:
    """Why no reader may read this TIFF (a sentence without the file's name), or None.

    Without it, Pillow would show the first plane of many, or the high byte of 16 bits, without a word.
    """
    if not tiff.series:
        return "a TIFF without an image. Export it again."
    series, page = tiff.series[0], tiff.series[0].keyframe
    if 0 in series.shape:
        return "the image has no pixels."
    for axis, size in zip(series.axes, series.shape, strict=True):
        if axis not in "YXS" and size > 1:
            what = _PLANES.get(axis, "planes")
            return f"{size} {what} in one file are not read. Export one plane as 8-bit RGB."
    if tiff.is_ome and len(tiff.series) > 1 and not _smaller_or_named(tiff):
        return f"{len(tiff.series)} images in one OME-TIFF are not read. Export the one you mean by itself."
    if page.dtype is None or page.dtype not in (np.uint8, np.bool_):
        return f"pixels of type {page.dtype} are not read. Convert it to 8-bit RGB."
    if page.photometric not in (0, 1, 2, 3, 6):
        return f"colours of kind {_name(page.photometric)} are not read. Convert it to 8-bit RGB."
    if page.compression not in tifffile.TIFF.DECOMPRESSORS:
        return f"compression {_name(page.compression)} is not known. Convert it to a tiled TIFF."
    return None


def refusal_of_tiles(tiff: tifffile.TiffFile) -> str | None:
    """Why the tiles of a TIFF are not read one by one, or None."""
    return refusal_of_page(tiff.series[0].keyframe)


def refusal_of_page(page: tifffile.TiffPage) -> str | None:
    """The same of one level."""
    if not page.is_tiled:
        return "this TIFF is in strips, not in tiles. Leave out --backend tiff."
    if page.tags.valueof(_ORIENTATION, 1) not in (0, 1):
        return "this tiled TIFF is stored turned. Leave out --backend tiff."
    if page.dtype != np.uint8 or page.bitspersample != 8 or page.photometric == 3:
        return "palettes and pixels of less than 8 bits are not read from tiles. Convert it to 8-bit RGB."
    if page.planarconfig != 1 and page.samplesperpixel > 1:
        return "a tiled TIFF with its colours in separate planes is not read. Convert it to interleaved RGB."
    if page.photometric == 6 and page.compression not in _DECODED_TO_RGB:
        return f"YCbCr colours under {_name(page.compression)} are not read. Convert it to 8-bit RGB."
    if page.compression == 33003 and page.description.startswith("Aperio"):
        return "Aperio's JPEG 2000 in YCbCr is read by OpenSlide only. Leave out --backend tiff."
    samples, colours = page.samplesperpixel, 1 if page.photometric in (0, 1) else 3
    if samples < colours or samples > colours + 1:
        return f"{samples} samples a pixel are not read, only grey and RGB with or without alpha."
    return None


def colour_kind(page: tifffile.TiffPage) -> TiffKind:
    colours = 1 if page.photometric in (0, 1) else 3
    extra = int(page.extrasamples[0]) if page.extrasamples else 0
    alpha: Literal["none", "straight", "premultiplied"] = "none"
    if page.samplesperpixel > colours and extra in (1, 2):
        alpha = "premultiplied" if extra == 1 else "straight"
    return TiffKind(colours, alpha, inverted=page.photometric == 0)


def facts(tiff: tifffile.TiffFile) -> TiffFacts:
    page = tiff.series[0].keyframe
    description = page.description or ""
    vendor = "ome" if tiff.is_ome else "aperio" if description.startswith("Aperio") else "generic-tiff"
    properties = {
        "tiff.ImageDescription": description[:2000],
        "tiff.Software": str(page.software or ""),
        "tiff.Photometric": _name(page.photometric),
    }
    aperio = _aperio(description) if vendor == "aperio" else {}
    properties |= {f"aperio.{key}": value for key, value in aperio.items()}
    for source, found in (
        ("ome", _ome_mpp(tiff.ome_metadata) if tiff.is_ome else None),
        ("aperio description", _square(_number(aperio.get("MPP")))),
        ("tiff resolution", _resolution_mpp(page)),
        ("objective power", _square(MPP_OF_POWER.get(_number(aperio.get("AppMag")) or 0))),
    ):
        if found is not None:
            return TiffFacts(vendor, properties, found, source)
    return TiffFacts(vendor, properties, None, None)


def _smaller_or_named(tiff: tifffile.TiffFile) -> bool:
    """Whether all further series of an OME-TIFF are side pictures: a label, a macro, a thumbnail."""
    first = tiff.series[0]
    area = first.keyframe.imagewidth * first.keyframe.imagelength
    names = ("label", "macro", "thumbnail", "overview")
    return all(
        any(n in (s.name or "").lower() for n in names) or s.keyframe.imagewidth * s.keyframe.imagelength * 16 < area
        for s in tiff.series[1:]
    )


def _ome_mpp(xml: str | None) -> tuple[float, float] | None:
    """PhysicalSizeX and Y of the first image, in microns; None where there are none, or in pixels."""
    if not xml:
        return None
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return None
    pixels = next((e for e in root.iter() if e.tag.rpartition("}")[2] == "Pixels"), None)
    if pixels is None:
        return None
    sizes = []
    for axis in "XY":
        unit = _MICRONS.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        value = _number(pixels.get(f"PhysicalSize{axis}"))
        if unit is None or value is None or value <= 0:
            return None
        sizes.append(value * unit)
    return sizes[0], sizes[1]


def _aperio(description: str) -> dict[str, str]:
    """The fields of Aperio's description: `... |AppMag = 20|MPP = 0.4990`."""
    fields = (field.partition("=") for field in description.split("|")[1:])
    return {key.strip(): value.strip() for key, equals, value in fields if equals}


def _square(mpp: float | None) -> tuple[float, float] | None:
    return (mpp, mpp) if mpp else None


def _resolution_mpp(page: tifffile.TiffPage) -> tuple[float, float] | None:
    """From pixels an inch or a centimetre. Most writers put 72 dpi or nothing there: only sane values count."""
    microns = _MICRONS_A_UNIT.get(int(page.tags.valueof(_RESOLUTION_UNIT, 2)))
    sizes = []
    for tag in (_X_RESOLUTION, _Y_RESOLUTION):
        value = page.tags.valueof(tag)
        try:
            per_unit = value[0] / value[1]
            sizes.append(microns / per_unit if microns else 0.0)
        except (TypeError, IndexError, ZeroDivisionError):
            return None
    low, high = MPP_BELIEVED
    return (sizes[0], sizes[1]) if all(low <= s <= high for s in sizes) else None


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _name(value: Any) -> str:
    return str(getattr(value, "name", value)).lower()

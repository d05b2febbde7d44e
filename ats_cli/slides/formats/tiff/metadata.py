"""Metadata of a TIFF: vendor, microns per pixel, orientation, channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import tifffile

from ats_cli.slides.formats.stated_number import stated_number
from ats_cli.slides.formats.tiff.scn import scn_bounds
from ats_cli.slides.reader import ACCEPTED_MPP, MPP_OF_POWER

_ORIENTATION, _X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 274, 282, 283, 296
_MICRONS_A_UNIT = {2: 25400.0, 3: 10000.0}
_MICRONS = {
    "m": 1e6, "dm": 1e5, "cm": 1e4, "mm": 1e3, "µm": 1.0, "μm": 1.0, "um": 1.0, "nm": 1e-3, "pm": 1e-6, "Å": 1e-4,
    "in": 25400.0, "ft": 304800.0, "thou": 25.4, "micron": 1.0, "microns": 1.0, "inch": 25400.0,
}  # fmt: skip


@dataclass(frozen=True)
class TiffFacts:
    vendor: str
    properties: dict[str, str]
    mpp: tuple[float, float] | None
    mpp_source: str | None


def facts(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries, ome: ElementTree.Element | None) -> TiffFacts:
    """Return the metadata of one image of a file. `ome`: its element from `ome_pixels`."""
    page, first = series.keyframe, tiff.pages.first
    description = first.description or ""
    vendor = "ome" if tiff.is_ome else "aperio" if description.startswith("Aperio") else "generic-tiff"
    properties = {
        "tiff.ImageDescription": description[:2000],
        "tiff.Software": str(page.software or ""),
        "tiff.Photometric": name_of(page.photometric),
    }
    if tiff.is_scn:
        properties |= scn_bounds(description, page.index)
    aperio = _aperio(description) if vendor == "aperio" else {}
    properties |= {f"aperio.{key}": value for key, value in aperio.items()}
    if page.index != first.index:
        aperio = {}  # the description is about the slide, not about its label
    for source, found in (
        ("ome", _ome_mpp(ome)),
        ("aperio description", _square(stated_number(aperio.get("MPP")))),
        ("imagej", _resolution_mpp(page, _imagej_unit(tiff))),
        ("tiff resolution", _resolution_mpp(page, _MICRONS_A_UNIT.get(int(page.tags.valueof(_RESOLUTION_UNIT, 2))))),
        ("objective power", _square(MPP_OF_POWER.get(stated_number(aperio.get("AppMag")) or 0))),
    ):
        if found is not None:
            return TiffFacts(vendor, properties, found, source)
    return TiffFacts(vendor, properties, None, None)


def openslide_vendor(tiff: tifffile.TiffFile) -> str | None:
    """Return the vendor, if it is one whose TIFF only OpenSlide reads correctly; else None."""
    flags = {"hamamatsu": tiff.is_ndpi, "leica": tiff.is_scn, "philips": tiff.is_philips, "ventana": tiff.is_bif}
    if str(tiff.pages.first.software or "").startswith("MedScan"):
        return "trestle"
    return next((vendor for vendor, it_is in flags.items() if it_is), None)


def orientation(key: tifffile.TiffPage) -> int:
    """Return the orientation of the stored image, 1 (upright) to 8, as TIFF and EXIF number it."""
    value = key.tags.valueof(_ORIENTATION, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def number_of(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> int:
    """Return the index of an image of a file."""
    return next(number for number, other in enumerate(tiff.series) if other is series)


def ome_pixels(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> ElementTree.Element | None:
    """Return the OME-XML element Pixels of an image; None if there is none, or it is ambiguous."""
    if not tiff.is_ome or not tiff.ome_metadata:
        return None
    try:
        root = ElementTree.fromstring(tiff.ome_metadata)
    except ElementTree.ParseError:
        return None
    found = [e for e in root.iter() if e.tag.rpartition("}")[2] == "Pixels"]
    if len(found) == len(tiff.series):
        return found[number_of(tiff, series)]
    size = str(series.keyframe.imagewidth), str(series.keyframe.imagelength)
    return next((e for e in found if (e.get("SizeX"), e.get("SizeY")) == size), None)


def channels_of(tiff: tifffile.TiffFile, ome: ElementTree.Element | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return (names, colours like "FF0000") of an image's channels; "" or an empty tuple for those not stated."""
    if ome is None:
        tables = (tiff.imagej_metadata or {}).get("LUTs") or [] if tiff.is_imagej else []
        return (), tuple(bytes(table[:3, -1]).hex().upper() for table in tables)
    found = [element for element in ome if element.tag.rpartition("}")[2] == "Channel"]
    return tuple(one.get("Name", "") for one in found), tuple(_ome_colour(one.get("Color")) for one in found)


def _ome_colour(text: str | None) -> str:
    """Convert OME's signed 32-bit RGBA to text like "FF0000"."""
    try:
        return f"{(int(text or '') & 0xFFFFFFFF) >> 8:06X}"
    except ValueError:
        return ""


def _ome_mpp(pixels: ElementTree.Element | None) -> tuple[float, float] | None:
    """Return PhysicalSizeX and Y in microns; None if they are not stated, or in pixels."""
    if pixels is None:
        return None
    sizes = []
    for axis in "XY":
        unit = _MICRONS.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        value = stated_number(pixels.get(f"PhysicalSize{axis}"))
        if unit is None or value is None or value <= 0:
            return None
        sizes.append(value * unit)
    return sizes[0], sizes[1]


def _aperio(description: str) -> dict[str, str]:
    """Return the fields of Aperio's description: `... |AppMag = 20|MPP = 0.4990`."""
    fields = (field.partition("=") for field in description.split("|")[1:])
    return {key.strip(): value.strip() for key, equals, value in fields if equals}


def _square(mpp: float | None) -> tuple[float, float] | None:
    return (mpp, mpp) if mpp else None


def _imagej_unit(tiff: tifffile.TiffFile) -> float | None:
    """Return ImageJ's unit of length in microns; None for other files, or if the unit is pixels."""
    unit = str((tiff.imagej_metadata or {}).get("unit", "")) if tiff.is_imagej else ""
    return _MICRONS.get(unit.replace("\\u00B5", "µ"))


def _resolution_mpp(page: tifffile.TiffPage, microns: float | None) -> tuple[float, float] | None:
    """Return microns per pixel from the resolution tags. Most writers put 72 dpi there, so only plausible values count.

    microns: length of the tags' unit.
    """
    sizes = []
    for tag in (_X_RESOLUTION, _Y_RESOLUTION):
        value = page.tags.valueof(tag)
        try:
            per_unit = value[0] / value[1]
            sizes.append(microns / per_unit if microns else 0.0)
        except (TypeError, IndexError, ZeroDivisionError):
            return None
    low, high = ACCEPTED_MPP
    return (sizes[0], sizes[1]) if all(low <= s <= high for s in sizes) else None


def name_of(value: Any) -> str:
    """Return tifffile's name of a tag's value, in lower case."""
    return str(getattr(value, "name", value)).lower()

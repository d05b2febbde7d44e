"""How the samples of a TIFF page make a colour, by its tags, or why they are not read."""

from __future__ import annotations

from typing import Literal
from xml.etree import ElementTree

import numpy as np
import tifffile

from ats_cli.slides.formats.tiff.metadata import name_of
from ats_cli.slides.pixels.sample_kind import PixelKind, shown_range, stated_range

_GREY, _RGB, _PALETTE, _YCBCR = (0, 1), 2, 3, 6
# Codecs whose decoders convert YCbCr to RGB. With other codecs the colours would be wrong.
_DECODED_TO_RGB = (7, 34712, 50001, 33003, 33005)
_APERIO_YCC = 33003
_EXTRA_SAMPLES = 338
_LOWEST, _HIGHEST = 340, 341


def refusal_of_page(key: tifffile.TiffPage) -> str | None:
    """Return why no reader here reads pixels stored in this way, as a sentence; None if one does.

    Pillow would show some of them wrongly without an error.
    """
    if key.parent.is_ndpi or key.parent.is_bif:
        return "this vendor's TIFF is read by OpenSlide only. Leave out --backend."
    if 0 in key.shape or not key.shape:
        return "the image has no pixels."
    if key.dtype is None or isinstance(key.bitspersample, tuple):
        return f"pixels of {key.bitspersample} bits are not read. Convert it to 8-bit RGB."
    if key.imagedepth > 1 or key.tiledepth > 1:
        return "a volume in one image is not read. Export one plane as 8-bit RGB."
    if key.photometric not in (*_GREY, _RGB, _PALETTE, _YCBCR):
        return f"colours of kind {name_of(key.photometric)} are not read. Convert it to 8-bit RGB."
    if key.compression == 6 or key.compression not in tifffile.TIFF.DECOMPRESSORS:
        return f"compression {name_of(key.compression)} is not known. Convert it to a tiled TIFF."
    if key.photometric == _YCBCR and (key.compression not in _DECODED_TO_RGB or key.planarconfig == 2):
        return f"YCbCr colours under {name_of(key.compression)} are not read. Convert it to 8-bit RGB."
    if key.compression == _APERIO_YCC and (key.parent.pages.first.description or "").startswith("Aperio"):
        # Its chroma is subsampled, which our JPEG 2000 decoder does not read.
        return "Aperio's JPEG 2000 in YCbCr is read by OpenSlide only. Leave out --backend."
    colours = 3 if key.photometric in (_RGB, _YCBCR) else 1
    if key.samplesperpixel < colours or (key.photometric == _PALETTE and key.samplesperpixel > 1):
        return f"{key.samplesperpixel} samples a pixel do not make a colour. Convert it to 8-bit RGB."
    return None


def has_alpha(key: tifffile.TiffPage) -> bool:
    """Whether the only extra sample is marked as alpha."""
    colours = 3 if key.photometric in (_RGB, _YCBCR) else 1
    return key.samplesperpixel == colours + 1 and _alpha(key, colours) != "none"


def kind_of(
    key: tifffile.TiffPage,
    ome: ElementTree.Element | None,
    channel: int | None,
    pages: int,
    channel_of_file: int,
) -> PixelKind:
    """Return how the samples of a page make a colour.

    channel: show only this sample, as grey; None shows all. channel_of_file: its number over all pages.
    pages: number of pages shown together, 1, or 3 as red, green and blue.
    Raises SlideError if the file does not say which values are black and white.
    """
    bits = int(key.bitspersample)
    if key.photometric == _PALETTE and channel is None and pages == 1:
        palette = np.asarray(key.colormap).T
        return PixelKind(1, palette=(palette if palette.max() < 256 else palette >> 8).astype(np.uint8))
    stated = stated_range(key.tags.valueof(_LOWEST), key.tags.valueof(_HIGHEST)) or _imagej_range(key, channel_of_file)
    significant = _significant_bits(ome)
    shown = shown_range(np.dtype(key.dtype), significant if significant and significant < bits else bits, stated)
    inverted = key.photometric == 0
    if channel is not None:
        return PixelKind(1, channel=channel, shown=shown, inverted=inverted)
    grey = key.photometric in (*_GREY, _PALETTE) and pages == 1 and (key.samplesperpixel == 1 or has_alpha(key))
    colours: Literal[1, 3] = 1 if grey else 3
    return PixelKind(colours, _alpha(key, colours), shown=shown, inverted=inverted)


def _alpha(key: tifffile.TiffPage, colours: int) -> Literal["none", "straight", "premultiplied"]:
    extra = int(key.extrasamples[0]) if key.extrasamples and key.samplesperpixel > colours else 0
    return "premultiplied" if extra == 1 else "straight" if extra == 2 else "none"


def _imagej_range(key: tifffile.TiffPage, channel: int) -> tuple[float, float] | None:
    """Return the values that ImageJ shows as black and white, of a channel or of the only one."""
    found = (key.parent.imagej_metadata or {}) if key.parent.is_imagej else {}
    ranges = found.get("Ranges") or (() if found.get("channels", 1) > 1 else (found.get("min"), found.get("max")))
    low_high = ranges[2 * channel : 2 * channel + 2]
    return stated_range(*low_high) if len(low_high) == 2 and None not in low_high else None


def _significant_bits(ome: ElementTree.Element | None) -> int | None:
    try:
        return int(ome.get("SignificantBits", "")) if ome is not None else None
    except ValueError:
        return None

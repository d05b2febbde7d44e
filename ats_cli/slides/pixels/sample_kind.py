"""Convert samples of any type to 8-bit RGB, by one rule for all readers.

Values are shown as the file states, never by a guess from the pixels: 8 bits unchanged, one bit as black and white,
other types between the lowest and highest value that the file states. Files that do not state these are refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ats_cli.errors import SlideError
from ats_cli.slides.reader import Pixels, over_white


@dataclass(frozen=True)
class PixelKind:
    """How the samples of a pixel make a colour.

    colours: the number of colour samples, 1 (grey) or 3 (RGB). Alpha may follow; other samples are ignored.
    channel: show only this sample, as grey.
    shown: the values shown as black and as white; None for 0 and 255.
    palette: (n, 3) colours, indexed by the sample.
    inverted: whether 0 is white.
    ycc: whether the three samples are Y, Cb and Cr as JPEG defines them.
    """

    colours: Literal[1, 3] = 3
    alpha: Literal["none", "straight", "premultiplied"] = "none"
    channel: int | None = None
    shown: tuple[float, float] | None = None
    palette: Pixels | None = None
    inverted: bool = False
    ycc: bool = False


def to_rgb(samples: NDArray[Any], kind: PixelKind) -> Pixels:
    """Convert (rows, cols, samples) to (rows, cols, 3) uint8 RGB over white."""
    if kind.palette is not None:
        painted: Pixels = kind.palette[np.minimum(samples[..., 0].astype(np.intp), len(kind.palette) - 1)]
        return painted
    if kind.channel is not None:
        samples = samples[..., kind.channel : kind.channel + 1]
    colours = _eight_bits(samples[..., : kind.colours], kind.shown)
    if kind.inverted:
        colours = 255 - colours
    if kind.ycc:
        colours = _rgb_of_ycc(colours)
    rgb = np.repeat(colours, 3, axis=2) if kind.colours == 1 else colours
    if kind.alpha == "none" or samples.shape[2] <= kind.colours:
        return rgb
    alpha = _eight_bits(samples[..., kind.colours], kind.shown)
    return over_white(rgb, alpha, premultiplied=kind.alpha == "premultiplied")


def shown_range(dtype: DTypeLike, bits: int, stated: tuple[float, float] | None = None) -> tuple[float, float] | None:
    """Return `PixelKind.shown` of a sample type. `bits`: those in use. `stated`: lowest and highest value, if stated.

    Raises SlideError if the file does not say which values are black and white.
    """
    kind = np.dtype(dtype)
    if kind.kind == "b" or (kind.kind == "u" and bits == 1):
        return 0.0, 1.0
    if kind == np.uint8 and bits == 8:
        return None
    if stated is not None and all(map(math.isfinite, stated)) and stated[1] > stated[0] and kind.kind in "uif":
        return stated
    if kind.kind == "u" and bits < 8 * kind.itemsize:
        return 0.0, float(2**bits - 1)
    raise SlideError(
        f"pixels of type {kind.name}, and the file does not say which values are black and white. "
        "Convert it to 8-bit grey or RGB."
    )


def stated_range(lowest: Any, highest: Any) -> tuple[float, float] | None:
    """Return the range of values from two fields of a file, each a number or one per sample; None if not stated."""
    low, high = _numbers(lowest), _numbers(highest)
    return (min(low, default=0.0), max(high)) if high else None


def _numbers(value: Any) -> list[float]:
    values = value if isinstance(value, Iterable) and not isinstance(value, (str, bytes)) else [value]
    try:
        return [float(v) for v in values if v is not None]
    except (TypeError, ValueError):
        return []


def _eight_bits(values: NDArray[Any], shown: tuple[float, float] | None) -> Pixels:
    if shown is None:
        return values
    low, high = shown
    scaled = (values.astype(np.float32) - low) * np.float32(255 / (high - low))
    # NaN is shown as black; values outside the range are clipped.
    out: Pixels = (np.clip(np.nan_to_num(scaled, nan=0.0), 0, 255) + 0.5).astype(np.uint8)
    return out


def _rgb_of_ycc(ycc: Pixels) -> Pixels:
    """Convert by ITU-R BT.601 with full range, in the fixed-point arithmetic of libjpeg and OpenSlide."""
    y, cb, cr = (ycc[..., i].astype(np.int32) for i in range(3))
    cb, cr = cb - 128, cr - 128
    half = 1 << 15
    red = y + ((91881 * cr + half) >> 16)
    green = y + ((-22554 * cb - 46802 * cr + half) >> 16)
    blue = y + ((116130 * cb + half) >> 16)
    out: Pixels = np.clip(np.stack([red, green, blue], axis=-1), 0, 255).astype(np.uint8)
    return out

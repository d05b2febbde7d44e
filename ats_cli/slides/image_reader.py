"""Plain images, decoded whole by Pillow at the first read: PNG, JPEG, JPEG 2000, TIFF in strips, and the like."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ats_cli.records import SlideError
from ats_cli.slides.pixels import shown_range
from ats_cli.slides.reader import Box, Level, Pixels, Region, over_white, unreadable

MAX_PIXELS = 500_000_000
"""Larger images are refused: they are decoded whole, at three bytes a pixel and more."""

FEW_PIXELS = 10_000_000
"""Up to here nothing is asked of a header. Beyond, a small file that promises a large image is damaged:"""
PIXELS_A_BYTE = 10_000
"""what the best compression of an even image comes to (deflate: 1,032 bytes a byte, of 8 pixels at one bit each)."""
JPEG_PIXELS_A_BYTE = 600
"""The same of JPEG, which has a bit at least for every block of 8 x 8."""

# Pillow's own limit is lower and process-wide; ours is checked from the header, before anything is allocated.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS

_OPAQUE = ("1", "L", "RGB", "P")
_ALPHA = ("LA", "RGBA", "PA")
_TURNED = (5, 6, 7, 8)
_ORIENTATION = 0x0112


class ImageReader:
    """One level, turned upright as the file's orientation says.

    `mpp`, `mpp_source`: from whoever read the TIFF's tags. What PNG and JPEG say of dots per inch is not believed.
    """

    name = "image"
    reduced: tuple[Level, ...] = ()
    holds_handle = False
    plane: str | None = None

    def __init__(self, path: Path, mpp: tuple[float, float] | None = None, mpp_source: str | None = None) -> None:
        self.mpp, self.mpp_source = mpp, mpp_source
        self._path = path
        self.files = (path,)
        self._lock = threading.Lock()
        self._pixels: Pixels | None = None
        self.identity: str | None = None
        self.bytes_total: int | None = path.stat().st_size
        self.bytes_read: int | None = 0
        with _open(path) as image:
            _refuse_what_is_not_rgb(path, image)
            width, height = _stored_size(image)
            if _orientation(image) in _TURNED:
                width, height = height, width
            self.vendor = (image.format or "image").lower()
            compression = str(image.info.get("compression", self.vendor))
            self._color_profile: bytes | None = image.info.get("icc_profile") or None
            self.properties = {"format": image.format or "", "mode": image.mode}
        self.levels = (Level(width, height, 1.0, width, height, compression),)

    @property
    def resident_bytes(self) -> int:
        return 0 if self._pixels is None else self._pixels.nbytes

    def read(self, level: int, boxes: Sequence[Box], threads: int) -> Iterator[Region]:
        pixels = self._decoded()
        for x, y, width, height in boxes:
            yield Region(pixels[y : y + height, x : x + width])

    def absent(self, level: int) -> None:
        return None

    def color_profile(self) -> bytes | None:
        return self._color_profile

    def close(self) -> None:
        self._pixels = None

    def _decoded(self) -> Pixels:
        with self._lock:
            if self._pixels is None:
                self._pixels = _decode(self._path)
                self.bytes_read = self._path.stat().st_size
                lv = self.levels[0]
                if self._pixels.shape != (lv.height, lv.width, 3):
                    raise SlideError(f"{self._path.name}: the image is not of the size its header says.")
            return self._pixels


def _open(path: Path) -> Image.Image:
    """The image's header. The size is checked here, before anything is allocated for the pixels."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(path)
    except UnidentifiedImageError:
        raise SlideError(
            f"{path.name}: not a slide or image format that is read. Convert it to a tiled TIFF or an OME-TIFF."
        ) from None
    except Image.DecompressionBombError:
        raise SlideError(_too_large(path)) from None
    except Exception as error:
        raise unreadable(path, error) from error
    pixels, size = image.width * image.height, path.stat().st_size
    if pixels > MAX_PIXELS:
        image.close()
        raise SlideError(_too_large(path))
    if pixels > FEW_PIXELS and pixels > size * (JPEG_PIXELS_A_BYTE if image.format == "JPEG" else PIXELS_A_BYTE):
        image.close()
        raise SlideError(
            f"{path.name}: its header promises {image.width} x {image.height} pixels, more than {size:,} bytes can "
            "hold: it is damaged. Copy or export it again."
        )
    if image.width < 1 or image.height < 1:
        image.close()
        raise SlideError(f"{path.name}: the image has no pixels.")
    return image


def _too_large(path: Path) -> str:
    return (
        f"{path.name}: too large to be decoded whole (over {MAX_PIXELS // 1_000_000} megapixels). "
        "Convert it to a tiled TIFF."
    )


def _refuse_what_is_not_rgb(path: Path, image: Image.Image) -> None:
    # Pillow would show the high byte of 16-bit colours.
    if image.mode.startswith("I;16") or (image.format == "PNG" and ";16" in str(getattr(image, "tile", ""))):
        shown_range(path.name, np.uint16, 16)
    if image.mode not in _OPAQUE + _ALPHA:
        raise SlideError(
            f"{path.name}: pixels of kind {image.mode} are not read, only 8-bit grey and RGB. Convert it to 8-bit RGB."
        )
    frames = getattr(image, "n_frames", 1)
    # JPEG's MPO holds previews, and TIFF pages were looked at by the caller; GIF and the like are animations.
    if frames > 1 and image.format not in ("TIFF", "MPO"):
        raise SlideError(f"{path.name}: {frames} images in one file. Save the one you mean by itself.")


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # a broken EXIF block is no reason to refuse the pixels
        return 1


def _stored_size(image: Image.Image) -> tuple[int, int]:
    """(width, height) before turning: of a TIFF, newer Pillows give the size already turned."""
    tags = getattr(image, "tag_v2", None)
    return (int(tags[256]), int(tags[257])) if tags else image.size


def _decode(path: Path) -> Pixels:
    try:
        with _open(path) as image:
            image.load()
            upright = image if _orientation(image) == 1 else ImageOps.exif_transpose(image)
            assert upright is not None
            if upright.mode in _ALPHA or "transparency" in upright.info:
                rgba = np.asarray(upright.convert("RGBA"))
                return over_white(rgba[..., :3], rgba[..., 3])
            return np.array(upright.convert("RGB"))
    except SlideError:
        raise
    except Exception as error:
        raise unreadable(path, error, "the image is damaged or cut short") from error

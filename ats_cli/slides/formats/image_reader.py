"""Plain images, decoded as a whole by Pillow at the first read: PNG, JPEG, JPEG 2000, TIFF in strips and others."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from ats_cli.errors import SlideError
from ats_cli.slides.formats.image_memory import decoding_bytes, image_bytes
from ats_cli.slides.formats.jp2_boxes import jp2_colours
from ats_cli.slides.formats.png_checksums import check_png
from ats_cli.slides.pixels.jpeg import refuse_damaged
from ats_cli.slides.pixels.orientation import exchanges, stored_box, upright
from ats_cli.slides.pixels.sample_kind import shown_range
from ats_cli.slides.pixels.stream_damage import refuse_broken_jpeg_2000
from ats_cli.slides.reader import HEADER_DAMAGED, Box, Level, Pixels, Region, over_white, unreadable

MAX_BYTES = 2_000_000_000
"""Images that need more memory to decode are refused: 500 megapixels of PNG and most JPEGs."""

FEW_PIXELS = 10_000_000
"""Larger images are compared with the size of their file: a small file with a large image is damaged."""
PIXELS_A_BYTE = 10_000
"""Most pixels per byte that compression of a uniform image reaches (deflate: 1,032 times, 8 pixels a byte)."""
JPEG_PIXELS_A_BYTE = 600
"""The same for JPEG, which stores at least one bit per block of 8 x 8 pixels."""

# Pillow's own limit is lower and process-wide. Ours is checked on the header, before pixels are allocated.
Image.MAX_IMAGE_PIXELS = MAX_BYTES
_HEAD_BYTES = 4096

_TABLE, _REGIONS = "Give a table of slides with --manifest.", "Give regions of slides with --roi."
_OPTION_FOR = {".csv": _TABLE, ".tsv": _TABLE, ".txt": _TABLE, ".geojson": _REGIONS}

_OPAQUE = ("1", "L", "RGB", "P")
_ALPHA = ("LA", "RGBA", "PA")
_WITHOUT_ALPHA = {"LA": "L", "RGBA": "RGB", "PA": "P"}
_ORIENTATION = 0x0112


class ImageReader:
    """An image with one level, rotated upright by the file's orientation.

    mpp, mpp_source: from the tags of a TIFF. The dots per inch of PNG and JPEG are ignored, as they are rarely set.
    """

    name = "image"
    absent_is_white = True
    reduced: tuple[Level, ...] = ()
    holds_handle = False
    plane: str | None = None

    def __init__(self, path: Path, mpp: tuple[float, float] | None = None, mpp_source: str | None = None) -> None:
        self.mpp, self.mpp_source = mpp, mpp_source
        self._path = path
        self.files = (path,)
        self._lock = threading.Lock()
        self._image: Image.Image | None = None
        self._turn = 1
        self.identity: str | None = None
        self.bytes_total: int | None = path.stat().st_size
        self.bytes_read: int | None = 0
        with path.open("rb") as file, _open(path, file) as image:
            _refuse_other_than_rgb(image)
            width, height = _stored_size(image)
            if exchanges(_orientation(image)):
                width, height = height, width
            self.vendor = (image.format or "image").lower()
            compression = str(image.info.get("compression", self.vendor))
            self._color_profile: bytes | None = image.info.get("icc_profile") or None
            self.properties = {"format": image.format or "", "mode": image.mode}
        self.levels = (Level(width, height, 1.0, width, height, compression),)

    @property
    def resident_bytes(self) -> int:
        return 0 if self._image is None else image_bytes(self._image)

    def read(self, level: int, boxes: Sequence[Box], threads: int) -> Iterator[Region]:
        image = self._decoded()
        turn, stored = self._turn, Level(*image.size, 1.0, *image.size, "")
        for box in boxes:
            x, y, width, height = stored_box(box, stored, turn)
            yield upright(Region(_rgb(image.crop((x, y, x + width, y + height)))), stored, turn)

    def absent(self, level: int) -> None:
        return None

    def color_profile(self) -> bytes | None:
        return self._color_profile

    def close(self) -> None:
        self._image = None

    def _decoded(self) -> Image.Image:
        """Return the decoded Pillow image. Regions are cropped from it, since an array would double the memory."""
        with self._lock:
            if self._image is None:
                image, self._turn = _decode(self._path)
                self.bytes_read = self.bytes_total
                lv = self.levels[0]
                size = image.size[::-1] if exchanges(self._turn) else image.size
                if size != (lv.width, lv.height):
                    raise SlideError("the image is not of the size its header says.")
                self._image = image
            return self._image


def _open(path: Path, file: BinaryIO) -> Image.Image:
    """Open the image's header and check its size before pixels are allocated. Raises SlideError."""
    head = file.read(_HEAD_BYTES)
    file.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(file)
    except UnidentifiedImageError:
        advice = _OPTION_FOR.get(path.suffix.lower(), "Convert it to a tiled TIFF or an OME-TIFF.")
        raise SlideError(f"not a slide or image format that is read. {advice}") from None
    except Image.DecompressionBombError:
        raise _too_large("") from None
    except Exception as error:
        raise unreadable(path, error, HEADER_DAMAGED) from error
    bands = jp2_colours(head)
    if bands.grey and bands.bands > 2:
        image.close()
        raise SlideError(
            f"{bands.bands} bands that its header calls grey: which are red, green and blue is not said. "
            "Convert it to 8-bit RGB."
        )
    pixels, size = image.width * image.height, path.stat().st_size
    if decoding_bytes(image, head) > MAX_BYTES:
        image.close()
        raise _too_large(f", {image.width} x {image.height} pixels of {image.format}")
    if pixels > FEW_PIXELS and pixels > size * (JPEG_PIXELS_A_BYTE if image.format == "JPEG" else PIXELS_A_BYTE):
        image.close()
        raise SlideError(
            f"its header promises {image.width} x {image.height} pixels, more than {size:,} bytes can "
            "hold: it is damaged. Copy or export it again."
        )
    if image.width < 1 or image.height < 1:
        image.close()
        raise SlideError("the image has no pixels.")
    return image


def _too_large(what: str) -> SlideError:
    return SlideError(
        f"too large to be decoded whole{what} (it would take over {MAX_BYTES / 1e9:g} GB of memory). "
        "Convert it to a tiled TIFF."
    )


def _refuse_other_than_rgb(image: Image.Image) -> None:
    # Pillow would show only the high byte of 16-bit colours.
    if image.mode.startswith("I;16") or (image.format == "PNG" and ";16" in str(getattr(image, "tile", ""))):
        shown_range(np.uint16, 16)
    if image.mode not in _OPAQUE + _ALPHA:
        raise SlideError(f"pixels of kind {image.mode} are not read, only 8-bit grey and RGB. Convert it to 8-bit RGB.")
    frames = getattr(image, "n_frames", 1)
    # Other images in MPO are previews, and the caller has checked TIFF pages. GIF and others are animations.
    if frames > 1 and image.format not in ("TIFF", "MPO"):
        raise SlideError(f"{frames} images in one file. Save the one you mean by itself.")


def _orientation(image: Image.Image) -> int:
    try:
        orientation = int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # a broken EXIF block does not make the pixels unreadable
        return 1
    return orientation if 1 <= orientation <= 8 else 1


def _stored_size(image: Image.Image) -> tuple[int, int]:
    """Return (width, height) before rotation. Newer Pillows give the size of a TIFF after rotation."""
    tags = getattr(image, "tag_v2", None)
    return (int(tags[256]), int(tags[257])) if tags else image.size


def _decode(path: Path) -> tuple[Image.Image, int]:
    """Return the image and its remaining orientation: Pillow rotates some formats itself when it decodes them."""
    try:
        # Given a path, Pillow may map the file into memory, and a file that is then truncated ends the process.
        with path.open("rb") as file:
            image = _open(path, file)
            if image.format in ("JPEG", "MPO"):
                refuse_damaged(path.read_bytes(), len(image.getbands()))
            if image.format == "PNG":
                check_png(path)
            stream = path.read_bytes() if image.format == "JPEG2000" else b""
            if stream:
                refuse_broken_jpeg_2000(stream)
            image.load()
            if stream and image.mode in _ALPHA and not jp2_colours(stream[:_HEAD_BYTES]).opacity:
                image = image.convert(_WITHOUT_ALPHA[image.mode])  # Pillow takes any further band for opacity
            return image, _orientation(image)
    except SlideError:
        raise
    except Exception as error:
        raise unreadable(path, error, "the image is damaged or cut short") from error


def _rgb(part: Image.Image) -> Pixels:
    """Return a part of an image as RGB over white."""
    if part.mode in _ALPHA or "transparency" in part.info:
        rgba = np.asarray(part.convert("RGBA"))
        return over_white(rgba[..., :3], rgba[..., 3])
    return np.asarray(part if part.mode == "RGB" else part.convert("RGB"))

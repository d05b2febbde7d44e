"""Convert pixels to sRGB by the ICC profile embedded in the file, with LittleCMS through Pillow."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import numpy as np
from PIL import Image, ImageCms

from ats_cli.errors import SlideError
from ats_cli.slides.reader import Box, Pixels, Reader, Region


def in_srgb(reader: Reader) -> Reader:
    """Return a reader that converts the pixels to sRGB; the same reader if the file embeds no colour profile.

    Raises SlideError if the profile cannot be applied.
    """
    profile = reader.color_profile()
    return reader if profile is None else cast(Reader, _InSrgb(reader, _to_srgb(profile)))


def profile_name(profile: bytes | None) -> str | None:
    """Return the name of a profile; None if there is no profile."""
    if profile is None:
        return None
    try:
        return " ".join(ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile))).split())
    except (OSError, ImageCms.PyCMSError):
        return "a profile that cannot be read"


class _InSrgb:
    """Delegates to `reader`, and converts the pixels that it reads, before any resampling."""

    def __init__(self, reader: Reader, convert: Callable[[Pixels], Pixels]) -> None:
        self._reader, self._convert = reader, convert

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def read(self, level: int, boxes: Sequence[Box], threads: int) -> Iterator[Region]:
        for region in self._reader.read(level, boxes, threads):
            yield region._replace(pixels=self._convert(region.pixels))


def _to_srgb(profile: bytes) -> Callable[[Pixels], Pixels]:
    """Return a function that converts (rows, cols, 3) by the profile's intent. Grey profiles use the first channel."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = {"RGB ": "RGB", "GRAY": "L"}[source.profile.xcolor_space]
        intent = ImageCms.Intent(ImageCms.getDefaultIntent(source))
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB", intent)
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SlideError(
            f"its colour profile cannot be applied ({reason[:200]}). Leave out --color-profile."
        ) from error

    def convert(pixels: Pixels) -> Pixels:
        image = Image.fromarray(np.ascontiguousarray(pixels if mode == "RGB" else pixels[..., 0]))
        converted = ImageCms.applyTransform(image, transform)
        assert converted is not None  # it returns None only for conversion in place
        return np.asarray(converted)

    return convert

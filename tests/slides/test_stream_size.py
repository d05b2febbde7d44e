"""What streams say of their size is what they were made with, and what decoders would believe."""

from __future__ import annotations

import io

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ats_cli.slides.pixels.stream_size import stream_size

PIXELS = np.random.default_rng(0).integers(0, 256, (37, 91, 3), dtype=np.uint8)
ENCODERS = {
    "jpeg": lambda a: imagecodecs.jpeg_encode(a, 80),
    "jpeg 2000": lambda a: imagecodecs.jpeg2k_encode(a, 50),
    "bare jpeg 2000": lambda a: imagecodecs.jpeg2k_encode(a, 50, codecformat="j2k"),
    "webp": lambda a: imagecodecs.webp_encode(a, 70),
    "lossless webp": lambda a: imagecodecs.webp_encode(a, lossless=True),
}


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("shape", [(37, 91), (1, 1), (300, 17)])
def test_the_size_is_that_of_the_pixels(name: str, shape: tuple[int, int]) -> None:
    stream = ENCODERS[name](np.resize(PIXELS, (*shape, 3)))
    assert stream_size(stream) == (shape[1], shape[0])


def test_extended_webp_and_progressive_jpeg_with_comments() -> None:
    out = io.BytesIO()
    Image.fromarray(PIXELS).save(out, "WEBP", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0")
    assert out.getvalue()[12:16] == b"VP8X" and stream_size(out.getvalue()) == (91, 37)
    out = io.BytesIO()
    Image.fromarray(PIXELS).save(out, "JPEG", progressive=True, comment=b"c" * 5000, icc_profile=b"p" * 70_000)
    assert stream_size(out.getvalue()) == (91, 37)


@pytest.mark.integration
@given(st.binary(max_size=60), st.sampled_from(list(ENCODERS)), st.integers(0, 400))
def test_of_what_is_no_stream_nothing_is_said(noise: bytes, name: str, length: int) -> None:
    assert (
        stream_size(noise) is None or noise[:2] == b"\xff\xd8" or noise[:4] == b"RIFF" or b"\xff\x4f\xff\x51" in noise
    )
    stream_size(ENCODERS[name](PIXELS)[:length] + noise)

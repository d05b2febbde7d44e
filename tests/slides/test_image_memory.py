"""The memory that a plain image takes: that of the image itself and of its decoder, and no more than is allowed."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from ats_cli.errors import SlideError
from ats_cli.slides import open_slide
from ats_cli.slides.formats.image_memory import decoding_bytes

pytestmark = pytest.mark.integration

HEIGHT, WIDTH = 3000, 4000
# Of numpy, of the blocks in which a view is read, and of the file.
BESIDE = 40_000_000

READ = """
import sys
from pathlib import Path
from ats_cli.slides import open_slide

def peak():  # what `resource` calls the most is, in a new process, that of its parent
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024

slide = open_slide(sys.argv[1])
before = peak()
slide.read_view(50)
list(slide.read_tiles([(100, 100, 300, 300)] * 4, 300))
print(peak() - before)
"""

KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "png": ("RGB", "png", {"compress_level": 1}),
    "alpha": ("RGBA", "png", {"compress_level": 1}),
    "grey": ("L", "png", {"compress_level": 1}),
    "palette": ("P", "png", {"compress_level": 1}),
    "jpeg": ("RGB", "jpg", {}),
    "progressive": ("RGB", "jpg", {"progressive": True, "subsampling": 0}),
    "bmp": ("RGB", "bmp", {}),
    "webp": ("RGB", "webp", {"quality": 30, "method": 0}),
    "jpeg 2000 in tiles": ("RGB", "jp2", {"tile_size": (512, 512)}),
    "jpeg 2000": ("L", "jp2", {}),
    "strips": ("RGB", "tif", {"compression": "tiff_adobe_deflate"}),
}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the most memory of a process is not known")
@pytest.mark.parametrize("kind", KINDS)
def test_the_peak_is_what_the_header_said(tmp_path: Path, kind: str) -> None:
    mode, suffix, options = KINDS[kind]
    path = tmp_path / f"a.{suffix}"
    coarse = np.random.default_rng(0).integers(0, 255, (HEIGHT // 50, WIDTH // 50, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.NEAREST).convert(mode).save(path, **options)
    with Image.open(path) as image:
        most = decoding_bytes(image, path.read_bytes()[:4096])
    done = subprocess.run([sys.executable, "-c", READ, str(path)], capture_output=True, check=True)
    assert int(done.stdout) <= most + BESIDE


@pytest.mark.parametrize(
    ("width", "height", "depth", "colour", "sound"),
    [
        (22_360, 22_360, 8, 2, True),
        (22_361, 22_361, 8, 2, False),
        (31_622, 15_000, 8, 6, True),
        (60_000, 60_000, 8, 2, False),
        (2**31 - 1, 2**31 - 1, 8, 2, False),
        (44_721, 44_721, 8, 0, True),
        (44_722, 44_722, 1, 0, False),
    ],
)
def test_a_png_is_refused_by_its_header(
    tmp_path: Path, width: int, height: int, depth: int, colour: int, sound: bool
) -> None:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    # Enough bytes for what is promised, so that it could be true.
    with (tmp_path / "a.png").open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")))
        file.truncate(1_000_000)
    if sound:
        assert open_slide(tmp_path / "a.png").width == width
        return
    with pytest.raises(SlideError, match=r"^a\.png: too large to be decoded whole.*Convert it to a tiled TIFF\.$"):
        open_slide(tmp_path / "a.png")


@given(
    st.integers(1, 60),
    st.integers(1, 60),
    st.sampled_from(["L", "RGB", "RGBA", "LA", "P", "1"]),
    st.sampled_from(["png", "tif", "webp"]),
    st.integers(0, 9),
    st.booleans(),
    st.data(),
)
@settings(max_examples=200, deadline=None)
def test_parts_of_an_image_are_those_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory,
    width: int,
    height: int,
    mode: str,
    suffix: str,
    orientation: int,
    transparent: bool,
    data: st.DataObject,
) -> None:
    """Whatever its mode, its transparency and the way it is turned: Pillow's own decode, on white."""
    pixels = np.random.default_rng(width * 61 + height).integers(0, 256, (height, width, 4), dtype=np.uint8)
    rgba = Image.fromarray(pixels)
    image = rgba.convert("RGB").convert(mode) if mode in ("P", "1", "L", "RGB") else rgba.convert(mode)
    if suffix == "webp" and mode in ("P", "1", "LA"):
        image = image.convert("RGBA" if mode == "LA" else "RGB")
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {"lossless": True, "exact": True} if suffix == "webp" else {}
    if transparent and suffix == "png" and mode in ("L", "RGB", "P"):
        options["transparency"] = (1, 2, 3) if mode == "RGB" else 7
    path = tmp_path_factory.mktemp("images") / f"a.{suffix}"
    image.save(path, exif=exif, **options)
    flat = path.with_stem("flat")
    image.save(flat, **options)
    with Image.open(flat) as again:
        tagged = again.convert("RGBA")
    tagged.getexif()[0x0112] = orientation
    upright = ImageOps.exif_transpose(tagged)
    seen = np.asarray(upright).astype(float)
    alpha = seen[..., 3:] / 255
    expected = seen[..., :3] * alpha + 255 * (1 - alpha)
    slide = open_slide(path, backend="image")
    assert (slide.width, slide.height) == upright.size
    x, y = data.draw(st.integers(0, slide.width - 1)), data.draw(st.integers(0, slide.height - 1))
    box = (x, y, data.draw(st.integers(1, slide.width - x)), data.draw(st.integers(1, slide.height - y)))
    ((part, damage),) = slide.scan_level(0, [box], 1)
    assert not damage
    assert np.abs(part - expected[y : y + box[3], x : x + box[2]]).max() <= 1

"""Opening a TIFF reads its headers and no more, holds no more than it says, and believes no header that lies."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import tifffile
from slide_pictures import picture

from ats_cli.errors import SlideError
from ats_cli.slides import open_slide

LARGE = 1_000_000


def bytes_of_this_process() -> int:
    counts = Path("/proc/self/io")
    try:
        return int(counts.read_text().split()[1])
    except OSError:
        pytest.skip("no counts of what a process reads here")


@pytest.mark.integration
@pytest.mark.parametrize("options", [{"tile": (128, 128)}, {"rowsperstrip": 16, "compression": "zlib"}])
def test_opening_reads_headers_only_and_counts_them(tmp_path: Path, options: dict[str, object]) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, picture(2000, 3000), photometric="rgb", **options)
    open_slide(path)  # whatever a first time loads
    before = bytes_of_this_process()
    slide = open_slide(path)
    read = bytes_of_this_process() - before
    assert slide.bytes_total is not None and slide.bytes_read is not None
    assert slide.bytes_read < slide.bytes_total / 50 and read < slide.bytes_total / 25
    before, counted = bytes_of_this_process(), slide.bytes_read
    slide.read_view(4)
    read = bytes_of_this_process() - before
    assert 0.95 * read <= slide.bytes_read - counted <= read


@pytest.mark.integration
def test_an_open_slide_holds_what_it_says(tmp_path: Path) -> None:
    # A hundred thousand strips of a row each: tifffile's own numbers would be 8 MB.
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((100_000, 3), np.uint8), rowsperstrip=1, compression="lzw")
    open_slide(path)
    tracemalloc.start()
    slide = open_slide(path)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert slide.resident_bytes == 100_000 * 16
    assert held < 1.5 * slide.resident_bytes


def lie(path: Path, layout: dict[str, object], **tags: int) -> Path:
    tifffile.imwrite(path, picture(20, 16), photometric="rgb", metadata=None, **layout)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        for name, value in tags.items():
            tiff.pages.first.tags[name].overwrite(value)
    assert path.stat().st_size < 2500
    return path


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize(
    ("layout", "tags"),
    [
        ({"tile": (16, 16)}, {}),
        ({"tile": (16, 16)}, {"TileWidth": LARGE, "TileLength": LARGE}),
        ({"tile": (16, 16)}, {"TileWidth": 2**31, "TileLength": 2**31}),
        ({"rowsperstrip": 5}, {}),
        ({"rowsperstrip": 20}, {"RowsPerStrip": LARGE}),
        ({"rowsperstrip": 20}, {"RowsPerStrip": 2**32 - 1}),
    ],
)
def test_a_small_file_that_promises_a_million_pixels_a_side(
    tmp_path: Path, layout: dict[str, object], tags: dict[str, int], compression: str | None
) -> None:
    path = lie(tmp_path / "a.tif", layout | {"compression": compression}, ImageWidth=LARGE, ImageLength=LARGE, **tags)
    for backend in (None, "tiff", "image", "openslide"):
        tracemalloc.start()
        with pytest.raises(SlideError, match=r"^a\.tif: [^\n]*\.$"):
            slide = open_slide(path, backend=backend)
            list(slide.read_tiles([(5, 5, 64, 64)], 64))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 10_000_000


def test_a_file_that_lacks_all_its_tiles_is_paper(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tiles = (b"" for _ in range(64 * 64))
    tifffile.imwrite(path, tiles, shape=(64 * 4096, 64 * 4096, 3), dtype=np.uint8, tile=(4096, 4096),
                     photometric="rgb", compression="zlib", bigtiff=True)  # fmt: skip
    slide = open_slide(path)
    lacking = slide.absent(0)
    assert slide.width == 64 * 4096 and lacking is not None and lacking.shape == (64, 64) and lacking.all()
    (patch,) = slide.read_tiles([(10_000, 20_000, 256, 256)], 256)
    assert (patch == 255).all()

"""Bytes of a file on a disk: many ranges at once, in threads, counted."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
from slide_pictures import picture

from ats_cli.errors import SlideError
from ats_cli.slides import open_slide
from ats_cli.slides.byte_source import LocalFile


@pytest.fixture(params=["pread", "no pread"])
def platform(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "no pread":
        monkeypatch.delattr(os, "pread", raising=False)


@pytest.mark.usefixtures("platform")
def test_many_ranges_in_threads(tmp_path: Path) -> None:
    content = np.random.default_rng(0).integers(0, 256, 100_000, dtype=np.uint8).tobytes()
    (tmp_path / "a").write_bytes(content)
    source = LocalFile(tmp_path / "a")
    starts = np.random.default_rng(1).integers(0, 99_000, 500).tolist()
    with source.opened() as fetch, ThreadPoolExecutor(8) as pool:
        reads = fetch([(start, 1000) for start in starts])
        assert list(pool.map(lambda read: read(), reads)) == [content[s : s + 1000] for s in starts]
    assert source.bytes_read == 500_000


@pytest.mark.usefixtures("platform")
def test_what_lies_beyond_the_end_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"0123456789")
    with LocalFile(tmp_path / "a").opened() as fetch:
        reads = fetch([(8, 5), (10, 5), (2**60, 2**60), (0, 2**60)])
        assert [read() for read in reads] == [b"89", b"", b"", b"0123456789"]


@pytest.mark.usefixtures("platform")
def test_a_slide_is_the_same_whatever_the_platform_has(tmp_path: Path) -> None:
    pixels = picture(320, 480)
    tifffile.imwrite(tmp_path / "a.tif", pixels, tile=(32, 48), photometric="rgb", metadata=None)
    assert np.array_equal(open_slide(tmp_path / "a.tif").read_view(1), pixels)


@pytest.mark.integration
def test_opening_reads_the_headers_and_counts_them(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, picture(3200, 4800), tile=(32, 48), photometric="rgb", metadata=None)
    slide = open_slide(path)
    # The index alone is 10,000 offsets and counts.
    assert 60_000 < (slide.bytes_read or 0) < 250_000 < path.stat().st_size / 100


def test_a_file_that_went_away(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, picture(320, 480), tile=(32, 48), photometric="rgb", metadata=None)
    slide = open_slide(path)
    path.unlink()
    with pytest.raises(SlideError, match=r"^a\.tif: could not be read"):
        slide.read_view(1)

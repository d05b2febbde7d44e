"""OME-Zarr far away: the same pixels as from a disk, and a chunk that is not there is no error of the network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from range_server import RangeServer, range_server
from slide_pictures import picture
from test_zarr import write

from ats_cli.errors import SlideError
from ats_cli.slides import open_slide
from ats_cli.slides.remote import retries as remote_tries

pytestmark = pytest.mark.integration


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[RangeServer]:
    monkeypatch.setattr(remote_tries, "FIRST_PAUSE", 0.001)
    with range_server(token="s3cr3t") as server:
        yield server


def served(folder: Path, web: RangeServer) -> Path:
    web.files |= {
        f"{folder.name}/{file.relative_to(folder).as_posix()}": file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }
    return folder


@pytest.mark.parametrize("options", [{"v": 2}, {"v": 3}, {"v": 3, "chunks": (16, 24, 3), "shards": (64, 96, 3)}])
def test_the_same_slide(tmp_path: Path, web: RangeServer, options: dict[str, object]) -> None:
    levels = [picture(200, 300), picture(100, 150, 1)]
    path = served(write(tmp_path / "a b.zarr", levels, **options), web)  # type: ignore[arg-type]
    here, there = open_slide(path), open_slide(web.url("a%20b.zarr", "?token=s3cr3t"))
    assert (there.reader, there.levels, there.mpp, there.identity) == ("zarr", here.levels, here.mpp, here.identity)
    web.faults = ["500", "drop", "short"]
    boxes = [(3, 5, 40, 40), (150, 100, 60, 60), (0, 0, 200, 200)]
    assert np.array_equal(there.read_view(2), here.read_view(2))
    for ours, theirs in zip(there.read_tiles(boxes, 40), here.read_tiles(boxes, 40), strict=True):
        assert np.array_equal(ours, theirs)
    assert not web.faults and "s3cr3t" not in str(there.path)
    # What a failed try had sent is told by none but the server.
    assert 0.9 * web.sent < (there.bytes_read or 0) <= web.sent


def test_an_image_within(tmp_path: Path, web: RangeServer) -> None:
    path = served(write(tmp_path / "a.zarr", [picture(64, 96)]), web)
    slide = open_slide(web.url("a.zarr/0", "?token=s3cr3t"), mpp=0.5)
    assert np.array_equal(slide.read_view(1), open_slide(path).read_view(1))


def test_chunks_that_are_not_there_and_a_network_that_is_not(tmp_path: Path, web: RangeServer) -> None:
    path = write(tmp_path / "a.zarr", [picture(64, 96)], fill_value=255)
    lost = next(file for file in path.rglob("*") if file.name == "1.1.0" or file.as_posix().endswith("1/1/0"))
    lost.unlink()
    served(path, web)
    slide = open_slide(web.url("a.zarr", "?token=s3cr3t"))
    assert (slide.read_view(1)[32:, 48:] == 255).all()
    web.faults = ["503"] * 10_000
    with pytest.raises(SlideError, match=r"could not be read from 127\.0\.0\.1:\d+ \(the server answers 503\)"):
        slide.read_view(1)
    web.faults.clear()
    for query, name, says in [
        ("?token=wrong", "a.zarr", r"access denied \(403\)"),
        ("?token=s3cr3t", "b.zarr", "no Zarr array or group is there"),
    ]:
        with pytest.raises(SlideError, match=says) as caught:
            open_slide(web.url(name, query))
        assert "token" not in str(caught.value)

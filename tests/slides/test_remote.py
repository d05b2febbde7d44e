"""Slides far away: the same pixels as from a disk, for a few requests, through all that a network does."""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from range_server import RangeServer, range_server
from slide_pictures import picture

from ats_cli.errors import SlideError
from ats_cli.slides import Slide, open_slide
from ats_cli.slides.remote import file as remote_file
from ats_cli.slides.remote import header_cache
from ats_cli.slides.remote import retries as remote_tries
from ats_cli.slides.remote.file import RemoteFile, merged
from ats_cli.slides.remote.http_object import HttpObject
from ats_cli.slides.remote.path import RemotePath

pytestmark = pytest.mark.integration

SECRET = "?token=s3cr3t"
EXAMPLE = Path(__file__).parents[2] / "examples" / "CMU-1-Small-Region.svs"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_tries, "FIRST_PAUSE", 0.001)


@pytest.fixture
def web() -> Iterator[RangeServer]:
    with range_server() as server:
        yield server


def pyramid(path: Path, **options: Any) -> Path:
    """Three levels, the lower two in sub-directories that come after the pixels."""
    with tifffile.TiffWriter(path, **options) as out:
        how: dict[str, Any] = {"tile": (64, 64), "photometric": "rgb", "compression": "zlib"}
        out.write(picture(800, 1200), subifds=2, resolution=(40000, 40000), resolutionunit=3, metadata=None, **how)
        for number in (1, 2):
            out.write(picture(800 >> number, 1200 >> number, number), subfiletype=1, metadata=None, **how)
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pyramid(tmp_path_factory.mktemp("slides") / "a.tif")


def pixels(slide: Slide) -> str:
    boxes = np.random.default_rng(0).uniform(0, 700, (30, 4))
    boxes[:, 2:] = 100
    found = [slide.read_view(4), *slide.read_tiles(boxes, 100), *slide.read_tiles(boxes[:5], 37)]
    return hashlib.sha256(b"".join(array.tobytes() for array in found)).hexdigest()


@pytest.mark.parametrize("options", [{"bigtiff": True}, {"byteorder": ">"}])
def test_the_same_slide_for_the_bytes_that_were_sent(tmp_path: Path, web: RangeServer, options: dict[str, Any]) -> None:
    path = pyramid(tmp_path / "a.tif", **options)
    web.files["a.tif"] = path.read_bytes()
    here, there = open_slide(path), open_slide(web.url("a.tif", "?token=s3cr3t"))
    assert (there.levels, there.mpp, there.mpp_source) == (here.levels, here.mpp, here.mpp_source)
    assert there.identity == here.identity and there.bytes_total == here.bytes_total
    assert there.bytes_read == web.sent < path.stat().st_size / 5
    assert pixels(there) == pixels(here)
    assert there.bytes_read == web.sent


def test_an_svs(web: RangeServer) -> None:
    web.files["a.svs"] = EXAMPLE.read_bytes()
    assert pixels(open_slide(web.url("a.svs"))) == pixels(open_slide(EXAMPLE))


def test_headers_cost_a_round_trip_a_directory_and_are_kept(tmp_path: Path, web: RangeServer, own_cache: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as out:
        for number in range(4):
            size = 3200 >> number
            out.write(np.zeros((size, size, 3), np.uint8), tile=(16, 16), photometric="rgb", metadata=None)
    web.files["a.tif"] = path.read_bytes()
    first = open_slide(web.url("a.tif"))
    # The first directory names lists that go beyond the first request; each other one lies far behind.
    assert 4 <= len(web.requests) <= 10
    web.requests.clear()
    again = open_slide(web.url("a.tif", "?another=query"))
    assert len(web.requests) == 1 and again.levels == first.levels
    assert again.bytes_read == remote_file.FIRST
    for file in (own_cache / "headers").iterdir():
        assert file.suffix == ".npz"
        file.write_bytes(b"PK damaged")
    assert open_slide(web.url("a.tif")).levels == first.levels
    web.requests.clear()
    web.etag = '"2"'
    open_slide(web.url("a.tif"))
    assert len(web.requests) > 1, "another version has headers of its own"
    web.etag = None
    for _ in range(2):
        web.requests.clear()
        open_slide(web.url("a.tif"))
        assert len(web.requests) > 1, "what cannot be told from its next version is not kept"


def test_the_cache_is_bounded_and_costs_nothing_where_it_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(header_cache, "MOST_BYTES", 20_000)
    cache = header_cache.HeaderCache(tmp_path / "headers")
    blocks = {0: bytes(range(256)) * 16, 7: b"the last"}
    for number in range(10):
        cache.save((f"https://host/{number}", 1, "v"), blocks)
    assert cache.load(("https://host/9", 1, "v")) == blocks
    assert cache.load(("https://host/0", 1, "v")) == {} and cache.load(("https://host/9", 2, "v")) == {}
    assert sum(file.stat().st_size for file in (tmp_path / "headers").iterdir()) <= 20_000
    (tmp_path / "file").touch()
    nowhere = header_cache.HeaderCache(tmp_path / "file" / "headers")
    nowhere.save(("https://host/0", 1, "v"), blocks)
    assert nowhere.load(("https://host/0", 1, "v")) == {}


def test_neighbours_are_one_request(path: Path, web: RangeServer) -> None:
    web.files["a.tif"] = path.read_bytes()
    slide = open_slide(web.url("a.tif"))
    web.requests.clear()
    slide.read_view(4)
    assert 1 <= len(web.requests) <= 3, "a level lies in one piece"
    assert list(merged([(5, 2**50)], 2**60)) == [(5, 5 + remote_file.LARGEST, [(5, 2**50)])], "an index that lies"
    spans = merged([(1000 * i, 500) for i in range(5000)], 10**9)
    lengths = [(stop - start, members) for start, stop, members in spans]
    assert sum(len(members) for _, members in lengths) == 5000
    assert all(length <= remote_file.LONGEST + 1000 for length, _ in lengths) and len(lengths) < 12


@pytest.mark.parametrize("fault", ["500", "503", "drop", "short"])
def test_what_passes_is_tried_again(path: Path, web: RangeServer, fault: str) -> None:
    web.files["a.tif"] = path.read_bytes()
    web.faults = [fault]
    slide = open_slide(web.url("a.tif"))
    web.faults = [fault] * 4
    assert pixels(slide) == pixels(open_slide(path))
    assert not web.faults and slide.bytes_read == web.sent


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("500", r"could not be read from 127\.0\.0\.1:\d+ \(the server answers 500\)\. Try again later"),
        ("drop", r"could not be read from 127\.0\.0\.1:\d+ \(the connection broke"),
        ("403", r"access denied \(403\)\. Check the credentials"),
    ],
)
def test_what_does_not_pass_is_one_sentence(path: Path, web: RangeServer, fault: str, says: str) -> None:
    web.files["a.tif"] = path.read_bytes()
    url = web.url("a.tif", SECRET)
    slide = open_slide(url)
    web.faults = [fault] * 1000
    for read in (lambda: slide.read_view(4), lambda: open_slide(url)):
        with pytest.raises(SlideError, match=rf"^a\.tif: {says}") as caught:
            read()
        assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_file_that_changes_under_way(path: Path, web: RangeServer) -> None:
    web.files["a.tif"] = path.read_bytes()
    for change in ({"etag": '"2"'}, {"files": {"a.tif": path.read_bytes() + b"more"}}):
        slide = open_slide(web.url("a.tif"))
        for name, value in change.items():
            setattr(web, name, value)
        with pytest.raises(SlideError, match=r"^a\.tif: the file was changed while it was read\. Run it again\.$"):
            slide.read_view(4)


def test_sentences_for_what_is_not_there(web: RangeServer) -> None:
    web.files |= {"empty.svs": b"", "text.svs": b"not an image" * 20_000}
    for url, says in {
        web.url("none.svs", "?token=s3cr3t"): r"no such file at http://127\.0\.0\.1:\d+/folder/none\.svs \(404\)",
        web.url("empty.svs"): r"empty",
        web.url("text.svs"): "this file is read from a local disk only",
        web.url("slide.mrxs"): "a slide of many files",
        "http://nowhere.invalid/x.svs": r"no server nowhere\.invalid is known",
        "http://127.0.0.1:1/x.svs": "the server could not be reached",
        "nonsense://host/x.svs": "no kind of URL that is read",
    }.items():
        name = RemotePath(url).name
        with pytest.raises(SlideError, match=f"^{name}: .*{says}") as caught:
            open_slide(url)
        assert "s3cr3t" not in str(caught.value)


def test_a_library_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "adlfs", None)
    with pytest.raises(SlideError, match=r"^x\.svs: az:// needs a library .* pip install 'ats-cli\[az\]'\.$"):
        open_slide("az://container/x.svs")


def test_a_server_without_ranges_is_not_downloaded_unasked(path: Path, web: RangeServer) -> None:
    web.files["a.tif"] = path.read_bytes()
    web.ranges = False
    with pytest.raises(SlideError, match=r"^a\.tif: this server gives whole files only.*--download"):
        open_slide(web.url("a.tif"))
    with open_slide(web.url("a.tif"), download=True) as slide:
        assert pixels(slide) == pixels(open_slide(path))


def test_what_must_be_local_is_fetched_when_asked_and_deleted(
    tmp_path: Path, web: RangeServer, own_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Image.fromarray(picture(500, 700)).save(tmp_path / "a.png")
    web.files["a.png"] = (tmp_path / "a.png").read_bytes()
    with pytest.raises(
        SlideError, match=r"^a\.png: a PNG is read from a local disk only.*\(0\.\d MB\) with --download"
    ):
        open_slide(web.url("a.png", "?token=s3cr3t"))
    assert web.sent == remote_file.FIRST
    with open_slide(web.url("a.png", "?token=s3cr3t"), download=True) as slide:
        assert np.array_equal(slide.read_view(1), picture(500, 700))
        assert isinstance(slide.path, RemotePath) and slide.identity == "a.png"
        assert list((own_cache / "downloads").iterdir())
    assert not list((own_cache / "downloads").iterdir())
    assert "a.png: fetching 0." in caplog.text and "s3cr3t" not in caplog.text


def test_vendors_that_look_like_tiled_tiff_are_told_by_their_headers(tmp_path: Path, web: RangeServer) -> None:
    path = tmp_path / "a.tif"
    xml = '<?xml version="1.0"?><DataObject ObjectType="DPUfsImport"></DataObject>'
    tifffile.imwrite(path, picture(640, 640), tile=(64, 64), photometric="rgb", metadata=None, description=xml,
                     software="Philips DP v1.0")  # fmt: skip
    web.files["a.tif"] = path.read_bytes()
    with pytest.raises(SlideError, match=r"^a\.tif: a slide of Philips's is read from a local disk only"):
        open_slide(web.url("a.tif"))


def test_a_chain_of_directories_without_end(web: RangeServer) -> None:
    web.files["a.tif"] = b"II*\0\x08\0\0\0" + b"\x01\0" + b"\0\1\4\0\1\0\0\0\x05\0\0\0" + b"\x08\0\0\0" + bytes(200_000)
    with pytest.raises(SlideError, match=r"^a\.tif: "):
        open_slide(web.url("a.tif"))
    assert len(web.requests) < 20


def test_anything_else_that_fsspec_opens(path: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe("/bucket/a.tif", path.read_bytes())
    try:
        slide = open_slide("memory://bucket/a.tif")
        assert pixels(slide) == pixels(open_slide(path))
        with pytest.raises(SlideError, match=r"^b\.tif: no such file at memory://bucket/b\.tif"):
            open_slide("memory://bucket/b.tif")
    finally:
        memory.rm("/bucket", recursive=True)


def test_many_at_once_are_never_more_than_64(monkeypatch: pytest.MonkeyPatch, web: RangeServer) -> None:
    import asyncio

    web.files["a"] = bytes(4_000_000)
    source = RemoteFile(RemotePath(web.url("a")))
    now, most = [0], [0]
    real = HttpObject.get

    async def get(self: HttpObject, start: int, stop: int) -> Any:
        now[0] += 1
        most[0] = max(most[0], now[0])
        await asyncio.sleep(0.005)
        try:
            return await real(self, start, stop)
        finally:
            now[0] -= 1

    monkeypatch.setattr(HttpObject, "get", get)
    with source.opened() as fetch:
        reads = fetch([(i * 20_000, 100) for i in range(200)])
        assert [len(read()) for read in reads] == [100] * 200
    assert 32 < most[0] <= 64

"""Servers that fail for a while, lie, are slow or never end: as many tries, as much time and memory as is sensible."""

from __future__ import annotations

import gzip
import io
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import numpy as np
import pytest
import tifffile
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st
from range_server import RangeServer, range_server
from slide_pictures import picture

from ats_cli.errors import SlideError
from ats_cli.slides import open_slide
from ats_cli.slides.remote import retries as remote_tries
from ats_cli.slides.remote.answer import WholeOnlyError, content_range

pytestmark = pytest.mark.integration

TRIES = remote_tries.TRIES


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_tries, "FIRST_PAUSE", 0.001)


@pytest.fixture
def web() -> Iterator[RangeServer]:
    with range_server(files={"a.tif": tiff()}) as server:
        yield server


def tiff() -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, picture(400, 600), tile=(64, 64), photometric="rgb", metadata=None)
    return file.getvalue()


def view(url: str, **options: Any) -> Any:
    with open_slide(url, **options) as slide:
        return slide.read_view(1)


@pytest.mark.parametrize("download", [False, True])
@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("fault", ["429", "408", "502", "503", "504", "drop", "short"])
def test_what_fails_for_a_while_is_tried_again(web: RangeServer, fault: str, ranges: bool, download: bool) -> None:
    """When it is opened, when ranges are read, and when it is fetched whole."""
    if not ranges and not download:
        return
    web.ranges = ranges
    web.faults = [fault] * 3
    assert np.array_equal(view(web.url("a.tif"), download=download), picture(400, 600))
    assert not web.faults


@pytest.mark.parametrize("failures", [1, 3, 100])
def test_a_name_server_that_fails(web: RangeServer, monkeypatch: pytest.MonkeyPatch, failures: int) -> None:
    real, left = socket.getaddrinfo, [failures]

    def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
        if host != "slides.example":
            return real(host, *arguments, **options)
        left[0] -= 1
        if left[0] >= 0:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return real("127.0.0.1", *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    url = web.url("a.tif").replace("127.0.0.1", "slides.example")
    if failures < TRIES:
        assert np.array_equal(view(url), picture(400, 600))
    else:
        with pytest.raises(SlideError, match=r"^a\.tif: no server slides\.example:\d+ is known\. Check the URL"):
            view(url)
        assert left[0] == failures - TRIES


class Flaky(MemoryFileSystem):
    """Fails at its first requests."""

    protocol = "flaky"
    failures = 0

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.removeprefix("flaky:/")))

    def info(self, path: str, **options: Any) -> Any:
        if Flaky.failures:
            Flaky.failures -= 1
            raise ConnectionResetError("reset by peer")
        return super().info(path, **options)


def test_another_file_system_that_fails_for_a_while() -> None:
    fsspec.register_implementation("flaky", Flaky, clobber=True)
    fsspec.filesystem("flaky").pipe("/bucket/a.tif", tiff())
    try:
        Flaky.failures = 3
        assert np.array_equal(view("flaky://bucket/a.tif"), picture(400, 600))
        assert Flaky.failures == 0
    finally:
        fsspec.filesystem("flaky").rm("/bucket", recursive=True)


@pytest.mark.parametrize("fault", ["stall", "slow header", "slow"])
@pytest.mark.parametrize("when", ["opened", "read", "fetched", "fetched without ranges"])
def test_a_server_that_never_comes_to_an_end_is_left(
    web: RangeServer, monkeypatch: pytest.MonkeyPatch, fault: str, when: str
) -> None:
    monkeypatch.setattr(remote_tries, "REQUEST_SECONDS", 0.1)
    monkeypatch.setattr(remote_tries, "SLIDE_SECONDS", 0.5)
    monkeypatch.setattr(remote_tries, "LEAST_BYTES_PER_SECOND", 1e9)
    web.ranges = when != "fetched without ranges"
    slide = open_slide(web.url("a.tif")) if when == "read" else None
    web.faults = [fault] * 1000
    with pytest.raises(SlideError, match=r"^a\.tif: could not be read from .* \(it took too long\)\. Try again later"):
        if slide is not None:
            slide.read_view(1)
        else:
            view(web.url("a.tif"), download=when.startswith("fetched"))


def test_the_time_of_a_slide_is_that_of_all_its_requests(web: RangeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each answer takes less than a request may, and there is no end of them."""
    monkeypatch.setattr(remote_tries, "REQUEST_SECONDS", 0.2)
    monkeypatch.setattr(remote_tries, "SLIDE_SECONDS", 0.3)
    monkeypatch.setattr(remote_tries, "LEAST_BYTES_PER_SECOND", 1e9)
    monkeypatch.setattr(remote_tries, "TRIES", 10**9)
    web.faults = ["stall"] * 10**5
    with pytest.raises(SlideError, match=r"^a\.tif: .* \(it took too long\)"):
        view(web.url("a.tif"))
    assert len(web.requests) < 10


def test_time_in_which_nothing_is_asked_does_not_count(web: RangeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(remote_tries, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    slide = open_slide(web.url("a.tif"))
    clock[0] += 100 * remote_tries.SLIDE_SECONDS
    assert np.array_equal(slide.read_view(1), picture(400, 600))


@pytest.mark.parametrize("when", ["opened", "read"])
def test_a_range_that_never_ends(web: RangeServer, when: str) -> None:
    slide = open_slide(web.url("a.tif")) if when == "read" else None
    web.faults = ["endless"] * 1000
    with pytest.raises(SlideError, match=r"^a\.tif: this server sends other bytes than it is asked for\. .*--download"):
        view(web.url("a.tif")) if slide is None else slide.read_view(1)
    assert web.sent < 100_000_000, "what is buffered on the way, and not the gigabyte"


def test_a_file_that_never_ends(web: RangeServer) -> None:
    web.ranges, web.faults = False, ["endless"] * 1000
    with pytest.raises(SlideError, match=r"^a\.tif: this server gives whole files only"):
        view(web.url("a.tif"))
    assert web.sent < 100_000_000


@pytest.mark.parametrize("ranges", [True, False])
def test_a_promise_that_no_disk_holds_is_not_fetched(web: RangeServer, own_cache: Path, ranges: bool) -> None:
    web.files = {"a.png": b"\x89PNG" + bytes(100_000)}
    web.ranges, web.promised = ranges, 10**17
    with pytest.raises(
        SlideError, match=r"^a\.png: (its )?100,000,000,000\.0 MB (or more )?do not fit .*Set ATS_CACHE"
    ):
        view(web.url("a.png"), download=True)
    assert len(web.requests) <= 3 and not list((own_cache / "downloads").iterdir())


@pytest.mark.parametrize("download", [False, True])
def test_what_is_sent_compressed_is_refused(web: RangeServer, download: bool) -> None:
    web.files = {"a.tif": gzip.compress(bytes(50_000_000))}
    web.encoding = "gzip"
    with pytest.raises(SlideError, match=r"^a\.tif: the server sends it compressed \(Content-Encoding: gzip\), and no"):
        view(web.url("a.tif"), download=download)
    web.encoding, web.files = "identity", {"a.tif": tiff()}
    assert np.array_equal(view(web.url("a.tif")), picture(400, 600))


@pytest.mark.parametrize("download", [False, True])
@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("lengths", [True, False])
def test_an_empty_file_is_said_to_be_empty(web: RangeServer, ranges: bool, lengths: bool, download: bool) -> None:
    web.files, web.ranges, web.lengths = {"a.svs": b""}, ranges, lengths
    with pytest.raises(SlideError, match=r"^a\.svs: the file is empty\. Upload it again\.$"):
        view(web.url("a.svs"), download=download)


@pytest.mark.parametrize("lengths", [True, False])
def test_a_server_without_ranges(web: RangeServer, lengths: bool) -> None:
    """A small file may come whole; of another as much is taken as was asked for."""
    small = io.BytesIO()
    tifffile.imwrite(small, picture(64, 64), tile=(16, 16), photometric="rgb", metadata=None)
    web.files["small.tif"] = small.getvalue()
    web.ranges, web.lengths = False, lengths
    with pytest.raises(SlideError, match=r"^a\.tif: this server gives whole files only, no byte ranges"):
        view(web.url("a.tif"))
    assert np.array_equal(view(web.url("a.tif"), download=True), picture(400, 600))
    assert open_slide(web.url("small.tif")).width == 64


def test_another_range_than_was_asked_for(web: RangeServer) -> None:
    slide = open_slide(web.url("a.tif"))
    web.faults = ["elsewhere"] * 1000
    with pytest.raises(SlideError, match=r"^a\.tif: this server sends other bytes than it is asked for"):
        slide.read_view(1)


def test_redirected(web: RangeServer) -> None:
    url = web.url("a.tif", "?token=abc").replace("/folder/", "/moved/")
    web.token = "abc"
    assert np.array_equal(view(url), picture(400, 600))
    loop = web.url("a.tif").replace("/folder/", "/moved//moved/")
    with pytest.raises(SlideError, match=r"^a\.tif: "):
        view(loop)


@given(st.integers(-50, 200), st.integers(1, 100), st.integers(-50, 200), st.integers(-3, 300), st.integers(0, 300))
@settings(max_examples=300, deadline=None)
def test_the_range_of_an_answer_is_the_one_asked_for(start: int, length: int, first: int, last: int, size: int) -> None:
    stop = start + length if start >= 0 else 1 << 40
    asked = range(size)[start:] if start < 0 else range(size)[start:stop]
    try:
        assert content_range(f"bytes {first}-{last}/{size}", start, stop) == size
        right = True
    except WholeOnlyError:
        right = False
    # An answer that ends too soon is tried again; what is no part of what was asked for is refused.
    assert right == (first >= 0 <= last and bool(len(asked)) and first == asked[0] and last <= asked[-1]) or not asked

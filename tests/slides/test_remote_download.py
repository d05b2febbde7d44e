"""What is fetched whole: nothing of it stays, whatever ends the call; and no call deletes what another one reads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from range_server import RangeServer, range_server
from slide_pictures import picture

from ats_cli.errors import SlideError
from ats_cli.slides import open_slide
from ats_cli.slides.remote import retries as remote_tries

pytestmark = pytest.mark.integration

READER = """
import sys
from ats_cli.slides import open_slide
slide = open_slide(sys.argv[1], download=True)
print("open", flush=True)
sys.stdin.read()
print(slide.read_view(1).sum(), flush=True)
"""


@pytest.fixture
def web(tmp_path: Path) -> Iterator[RangeServer]:
    Image.fromarray(picture(50, 70)).save(tmp_path / "a.png")
    with range_server(files={"a.png": (tmp_path / "a.png").read_bytes()}) as server:
        yield server


def reader(url: str) -> subprocess.Popen[bytes]:
    """Another process that has fetched a slide, and reads it when it is told."""
    process = subprocess.Popen([sys.executable, "-c", READER, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"open\n"
    return process


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


@pytest.mark.skipif(sys.platform == "win32", reason="no locks between processes")
def test_what_a_killed_call_left_is_deleted_by_the_next_one_and_what_a_running_one_has_is_not(
    web: RangeServer, own_cache: Path
) -> None:
    downloads = own_cache / "downloads"
    with reader(web.url("a.png")) as killed:
        left = names(downloads)
        with reader(web.url("a.png")) as running:
            before = names(downloads)
            killed.send_signal(signal.SIGKILL)
            killed.wait()
            assert names(downloads) == before > left
            with open_slide(web.url("a.png"), download=True):
                assert not names(downloads) & left
                assert names(downloads) > before - left
            assert names(downloads) == before - left
            out, _ = running.communicate(b"")
            assert int(out) == picture(50, 70).sum()
    assert not names(downloads)


def test_what_was_left_without_a_lock_is_deleted_after_a_day(web: RangeServer, own_cache: Path) -> None:
    """By a version that had none, or in the moment before it was there."""
    for name, age in {"new": 0, "old": 2 * 24 * 3600}.items():
        folder = own_cache / "downloads" / name
        folder.mkdir(parents=True)
        (folder / "a.png").write_bytes(b"part")
        os.utime(folder, (time.time() - age,) * 2)
    (own_cache / "downloads" / "gone.lock").touch()
    with open_slide(web.url("a.png"), download=True):
        pass
    assert names(own_cache / "downloads") == {"new"}


@pytest.mark.parametrize("fault", ["404", "503", "short", "drop"])
@pytest.mark.parametrize("ranges", [True, False])
def test_nothing_stays_of_what_failed(
    web: RangeServer, own_cache: Path, monkeypatch: pytest.MonkeyPatch, fault: str, ranges: bool
) -> None:
    monkeypatch.setattr(remote_tries, "FIRST_PAUSE", 0.001)
    web.ranges, web.faults = ranges, [fault] * 100
    with pytest.raises(SlideError, match=r"^a\.png: "):
        open_slide(web.url("a.png"), download=True)
    web.faults, web.files["b.png"] = [], b"\x89PNG nothing else"
    with pytest.raises(SlideError, match=r"^b\.png: "):
        open_slide(web.url("b.png"), download=True)
    downloads = own_cache / "downloads"
    assert not downloads.exists() or not names(downloads)


@pytest.mark.parametrize("size", [0, 1, 2**20 - 1, 2**20, 2**20 + 1, 11 * 2**20 + 7])
def test_each_byte_of_a_file_of_any_length(web: RangeServer, tmp_path: Path, size: int) -> None:
    """Fetched in pieces, some of which fail."""
    data = np.random.default_rng(size).integers(0, 256, size, np.uint8).tobytes()
    web.files = {"a.bin": data}
    if not data:
        with pytest.raises(SlideError, match=r"^a\.bin: the file is empty"):
            open_slide(web.url("a.bin"), download=True)
        return
    from ats_cli.slides.remote.file import RemoteFile
    from ats_cli.slides.remote.path import RemotePath

    source = RemoteFile(RemotePath(web.url("a.bin")))
    web.faults = ["503", "short", "drop"]
    with (tmp_path / "out").open("wb") as file:
        source.download(file)
    assert (tmp_path / "out").read_bytes() == data


def test_a_file_that_is_changed_while_it_is_fetched(web: RangeServer, tmp_path: Path) -> None:
    from ats_cli.slides.remote.file import RemoteFile
    from ats_cli.slides.remote.path import RemotePath

    source = RemoteFile(RemotePath(web.url("a.png")))
    web.etag = '"2"'
    with (tmp_path / "out").open("wb") as file, pytest.raises(SlideError, match=r"^the file was changed while"):
        source.download(file)

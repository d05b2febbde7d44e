"""`ats` on slides far away: the same answers, and nothing that opens a URL in anything that is written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from range_server import RangeServer, range_server

from ats_cli.slides.identity.content_digest import SAMPLE
from ats_cli.slides.remote import retries as remote_tries

pytestmark = pytest.mark.integration

EXAMPLE = Path(__file__).parents[2] / "examples" / "CMU-1-Small-Region.svs"
SECRET = "s3cr3tT0ken"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[RangeServer]:
    monkeypatch.setattr(remote_tries, "FIRST_PAUSE", 0.001)
    with range_server(files={"CMU-1-Small-Region.svs": EXAMPLE.read_bytes()}, token=SECRET) as server:
        yield server


def everything(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


def test_the_same_prediction_from_a_disk_and_from_afar(ats: Run, model: Path, web: RangeServer) -> None:
    url = web.url(EXAMPLE.name, f"?token={SECRET}&x=1#part")
    here, there = (json.loads(ats("predict", place, "-m", model, "--json")[1]) for place in (EXAMPLE, url))
    assert there["path"] == web.url(EXAMPLE.name) and there["bytes_read"] == web.sent
    assert there["fingerprint"]["content"] == here["fingerprint"]["content"]
    different = {"path", "seconds", "bytes_read", "bytes_view", "fingerprint"}
    assert {k: v for k, v in there.items() if k not in different} == {
        k: v for k, v in here.items() if k not in different
    }


def test_nothing_shows_what_opens_a_url(
    ats: Run, model: Path, web: RangeServer, tmp_path: Path, own_cache: Path
) -> None:
    user = web.url(EXAMPLE.name, f"?token={SECRET}").replace("http://", f"http://user:pass-{SECRET}@")
    (tmp_path / "slides.csv").write_text(f"slide\n{user}\n{web.url('none.svs', f'?token={SECRET}')}\n")
    (tmp_path / "a.png").write_bytes(b"\x89PNG no image")
    web.files["a.png"] = (tmp_path / "a.png").read_bytes()
    broken = web.url("a.png", f"?token={SECRET}")
    shown = b""
    for arguments in (
        ["predict", "--manifest", tmp_path / "slides.csv", "-m", model, "-o", tmp_path / "run", "--debug"],
        ["predict", user, broken, "-m", model, "-o", tmp_path / "other", "--json", "--debug", "--download"],
        ["info", user, broken, web.url("none.svs", f"?token={SECRET}"), "--json", "--debug"],
        ["info", broken, "--download", "--debug"],
        ["info", f"nonsense://user:{SECRET}@host/x.svs?{SECRET}", "--debug"],
        ["heatmap", user, "-m", model, "-o", tmp_path / "a.png", "--debug"],
        ["predict", web.url(EXAMPLE.name, "?token=wrong"), f"https://user:{SECRET}@", "-m", model],
    ):
        _, out, err = ats(*arguments)
        shown += (out + err).encode()
        assert "unforeseen" not in err and "not foreseen" not in err
    assert b"none.svs: no such file at http://127.0.0.1" in shown and b"a.png: a PNG is read from" in shown
    written = everything(tmp_path / "run") + everything(tmp_path / "other") + everything(own_cache)
    assert EXAMPLE.name.encode() in written
    for text in (shown, written):
        assert SECRET.encode() not in text and b"user:" not in text


def test_a_run_goes_on_with_a_new_signature(ats: Run, model: Path, web: RangeServer, tmp_path: Path) -> None:
    run = tmp_path / "run"
    url = web.url(EXAMPLE.name, f"?token={SECRET}&expires=1")
    how = ["-m", model, "-o", run, "--sampler", "murthy"]
    assert ats("predict", url, *how)[0] == 0
    sent = web.sent
    status, _, err = ats("predict", url.replace("expires=1", "expires=2"), *how)
    assert status == 0 and "1 of 1 slides are in" in err
    assert 0 < web.sent - sent <= 3 * SAMPLE, "whether it is the same slide, and no more"
    status, _, err = ats("predict", "-o", run, "--extend", "--tiles", 6)
    assert status == 1 and "access denied (403)" in err and "presigned" in err
    assert ats("predict", url, "-o", run, "--extend", "--tiles", 6)[0] == 0
    assert json.loads((run / "slides" / EXAMPLE.stem / "prediction.json").read_text())["tiles"] == 6


def test_what_must_be_local_is_fetched_if_asked(ats: Run, model: Path, slides: Path, web: RangeServer) -> None:
    web.files["one.png"] = (slides / "one.png").read_bytes()
    url = web.url("one.png", f"?token={SECRET}")
    status, _, err = ats("predict", url, "-m", model)
    assert status == 1 and "Fetch it whole (0.1 MB) with --download (predict, info)." in err
    status, out, err = ats("predict", url, "-m", model, "--download", "--json")
    here = json.loads(ats("predict", slides / "one.png", "-m", model, "--json")[1])
    assert status == 0 and "ats: one.png: fetching 0.1 MB." in err
    there = json.loads(out)
    assert there["probabilities"] == here["probabilities"] and there["path"] == web.url("one.png")

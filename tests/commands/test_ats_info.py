"""`ats info`: the facts of a slide, for people and as JSON."""

import json
from collections.abc import Callable
from pathlib import Path

Run = Callable[..., tuple[int, str, str]]


KEYS = ["schema_version", "slide_id", "path", "reader", "vendor", "width", "height", "levels", "mpp", "mpp_source"]
KEYS += ["channels", "dtype", "bytes_total", "sound", "problems"]


def test_json(ats: Run, slides: Path) -> None:
    status, out, err = ats("info", slides, "--json", "--mpp", 0.5)
    assert status == 1
    broken, one, _ = (json.loads(line) for line in out.splitlines())
    assert set(KEYS) <= set(broken)
    assert list(broken) == list(one)
    assert (one["width"], one["height"], one["mpp"], one["mpp_source"]) == (160, 120, 0.5, "given")
    assert one["bytes_total"] == (slides / "one.png").stat().st_size
    assert set(one["levels"][0]) == {"width", "height", "downsample", "tile_width", "tile_height", "compression"}
    assert broken["width"] is None
    assert broken["error"].startswith("broken.svs: ")
    assert broken["error"] in err


def test_for_people(ats: Run, slides: Path) -> None:
    status, out, _ = ats("info", slides / "two [x].png")
    assert status == 0
    for fact in ("two [x]", "203 x 97 px", "image", "level 0"):
        assert fact in out


def test_no_slides(ats: Run, tmp_path: Path) -> None:
    status, _, err = ats("info", tmp_path)
    assert status == 2
    assert ".svs" in err

"""`ats info`: the facts of a slide, for people and as JSON."""

import json
from collections.abc import Callable
from pathlib import Path

from small import damage, noise, write_slide

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


def test_a_check_says_sound_or_where_not(ats: Run, tmp_path: Path) -> None:
    write_slide(tmp_path / "sound.tif", noise(256, 320))
    damage(write_slide(tmp_path / "torn.tif", noise(256, 320)), 6)
    status, out, err = ats("info", tmp_path, "--check")
    assert status == 1
    assert "sound: 20 of 20 native tiles tried, all can be read" in out
    assert "NOT SOUND: 20 of 20 native tiles tried, 1 cannot be read" in out
    assert "x 64, y 64: torn.tif: tile at x 64, y 64 of level 0 is damaged" in out
    assert "torn.tif: not sound, 1 of the 20 native tiles tried cannot be read." in err and "1 of 2 slides" in err
    assert "native tiles tried" not in ats("info", tmp_path / "torn.tif")[1]

    (tmp_path / "none.svs").write_bytes(b"no slide at all")
    none, sound, torn = (json.loads(line) for line in ats("info", tmp_path, "--check", "--json")[1].splitlines())
    assert (none["sound"], sound["sound"], torn["sound"]) == (False, True, False)
    assert (torn["tiles_checked"], torn["tiles_total"], sound["problems"]) == (20, 20, [])
    assert [(p["level"], p["x"], p["y"]) for p in torn["problems"]] == [(0, 64, 64)]
    assert list(none) == list(sound) == list(torn)
    assert ats("info", tmp_path / "sound.tif", "--check")[0] == 0

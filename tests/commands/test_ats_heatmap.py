"""`ats heatmap`: pictures where they were asked for."""

from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]


def test_one_slide_to_one_picture(ats: Run, model: Path, slides: Path, tmp_path: Path) -> None:
    picture = tmp_path / "new" / "one.png"
    status, out, _ = ats("heatmap", slides / "one.png", "-o", picture, "-m", model, "--max-size", 200)
    assert status == 0
    assert out == f"{picture}\n"
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_folder_gets_a_picture_a_slide(ats: Run, model: Path, slides: Path, tmp_path: Path) -> None:
    folder = tmp_path / "maps"
    arguments = ("heatmap", slides, "-o", folder, "-m", model, "--max-size", 100, "--scale", "log", "--no-overlay")
    status, _, err = ats(*arguments)
    assert status == 1
    assert "ats: broken.svs: " in err
    assert sorted(p.name for p in folder.iterdir()) == ["one.png", "two [x].png"]


@pytest.mark.parametrize(
    "options",
    [
        ["-o", "OUT/all.png"],
        ["-o", "OUT/a.jpg"],
        ["-o", "OUT/maps", "--colormap", "virdis"],
        ["-o", "OUT", "--alpha", "2"],
    ],
)
def test_wrong_calls(ats: Run, model: Path, slides: Path, tmp_path: Path, options: list[str]) -> None:
    words = [word.replace("OUT", str(tmp_path / "out")) for word in options]
    status, out, err = ats("heatmap", slides, "-m", model, *words)
    assert (status, out) == (2, "")
    assert err
    assert not (tmp_path / "out").exists()


def test_slides_of_the_same_name_get_pictures_of_their_own(ats: Run, model: Path, slides: Path, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (slides / folder).mkdir()
        (slides / folder / "same.png").write_bytes((slides / "one.png").read_bytes())
    ats("heatmap", slides / "a", slides / "b", "-o", tmp_path / "maps", "-m", model, "--max-size", 100)
    assert sorted(p.name for p in (tmp_path / "maps").iterdir()) == ["a_same.png", "b_same.png"]

from __future__ import annotations

from pathlib import Path

import pytest

from ats_cli.errors import SlideError
from ats_cli.slides import find_slides


def make(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def ids(*inputs: Path | str) -> list[str]:
    return [source.slide_id for source in find_slides([str(i) for i in inputs])]


def test_files_come_as_given_and_once(tmp_path: Path) -> None:
    make(tmp_path, "b.svs", "a.ome.tif", "c.strange")
    assert ids(tmp_path / "b.svs", tmp_path / "a.ome.tif", tmp_path / "c.strange", tmp_path / "b.svs") == [
        "b",
        "a",
        "c.strange",
    ]
    (source,) = find_slides([str(tmp_path / "b.svs")], mpp=0.5)
    assert source.mpp == 0.5 and source.path == tmp_path / "b.svs"


def test_a_folder_is_searched_for_slides_only(tmp_path: Path) -> None:
    make(tmp_path, "z.svs", "notes.txt", "sub/a.TIFF", "sub/._a.tiff", ".hidden/q.svs")
    make(tmp_path, "m.mrxs", "m/Data0001.dat", "m/thumb.jpg", "v.vms", "v(1,0).jpg", "v_macro.jpg", "v.opt", "vx.jpg")
    make(tmp_path, "ngff.zarr/0/0.png", "zarr2/.zgroup", "series/1.dcm", "series/2.dcm")
    assert ids(tmp_path) == ["m", "ngff", "series", "a", "v", "vx", "z", "zarr2"]


def test_a_link_to_a_folder_above_ends(tmp_path: Path) -> None:
    make(tmp_path, "a/x.svs", "elsewhere/y.svs")
    (tmp_path / "a" / "up").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "aside").symlink_to(tmp_path / "elsewhere")
    assert ids(tmp_path / "a") == ["y", "x"]


def test_globs(tmp_path: Path) -> None:
    make(tmp_path, "a1.svs", "a2.svs", "b.svs", "a.txt", "sub/a3.svs")
    assert ids(tmp_path / "a*") == ["a1", "a2"]
    assert ids(tmp_path / "**" / "a*.svs") == ["a1", "a2", "a3"]
    assert ids(tmp_path / "*.txt") == ["a.txt"]
    make(tmp_path, "odd[1].svs")
    assert ids(tmp_path / "odd[1].svs") == ["odd[1]"]


@pytest.mark.parametrize("name", ["nowhere.svs", "no*.svs", "folder"])
def test_an_input_that_names_nothing_is_an_error(tmp_path: Path, name: str) -> None:
    make(tmp_path, "folder/readme.txt")
    with pytest.raises(SlideError, match=r"(no such file in|nothing matches|no slide in this folder).*\.") as caught:
        ids(tmp_path / name)
    assert ".svs" in str(caught.value)


def test_ids_that_collide_grow_until_they_differ(tmp_path: Path) -> None:
    make(tmp_path, "p/a/x.svs", "q/a/x.svs", "q/b/x.svs", "q/b/x.tif", "q/b/y.svs", "q/c/w.svs", "q/c/w.ome.tif")
    found = {str(s.path.relative_to(tmp_path)): s.slide_id for s in find_slides([str(tmp_path)])}
    assert found == {
        "p/a/x.svs": "p/a/x",
        "q/a/x.svs": "q/a/x",
        "q/b/x.svs": "b/x",
        "q/b/x.tif": "x.tif",
        "q/b/y.svs": "y",
        "q/c/w.svs": "w.svs",
        "q/c/w.ome.tif": "w.ome.tif",
    }


def test_ids_name_folders_and_not_the_way_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "x.svs", "sub/x.svs")
    monkeypatch.chdir(tmp_path / "sub")
    assert ids("x.svs", "../x.svs") == ["sub/x", f"{tmp_path.name}/x"]


def test_an_empty_name_does_not_mean_the_current_folder() -> None:
    with pytest.raises(SlideError, match="an empty name is no slide"):
        find_slides([""])

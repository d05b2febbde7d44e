"""URLs as slides: named like files, and nothing that opens one is ever shown."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ats_cli.errors import SlideError, clean
from ats_cli.sampling import slide_rng
from ats_cli.slides import RemotePath, find_slides, read_manifest, slide_path
from ats_cli.slides.inputs.discovery import slide_ids

WORD = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=12, max_size=24)


@pytest.mark.integration
@given(WORD, WORD, WORD, WORD, st.sampled_from(["https", "s3", "gs", "az", "ftp"]))
def test_what_opens_a_url_is_never_shown(user: str, password: str, token: str, part: str, scheme: str) -> None:
    path = RemotePath(f"{scheme}://{user}:{password}@host.org/folder/slide.svs?X-Amz-Signature={token}&b=c#{part}")
    error = SlideError(f"{path.name}: {path.url} could not be read ('{path.url}').")
    for shown in (str(path), repr(path), path.name, path.stem, f"{path}", str([path]), str(error), clean(path.url)):
        assert not any(secret in shown for secret in (user, password, token, part, "X-Amz"))
    assert str(path) == f"{scheme}://host.org/folder/slide.svs"
    assert pickle.loads(pickle.dumps(path)) == path and pickle.loads(pickle.dumps(path)).url == path.url


def test_names_are_those_of_the_file() -> None:
    path = RemotePath("https://host.org/a%20b/two%20x.ome.tif?alt=media")
    assert (path.name, path.stem, path.suffix) == ("two x.ome.tif", "two x.ome", ".tif")
    assert path.folders == ("host.org", "a b")
    assert RemotePath("https://host/o/folder%2Fx.svs?alt=media").name == "x.svs"
    assert RemotePath("s3://bucket/50%20x.svs").name == "50%20x.svs"
    assert RemotePath("s3://bucket/x.zarr/").name == "x.zarr"


def test_a_slide_draws_the_same_from_a_disk_and_a_bucket() -> None:
    here = slide_rng(0, Path("/data/x.svs").name).integers(2**60)
    assert here == slide_rng(0, RemotePath("s3://bucket/deep/x.svs?versionId=7").name).integers(2**60)


def test_ids_as_for_files(tmp_path: Path) -> None:
    (tmp_path / "x.svs").touch()
    urls = ["https://host/a/x.svs?sig=1", "s3://bucket/b/x.svs", "gs://bucket/y.ome.tif", str(tmp_path / "x.svs")]
    found = find_slides([*urls, urls[0]])
    assert [source.slide_id for source in found] == ["a/x", "b/x", "y", f"{tmp_path.name}/x"]
    same = slide_ids([RemotePath("https://host/get?id=1"), RemotePath("https://host/get?id=2")])
    assert len(set(same)) == 2 and all(name.startswith("host/get-") for name in same)


def test_a_manifest_of_urls(tmp_path: Path) -> None:
    table = tmp_path / "slides.csv"
    table.write_text("slide,mpp\nhttps://host/x.svs?token=secret,0.5\nhere.svs,\n")
    remote, local = read_manifest(table).rows
    assert isinstance(remote.path, RemotePath) and remote.path.url.endswith("token=secret") and remote.mpp == 0.5
    assert local.path == tmp_path / "here.svs"
    table.write_text("slide\nhttps://host/x.svs?token=secret\nhttps://host/x.svs?token=secret\n")
    with pytest.raises(SlideError, match=r"row 3 names https://host/x\.svs again") as caught:
        read_manifest(table)
    assert "secret" not in str(caught.value)


def test_what_is_no_slide(tmp_path: Path) -> None:
    (tmp_path / "x y.svs").touch()
    assert slide_path(f"file://{tmp_path}/x%20y.svs") == tmp_path / "x y.svs"
    for place, says in {
        "https://host": "names no slide",
        "zip://x.svs::https://host/x.zip": "a chain of file systems",
        "s3://bucket/folder/": "on local disks only",
        "s3://bucket/*.svs": "on local disks only",
    }.items():
        with pytest.raises(SlideError, match=says):
            find_slides([place])

"""A run that is gone on with answers for the files that are there now, not for those that had their names."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "slides"))

from test_file_state import LONG_AGO, dicom, png, strips, tiff, zarr_folder, zarr_zip

pytestmark = pytest.mark.integration

Run = Callable[..., tuple[int, str, str]]
SLIDES = {"a.tif": tiff, "b.tif": strips, "a.png": png, "0.dcm": dicom, "a.zarr": zarr_folder, "a.zarr.zip": zarr_zip}


def predicted(out: str) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(out)
    return {name: line[name] for name in ("probabilities", "status", "tiles", "logits")}


def put(slide: str, folder: Path, seed: int, written: tuple[int, int] | None) -> Path:
    """A slide in `folder`, in the place of what was there; its files written at a time, or now."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    path, _ = SLIDES[slide](folder, seed)
    for file in folder.rglob("*") if written else ():
        os.utime(file, written)
    return path


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(SLIDES)), st.integers(0, 99), st.booleans(), st.sampled_from(["pivotal", "murthy"]))
def test_a_slide_replaced_by_another_is_predicted_anew(
    ats: Run,
    model: Path,
    tmp_path_factory: pytest.TempPathFactory,
    slide: str,
    seed: int,
    same_time: bool,
    sampler: str,
) -> None:
    """Of the same name and size as a rule, and of the same time where `same_time`, as `cp --preserve` gives it."""
    folder = tmp_path_factory.mktemp("night")
    how = ("-m", model, "--sampler", sampler, "--json")
    written = LONG_AGO if same_time else None
    path = put(slide, folder / "slides", seed, written)
    first = ats("predict", path, *how, "-o", folder / "run")
    assert first[0] == 0, first[2]

    status, out, err = ats("predict", path, *how, "-o", folder / "run")
    assert (status, predicted(out)) == (0, predicted(first[1]))
    assert "1 of 1 slides are in" in err

    put(slide, folder / "slides", seed + 100, written)
    _, right, _ = ats("predict", path, *how)
    assert predicted(right) != predicted(first[1])
    more = ("--extend", "--tiles", 9) if sampler == "murthy" and seed % 2 else ()
    if more:
        _, right, _ = ats("predict", path, *how, "--tiles", 9)
    status, out, err = ats("predict", path, *how, "-o", folder / "run", *more)
    assert (status, predicted(out)) == (0, predicted(right)), err
    assert "the file has changed since it was predicted" in err


def test_a_copy_in_another_folder_is_the_same_slide(ats: Run, model: Path, tmp_path: Path) -> None:
    path = put("a.tif", tmp_path / "slides", 1, LONG_AGO)
    assert ats("predict", path, "-m", model, "-o", tmp_path / "run")[0] == 0
    (tmp_path / "moved").mkdir()
    moved = Path(shutil.copyfile(path, tmp_path / "moved/a.tif"))
    status, _, err = ats("predict", moved, "-m", model, "-o", tmp_path / "run")
    assert status == 0 and "1 of 1 slides are in" in err
    put("a.tif", tmp_path / "moved", 2, None)
    status, _, err = ats("predict", moved, "-m", model, "-o", tmp_path / "run")
    assert status == 2 and "slide a of this run is" in err


def test_a_slide_that_was_broken_is_taken_again_once_it_is_another_file(ats: Run, model: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(b"II*\0 cut short")
    call = ("predict", path, "-m", model, "-o", tmp_path / "run")
    assert ats(*call)[0] == 1
    assert ats(*call)[0] == 1
    tiff(tmp_path, 1)
    assert ats(*call)[0] == 0


def test_a_run_without_fingerprints_is_read_as_before(ats: Run, model: Path, tmp_path: Path) -> None:
    path = put("a.tif", tmp_path / "slides", 1, LONG_AGO)
    call = ("predict", path, "-m", model, "-o", tmp_path / "run")
    assert ats(*call)[0] == 0
    record = tmp_path / "run/slides/a/prediction.json"
    earlier = json.loads(record.read_text())
    del earlier["fingerprint"]
    record.write_text(json.dumps(earlier))
    before = record.read_bytes()
    status, _, err = ats(*call)
    assert status == 0 and "1 of 1 slides are in" in err
    assert record.read_bytes() == before

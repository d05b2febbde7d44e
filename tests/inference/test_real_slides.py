"""Every file of a collection of real, odd and damaged slides gives a prediction or a sentence. None raises or hangs."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from small import random_model, small_spec, write_model

from ats_cli.inference import predict_many
from ats_cli.records import FeatureSpec, Prediction
from ats_cli.slides import SlideSource

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "slides"
SPEC = small_spec({"scale": 16.0}, features=FeatureSpec(scale=1.0, patch_size=32, channels=(4, 4, 4, 4)))
PATIENCE = 60
"""Seconds for one small slide, on a busy machine."""

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"no collection of slides in {DATA}: this walk is not made"),
]


class Hangs(BaseException):
    """Not an Exception, lest it be taken for a slide's own."""


@pytest.fixture
def watch() -> Iterator[None]:
    def late(*_: object) -> None:
        raise Hangs

    before = signal.signal(signal.SIGALRM, late)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def files() -> list[Path]:
    """Each file, and each Zarr as the one thing it is."""
    inside = [path for path in DATA.rglob("*") if path.is_file() and not any(p.suffix == ".zarr" for p in path.parents)]
    return sorted([*inside, *DATA.rglob("*.zarr")])


def check(path: Path, found: Prediction) -> None:
    if found.status == "ok":
        assert found.probabilities is not None and sum(found.probabilities) == pytest.approx(1), path
        assert all(math.isfinite(value) for tile in found.drawn for value in (*tile.shares, tile.weight)), path
        assert 1 <= (found.sampling.tiles or 0) <= SPEC.tiles, path
    else:
        assert found.error is not None and len(found.error.splitlines()) == 1, path
        assert found.error.startswith(f"{path.name}: ") and found.error.endswith("."), found.error
        assert "unforeseen" not in found.error, found.error


def test_every_file_is_predicted_or_says_why_not(watch: None) -> None:
    model = random_model(SPEC)
    status = {}
    for path in files():
        signal.alarm(PATIENCE)
        (found,) = predict_many([SlideSource(path.name, path)], model)
        check(path, found)
        status[path.relative_to(DATA).as_posix()] = found.status
    assert list(status.values()).count("ok") >= 72
    assert status["wsic-samples/CMU-1-Small-Region.svs"] == "ok"
    assert status["wsic-samples/CMU-1-Small-Region-JPEG.zarr"] == "ok"
    assert status["jcupitt-dicom-wsi/cmu-1-small-region/level-0-frames-0-30.dcm"] == "ok"
    assert status["openslide-python-fixtures/unreadable.svs"] == "failed"


def test_a_model_in_microns_with_microns_given(watch: None) -> None:
    model = random_model(replace(SPEC, unit="um", attention=replace(SPEC.attention, tissue_only=True)))
    names = ("wsic-samples", "qupath-cells", "openslide-python-fixtures", "slideio-tutorial")
    chosen = [path for path in files() if path.relative_to(DATA).parts[0] in names]
    for path in chosen:
        signal.alarm(PATIENCE)
        (found,) = predict_many([SlideSource(path.name, path, mpp=1.5)], model)
        check(path, found)
        assert found.status == "failed" or (found.provenance.mpp, found.provenance.mpp_source) == (1.5, "given")


def test_the_whole_collection_from_the_command_line(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", SPEC)
    command = [sys.executable, "-c", "from ats_cli.app import main; main()"]
    done = subprocess.run(
        [*command, "predict", "--json", "--device", "cpu", "-m", model, DATA],
        capture_output=True,
        text=True,
        check=False,
        timeout=10 * PATIENCE,
        env={**os.environ, "NO_COLOR": "1"},
    )
    assert done.returncode == 1, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    by_status = {status: [r for r in records if r["status"] == status] for status in ("ok", "failed")}
    assert len(by_status["ok"]) + len(by_status["failed"]) == len(records)
    assert len(by_status["ok"]) >= 48 and by_status["failed"]
    assert len({record["slide_id"] for record in records}) == len(records)
    assert "Traceback" not in done.stderr and "unforeseen" not in done.stderr
    assert f"{len(by_status['failed'])} of {len(records)} slides failed" in done.stderr

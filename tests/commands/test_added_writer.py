"""An output writer added in one file is written for each slide of a run."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ats_cli.records import Prediction
from ats_cli.registry import WRITERS

pytestmark = pytest.mark.integration

Run = Callable[..., tuple[int, str, str]]


class CentresGeoJson:
    """The centres of the tiles as GeoJSON points."""

    name, summary, option, needs = "centres.geojson", "the centres of the tiles", "", ("tiles",)

    def write(self, path: Path, prediction: Prediction) -> None:
        assert prediction.tile_arrays is not None
        x, y, width, height = prediction.tile_arrays.boxes.T
        centres = [[float(a), float(b)] for a, b in zip(x + width / 2, y + height / 2, strict=True)]
        path.write_text(json.dumps({"type": "MultiPoint", "coordinates": centres}))


@pytest.fixture
def centres() -> Iterator[str]:
    WRITERS.register(CentresGeoJson.name, CentresGeoJson())
    yield CentresGeoJson.name
    WRITERS.unregister(CentresGeoJson.name)


@pytest.mark.parametrize("processes", [0, 2])
def test_a_registered_writer_writes_for_each_slide_of_a_run(
    ats: Run, model: Path, slides: Path, tmp_path: Path, centres: str, processes: int
) -> None:
    run = tmp_path / "run"
    status, out, _ = ats("predict", slides, "-m", model, "-n", 3, "-o", run, "--processes", processes, "--json")
    assert status == 1, "one of the slides cannot be read"
    for record in map(json.loads, out.splitlines()):
        folder = run / "slides" / record["slide_id"]
        assert (folder / "prediction.json").is_file()
        assert (folder / centres).is_file() == (record["status"] == "ok"), "it needs tiles"
        if record["status"] == "ok":
            points = json.loads((folder / centres).read_text())["coordinates"]
            assert len(points) == record["tiles"]


def test_the_file_of_a_writer_is_merged_and_deleted_with_its_slide(
    ats: Run, model: Path, slides: Path, tmp_path: Path, centres: str
) -> None:
    (slides / "broken.svs").unlink()
    for part in (1, 2):
        ats("predict", slides, "-m", model, "-o", tmp_path / f"{part}", "--shard", f"{part}/2")
    assert ats("merge", tmp_path / "1", tmp_path / "2", "-o", tmp_path / "whole")[0] == 0
    assert len(list((tmp_path / "whole").rglob(centres))) == 2
    ats("predict", slides / "one.png", "-m", model, "-o", tmp_path / "whole", "--overwrite")
    assert len(list((tmp_path / "whole").rglob(centres))) == 1


def test_a_slide_cannot_take_the_place_of_a_writers_file(
    ats: Run, model: Path, slides: Path, tmp_path: Path, centres: str
) -> None:
    folder = slides / centres
    folder.mkdir()
    (folder / "one.png").write_bytes((slides / "one.png").read_bytes())
    status, _, err = ats("predict", slides, "-m", model, "-o", tmp_path / "run")
    assert status == 2
    assert f"{centres}/one" in err

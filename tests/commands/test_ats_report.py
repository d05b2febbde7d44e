"""`ats predict --report`: one HTML file that says what the tables say, in which no name is anything but text."""

from __future__ import annotations

import csv
import json
import shutil
from base64 import b64decode
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from urllib.parse import unquote

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ats_cli.nets.model import Model
from ats_cli.records import Prediction
from ats_cli.results import evidence
from ats_cli.results.report import run_report
from ats_cli.results.report.run_report import update_report
from ats_cli.text import printable
from ats_cli.zoo import save_model
from tests.commands.conftest import SPEC

pytestmark = pytest.mark.integration

Run = Callable[..., tuple[int, str, str]]
HOSTILE = "<script>alert(1)<img src=x onerror=alert(2)>\x1b[31m'\"&amp; 組織 ملف"
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """The elements of a page. Fails where they are not nested, run a script of their own, or need the network."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []
        self._open: list[tuple[str, list[str]]] = []
        self.texts: list[tuple[dict[str, str], list[str]]] = []
        self.feed(text)
        self.close()
        assert not self._open, "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        assert not [name for name in found if name.startswith("on") or name == "style"]
        assert found.get("src", "data:image/jpeg;").startswith("data:image/jpeg;")
        assert "://" not in found.get("href", "")
        self.elements.append((tag, found))
        content: list[str] = []
        self.texts.append((found, content))
        if tag not in VOID:
            self._open.append((tag, content))

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        for _, content in self._open:
            content.append(data)

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)

    def having(self, attribute: str) -> list[dict[str, str]]:
        return [found for _, found in self.elements if attribute in found]

    def slides(self, tag: str) -> list[str]:
        return [found["data-slide"] for name, found in self.elements if name == tag and "data-slide" in found]

    def rows(self) -> list[dict[str, str]]:
        """The cells of each row of the table by name, with all digits."""
        rows: list[dict[str, str]] = []
        for tag, found in self.elements:
            if tag == "tr" and "data-slide" in found:
                rows.append({"slide_id": found["data-slide"], "status": found["data-status"]})
            elif tag == "td" and rows and "data-sort" in found:
                rows[-1][found.get("data-name", "slide")] = found["data-sort"]
        return rows


def report(run: Path) -> Page:
    return Page((run / "report.html").read_text(encoding="utf-8"))


def test_the_report_says_what_the_tables_say(ats: Run, model: Path, slides: Path, tmp_path: Path) -> None:
    (slides / "one.png").rename(slides / f"{HOSTILE}.png")
    run = tmp_path / "run"
    assert ats("predict", slides, "-m", model, "-n", 20, "-o", run, "--report")[0] == 1, "one slide cannot be read"
    page = report(run)
    table = list(csv.DictReader((run / "predictions.csv").open(encoding="utf-8", newline="")))
    for row, shown in zip(table, page.rows(), strict=True):
        assert shown["status"] == row["status"]
        for name in ("predicted", "tiles", "positions", "attention_mass", "bytes_read", "seconds"):
            assert shown[name] == row[name], name
        if row["status"] == "ok":
            assert shown["number"] == row[f"prob_{row['predicted']}"]
            assert shown["error"] == row[f"se_{row['predicted']}"]
        else:
            assert row["error"] in "".join(page.text)
    text = " ".join("".join(page.text).split())
    assert "It says nothing about the model's own error" in text and "This model knows nothing." in text
    assert page.count("script") == 1 and page.count("h1") == 1
    ids = [found["id"] for found in page.having("id")]
    links = [found["href"].removeprefix("#") for found in page.having("href")]
    assert len(set(ids)) == len(ids) and set(links) <= set(ids)
    assert any("<script>alert(1)<img src=x onerror=alert(2)>" in slide for slide in page.slides("section"))
    assert not any("\x1b" in part for part in page.text)


def test_the_tiles_of_the_report_have_the_evidence_of_tiles_csv(
    ats: Run, model: Path, slides: Path, tmp_path: Path
) -> None:
    run, folder = tmp_path / "run", tmp_path / "run" / "slides" / "one"
    assert ats("predict", slides / "one.png", "-m", model, "-n", 30, "-o", run, "--report")[0] == 0
    record = json.loads((folder / "prediction.json").read_text())
    column = f"share_{record['predicted']}"
    rows = list(csv.DictReader((folder / "tiles.csv").open()))
    ordered = sorted(rows, key=lambda row: -float(row[column]))
    tiles = report(run).having("data-evidence")
    assert len(tiles) == 10
    for tile in tiles:
        row = ordered[int(tile["data-rank"]) - 1]
        assert float(tile["data-evidence"]) == pytest.approx(float(row[column]), abs=1e-12)
        assert (int(tile["data-x"]), int(tile["data-y"])) == (round(float(row["minx"])), round(float(row["miny"])))
        assert tile["class"] == ("for" if float(row[column]) > 0 else "against")
    supporting = [int(tile["data-rank"]) for tile in tiles if tile["class"] == "for"]
    opposing = [int(tile["data-rank"]) for tile in tiles if tile["class"] == "against"]
    assert supporting == list(range(1, len(supporting) + 1)), "the strongest first"
    assert opposing == list(range(30, 30 - len(opposing), -1))
    parts = [float(found["data-part"]) for found in report(run).having("data-part")]
    assert sum(parts) == pytest.approx(max(record["logits"].values()), abs=1e-5), "with the bias, they sum to the logit"
    number_for = sum(float(row[column]) > 0 for row in rows)
    assert len(supporting) == min(number_for, max(5, 10 - (30 - number_for)))
    pictures = [b64decode(found["src"].partition(",")[2]) for found in report(run).having("src")]
    assert len(pictures) == 11
    overlay, *patches = (Image.open(BytesIO(picture)) for picture in pictures)
    assert max(overlay.size) < 1000 and all(patch.size == (32, 32) for patch in patches)


def test_of_very_many_tiles_those_that_decide_are_shown(
    ats: Run, model: Path, slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not those with the most attention: the tiles with the most evidence, for and against."""
    call = ["predict", slides / "one.png", "-m", model, "-n", 60, "--report", "--save-tiles", "-o"]
    assert ats(*call, tmp_path / "all")[0] == 0
    monkeypatch.setattr(evidence, "MAX_SHOWN", 20)
    assert ats(*call, tmp_path / "some")[0] == 0
    pictures = [[found["src"] for found in report(tmp_path / run).having("src")] for run in ("all", "some")]
    assert pictures[0] == pictures[1]
    saved, shown = (sorted((tmp_path / run / "slides" / "one" / "tiles").iterdir()) for run in ("all", "some"))
    assert [file.name for file in shown] == [file.name for file in (*saved[:10], *saved[-10:])]
    assert all(file.read_bytes() == (saved[0].parent / file.name).read_bytes() for file in shown)


def test_a_report_that_is_added_is_that_of_the_first_call(ats: Run, model: Path, slides: Path, tmp_path: Path) -> None:
    (slides / "broken.svs").unlink()
    run = tmp_path / "run"
    call = ["predict", slides, "-m", model, "-n", 12, "-o", run, "--report"]
    assert ats(*call)[0] == 0
    files = {path: path.read_bytes() for path in run.rglob("report.html")}
    assert len(files) == 3
    for path in files:
        path.unlink()
    status, _, err = ats(*call)
    assert status == 0 and "only the low-resolution view and the drawn tiles are read again" in err
    assert {path: path.read_bytes() for path in run.rglob("report.html")} == files
    times = {path: path.stat().st_mtime_ns for path in files}
    assert ats(*call)[0] == 0
    assert {path: path.stat().st_mtime_ns for path in files} == times, "a run that has it all is not touched"


def test_outputs_are_added_to_a_run_whose_records_lack_the_size_of_the_slide(
    ats: Run, model: Path, slides: Path, tmp_path: Path
) -> None:
    """As records of earlier versions do. QuPath's frame needs the slide's bounds, the pictures its size."""
    run = tmp_path / "run"
    call = ["predict", slides / "one.png", "-m", model, "-n", 12, "-o", run]
    assert ats(*call, "--geojson", "--report")[0] == 0
    files = [run / "slides" / "one" / name for name in ("tiles.geojson", "report.html")]
    before = [file.read_bytes() for file in files]
    record = json.loads((run / "slides" / "one" / "prediction.json").read_text())
    older = {name: value for name, value in record.items() if name not in ("size", "bounds", "pitch")}
    (run / "slides" / "one" / "prediction.json").write_text(json.dumps(older))
    for option, file in zip(("--geojson", "--report"), files, strict=True):
        file.unlink()
        assert ats(*call, option)[0] == 0
    assert [file.read_bytes() for file in files] == before


def test_a_report_follows_its_run(ats: Run, model: Path, slides: Path, tmp_path: Path) -> None:
    """A later call without --report adds rows; the parts of a job array become one report."""
    (slides / "broken.svs").unlink()
    for part in (1, 2):
        ats("predict", slides, "-m", model, "-o", tmp_path / f"{part}", "--shard", f"{part}/2", "--report")
    assert ats("merge", tmp_path / "1", tmp_path / "2", "-o", tmp_path / "whole")[0] == 0
    whole = report(tmp_path / "whole")
    assert whole.slides("tr") == whole.slides("section") == ["one", "two [x]"]
    assert ats("predict", slides, "-m", model, "-o", tmp_path / "1")[0] == 0
    grown = report(tmp_path / "1")
    assert sorted(grown.slides("tr")) == ["one", "two [x]"] and grown.slides("section") == ["one"]
    assert "1 slides have no pictures and details yet" in "".join(grown.text)


def test_a_file_of_a_user_is_not_taken_for_the_report(ats: Run, model: Path, slides: Path, tmp_path: Path) -> None:
    call = ["predict", slides / "one.png", "-m", model, "-o", tmp_path / "run"]
    assert ats(*call)[0] == 0
    (tmp_path / "run" / "report.html").write_text("<p>My own words")
    assert ats(*call)[0] == 0
    assert (tmp_path / "run" / "report.html").read_text() == "<p>My own words"


def test_beyond_a_number_of_slides_their_pages_are_linked(
    ats: Run, model: Path, slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_report, "MAX_SECTIONS", 1)
    shutil.copy(slides / "two [x].png", slides / "three #%.png")
    run = tmp_path / "run"
    assert ats("predict", slides, "-m", model, "-o", run, "--report")[0] == 1
    page = report(run)
    assert len(page.slides("tr")) == 4 and len(page.slides("section")) == 1
    links = [found["href"] for found in page.having("href") if not found["href"].startswith("#")]
    assert len(links) == 2 and all((run / unquote(link)).is_file() for link in links)
    assert "details of 1 slides. Those of 2 more" in "".join(page.text)
    for link in links:
        assert len(Page((run / unquote(link)).read_text(encoding="utf-8")).slides("section")) == 1


@pytest.mark.parametrize(("task", "classes"), [("multi-label", ("a", "b", "c")), ("regression", ("value",))])
def test_every_task_has_a_report(ats: Run, slides: Path, tmp_path: Path, task: str, classes: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    spec = replace(SPEC, task=task, classes=classes)
    save_model(tmp_path / "model", Model(spec), {}, "# tiny\n")
    run = tmp_path / "run"
    assert ats("predict", slides / "one.png", "-m", tmp_path / "model", "-n", 12, "-o", run, "--report")[0] == 0
    (row,) = csv.DictReader((run / "predictions.csv").open())
    (shown,) = report(run).rows()
    assert shown["number"] in row.values() and shown["number"]
    assert shown["predicted"] == row["predicted"]
    assert report(run).having("data-evidence")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(st.text(min_size=1), min_size=1, max_size=4, unique=True))
def test_names_are_text_whatever_is_in_them(tmp_path: Path, names: list[str]) -> None:
    settings_ = {"tiles": 4, "sampler": "pivotal", "model": names[0]}
    model = {"name": names[0], "hash": "0", "folder": "m"}
    facts = {"ats": "1", "command": names[-1], "device": names[0], "started": None, "notice": names[0]}
    slides = [{"slide_id": name, "path": name} for name in names]
    run = {"schema_version": 1, "settings": settings_, "model": model, "slides": slides, **facts}
    (tmp_path / "run.json").write_text(json.dumps(run))
    records = {name: Prediction(name, name, "failed", error=f"{name}: {name}") for name in names}
    update_report(tmp_path, records)
    page = report(tmp_path)
    assert page.slides("tr") == [printable(name).replace("\r", "\n") for name in names]
    assert page.count("script") == 1 and page.count("tr") == 1 + len(names)

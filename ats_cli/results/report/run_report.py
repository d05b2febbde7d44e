"""report.html of a run: summary, table, and the sections of its slides, made from what is in the run folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from ats_cli.records import DEFAULT_TASK, NOMINAL_SCALE, Prediction
from ats_cli.registry import TASKS
from ats_cli.results.files import write_together
from ats_cli.results.report.environment import template
from ats_cli.results.report.report_file import REPORT
from ats_cli.results.report.slide_page import anchor, read_section
from ats_cli.results.run.run_file import read_run

# Sections that the report contains: about 0.1 MB each. Of further slides it has rows, with links to their own pages.
MAX_SECTIONS = 200


@dataclass(frozen=True)
class Row:
    """A row of the table.

    place: in the run, from 1. number, error: what the task shows, and its standard error. link: to the section, or to
    the slide's own page; "" for none. remarks: what to know before the answer is relied on.
    """

    place: int
    prediction: Prediction
    number: float | None
    error: float | None
    link: str
    remarks: tuple[str, ...]


def update_report(folder: Path, records: Mapping[str, Prediction]) -> None:
    """Write report.html into the folder of a run, unless its content is the same.

    records: those of the slides so far, by id. The sections are copied one after the other from the pages of the
    slides; a slide without a page has a row only. Raises OSError.
    """
    path = folder / REPORT
    run = read_run(folder)
    if run is None:
        return
    ordered = [records[slide["slide_id"]] for slide in run["slides"] if slide["slide_id"] in records]
    if not _has_content(path, _chunks(folder, run, ordered)):
        write_together({path: lambda part: _write(part, _chunks(folder, run, ordered))})


def _write(path: Path, chunks: Iterator[bytes]) -> None:
    with path.open("wb") as file:
        file.writelines(chunks)


def _has_content(path: Path, chunks: Iterator[bytes]) -> bool:
    """Whether the file at `path` consists of the chunks."""
    try:
        with path.open("rb") as file:
            return all(file.read(len(chunk)) == chunk for chunk in chunks) and not file.read(1)
    except FileNotFoundError:
        return False


def _chunks(folder: Path, run: Mapping[str, Any], found: Sequence[Prediction]) -> Iterator[bytes]:
    """Yield the report in UTF-8, piece by piece: its sections are not in memory together."""
    pages = {p.slide_id: folder.joinpath("slides", *p.slide_id.split("/"), REPORT) for p in found}
    paged = [slide_id for slide_id, page in pages.items() if page.is_file()]
    inside, beside = paged[:MAX_SECTIONS], paged[MAX_SECTIONS:]
    links = {slide_id: f"#{anchor(slide_id)}" for slide_id in inside}
    links |= {
        slide_id: quote(pages[slide_id].relative_to(folder).as_posix(), errors="surrogateescape") for slide_id in beside
    }
    ok = [p for p in found if p.status == "ok"]
    task = TASKS[next((p.task for p in ok), DEFAULT_TASK)]
    stream = template("run.html").generate(
        run=run,
        slides=len(run["slides"]),
        ok=len(ok),
        failed=[p for p in found if p.status == "failed"],
        unfamiliar=sum(bool(p.comparison.unfamiliar) for p in ok),
        answers=Counter(p.predicted or "no label" for p in ok if p.predicted is not None),
        tiles=sum(p.sampling.tiles or 0 for p in ok),
        bytes_read=sum(p.cost.bytes_read or 0 for p in ok),
        seconds=sum((p.cost.seconds or {}).get("total") or 0 for p in ok),
        heading=task.heading,
        rows=(_row(place, p, links.get(p.slide_id, "")) for place, p in enumerate(found, 1)),
        sections=(Markup(section) for name in inside if (section := read_section(pages[name])) is not None),
        inside=len(inside),
        beside=len(beside),
        without=len(ok) - len(paged),
    )
    return (chunk.encode("utf-8") for chunk in stream)


def _row(place: int, p: Prediction, link: str) -> Row:
    number, error = TASKS[p.task].shown(p)
    return Row(place, p, number, error, link, tuple(_remarks(p)))


def _remarks(p: Prediction) -> Iterator[str]:
    draw = p.sampling
    if p.status == "failed":
        yield f"failed: {p.error}"
    if p.comparison.unfamiliar:
        yield f"unfamiliar: {p.comparison.unfamiliar_score:.1f} times the limit"
    if draw.tiles_unreadable or draw.mass_unreadable:
        yield f"unreadable: {draw.tiles_unreadable} tiles, {draw.mass_unreadable or 0:.1%} of the attention"
    if draw.settled is False:
        yield "not settled within the budget"
    if p.provenance.mpp_source == NOMINAL_SCALE:
        yield "microns per pixel from the objective's power"

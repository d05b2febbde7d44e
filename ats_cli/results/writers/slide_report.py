"""report.html of a slide: the overlay, and the tiles that decided most. The report of the run contains its section."""

from __future__ import annotations

from pathlib import Path

from ats_cli.records import Need, Prediction


class SlideReport:
    name, summary, option = "report.html", "the overlay and the ten tiles that decided most, as one page", "report"
    needs: tuple[Need, ...] = ("tiles", "attention", "view", "patches")

    def write(self, path: Path, prediction: Prediction) -> None:
        from ats_cli.results.report.slide_page import slide_page

        path.write_text(slide_page(prediction), encoding="utf-8")


WRITER = SlideReport()

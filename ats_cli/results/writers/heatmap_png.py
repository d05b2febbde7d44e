"""heatmap.png and evidence.png: the attention, and the evidence for the answer, over the slide."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ats_cli.records import Need, Prediction
from ats_cli.results.pictures.heatmap import HeatmapOptions
from ats_cli.results.pictures.slide_picture import PictureOptions, default_colormap, write_picture


@dataclass(frozen=True)
class PictureWriter:
    """One picture of a slide. `options`: what it shows."""

    name: str
    summary: str
    options: PictureOptions
    needs: tuple[Need, ...]
    option: str = "heatmap"

    def write(self, path: Path, prediction: Prediction) -> None:
        write_picture(path, prediction, self.options)


ATTENTION = PictureWriter(
    "heatmap.png", "the attention over the slide, and the tiles that were read", PictureOptions(),
    ("tiles", "attention", "view"),
)  # fmt: skip
EVIDENCE = PictureWriter(
    "evidence.png", "the evidence of each tile for the answer",
    PictureOptions("evidence", heatmap=HeatmapOptions(alpha=0.8, colormap=default_colormap("evidence"))),
    ("tiles", "view"),
)  # fmt: skip

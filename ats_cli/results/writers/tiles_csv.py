"""tiles.csv: one row per drawn tile, its box in level-0 pixels first, as WSInfer writes them."""

from __future__ import annotations

from pathlib import Path

from ats_cli.records import DEFAULT_TASK, Need, Prediction, TilesRead
from ats_cli.registry import TASKS
from ats_cli.results.files import csv_bytes


class TilesCsv:
    name, summary = "tiles.csv", "one row per drawn tile, its box first"
    option = ""
    needs: tuple[Need, ...] = ("tiles",)

    def write(self, path: Path, prediction: Prediction) -> None:
        assert prediction.tile_arrays is not None
        path.write_bytes(csv_bytes(tile_rows(prediction.classes, prediction.tile_arrays, prediction.task)))


WRITER = TilesCsv()


def tile_rows(classes: tuple[str, ...], tiles: TilesRead, task: str = DEFAULT_TASK) -> list[list[object]]:
    """Return the rows of tiles.csv, the heading first.

    Boxes in level-0 pixels; the answer of each tile alone; its attention, weight, draws and gate; its exact shares of
    the slide's logits, which sum to logit minus bias. A tile that could not be read has weight 0 and no answer.
    """
    answers, columns = TASKS[task].tile_values(tiles.terms + tiles.bias), TASKS[task].tile_columns(classes)
    shares = tiles.weights[:, None] * tiles.terms
    heading: list[object] = ["minx", "miny", "width", "height", *columns]
    heading += ["attention", "weight", "draws", "gate", *(f"share_{name}" for name in classes)]
    rows = zip(
        tiles.boxes.tolist(),
        answers.tolist(),
        tiles.attention.tolist(),
        tiles.weights.tolist(),
        tiles.draws.tolist(),
        tiles.gates.tolist(),
        shares.tolist(),
        tiles.readable.tolist(),
        strict=True,
    )
    no_answer, no_share = (None,) * len(columns), (None,) * len(classes)
    return [heading] + [
        [*map(_pixels, box), *(answer if readable else no_answer), a, w, n, gate, *(share if readable else no_share)]
        for box, answer, a, w, n, gate, share, readable in rows
    ]


def _pixels(value: float) -> float:
    """Return whole pixels as an integer, as WSInfer writes them, others to a thousandth."""
    return int(value) if value == int(value) else round(value, 3)

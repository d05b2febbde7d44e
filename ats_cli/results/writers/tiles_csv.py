"""tiles.csv: one row per drawn tile, its box in level-0 pixels first, as WSInfer writes them."""

from __future__ import annotations

from ats_cli.records import Prediction, TilesRead
from ats_cli.results.files import csv_bytes
from ats_cli.results.probabilities import probabilities_of


class TilesCsv:
    name, summary, needs_tiles = (
        "tiles.csv",
        "one row per drawn tile, its box first",
        True,
    )

    def content(self, prediction: Prediction) -> bytes:
        assert prediction.tile_arrays is not None
        return csv_bytes(tile_rows(prediction.classes, prediction.tile_arrays, prediction.task))


WRITER = TilesCsv()


def tile_rows(classes: tuple[str, ...], tiles: TilesRead, task: str = "multi-class") -> list[list[object]]:
    """Return the rows of tiles.csv, the heading first.

    Boxes in level-0 pixels; each tile's own class probabilities; what it counts for; its exact shares of the slide's
    logits, which sum to logit minus bias. A tile that could not be read has weight 0, and no probabilities. Of
    regression, `value` is what the tile alone would give.
    """
    logits = tiles.terms + tiles.bias
    own = logits if task == "regression" else probabilities_of(logits, task)
    shares = tiles.weights[:, None] * tiles.terms
    heading: list[object] = ["minx", "miny", "width", "height", *(f"prob_{name}" for name in classes)]
    if task == "regression":
        heading[4:] = ["value"]
    heading += ["attention", "weight", "draws", *(f"share_{name}" for name in classes)]
    rows = zip(
        tiles.boxes.tolist(),
        own.tolist(),
        tiles.attention.tolist(),
        tiles.weights.tolist(),
        tiles.draws.tolist(),
        shares.tolist(),
        tiles.readable.tolist(),
        strict=True,
    )
    nothing = (None,) * len(classes)
    return [heading] + [
        [*map(_pixels, box), *(p if readable else nothing), a, w, n, *(share if readable else nothing)]
        for box, p, a, w, n, share, readable in rows
    ]


def _pixels(value: float) -> float:
    """Return whole pixels as an integer, as WSInfer writes them, others to a thousandth."""
    return int(value) if value == int(value) else round(value, 3)

"""The contact sheet of a slide: the tiles that were read, sorted by their evidence for the answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ats_cli.records import PICTURE_SOFTWARE, Prediction
from ats_cli.results.evidence import answered_class, by_evidence
from ats_cli.results.pictures.captions import answer_line, tiles_line
from ats_cli.results.pictures.fonts import families

DPI = 100
TILE, GAP, CAPTION, COLUMNS = 120, 14, 20, 10
# Tiles of a sheet: of more, half are those with the most evidence for the answer, half those with the most against it.
MAX_TILES = 200
FRAME = 4


def write_contact_sheet(path: Path, prediction: Prediction) -> None:
    """Write a PNG with each tile, its rank and its evidence; frames are red for the answer, blue against it.

    The prediction has its patches. Raises OSError.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    order, values = by_evidence(prediction)
    assert prediction.pixels is not None and prediction.pixels.patches is not None
    patches = prediction.pixels.patches
    ranks = np.array([rank for rank, index in enumerate(order.tolist()) if index in patches], np.intp)
    if len(order) > MAX_TILES:
        ranks = np.concatenate([ranks[: MAX_TILES // 2], ranks[-(MAX_TILES // 2) :]])
    rows, cols = -(-len(ranks) // COLUMNS), min(COLUMNS, max(len(ranks), 4))
    head = 56
    width, height = cols * (TILE + GAP) + GAP, rows * (TILE + CAPTION + GAP) + GAP + head
    sheet = np.full((height, width, 3), 255, np.uint8)
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    colors = _frame_colors(values[order])
    for place, rank in enumerate(ranks.tolist()):
        row, col = divmod(place, COLUMNS)
        x, y = GAP + col * (TILE + GAP), head + row * (TILE + CAPTION + GAP)
        sheet[y - FRAME : y + TILE + FRAME, x - FRAME : x + TILE + FRAME] = colors[rank]
        sheet[y : y + TILE, x : x + TILE] = _thumbnail(patches[int(order[rank])])
        axes.text(x, y + TILE + FRAME + 2, f"{rank + 1}", va="top", fontsize=7, color="#555555")
        axes.text(x + TILE, y + TILE + FRAME + 2, f"{values[order[rank]]:+.3f}", va="top", ha="right", fontsize=7)
    axes.imshow(sheet, extent=(0, width, height, 0), interpolation="nearest", aspect="auto")
    axes.set(xlim=(0, width), ylim=(height, 0))
    name = prediction.classes[answered_class(prediction)]
    title = f"{prediction.slide_id}: {answer_line(prediction)}"
    axes.text(GAP, 10, title, va="top", fontsize=10, parse_math=False, family=families(title))
    explained = f"{tiles_line(prediction)}; sorted by evidence for {name}: red for it, blue against it"
    axes.text(GAP, 30, explained, va="top", fontsize=8, color="#555555", parse_math=False, family=families(explained))
    figure.savefig(path, format="png", dpi=DPI, metadata={"Software": PICTURE_SOFTWARE})


def _frame_colors(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return (n, 3): from blue over white to red, white at zero."""
    import matplotlib

    most = max(float(np.abs(values).max(initial=0.0)), 1e-12)
    return np.round(matplotlib.colormaps["RdBu_r"](0.5 + values / most / 2)[:, :3] * 255).astype(np.uint8)


def _thumbnail(patch: NDArray[np.uint8]) -> NDArray[np.uint8]:
    from PIL import Image

    resampling = Image.Resampling.LANCZOS if patch.shape[0] > TILE else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(patch).resize((TILE, TILE), resampling))

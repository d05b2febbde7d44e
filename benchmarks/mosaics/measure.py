"""How well trained models find rare evidence: AUC on test mosaics, and where the attention and the drawn tiles lie.

    python -m benchmarks.mosaics.measure --mosaics FOLDER... --models MODEL... [--tiles 25 100] [--split test]
                                         [--sampler pivotal] [--seed 0] [--csv FILE]

`--mosaics` once for all models, or once a model (models of several seeds, each on its own mosaics). Of each model and
budget: AUC, accuracy, and of the diseased mosaics the share of the drawn tiles whose centre lies in the evidence, the
share of the attention on evidence, and the evidence's share of the area. With several models the mean and the worst.
"""

from __future__ import annotations

import argparse
import csv
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from ats_cli import load_model, open_slide, predict
from ats_cli.inference import attention_map
from ats_cli.records import AttentionMap, DrawnTile
from ats_cli.zoo import LoadedModel

TILE = 224  # level-0 pixels a side of a mosaic's tile
POSITIVE = "cancer"


@dataclass(frozen=True)
class Figures:
    """Of one model at one budget. Shares are means over the diseased mosaics."""

    model: str
    mosaics: str
    tiles: int
    auc: float
    accuracy: float
    drawn_on_evidence: float
    attention_on_evidence: float
    area: float
    seconds: float


def in_evidence(evidence: NDArray[np.bool_], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether points, in level-0 pixels, lie in the evidence; beyond the edge they do not."""
    row, col = np.floor(y / TILE).astype(int), np.floor(x / TILE).astype(int)
    inside = (row >= 0) & (col >= 0) & (row < evidence.shape[0]) & (col < evidence.shape[1])
    found = np.zeros(np.broadcast(row, col).shape, np.bool_)
    row, col = np.broadcast_arrays(row, col)
    found[inside] = evidence[row[inside], col[inside]]
    return found


def drawn_share(drawn: tuple[DrawnTile, ...], evidence: NDArray[np.bool_]) -> float:
    """The share of the draws whose tile has its centre in the evidence."""
    x = np.array([tile.x + tile.width / 2 for tile in drawn])
    y = np.array([tile.y + tile.height / 2 for tile in drawn])
    draws = np.array([tile.draws for tile in drawn], float)
    return float(draws @ in_evidence(evidence, x, y) / draws.sum())


def attention_share(attention: AttentionMap, evidence: NDArray[np.bool_]) -> float:
    """The share of the attention at positions whose centre lies in the evidence."""
    rows, cols = attention.values.shape
    y, x = (np.arange(rows)[:, None] + 0.5) * attention.pitch, (np.arange(cols)[None] + 0.5) * attention.pitch
    return float(attention.values[in_evidence(evidence, x, y)].sum())


def measure(
    model: LoadedModel, name: str, mosaics: Path, split: str, budgets: list[int], **draw: object
) -> list[Figures]:
    """Predict all mosaics of a split at each budget."""
    with (mosaics / "manifest.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split]
    labels = np.array([row["label"] == POSITIVE for row in rows])
    scores: dict[int, list[float]] = {tiles: [] for tiles in budgets}
    correct: dict[int, list[bool]] = {tiles: [] for tiles in budgets}
    drawn: dict[int, list[float]] = {tiles: [] for tiles in budgets}
    attention, areas, seconds = [], [], dict.fromkeys(budgets, 0.0)
    for row in rows:
        evidence = np.load(mosaics / "truth" / f"{Path(row['slide']).stem}.npz")["evidence"]
        with open_slide(mosaics / row["slide"]) as slide:
            if row["label"] == POSITIVE:
                attention.append(attention_share(attention_map(slide, model), evidence))
                areas.append(float(evidence.mean()))
            for tiles in budgets:
                clock = time.perf_counter()
                answer = predict(slide, model, tiles=tiles, **draw)
                seconds[tiles] += time.perf_counter() - clock
                # The difference of the logits orders slides also where a probability is 1 to the last digit.
                place = answer.classes.index(POSITIVE)
                logits = np.array(answer.logits)
                scores[tiles].append(float(logits[place] - np.delete(logits, place).max()))
                correct[tiles].append(answer.predicted == row["label"])
                if row["label"] == POSITIVE:
                    drawn[tiles].append(drawn_share(answer.drawn, evidence))
    return [
        Figures(
            name,
            mosaics.name,
            tiles,
            float(roc_auc_score(labels, scores[tiles])),
            float(np.mean(correct[tiles])),
            float(np.mean(drawn[tiles])),
            float(np.mean(attention)),
            float(np.mean(areas)),
            seconds[tiles] / len(rows),
        )
        for tiles in budgets
    ]


def table(figures: list[Figures]) -> str:
    """A line of each model and budget, then the mean and the worst of each budget."""
    names = " ".join(f"{name:>6s}" for name in ("AUC", "acc.", "drawn", "att.", "area"))
    head = f"{'model':28s} {'mosaics':10s} tiles {names} s a slide"
    lines = [head]

    def line(name: str, mosaics: str, tiles: int, values: list[float], seconds: float) -> None:
        lines.append(f"{name:28s} {mosaics:10s} {tiles:5d} {' '.join(f'{v:6.3f}' for v in values)} {seconds:.2f}")

    def values_of(f: Figures) -> list[float]:
        return [f.auc, f.accuracy, f.drawn_on_evidence, f.attention_on_evidence, f.area]

    for f in figures:
        line(f.model, f.mosaics, f.tiles, values_of(f), f.seconds)
    for tiles in sorted({f.tiles for f in figures}):
        same = [f for f in figures if f.tiles == tiles]
        if len(same) > 1:
            columns = np.array([values_of(f) for f in same])
            seconds = np.array([f.seconds for f in same])
            line("mean", "", tiles, columns.mean(axis=0).tolist(), seconds.mean())
            line("worst", "", tiles, columns.min(axis=0).tolist(), seconds.max())
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mosaics", type=Path, nargs="+", required=True)
    parser.add_argument("--models", type=Path, nargs="+", required=True)
    parser.add_argument("--tiles", type=int, nargs="+", default=[25, 100])
    parser.add_argument("--split", default="test", choices=("train", "val", "test"))
    parser.add_argument("--sampler", default="pivotal")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--csv", type=Path, help="write the figures of each model here, too")
    a = parser.parse_args()
    mosaics = a.mosaics * (len(a.models) if len(a.mosaics) == 1 else 1)
    figures: list[Figures] = []
    for name, folder in zip(a.models, mosaics, strict=True):
        model = load_model(name)
        figures += measure(model, name.name, folder, a.split, a.tiles, sampler=a.sampler, seed=a.seed)
    print(table(figures))
    if a.csv is not None:
        with a.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(asdict(figures[0])), lineterminator="\n")
            writer.writeheader()
            writer.writerows(asdict(f) for f in figures)


if __name__ == "__main__":
    main()

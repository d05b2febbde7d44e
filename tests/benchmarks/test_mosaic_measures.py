"""The shares of attention and draws in the evidence are what one counts by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))  # the benchmarks are no part of the installed package

from ats_cli.records import AttentionMap, DrawnTile
from benchmarks.mosaics.measure import Figures, attention_share, drawn_share, table

EVIDENCE = np.array([[False, True, False], [False, False, False]])  # x from 224 to 448, y from 0 to 224


def tile(x: float, y: float, side: float, draws: int = 1) -> DrawnTile:
    return DrawnTile(x, y, side, side, 0.1, 0.1, draws, (), ())


def test_a_draw_counts_where_its_centre_lies() -> None:
    inside, left, below = tile(224, 0, 224), tile(100, 0, 224), tile(224, 200, 224)  # centres 336, 212; y 312
    assert drawn_share((inside, left, below), EVIDENCE) == pytest.approx(1 / 3)
    assert drawn_share((tile(113, 0, 224), left), EVIDENCE) == pytest.approx(1 / 2)  # its centre is at x = 225
    assert drawn_share((tile(300, 50, 64, draws=3), left), EVIDENCE) == pytest.approx(3 / 4)
    assert drawn_share((tile(600, 0, 224), tile(-300, 0, 224)), EVIDENCE) == 0  # beyond the edges


def test_attention_counts_by_position() -> None:
    values = np.zeros((8, 12))  # of 56 px each: columns 4 to 7 and rows 0 to 3 are the evidence
    values[0, 4], values[3, 7], values[4, 7], values[0, 3] = 0.1, 0.2, 0.3, 0.4
    assert attention_share(AttentionMap(values, 56.0, values.size), EVIDENCE) == pytest.approx(0.3)
    uniform = np.full((8, 12), 1 / 96)
    assert attention_share(AttentionMap(uniform, 56.0, 96), EVIDENCE) == pytest.approx(EVIDENCE.mean())


def test_the_table_ends_with_mean_and_worst() -> None:
    def figures(name: str, auc: float) -> Figures:
        return Figures(name, "m", 25, auc, 0.5, 0.4, 0.3, 0.02, 1.0)

    *_, mean, worst = table([figures("a", 0.8), figures("b", 1.0)]).splitlines()
    assert mean.split()[:3] == ["mean", "25", "0.900"]
    assert worst.split()[:3] == ["worst", "25", "0.800"]

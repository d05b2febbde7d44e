"""Coverage and width of 95 % intervals where evidence is rare, with and without a gate: a simulation.

    python -m benchmarks.rare_evidence_intervals [--draws 2000] [--slides 400] [--seed 0]

Maps of 64 x 64 positions. Evidence is the top share of a smooth Gaussian field (spectrum exp(-900 |k|^2)), so in
clusters; attention is softmax(lift * evidence + 0.5 N), the gate 0.02 + 0.98 sigmoid(steep * (+-2 + N)), a tile's term
1.0 or -0.6 by evidence, + 0.4 N, within [-2, 2]. A cell: how often the interval holds the answer of all positions, by
the standard error alone and with one unseen tile more, each with its median half width in parentheses. The second table
has the stopping rule with a gate, on slides of two classes: how many settled, how many of these wrongly, tiles read.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ats_cli.registry import SAMPLERS
from ats_cli.sampling import Betting, draw, half_width, ratio_standard_error, ratio_weights
from ats_cli.t_quantile import t_quantile

Floats = NDArray[np.float64]

SIDE, BOUND, LOWEST_GATE, ALPHA, MOST_TILES = 64, 2.0, 0.02, 0.05, 400
BUDGETS = (10, 25, 100)


@dataclass(frozen=True)
class Kind:
    """`share` of the area that is evidence; `lift` of its attention; `steep`: how sure the gate is, 0 for none."""

    share: float
    lift: float
    steep: float

    def __str__(self) -> str:
        return f"{100 * self.share:g} %, {'gate' if self.steep else 'no gate'}"


KINDS = tuple(
    Kind(share, lift, steep)
    for share, lift, gate in ((0.1, 1.5, 1.0), (0.02, 2.0, 2.0), (0.005, 2.5, 2.0))
    for steep in (gate, 0.0)
)


@dataclass(frozen=True)
class Map:
    """Attention (SIDE, SIDE), gates and terms (SIDE^2,) of a slide."""

    attention: Floats
    gates: Floats
    terms: Floats

    @property
    def truth(self) -> float:
        whole = self.attention.ravel() * self.gates
        return float(whole @ self.terms / whole.sum())


def make_map(kind: Kind, rng: np.random.Generator) -> Map:
    """Draw a map."""
    frequency = np.fft.fftfreq(SIDE)
    smooth = np.exp(-450 * (frequency[:, None] ** 2 + frequency[None] ** 2))
    field = np.fft.ifft2(np.fft.fft2(rng.normal(size=(SIDE, SIDE))) * smooth).real.ravel()
    evidence = field > np.quantile(field, 1 - kind.share)
    attention = np.exp(kind.lift * evidence + 0.5 * rng.normal(size=SIDE**2))
    opened = 1 / (1 + np.exp(-kind.steep * (np.where(evidence, 2, -2) + rng.normal(size=SIDE**2))))
    gates = LOWEST_GATE + (1 - LOWEST_GATE) * opened if kind.steep else np.ones(SIDE**2)
    terms = np.clip(np.where(evidence, 1.0, -0.6) + 0.4 * rng.normal(size=SIDE**2), -BOUND, BOUND)
    return Map((attention / attention.sum()).reshape(SIDE, SIDE), gates, terms)


def cell(maps: list[Map], sampler: str, tiles: int, draws: int, seed: int) -> str:
    """Coverage (median half width), by the standard error alone and with one unseen tile more."""
    errors, alone, widths = [], [], []
    for number, one in enumerate(maps):
        rng, truth = np.random.default_rng((seed, number, tiles)), one.truth
        for _ in range(draws // len(maps)):
            drawn = draw(one.attention, tiles, sampler, rng)
            gates, terms = one.gates[drawn.positions], one.terms[drawn.positions]
            estimate = float(ratio_weights(drawn.weights, gates) @ terms)
            found = ratio_standard_error(drawn, terms, gates)
            ends = np.array([-BOUND]), np.array([BOUND])
            width = half_width(drawn, gates, found, np.array([estimate]), *ends)
            assert width is not None and found.se is not None and found.df is not None
            errors.append(abs(estimate - truth))
            alone.append(t_quantile(0.975, found.df) * float(found.se))
            widths.append(float(width[0]))
    held = [np.mean(np.array(errors) <= width) for width in (alone, widths)]
    return f"{held[0]:.3f} ({np.median(alone):.2f}), {held[1]:.3f} ({np.median(widths):.2f})"


def stopping(kind: Kind, slides: int, seed: int) -> str:
    """Settled slides, those settled wrongly, and mean tiles read; the margin of all positions is 0.02 to 0.4."""
    settled = wrong = 0
    tiles = []
    for number in range(slides):
        rng = np.random.default_rng((seed, number))
        one = make_map(kind, rng)
        bias = -one.truth + rng.choice([-1, 1]) * rng.uniform(0.02, 0.4)
        lowest = -BOUND + bias, -BOUND - bias  # of class 0 over class 1, and of class 1 over class 0
        pairs = [min(low, LOWEST_GATE * low) for low in lowest]
        betting = Betting(np.array([[0.0, pairs[0]], [pairs[1], 0.0]]), np.zeros(2), ALPHA)
        drawn = draw(one.attention, MOST_TILES, "murthy", rng)
        count = 0
        for position, attention in zip(drawn.positions, drawn.attention, strict=True):
            count += 1
            margin = one.gates[position] * (one.terms[position] + bias)
            if betting.update(np.array([margin, 0.0]), float(attention)) is not None:
                break
        tiles.append(count)
        if betting.settled is not None:
            settled += 1
            wrong += betting.settled != int(one.truth + bias < 0)
    return f"| {kind} | {settled} of {slides} | {wrong} | {np.mean(tiles):.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=2000, help="of each cell")
    parser.add_argument("--maps", type=int, default=4, help="of each kind")
    parser.add_argument("--slides", type=int, default=400, help="of each row of the second table")
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    samplers = [name for name in SAMPLERS if name != "systematic"]  # it has no standard error
    print(f"| evidence | sampler | {' | '.join(f'n = {n}' for n in BUDGETS)} |\n|---|---|{'---|' * len(BUDGETS)}")
    for kind in KINDS:
        maps = [make_map(kind, np.random.default_rng((a.seed, i))) for i in range(a.maps)]
        for sampler in samplers:
            cells = [cell(maps, sampler, tiles, a.draws, a.seed) for tiles in BUDGETS]
            print(f"| {kind} | {sampler} | {' | '.join(cells)} |", flush=True)
    print(f"\nStopping at {MOST_TILES} tiles at most, alpha {ALPHA}.\n")
    print("| evidence | settled | wrongly | tiles |\n|---|---|---|---|")
    for kind in KINDS:
        if kind.steep:
            print(stopping(kind, a.slides, a.seed), flush=True)


if __name__ == "__main__":
    main()

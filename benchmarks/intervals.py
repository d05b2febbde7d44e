"""How often the 95 % intervals of `ats evaluate` hold the true figure: a simulation.

    python -m benchmarks.intervals

Tables of slides are drawn from a known law: classes at random, logits normal about the right class, slides of one
patient with a part of their logits in common. The true figures are those of 400,000 slides of the same law. Each row
is a setting; each cell the share of tables whose interval holds the truth, which has a standard error of about one in
a hundred at 400 tables.
"""

import argparse
from dataclasses import dataclass

import numpy as np

from ats_cli.results.evaluation.bootstrap import with_intervals
from ats_cli.results.evaluation.metrics import FIGURES, Table

MANY = 200_000  # patients, two slides each, that stand for all there are


@dataclass(frozen=True)
class Setting:
    """`sharpness` multiplies the logits: above 1, the model is surer than it is right."""

    patients: int
    slides_each: int
    classes: int
    sharpness: float

    def __str__(self) -> str:
        return f"{self.patients} x {self.slides_each}, {self.classes} classes, sharpness {self.sharpness:g}"


SETTINGS = (Setting(100, 1, 2, 2.0), Setting(100, 2, 2, 3.0), Setting(60, 2, 3, 3.0), Setting(150, 2, 2, 2.5))


def simulate(setting: Setting, rng: np.random.Generator, patients: int | None = None) -> tuple[Table, list[str]]:
    """A table and the patient of each slide."""
    patients = patients or setting.patients
    slides = patients * setting.slides_each
    patient = np.repeat(np.arange(patients), setting.slides_each)
    labels = rng.integers(0, setting.classes, slides)
    logits = 0.7 * rng.normal(size=(patients, setting.classes))[patient] + rng.normal(size=(slides, setting.classes))
    logits[np.arange(slides), labels] += 1.5
    exponentials = np.exp(setting.sharpness * (logits - logits.max(1, keepdims=True)))
    return Table(labels, exponentials / exponentials.sum(1, keepdims=True)), [f"{p:06}" for p in patient]


def coverage(setting: Setting, tables: int, resamples: int, seed: int) -> dict[str, float]:
    """The share of tables whose interval holds the true figure, by figure."""
    rng = np.random.default_rng(seed)
    everything, _ = simulate(setting, rng, MANY * 2 // setting.slides_each)
    truth = {name: float(figure(everything, everything.ones)[0]) for name, figure in FIGURES.items()}
    held = dict.fromkeys(FIGURES, 0)
    for i in range(tables):
        table, groups = simulate(setting, rng)
        for name, estimate in with_intervals(table, groups, FIGURES, seed=i, resamples=resamples).items():
            held[name] += estimate.low is not None and estimate.low <= truth[name] <= estimate.high
    return {name: count / tables for name, count in held.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=400, help="simulated tables a setting")
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(f"| patients x slides | {' | '.join(FIGURES)} |\n{'|---' * (len(FIGURES) + 1)}|")
    found = []
    for setting in SETTINGS:
        shares = coverage(setting, arguments.tables, arguments.resamples, arguments.seed)
        found.append(list(shares.values()))
        print(f"| {setting} | {' | '.join(f'{share:.3f}' for share in shares.values())} |", flush=True)
    print(f"| mean | {' | '.join(f'{share:.3f}' for share in np.mean(found, axis=0))} |")


if __name__ == "__main__":
    main()

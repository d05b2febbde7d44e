"""Make a folder of large slides of two classes that take little room on disk, to train on with all defaults.

    python -m benchmarks.mosaics.big OUT [--slides 20] [--size 100000 80000] [--mpp 0.25] [--seed 0]

Slides of `make_slide --shared` (CC0 tissue): `little/` and `much/` tissue, half of the slides each.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from benchmarks.make_slide import make_slide

TISSUE = {"little": 0.2, "much": 0.5}  # share of the blocks


def make_big(out: Path, slides: int, size: tuple[int, int], *, mpp: float, seed: int) -> list[Path]:
    """Write `slides` slides, of each class in turn, and return their paths."""
    paths = []
    for number in range(slides):
        label = tuple(TISSUE)[number % len(TISSUE)]
        paths.append(out / label / f"{label}_{number:02d}.svs")
        make_slide(paths[-1], *size, mpp=mpp, seed=seed * slides + number, tissue=TISSUE[label], shared=True)
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--slides", type=int, default=20)
    parser.add_argument("--size", type=int, nargs=2, default=(100_000, 80_000), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--mpp", type=float, default=0.25)
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    clock = time.perf_counter()
    paths = make_big(a.out, a.slides, (a.size[0], a.size[1]), mpp=a.mpp, seed=a.seed)
    size = sum(path.stat().st_size for path in paths) / 1e6
    print(f"{a.out}: {len(paths)} slides, {size:,.0f} MB, made in {time.perf_counter() - clock:.1f} s")


if __name__ == "__main__":
    main()

"""Measure the sampling schemes on simulated attention maps: error, coverage, stopping, streaming, speed.

    python benchmarks/estimators.py [--only mse coverage ties tiles streaming speed] [--quick]

A map is a smooth random field, sharpened until its effective number of positions (1 / sum a^2) is as wanted; features
are other smooth fields with some noise, of unit length. So neighbours are alike, as on slides, and attention and
features know nothing of each other. Each part prints a table as Markdown; all is fixed by the seeds.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ats_cli.records import SAMPLERS
from ats_cli.sampling import Betting, Draw, StreamedRace, draw, lowest_margins, standard_error
from ats_cli.sampling.draw import race_draw

Floats = NDArray[np.float64]

# Effective positions as a share of all, or their number.
MAPS: dict[str, float] = {"diffuse": 0.76, "medium": 330, "peaked": 11, "extreme": 5}
DIMENSIONS = 16
NOISE = 0.7  # of a cell's own in its features, beside 1 that it shares with its neighbours
LOOKS = (8, 12, 18, 27, 40, 60, 90, 135, 203, 256)


@dataclass(frozen=True)
class Scene:
    """`attention` (rows, cols); `features` (K, D) of unit length; `expected` (D,), the target."""

    attention: Floats
    features: Floats
    expected: Floats


def field(side: int, width: float, rng: np.random.Generator) -> Floats:
    """White noise blurred by a Gaussian of `width` cells, of mean 0 and variance 1; (side, side)."""
    frequency = np.fft.fftfreq(side)
    blur = np.exp(-2 * (np.pi * width) ** 2 * (frequency[:, None] ** 2 + frequency**2))
    smooth = np.fft.ifft2(np.fft.fft2(rng.normal(size=(side, side))) * blur).real
    return np.asarray((smooth - smooth.mean()) / smooth.std())


def sharpened(logits: Floats, effective: float) -> Floats:
    """softmax(s * logits) with the s at which 1 / sum a^2 is `effective`."""
    low, high = 0.0, 1.0
    while _effective(_softmax(high * logits)) > effective:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _effective(_softmax(middle * logits)) > effective else (low, middle)
    return _softmax(high * logits)


def scene(name: str, side: int, seed: int, noise: float = NOISE) -> Scene:
    """One map of a kind, with features that vary over some cells and have `noise` of their own in each."""
    rng = np.random.default_rng([seed, list(MAPS).index(name)])
    effective = MAPS[name] * side**2 if MAPS[name] < 1 else MAPS[name]
    # A little roughness on top: neighbours are alike, not the same.
    attention = sharpened(field(side, 4, rng) + 0.15 * rng.normal(size=(side, side)), effective)
    features = np.stack([field(side, 4, rng) for _ in range(DIMENSIONS)], -1).reshape(-1, DIMENSIONS)
    features += 0.5 + noise * rng.normal(size=features.shape)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return Scene(attention, features, attention.ravel() @ features)


def _softmax(logits: Floats) -> Floats:
    e = np.exp(logits - logits.max())
    return np.asarray(e / e.sum())


def _effective(attention: Floats) -> float:
    return float(1 / np.square(attention).sum())


def t_quantile(df: int, level: float = 0.95) -> float:
    """The two-sided quantile of Student's t: with t = sqrt(df) tan(angle), the density of the angle is cos^(df-1)."""
    angle = np.linspace(0, np.pi / 2, 200_001)[:-1]
    mass = np.cumsum(np.cos(angle) ** (df - 1))
    return float(np.sqrt(df) * np.tan(np.interp(level, mass / mass[-1], angle)))


def mse(quick: bool) -> Iterator[str]:
    """Mean squared error of the expected features, over that of drawing with replacement (known exactly)."""
    sizes, maps, runs = (10, 100, 1000), 3, 20 if quick else 200
    yield f"K = 10 000, {maps} maps of each kind, {runs} draws of each."
    yield from _header(["scheme", *(f"{name}, n = {n}" for name in MAPS for n in sizes)])
    rows: dict[str, list[str]] = {sampler: [] for sampler in SAMPLERS}
    for name in MAPS:
        scenes = [scene(name, 100, seed) for seed in range(maps)]
        for n in sizes:
            for sampler in SAMPLERS:
                rng = np.random.default_rng(n)
                ratios = []
                for one in scenes:
                    spread = 1 - np.square(one.expected).sum()
                    errors = [_estimate(draw(one.attention, n, sampler, rng), one) - one.expected for _ in range(runs)]
                    ratios.append(np.square(errors).sum(1).mean() / (spread / n))
                rows[sampler].append(_short(float(np.mean(ratios))))
    for sampler, cells in rows.items():
        yield _row([sampler, *cells])


def _estimate(drawn: Draw, one: Scene) -> Floats:
    return np.asarray(drawn.weights @ one.features[drawn.positions])


def _short(ratio: float) -> str:
    return "<.001" if ratio < 0.001 else f"{ratio:.3f}".lstrip("0") if ratio < 0.1 else f"{ratio:.2f}"


def coverage(quick: bool) -> Iterator[str]:
    """How often estimate +- t * se holds the truth, for a linear score of the features; and E[se^2] / MSE."""
    samplers = ("pivotal", "murthy", "without-replacement", "with-replacement")
    sizes, runs = (10, 30, 100, 300), 100 if quick else 1000
    yield f"K = 4096, {runs} draws of each. Coverage of 95 % t intervals (E[se^2] / MSE)."
    yield from _header(["map", "n", *samplers])
    for name, one, score in _scores():
        truth = float(one.attention.ravel() @ score)
        for n in sizes:
            cells = []
            for sampler in samplers:
                rng = np.random.default_rng(n)
                inside, squares, variances = [], [], []
                for _ in range(runs):
                    drawn = draw(one.attention, n, sampler, rng)
                    error = float(drawn.weights @ score[drawn.positions]) - truth
                    se, _, df = standard_error(drawn, score[drawn.positions])
                    if se is not None and df is not None:
                        inside.append(abs(error) <= _t(df) * float(se))
                        squares.append(error**2)
                        variances.append(float(se) ** 2)
                cells.append(
                    f"{np.mean(inside):.3f} ({np.mean(variances) / np.mean(squares):.2f})" if inside else "no se"
                )
            yield _row([name, str(n), *cells])


def _scores() -> Iterator[tuple[str, Scene, Floats]]:
    """The four maps; one whose features hardly differ between neighbours; then two where the evidence is rare: all of
    it in a small blob that holds a tenth or a fiftieth of the attention, the score elsewhere next to nothing."""
    direction = np.random.default_rng(0).normal(size=DIMENSIONS)
    scenes = {name: scene(name, 64, 0) for name in MAPS}
    scenes["medium, smooth features"] = scene("medium", 64, 0, noise=0.1)
    for name, one in scenes.items():
        yield name, one, one.features @ direction / np.linalg.norm(direction)
    one = scene("medium", 64, 1)
    blob = np.argsort(-field(64, 3, np.random.default_rng(2)).ravel())
    held = np.cumsum(one.attention.ravel()[blob])
    for share in (0.1, 0.02):
        score = 0.02 * one.features @ direction / np.linalg.norm(direction)
        score[blob[: np.searchsorted(held, share)]] += 1
        yield f"medium, evidence in {share:.0%}", one, score


_QUANTILES: dict[int, float] = {}


def _t(df: int) -> float:
    if df not in _QUANTILES:
        _QUANTILES[df] = t_quantile(df)
    return _QUANTILES[df]


def ties(quick: bool) -> Iterator[str]:
    """Two classes that are exactly equal: how often is one settled nevertheless? Nominal 5 % in all."""
    runs = 40 if quick else 400
    yield f"K = 4096, up to 256 tiles, {runs} runs of each; either class settled, nominal .050 in all."
    yield from _header(["rule", *MAPS])
    rows: dict[str, list[str]] = {"betting": [], "95 % interval at each of ten looks": [], "95 % interval, once": []}
    for name in MAPS:
        one = scene(name, 64, 0)
        score = _margin(one, 0.0)
        wrong = np.zeros(3)
        rng = np.random.default_rng(1)
        for _ in range(runs):
            drawn = draw(one.attention, max(LOOKS), "murthy", rng)
            g = score[drawn.positions]
            # Both nulls are true, so each gets half of the 5 %.
            wrong += [
                _bet(drawn, g, 0.025)[0] is not None,
                any(_clear(drawn, g, n) for n in LOOKS),
                _clear(drawn, g, max(LOOKS)),
            ]
        for row, count in zip(rows.values(), wrong, strict=True):
            row.append(f"{count / runs:.3f}".lstrip("0"))
    for rule, cells in rows.items():
        yield _row([rule, *cells])


def tiles(quick: bool) -> Iterator[str]:
    """How many tiles the betting rule reads when one class is ahead by a margin, and how often it decides rightly."""
    margins = np.concatenate([sign * np.linspace(0.02, 0.4, 5) for sign in (1, -1)])
    each, budget = 2 if quick else 15, 256
    yield f"K = 4096, budget {budget}, alpha .05, {each * len(margins)} runs of each; margins +-.02 to +-.4 of a range"
    yield "from -1 to 1."
    yield from _header(["map", "tiles, mean (median)", "settled", "settled on the right class"])
    for name in MAPS:
        one = scene(name, 64, 0)
        rng = np.random.default_rng(1)
        read, right = [], []
        for margin in np.repeat(margins, each):
            score = _margin(one, margin)
            drawn = draw(one.attention, budget, "murthy", rng)
            settled, count = _bet(drawn, score[drawn.positions], 0.05)
            read.append(count)
            if settled is not None:
                right.append(settled == (0 if margin > 0 else 1))
        share, middle = len(right) / len(read), np.median(read)
        yield _row([name, f"{np.mean(read):.0f} ({middle:.0f})", f"{share:.3f}", f"{np.mean(right):.3f}"])


def _margin(one: Scene, wanted: float) -> Floats:
    """Scores (K,) within -1 .. 1 whose attention-weighted mean is `wanted`."""
    direction = np.random.default_rng(0).normal(size=DIMENSIONS)
    score = one.features @ direction / np.linalg.norm(direction)
    score = score - one.attention.ravel() @ score
    return np.asarray(score / np.abs(score).max() * (1 - abs(wanted)) + wanted)


def _bet(drawn: Draw, margins: Floats, alpha: float) -> tuple[int | None, int]:
    """(settled class, tiles read) of a two-class test; class 0 is ahead where the margin is positive."""
    head = np.array([[1.0], [0.0]])
    betting = Betting(lowest_margins(head), np.zeros(2), alpha)
    for g, attention in zip(margins, drawn.attention, strict=True):
        if betting.update(np.array([g, 0.0]), attention) is not None:
            break
    return betting.settled, betting.tiles


def _clear(drawn: Draw, margins: Floats, n: int) -> bool:
    """Does the 95 % interval from the first n tiles exclude 0?"""
    first = race_draw(drawn.positions[:n], drawn.attention[:n], "murthy")
    se, _, df = standard_error(first, margins[:n])
    return se is not None and df is not None and abs(float(first.weights @ margins[:n])) > _t(df) * float(se)


def streaming(quick: bool) -> Iterator[str]:
    """Time and memory of a race over positions that are fed in blocks."""
    yield "1000 tiles, logits float32 in blocks of 2^20; one thread. Memory is the peak of the whole process."
    yield from _header(["K", "seconds", "peak memory, MB"])
    block = np.random.default_rng(0).normal(size=1 << 20).astype(np.float32) * 2
    for exponent in (6, 7) if quick else (6, 7, 8):
        positions = 10**exponent
        start = time.perf_counter()
        race = StreamedRace(1000, 0)
        for begin in range(0, positions, len(block)):
            race.feed(block[: positions - begin])
        race.draw()
        seconds = time.perf_counter() - start
        yield _row(
            [f"10^{exponent}", f"{seconds:.2f}", f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f}"]
        )


def speed(quick: bool) -> Iterator[str]:
    """Milliseconds a draw over a map of a million positions takes, the curve (once a grid shape) apart."""
    rng = np.random.default_rng(0)
    attention = rng.gamma(0.2, size=(1000, 1000))
    attention /= attention.sum()
    draw(attention, 10, "pivotal", rng)
    yield "K = 10^6, milliseconds a draw, median; one thread."
    sizes = (10, 100, 1000, 10_000)
    yield from _header(["scheme", *(f"n = {n}" for n in sizes)])
    for sampler in SAMPLERS:
        cells = []
        for n in sizes:
            seconds = []
            for _ in range(3 if quick else 15):
                start = time.perf_counter()
                draw(attention, n, sampler, rng)
                seconds.append(time.perf_counter() - start)
            cells.append(f"{1000 * np.median(seconds):.0f}")
        yield _row([sampler, *cells])


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _header(cells: list[str]) -> Iterator[str]:
    yield ""
    yield _row(cells)
    yield _row(["---"] * len(cells))


# Streaming first: memory peaks do not go down again.
PARTS: dict[str, Callable[[bool], Iterator[str]]] = {
    "streaming": streaming,
    "speed": speed,
    "mse": mse,
    "coverage": coverage,
    "ties": ties,
    "tiles": tiles,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts to run (default: all)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the runs: a look, not a measurement")
    arguments = parser.parse_args()
    for name, part in PARTS.items():
        if name in arguments.only:
            start = time.perf_counter()
            print(f"## {name}: {(part.__doc__ or '').splitlines()[0]}\n")
            for line in part(arguments.quick):
                print(line, flush=True)
            print(f"\n({time.perf_counter() - start:.0f} s)\n")


if __name__ == "__main__":
    main()

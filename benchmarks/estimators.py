"""Measure the sampling schemes on simulated attention maps: error, coverage, stopping, streaming, speed.

    python benchmarks/estimators.py [--only mse coverage ties tiles streaming speed] [--quick]

A map is a smooth random field, sharpened until its effective number of positions (1 / sum a^2) is as wanted; features
are other smooth fields with some noise, of unit length. So neighbours are alike, as on slides, and attention and
features know nothing of each other. Each part prints a table as Markdown; all is fixed by the seeds.
"""

from __future__ import annotations

import argparse
import math
import resource
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray

from ats_cli.registry import SAMPLERS
from ats_cli.sampling import Betting, Draw, draw, lowest_margins, standard_error

Floats = NDArray[np.float64]

# Effective positions as a share of all, or their number.
MAPS: dict[str, float] = {"diffuse": 0.76, "medium": 330, "peaked": 11, "extreme": 5}
DIMENSIONS = 16
NOISE = 0.7  # of a cell's own in its features, beside 1 that it shares with its neighbours
# Seeds of the maps on which intervals and stopping are tried; how pivotal's variance is estimated was chosen on others.
FIRST_SEED = 100
SMOOTH = 0.1  # the same where neighbours hardly differ
RARE = {"medium, evidence in 10%": 0.1, "medium, evidence in 2%": 0.02}  # share of the attention that holds it all
KINDS = (*MAPS, "medium, smooth features", "peaked, smooth features", *RARE)
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


def t_quantile(df: float, level: float = 0.95) -> float:
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
    sizes, maps, runs = (10, 30, 100, 300), 8, 50 if quick else 500
    yield f"K = 4096, {maps} maps of each kind, {runs} draws of each: coverage of 95 % t intervals over all"
    yield f"{maps * runs} draws (E[se^2] / MSE, the mean over the maps). Random: atoms that pivotal leaves to chance."
    yield from _header(["map", "n", "random", *samplers])
    singly: dict[str, list[float]] = {sampler: [] for sampler in samplers}
    for name in KINDS:
        scored = [_scored(name, FIRST_SEED + i) for i in range(maps)]
        for n in sizes:
            cells, random = [], []
            for sampler in samplers:
                held, ratios = [], []
                for one, score in scored:
                    inside, ratio, atoms = _covered(one, score, n, sampler, runs)
                    held += inside
                    ratios.append(ratio)
                    if inside and name not in RARE:
                        singly[sampler].append(float(np.mean(inside)))
                    if sampler == "pivotal":
                        random.append(atoms)
                cells.append(f"{np.mean(held):.3f} ({np.nanmean(ratios):.2f})" if held else "no se")
            yield _row([name, str(n), f"{min(random)}-{max(random)}", *cells])
    yield ""
    yield "Coverage on single maps, rare evidence apart, lowest to highest:"
    yield ", ".join(f"{sampler} {min(held):.2f} to {max(held):.2f}" for sampler, held in singly.items()) + "."


def _covered(one: Scene, score: Floats, n: int, sampler: str, runs: int) -> tuple[list[bool], float, int]:
    """Of draws from one map: whether the interval of each holds the truth (empty: none has an interval), the mean
    square of the standard errors over that of the errors, and how many atoms count for more than their attention."""
    rng = np.random.default_rng(n)
    truth = float(one.attention.ravel() @ score)
    inside, squares, variances = [], [], []
    for _ in range(runs):
        drawn = draw(one.attention, n, sampler, rng)
        error = float(drawn.weights @ score[drawn.positions]) - truth
        se, _, df = standard_error(drawn, score[drawn.positions])
        if se is not None and df is not None:
            inside.append(abs(error) <= t_of(df) * float(se))
            squares.append(error**2)
            variances.append(float(se) ** 2)
    random = int(np.count_nonzero(drawn.weights > drawn.attention))
    return inside, float(np.mean(variances) / np.mean(squares)) if inside else np.nan, random


def _scored(name: str, seed: int) -> tuple[Scene, Floats]:
    """A map of one of KINDS, and a score (K,) of its positions: linear in their features, but where evidence is rare.

    There, all of it lies in a small blob that holds a given share of the attention; the score elsewhere is next to
    nothing.
    """
    kind = name.split(",")[0]
    one = scene(kind, 64, seed, noise=SMOOTH if name.endswith("smooth features") else NOISE)
    direction = np.random.default_rng(0).normal(size=DIMENSIONS)
    score = one.features @ direction / np.linalg.norm(direction)
    if name in RARE:
        blob = np.argsort(-field(64, 3, np.random.default_rng([seed, 2])).ravel())
        held = np.cumsum(one.attention.ravel()[blob])
        score = 0.02 * score
        score[blob[: np.searchsorted(held, RARE[name])]] += 1
    return one, score


def t_of(df: float) -> float:
    return _quantile(round(10 * df))


@cache
def _quantile(tenths_of_df: int) -> float:
    return t_quantile(tenths_of_df / 10)


def ties(quick: bool) -> Iterator[str]:
    """Two classes that are exactly equal: how often is one settled nevertheless? Nominal 5 % in all."""
    maps, runs = 8, 10 if quick else 100
    yield f"K = 4096, up to 256 tiles, {maps} maps of each kind, {runs} runs of each; either class settled, nominal"
    yield ".050 in all."
    yield from _header(["map", "betting", "95 % interval at each of ten looks", "95 % interval, once"])
    for name in KINDS:
        wrong = np.zeros(3)
        for i in range(maps):
            one, score = _scored(name, FIRST_SEED + i)
            score = _margin(one, score, 0.0)
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
        yield _row([name, *(f"{count / (maps * runs):.3f}".lstrip("0") for count in wrong)])


def tiles(quick: bool) -> Iterator[str]:
    """How many tiles the betting rule reads when one class is ahead by a margin, and how often it decides rightly."""
    margins = np.concatenate([sign * np.linspace(0.02, 0.4, 5) for sign in (1, -1)])
    each, budget = 2 if quick else 15, 256
    yield f"K = 4096, budget {budget}, alpha .05, {each * len(margins)} runs of each; margins +-.02 to +-.4 of a range"
    yield "from -1 to 1."
    yield from _header(["map", "tiles, mean (median)", "settled", "settled on the right class"])
    for name in MAPS:
        one, scores = _scored(name, FIRST_SEED)
        rng = np.random.default_rng(1)
        read, right = [], []
        for margin in np.repeat(margins, each):
            score = _margin(one, scores, margin)
            drawn = draw(one.attention, budget, "murthy", rng)
            settled, count = _bet(drawn, score[drawn.positions], 0.05)
            read.append(count)
            if settled is not None:
                right.append(settled == (0 if margin > 0 else 1))
        share, middle = len(right) / len(read), np.median(read)
        yield _row([name, f"{np.mean(read):.0f} ({middle:.0f})", f"{share:.3f}", f"{np.mean(right):.3f}"])


def _margin(one: Scene, score: Floats, wanted: float) -> Floats:
    """Scores (K,) moved and stretched to lie within -1 .. 1, their attention-weighted mean being `wanted`."""
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
    first = SAMPLERS["murthy"].prefix(drawn.positions[:n], drawn.attention[:n], complete=False)
    se, _, df = standard_error(first, margins[:n])
    return se is not None and df is not None and abs(float(first.weights @ margins[:n])) > t_of(df) * float(se)


def streaming(quick: bool) -> Iterator[str]:
    """Time and memory of draws from very many positions, each in a process of its own."""
    yield "1000 tiles; seconds of one processor. The first are fed float32 logits in blocks of 2^20; for pivotal and"
    yield "systematic the map is there in float32. Random numbers: as many standard exponentials, in float64, from"
    yield "NumPy's generator and nothing else. Memory is the peak beyond what the interpreter holds with its libraries."
    yield from _header(["scheme", "K", "seconds", "seconds / random numbers alone", "memory, MB"])
    exponents = (6, 7) if quick else (6, 7, 8)
    races = [("murthy", exponent) for exponent in exponents] + [("with-replacement", exponents[-1])]
    curves = [(sampler, 6 if quick else 7) for sampler in ("pivotal", "systematic")]
    for sampler, exponent in races + curves:
        with ProcessPoolExecutor(1, get_context("spawn")) as alone:
            job = _streamed if (sampler, exponent) in races else _along_the_curve
            seconds, numbers, memory = alone.submit(job, sampler, 10**exponent).result()
        ratio = f"{seconds / numbers:.1f}" if sampler == "murthy" else ""  # the others need few
        yield _row([sampler, f"10^{exponent}", f"{seconds:.2f}", ratio, f"{memory:.0f}"])


BLOCK = 1 << 20


def _streamed(sampler: str, positions: int) -> tuple[float, float, float]:
    """(seconds, seconds for the random numbers alone, peak MB beyond the start) of a streamed draw.

    The best of three rounds: draw and numbers in turn, so that another process slows both.
    """
    before = _peak()
    block = np.random.default_rng(0).normal(size=BLOCK).astype(np.float32) * 2
    rounds = []
    for _ in range(3):
        start = time.process_time()
        stream = SAMPLERS[sampler].stream(1000, 0)
        for begin in range(0, positions, BLOCK):
            stream.feed(block[: positions - begin])
        stream.draw()
        rounds.append((time.process_time() - start, _random_numbers(positions)))
    seconds, numbers = np.min(rounds, axis=0)
    return float(seconds), float(numbers), _peak() - before


def _along_the_curve(sampler: str, positions: int) -> tuple[float, float, float]:
    """The same of a draw along the Hilbert curve of a square map, its order included."""
    before = _peak()
    side = math.isqrt(positions)
    rng = np.random.default_rng(0)
    attention = rng.standard_normal((side, side), np.float32)
    np.exp(2 * attention, out=attention)
    attention /= attention.sum(dtype=np.float64)
    start = time.process_time()
    draw(attention, 1000, sampler, rng)
    return time.process_time() - start, _random_numbers(positions), _peak() - before


def _random_numbers(count: int) -> float:
    """Seconds to draw so many standard exponentials and let them go."""
    rng = np.random.default_rng(0)
    start = time.process_time()
    for begin in range(0, count, BLOCK):
        rng.standard_exponential(min(BLOCK, count - begin))
    return time.process_time() - start


def _peak() -> float:
    """The largest memory that this process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)


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


# Streaming first: a new process begins at its parent's peak of memory.
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

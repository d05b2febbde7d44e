"""Make Megapixel MNIST: large black canvases with a few digits and distracting strokes, as pyramidal TIFF slides.

A canvas holds five MNIST digits, three of one class (the label) and two of other classes, and strokes that look like
parts of digits. Almost all of it is empty: the label is told by a handful of small places, as in a slide.

Notable here:
- The digits are split once and for all, 8 to 2, so a train and a test canvas never share a digit, whatever the seed.
- Every canvas has its own random stream, keyed by (seed, split, index): asking for more canvases, or for more
  workers, leaves the earlier ones as they were.
- Levels are means of level 0, never of another level, so that no rounding piles up.

Written to OUT: `<split>/<label>/<index>.tif`, `manifest.csv` (slide, label, split) and `truth.csv` (slide, x, y,
digit: the top-left corner of each 28 x 28 digit, in level-0 pixels).
"""

from __future__ import annotations

import argparse
import csv
import gzip
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

DIGIT = 28  # side of a digit and of a stroke, in level-0 pixels
MAJORITY, OTHERS = 3, 2  # digits of the label's class, digits of other classes
PATTERNS = 50  # how many different strokes there are
SPLITS = ("train", "test")
SMALLEST_LEVEL = 64  # the smaller side below which no further level is written

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Digits:
    """MNIST digits: `images` (N, 28, 28) uint8, white on black, and `labels` (N,) uint8."""

    images: Image
    labels: Image


@dataclass(frozen=True)
class Placed:
    """A digit on a canvas: `x`, `y` its top-left corner in level-0 pixels, `index` its row in `Digits`."""

    x: int
    y: int
    index: int


def read_idx(path: Path) -> Image:
    """The array in a gzipped idx file of unsigned bytes."""
    data = gzip.decompress(path.read_bytes())
    if data[:3] != b"\x00\x00\x08":
        raise ValueError(f"{path} is not an idx file of unsigned bytes.")
    dimensions = data[3]
    shape = np.frombuffer(data, ">u4", dimensions, offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape.tolist())


def read_digits(folder: Path) -> Digits:
    """The 10,000 digits of MNIST's test files."""
    return Digits(read_idx(folder / "t10k-images-idx3-ubyte.gz"), read_idx(folder / "t10k-labels-idx1-ubyte.gz"))


def split_digits(digits: Digits, classes: int) -> dict[str, list[NDArray[np.intp]]]:
    """For each split, the rows of its digits of class 0, 1, ... `classes` - 1."""
    order = np.random.default_rng(0).permutation(len(digits.labels))  # not the user's seed: the split is fixed
    cut = len(order) * 4 // 5
    halves = dict(zip(SPLITS, (order[:cut], order[cut:]), strict=True))
    return {split: [rows[digits.labels[rows] == c] for c in range(classes)] for split, rows in halves.items()}


@cache
def stroke_patterns() -> Image:
    """The fixed strokes, (50, 28, 28) uint8: one or two line segments each, with soft edges as MNIST has."""
    rng = np.random.default_rng(0)
    ys, xs = np.mgrid[:DIGIT, :DIGIT]
    pixels = np.stack([xs, ys], axis=-1).astype(float)
    patterns = np.zeros((PATTERNS, DIGIT, DIGIT))
    for pattern in patterns:
        for _ in range(rng.integers(1, 3)):
            start, along = np.zeros(2), np.zeros(2)
            while np.hypot(*along) < DIGIT / 3:  # shorter ones are dots
                start, end = rng.uniform(3, DIGIT - 4, (2, 2))
                along = end - start
            nearest = np.clip((pixels - start) @ along / (along @ along), 0, 1)
            distance = np.linalg.norm(pixels - start - nearest[..., None] * along, axis=-1)
            np.maximum(pattern, np.clip(rng.uniform(1.0, 1.6) - distance, 0, 1), out=pattern)
    return np.rint(255 * patterns).astype(np.uint8)


def place(rng: np.random.Generator, canvas: int, noise: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Corners (x, y) of five digits that do not overlap and of `noise` strokes that cover no digit.

    Strokes may cross each other. A crowded canvas can be painted into a corner, so a layout is begun anew when a
    corner is not found in a hundred tries.
    """

    def corner(taken: list[tuple[int, int]]) -> tuple[int, int] | None:
        for x, y in rng.integers(0, canvas - DIGIT + 1, (100, 2)).tolist():
            if all(abs(x - tx) >= DIGIT or abs(y - ty) >= DIGIT for tx, ty in taken):
                return x, y
        return None

    for _ in range(1000 if canvas >= DIGIT else 0):
        digits: list[tuple[int, int]] = []
        while len(digits) < MAJORITY + OTHERS and (found := corner(digits)):
            digits.append(found)
        strokes: list[tuple[int, int]] = []
        while len(strokes) < noise and (found := corner(digits)):
            strokes.append(found)
        if len(digits) == MAJORITY + OTHERS and len(strokes) == noise:
            return digits, strokes
    raise ValueError(f"{MAJORITY + OTHERS} digits and {noise} strokes do not fit on a canvas of {canvas} pixels.")


def compose(
    rng: np.random.Generator, digits: Digits, rows: list[NDArray[np.intp]], label: int, canvas: int, noise: int
) -> tuple[Image, list[Placed]]:
    """One canvas, (canvas, canvas) uint8, and its five digits; `rows` holds each class's rows in `digits`."""
    others = np.concatenate([r for c, r in enumerate(rows) if c != label])
    if len(rows[label]) < MAJORITY or len(others) < OTHERS:
        raise ValueError(f"There are too few digits to make a canvas of class {label}.")
    chosen = [*rng.choice(rows[label], MAJORITY, replace=False), *rng.choice(others, OTHERS, replace=False)]
    digit_corners, stroke_corners = place(rng, canvas, noise)
    placed = [Placed(x, y, int(index)) for (x, y), index in zip(digit_corners, chosen, strict=True)]

    image = np.zeros((canvas, canvas), np.uint8)
    patterns = stroke_patterns()[rng.integers(PATTERNS, size=noise)]
    stamps = [*zip(stroke_corners, patterns, strict=True), *(((p.x, p.y), digits.images[p.index]) for p in placed)]
    for (x, y), stamp in stamps:
        under = image[y : y + DIGIT, x : x + DIGIT]
        np.maximum(under, stamp, out=under)
    return image, placed


def pyramid(image: Image) -> Iterator[Image]:
    """Level 0, then its means over squares of 2, 4, 8 ... pixels, rounded, while the squares cover it exactly."""
    side, downsample = len(image), 1
    while side % downsample == 0 and (downsample == 1 or side // downsample >= SMALLEST_LEVEL):
        small = side // downsample
        yield np.rint(image.reshape(small, downsample, small, downsample).mean(axis=(1, 3))).astype(np.uint8)
        downsample *= 2


def write_slide(path: Path, image: Image) -> None:
    """A tiled, deflated grey TIFF; the reduced levels are SubIFDs of the first page."""
    levels = list(pyramid(image))
    tile = 128 if len(image) >= 500 else 64
    with tifffile.TiffWriter(path) as tiff:
        for number, level in enumerate(levels):
            tiff.write(
                level,
                tile=(tile, tile),
                compression="zlib",
                photometric="minisblack",
                subifds=len(levels) - 1 if number == 0 else None,
                subfiletype=0 if number == 0 else 1,
                metadata=None,
                software=False,  # a version in the file would change its bytes
            )


@dataclass(frozen=True)
class Recipe:
    """What every canvas of a data set has in common; sizes in level-0 pixels."""

    digits: Path
    out: Path
    canvas: int
    classes: int
    noise: tuple[int, ...]  # strokes of a canvas: these numbers in turn
    seed: int


@dataclass(frozen=True)
class Slide:
    """A written canvas: `path` relative to the output folder, and (x, y, digit) of its five digits."""

    path: str
    label: int
    split: str
    truth: list[tuple[int, int, int]]


def make_slides(recipe: Recipe, part: tuple[str, range]) -> list[Slide]:
    """Write the canvases of one split with the given indices; the label goes round the classes."""
    split, indices = part
    digits = read_digits(recipe.digits)
    rows = split_digits(digits, recipe.classes)[split]
    made = []
    for index in indices:
        label = index % recipe.classes
        rng = np.random.default_rng([recipe.seed, SPLITS.index(split), index])
        noise = recipe.noise[index // recipe.classes % len(recipe.noise)]
        image, placed = compose(rng, digits, rows, label, recipe.canvas, noise)
        name = f"{split}/{label}/{index:05d}.tif"
        write_slide(recipe.out / name, image)
        made.append(Slide(name, label, split, [(p.x, p.y, int(digits.labels[p.index])) for p in placed]))
    return made


def make(recipe: Recipe, train: int, test: int, workers: int = 2) -> list[Slide]:
    """Write a whole data set: the slides and the two tables."""
    if recipe.out.exists() and (not recipe.out.is_dir() or any(recipe.out.iterdir())):
        raise ValueError(f"{recipe.out} is not an empty folder; choose another or empty it.")
    read_digits(recipe.digits)  # a wrong folder is told before anything is written
    counts = dict(zip(SPLITS, (train, test), strict=True))
    for split, count in counts.items():
        for label in range(min(count, recipe.classes)):
            (recipe.out / split / str(label)).mkdir(parents=True)
    recipe.out.mkdir(parents=True, exist_ok=True)

    parts = [
        (split, range(begin, min(begin + 100, count)))
        for split, count in counts.items()
        for begin in range(0, count, 100)
    ]
    work = partial(make_slides, recipe)
    if workers > 1 and len(parts) > 1:
        with ProcessPoolExecutor(workers) as pool:
            slides = [slide for made in pool.map(work, parts) for slide in made]
    else:
        slides = [slide for part in parts for slide in work(part)]

    with (recipe.out / "manifest.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["slide", "label", "split"])
        table.writerows([s.path, s.label, s.split] for s in slides)
    with (recipe.out / "truth.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["slide", "x", "y", "digit"])
        table.writerows([s.path, *row] for s in slides for row in s.truth)
    return slides


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""

    def count(text: str) -> int:
        if not text.isdecimal():
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")
        return int(text)

    parser = argparse.ArgumentParser(description="Make Megapixel MNIST slides.")
    parser.add_argument("--digits", type=Path, required=True, help="folder with MNIST's two t10k idx.gz files")
    parser.add_argument("-o", "--out", type=Path, required=True, help="new or empty folder to write")
    parser.add_argument("--canvas", type=count, default=500, help="side of a canvas in pixels (default: 500)")
    parser.add_argument("--classes", type=int, choices=range(2, 11), default=10, help="use digits below this")
    parser.add_argument(
        "--noise",
        type=count,
        nargs="+",
        default=[6],
        help="strokes on a canvas; several numbers take turns (default: 6)",
    )
    parser.add_argument("--train", type=count, default=3000, help="train canvases (default: 3000)")
    parser.add_argument("--test", type=count, default=400, help="test canvases (default: 400)")
    parser.add_argument("--seed", type=count, default=0, help="seed of the canvases (default: 0)")
    parser.add_argument("--workers", type=count, default=2, help="processes; does not change the result (default: 2)")
    a = parser.parse_args(arguments)
    recipe = Recipe(a.digits, a.out, a.canvas, a.classes, tuple(a.noise), a.seed)
    try:
        slides = make(recipe, a.train, a.test, a.workers)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    size = sum((a.out / slide.path).stat().st_size for slide in slides)
    print(
        f"{a.out}: {a.train} train and {a.test} test slides of {a.canvas} x {a.canvas} pixels, "
        f"{a.classes} classes, {' or '.join(map(str, a.noise))} strokes each, {size / 1e6:.1f} MB"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

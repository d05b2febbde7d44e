"""Megapixel MNIST keeps its promises, on made-up digits that tell which of them they are."""

from __future__ import annotations

import csv
import gzip
import struct
import sys
from collections import Counter, defaultdict
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import tifffile

sys.path.insert(0, str(Path(__file__).parents[2]))  # the benchmarks are no part of the installed package

from benchmarks.megapixel_mnist import make as mm

pytestmark = pytest.mark.integration

PER_CLASS = 40


def write_idx(path: Path, array: np.ndarray) -> None:
    header = b"\x00\x00\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes()))


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 400 "digits": noise without a black pixel, so that each is found again exactly on a canvas."""
    folder = tmp_path_factory.mktemp("digits")
    rng = np.random.default_rng(1)
    write_idx(folder / "t10k-images-idx3-ubyte.gz", rng.integers(1, 256, (10 * PER_CLASS, 28, 28)))
    write_idx(folder / "t10k-labels-idx1-ubyte.gz", rng.permutation(np.repeat(np.arange(10), PER_CLASS)))
    return folder


@pytest.fixture(scope="module")
def made(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "out"
    assert run(digits, out, "--canvas", "200", "--train", "30", "--test", "20") == 0
    return out


def run(digits: Path, out: Path, *options: str) -> int:
    return mm.main(["--digits", str(digits), "-o", str(out), "--workers", "1", *options])


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def truth(out: Path) -> dict[str, list[tuple[int, int, int]]]:
    """For each slide, (x, y, digit) of its digits."""
    found = defaultdict(list)
    for row in rows(out / "truth.csv"):
        found[row["slide"]].append((int(row["x"]), int(row["y"]), int(row["digit"])))
    return found


def same_files(one: Path, other: Path) -> bool:
    names = sorted(p.relative_to(one) for p in one.rglob("*.*"))
    return names == sorted(p.relative_to(other) for p in other.rglob("*.*")) and all(
        (one / n).read_bytes() == (other / n).read_bytes() for n in names
    )


def test_label_is_the_class_of_three_of_five_digits(made: Path) -> None:
    on_slide = truth(made)
    manifest = rows(made / "manifest.csv")
    assert Counter(r["split"] for r in manifest) == {"train": 30, "test": 20}
    for row in manifest:
        counts = Counter(digit for _, _, digit in on_slide[row["slide"]])
        assert counts[int(row["label"])] == 3
        assert counts.total() == 5
        assert row["slide"].split("/")[:2] == [row["split"], row["label"]]


def test_truth_is_what_is_on_the_canvas_and_splits_share_no_digit(made: Path, digits: Path) -> None:
    known = mm.read_digits(digits)
    index_of = {image.tobytes(): i for i, image in enumerate(known.images)}
    used = defaultdict(set)
    for slide, placed in truth(made).items():
        image = tifffile.imread(made / slide)
        for x, y, digit in placed:
            index = index_of[image[y : y + 28, x : x + 28].tobytes()]  # also: no stroke covers it
            assert known.labels[index] == digit
            used[slide.split("/")[0]].add(index)
    assert used["train"]
    assert used["test"]
    assert not used["train"] & used["test"]


def test_the_split_does_not_depend_on_the_seed(digits: Path) -> None:
    known = mm.read_digits(digits)
    split = mm.split_digits(known, 10)
    train, test = (set(np.concatenate(split[s]).tolist()) for s in mm.SPLITS)
    assert not train & test
    assert len(train) == 4 * len(test) == 320
    assert [r.tolist() for r in mm.split_digits(known, 3)["test"]] == [r.tolist() for r in split["test"][:3]]


def test_digits_and_strokes_keep_apart_on_a_small_canvas() -> None:
    for seed in range(50):
        placed, strokes = mm.place(np.random.default_rng(seed), canvas=160, noise=3)
        assert (len(placed), len(strokes)) == (5, 3)
        pairs = [*combinations(placed, 2), *((d, s) for d in placed for s in strokes)]
        assert all(abs(ax - bx) >= 28 or abs(ay - by) >= 28 for (ax, ay), (bx, by) in pairs)
        assert all(0 <= v <= 160 - 28 for corner in placed + strokes for v in corner)


def test_strokes_are_fixed_and_all_different() -> None:
    patterns = mm.stroke_patterns()
    assert patterns.shape == (50, 28, 28)
    assert len({p.tobytes() for p in patterns}) == 50
    assert (patterns.max(axis=(1, 2)) > 200).all()  # none is blank or faint


@pytest.mark.parametrize(
    ("canvas", "sides", "tile"),
    [
        (160, [160, 80], 64),
        (500, [500, 250, 125], 128),
        (1500, [1500, 750, 375], 128),
        (1024, [1024, 512, 256, 128, 64], 128),
    ],
)
def test_levels_are_exact_area_averages(tmp_path: Path, canvas: int, sides: list[int], tile: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (canvas, canvas), dtype=np.uint8)
    mm.write_slide(tmp_path / "slide.tif", image)
    with tifffile.TiffFile(tmp_path / "slide.tif") as tiff:
        assert len(tiff.series) == 1
        levels = tiff.series[0].levels
        assert [level.shape for level in levels] == [(side, side) for side in sides]
        for level, side in zip(levels, sides, strict=True):
            step = canvas // side
            mean = image.reshape(side, step, side, step).astype(float).mean(axis=(1, 3))
            assert np.array_equal(level.asarray(), np.rint(mean))
            assert level.pages[0].tile == (tile, tile)
            assert level.pages[0].is_reduced == (side != canvas)


def test_the_same_arguments_give_the_same_bytes(digits: Path, made: Path, tmp_path: Path) -> None:
    assert run(digits, tmp_path / "again", "--canvas", "200", "--train", "30", "--test", "20") == 0
    assert same_files(made, tmp_path / "again")
    assert run(digits, tmp_path / "seed", "--canvas", "200", "--train", "30", "--test", "20", "--seed", "1") == 0
    assert not same_files(made, tmp_path / "seed")


def test_more_canvases_and_workers_leave_the_first_ones_as_they_were(digits: Path, made: Path, tmp_path: Path) -> None:
    options = ["--canvas", "200", "--train", "120", "--test", "0", "--workers", "2"]
    assert run(digits, tmp_path / "more", *options) == 0
    assert not (tmp_path / "more" / "test").exists()
    for row in rows(made / "manifest.csv")[:30]:
        assert (made / row["slide"]).read_bytes() == (tmp_path / "more" / row["slide"]).read_bytes()


def test_few_classes_use_only_their_digits(digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--canvas", "160", "--classes", "3", "--noise", "3", "--train", "6", "--test", "0"]
    assert run(digits, tmp_path / "out", *options) == 0
    assert {digit for placed in truth(tmp_path / "out").values() for _, _, digit in placed} == {0, 1, 2}
    assert capsys.readouterr().out.count("\n") == 1


def test_numbers_of_strokes_take_turns_in_every_class(digits: Path, tmp_path: Path) -> None:
    options = ["--canvas", "300", "--classes", "2", "--noise", "0", "30", "--train", "8", "--test", "0"]
    assert run(digits, tmp_path / "out", *options) == 0
    ink = {path: np.count_nonzero(tifffile.imread(tmp_path / "out" / path)) for path in truth(tmp_path / "out")}
    for label in "01":
        one, two, three, four = (ink[path] for path in sorted(ink) if path.startswith(f"train/{label}/"))
        assert max(one, three) < min(two, four)


def test_a_folder_in_use_is_refused(digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    assert run(digits, tmp_path, "--train", "1", "--test", "0") == 1
    assert "is not an empty folder" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_what_cannot_be_made_is_told_in_a_sentence(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(digits, tmp_path / "a", "--canvas", "40", "--train", "1") == 1
    assert "do not fit on a canvas of 40 pixels." in capsys.readouterr().err
    assert run(tmp_path, tmp_path / "b") == 1
    assert "t10k-images-idx3-ubyte.gz" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()

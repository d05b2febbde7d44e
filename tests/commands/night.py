"""Many tiny slides for whole runs, good and bad, and a model for them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
from small import noise, small_spec, write_model, write_slide

MPP = 0.5


def night_model(folder: Path, net: str = "cnn") -> Path:
    """A model in microns that looks at tissue only, at half the resolution of the slides below."""
    spec = small_spec(
        {"scale": 2 * MPP, "channels": (4, 4), "tissue_only": True, "prior": "dense"}, unit="um", name="night", tiles=5
    )
    spec = spec.__class__(**{**spec.__dict__, "features": spec.features.__class__(MPP, 16, net, (4, 4, 4, 4))})
    return write_model(folder, spec)


def good_slide(path: Path, seed: int, side: int = 130) -> None:
    """A stain on white paper."""
    pixels = np.full((side, side + 10, 3), 248, np.uint8)
    part = side * 3 // 4
    pixels[5 : 5 + part, 7 : 7 + part] = noise(part, part, seed) // 2 + np.array([90, 20, 80], np.uint8)
    write_slide(path, pixels, mpp=MPP)


def truncated(path: Path, seed: int) -> None:
    good_slide(path, seed)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])


def no_image(path: Path, seed: int) -> None:
    path.write_bytes(np.random.default_rng(seed).bytes(5000))


def no_mpp(path: Path, seed: int) -> None:
    write_slide(path, noise(99, 99, seed))


def unreadable_tiles(path: Path, seed: int) -> None:
    good_slide(path, seed)
    with tifffile.TiffFile(path) as tiff:
        places = list(zip(tiff.pages.first.dataoffsets, tiff.pages.first.databytecounts, strict=True))
    with path.open("r+b") as file:
        for offset, count in places:
            file.seek(offset)
            file.write(b"\xff" * count)


def no_tissue(path: Path, seed: int) -> None:
    write_slide(path, np.full((99, 99, 3), 250, np.uint8), mpp=MPP)


def wrong_extension(path: Path, seed: int) -> None:
    path.with_suffix(".svs").write_text(f"%PDF-1.7\nreport {seed}")


BAD: dict[str, Callable[[Path, int], None]] = {
    "truncated": truncated,
    "no_image": no_image,
    "no_mpp": no_mpp,
    "unreadable": unreadable_tiles,
    "no_tissue": no_tissue,
    "wrong_extension": wrong_extension,
    "abort": good_slide,  # these two by tests/bad_readers
    "hang": good_slide,
}


def rows(run: Path) -> list[dict[str, str]]:
    """predictions.csv, without what a clock measured."""
    with (run / "predictions.csv").open(newline="", encoding="utf-8") as file:
        return [{**row, "seconds": ""} for row in csv.DictReader(file, strict=True)]


def untimed(run: Path) -> bytes:
    """predictions.csv byte for byte, but for the cells that a clock measured."""
    text = (run / "predictions.csv").read_bytes()
    for row in csv.DictReader(io.StringIO(text.decode("utf-8"), newline=""), strict=True):
        if row["seconds"]:
            before, found, after = text.partition(f",{row['seconds']},{row['mpp']},".encode())
            assert found
            text = before + b",SECONDS," + after
    return text


def answers(run: Path) -> dict[str, bytes]:
    """The tiles of each slide as written."""
    return {str(file.relative_to(run)): file.read_bytes() for file in sorted(run.glob("slides/**/tiles.csv"))}

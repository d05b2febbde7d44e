"""draw.npz: the tiles read of a slide as arrays, from which a longer draw can continue."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ats_cli.records import SCHEMA_VERSION, Need, Prediction, TilesRead

DRAW = "draw.npz"
ARRAYS = ("positions", "attention", "weights", "draws", "boxes", "terms", "readable", "bias")
OPTIONAL = ("features", "gate", "term_range")


class DrawNpz:
    name, summary = DRAW, "the tiles as arrays, from which --extend continues"
    option = ""
    needs: tuple[Need, ...] = ("tiles",)

    def write(self, path: Path, prediction: Prediction) -> None:
        tiles = prediction.tile_arrays
        assert tiles is not None
        log_z = np.float64(np.nan if tiles.log_z is None else tiles.log_z)
        arrays = {name: getattr(tiles, name) for name in ARRAYS}
        arrays |= {name: getattr(tiles, name) for name in OPTIONAL if getattr(tiles, name) is not None}
        if tiles.region is not None:
            arrays["region"] = _packed(tiles.region)
        with path.open("wb") as file:
            np.savez(file, schema_version=np.int64(SCHEMA_VERSION), grid=np.array(tiles.grid), log_z=log_z, **arrays)


WRITER = DrawNpz()


def read_draw(folder: Path) -> TilesRead | None:
    """Return the tiles that were read, or None if the file is missing or damaged."""
    try:
        with np.load(folder / DRAW, allow_pickle=False) as file:
            rows, cols = map(int, file["grid"].tolist())
            log_z = float(file["log_z"])
            arrays = {name: file[name] for name in (*ARRAYS, *(name for name in OPTIONAL if name in file.files))}
            region = _unpacked(file["region"], rows, cols) if "region" in file.files else None
        tiles = TilesRead(**arrays, grid=(rows, cols), log_z=None if np.isnan(log_z) else log_z, region=region)
        return tiles if _is_whole(tiles) else None
    except Exception:  # a damaged zip raises many kinds; without its tiles a draw starts from the beginning
        return None


def _packed(region: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return a mask as compressed bits."""
    return np.frombuffer(zlib.compress(np.packbits(region).tobytes()), np.uint8)


def _unpacked(packed: NDArray[np.uint8], rows: int, cols: int) -> NDArray[np.bool_]:
    """Return the mask that `_packed` compressed. Raises ValueError or zlib.error for other bytes."""
    unpack = zlib.decompressobj()
    bits = np.frombuffer(unpack.decompress(packed.tobytes(), rows * cols // 8 + 1), np.uint8)
    return np.unpackbits(bits, count=rows * cols).astype(np.bool_).reshape(rows, cols)


def _is_whole(tiles: TilesRead) -> bool:
    """Whether the arrays are of the types and shapes of one draw, their numbers finite, the positions on the grid."""
    n, classes = tiles.terms.shape
    shapes = {
        "positions": (n,), "attention": (n,), "weights": (n,), "draws": (n,), "boxes": (n, 4), "readable": (n,),
        "bias": (classes,), "terms": (n, classes), "gate": (n,), "term_range": (2, classes),
    }  # fmt: skip
    shapes = {name: shape for name, shape in shapes.items() if getattr(tiles, name) is not None}
    numbers = [getattr(tiles, name) for name in shapes] + ([] if tiles.features is None else [tiles.features])
    return (
        all(getattr(tiles, name).shape == shape for name, shape in shapes.items())
        and (tiles.features is None or (tiles.features.ndim == 2 and len(tiles.features) == n))
        and all(np.isfinite(array).all() for array in numbers)
        and tiles.positions.dtype.kind == tiles.draws.dtype.kind == "i"
        and tiles.readable.dtype == np.bool_
        and bool(((tiles.positions >= 0) & (tiles.positions < tiles.grid[0] * tiles.grid[1])).all())
        and len(np.unique(tiles.positions)) == n
    )

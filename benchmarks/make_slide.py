"""Make a gigapixel slide in seconds, from the JPEG tiles of a small one.

    python benchmarks/make_slide.py slide.svs [--size 60000 50000] [--mpp 0.25] [--seed 0] [--tissue 0.4]
                                              [--shared] [--absent] [--complete]

The tiles of examples/CMU-1-Small-Region.svs (CC0) are copied as they are encoded: abbreviated JPEG streams with shared
JPEGTables, as Aperio writes them. The slide is a grid of blocks of 16 x 16 tiles, each one of a few dozen distinct
ones, of tissue or of empty glass, shuffled by the seed; the tissue forms a few islands. Levels 4 and 16 times smaller
are true downsamples (the mean of 4 x 4 and 16 x 16 decoded pixels, encoded anew). Written as Aperio's BigTIFF with a
thumbnail, by tifffile; the same arguments give the same bytes.

With --shared, each distinct tile is stored once and named many times, so that 100 gigapixels take some tens of MB,
nearly all of it the index of tiles. With --absent, empty glass of level 0 is not stored (length 0). With --complete,
each tile is a whole JPEG stream with its own tables.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

SOURCE = Path(__file__).parents[1] / "examples" / "CMU-1-Small-Region.svs"
TILE, BLOCK = 240, 16  # pixels a side of a tile; tiles a side of a block
BLOCKS_OF_TISSUE, BLOCKS_OF_GLASS = 24, 4
GLASS_BYTES, TISSUE_BYTES = 2400, 9000  # of the source's tiles: at most, at least
QUALITY = 85  # of the lower levels

Pixels = NDArray[np.uint8]
Ints = NDArray[np.int64]


def make_slide(
    path: Path,
    width: int = 60_000,
    height: int = 50_000,
    *,
    mpp: float = 0.25,
    seed: int = 0,
    tissue: float = 0.4,
    shared: bool = False,
    absent: bool = False,
    complete: bool = False,
) -> None:
    """Write a slide of `width` x `height` pixels, `tissue` of its blocks tissue. The options are those above."""
    rng = np.random.default_rng(seed)
    streams, tables, pool, is_glass = source_tiles()
    if complete:
        streams = [with_tables(stream, tables) for stream in streams]
    blocks = block_library(is_glass, rng)
    grid = block_grid(-(-width // (TILE * BLOCK)), -(-height // (TILE * BLOCK)), tissue, rng)

    tiles_at = tile_numbers(grid, blocks, width, height)
    empty = [glass and absent for glass in is_glass]
    kind = {"compression": "jpeg", "photometric": "rgb", "dtype": np.uint8, "tile": (TILE, TILE), "metadata": None}
    tags = {"software": False, "subsampling": (1, 1)}
    about = f"Aperio Image Library v10.0.51\n{width}x{height} ({TILE}x{TILE}) JPEG/RGB Q=30"
    about += f"|AppMag = {round(10 / mpp)}|MPP = {mpp:.4f}|Filename = {path.stem}"
    path.parent.mkdir(parents=True, exist_ok=True)
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:

        def level(number: int, data: list[bytes], at: Ints, **more: Any) -> None:
            down = 4**number
            shape = (-(-height // down), -(-width // down), 3)
            stored = first_only(data, at) if shared else (data[i] for i in at.ravel())
            tiff.write(stored, shape=shape, **kind, **tags, **more)

        raw = {"compressionargs": {"outcolorspace": "RGB"}, "jpegtables": None if complete else tables}
        kept = [b"" if gone else stream for gone, stream in zip(empty, streams, strict=True)]
        level(0, kept, tiles_at, description=about, **raw)
        thumbnail = np.repeat(np.repeat(colours(pool, blocks)[grid], 8, 0), 8, 1)
        tiff.write(thumbnail, photometric="rgb", rowsperstrip=len(thumbnail), metadata=None, software=False)
        lower = {number: level_tiles(pool, blocks, grid, width, height, number) for number in (1, 2)}
        for number, (data, at) in lower.items():
            level(number, data, at)
    if shared:
        share_tiles(path, {0: tiles_at, 2: lower[1][1], 3: lower[2][1]})


def source_tiles() -> tuple[list[bytes], bytes, Pixels, list[bool]]:
    """(JPEG streams, their tables, their pixels (n, 240, 240, 3), which are empty glass) of the small slide."""
    with tifffile.TiffFile(SOURCE) as tiff:
        page = tiff.pages.first
        across, down = page.imagewidth // TILE, page.imagelength // TILE  # whole tiles only
        wide = -(-page.imagewidth // TILE)
        streams, pixels, glass = [], [], []
        for row in range(down):
            for col in range(across):
                number = row * wide + col
                count = page.databytecounts[number]
                if GLASS_BYTES < count < TISSUE_BYTES:
                    continue
                tiff.filehandle.seek(page.dataoffsets[number])
                streams.append(tiff.filehandle.read(count))
                pixels.append(page.decode(streams[-1], number, jpegtables=page.jpegtables)[0].reshape(TILE, TILE, 3))
                glass.append(count <= GLASS_BYTES)
        return streams, page.jpegtables, np.stack(pixels), glass


def with_tables(stream: bytes, tables: bytes) -> bytes:
    """A whole JPEG stream: the tables, without their end of image, before an abbreviated stream without its start."""
    return tables[:-2] + stream[2:]


def block_library(is_glass: list[bool], rng: np.random.Generator) -> Ints:
    """Which tile lies where in each distinct block, (blocks, 16, 16); those of glass come last."""
    glass = np.array(is_glass)
    of_tissue = rng.choice(np.flatnonzero(~glass), (BLOCKS_OF_TISSUE, BLOCK, BLOCK))
    of_glass = rng.choice(np.flatnonzero(glass), (BLOCKS_OF_GLASS, BLOCK, BLOCK))
    return np.concatenate([of_tissue, of_glass])


def block_grid(across: int, down: int, tissue: float, rng: np.random.Generator) -> Ints:
    """Which block lies where, (down, across): tissue where a few soft bumps stand highest."""
    y, x = np.mgrid[:down, :across]
    bumps = rng.uniform(size=(4, 2)) * (down, across)
    size = 0.3 * max(down, across)
    field = sum(np.exp(-((y - a) ** 2 + (x - b) ** 2) / (2 * size**2)) for a, b in bumps)
    islands = field + 0.05 * rng.uniform(size=field.shape) >= np.quantile(field, 1 - tissue)
    of_glass = BLOCKS_OF_TISSUE + rng.integers(0, BLOCKS_OF_GLASS, field.shape)
    return np.where(islands, rng.integers(0, BLOCKS_OF_TISSUE, field.shape), of_glass)


def tile_numbers(grid: Ints, blocks: Ints, width: int, height: int) -> Ints:
    """Which tile lies where on a level of `width` x `height` pixels, (rows, cols); `blocks`: (n, k, k) of tiles."""
    side = blocks.shape[1]
    whole = blocks[grid].transpose(0, 2, 1, 3).reshape(grid.shape[0] * side, grid.shape[1] * side)
    return whole[: -(-height // TILE), : -(-width // TILE)]


def colours(pool: Pixels, blocks: Ints) -> Pixels:
    """Each block's mean colour, (blocks, 3)."""
    return np.asarray(pool.mean(axis=(1, 2))[blocks].mean(axis=(1, 2)), np.uint8)


def level_tiles(
    pool: Pixels, blocks: Ints, grid: Ints, width: int, height: int, number: int
) -> tuple[list[bytes], Ints]:
    """The encoded tiles of a lower level, 4 ** number times smaller, and which lies where."""
    down = 4**number
    small = _shrunk(pool, down)
    side = BLOCK // down  # tiles of this level a side of a block
    seen = small[blocks]  # (blocks, 16, 16, 240 / down, 240 / down, 3)
    whole = seen.transpose(0, 1, 3, 2, 4, 5).reshape(len(blocks), side, TILE, side, TILE, 3).transpose(0, 1, 3, 2, 4, 5)
    how = {"level": QUALITY, "colorspace": "RGB", "outcolorspace": "YCBCR", "subsampling": "444"}
    encoded = [imagecodecs.jpeg8_encode(tile, **how) for tile in whole.reshape(-1, TILE, TILE, 3)]
    numbers = np.arange(len(encoded)).reshape(len(blocks), side, side)
    return encoded, tile_numbers(grid, numbers, -(-width // down), -(-height // down))


def _shrunk(pool: Pixels, down: int) -> Pixels:
    n, side = len(pool), TILE // down
    mean = pool.reshape(n, side, down, side, down, 3).mean(axis=(2, 4))
    return np.asarray(mean + 0.5, np.uint8)


def first_only(data: list[bytes], at: Ints) -> Iterator[bytes]:
    """The tiles of a level, each where it is first wanted, and nothing where it is wanted again."""
    seen: set[int] = set()
    for i in at.ravel().tolist():
        yield b"" if i in seen else data[i]
        seen.add(i)


def share_tiles(path: Path, levels: dict[int, Ints]) -> None:
    """Point all places of a tile at the one that is stored; `levels` by number of their page."""
    with tifffile.TiffFile(path, mode="r+") as tiff:
        for number, at in levels.items():
            page = tiff.pages[number]
            first, place = np.unique(at.ravel(), return_index=True, return_inverse=True)[1:]
            for name in ("TileOffsets", "TileByteCounts"):
                tag = page.tags[name]
                tag.overwrite(np.asarray(tag.value)[first][place].tolist())


def main() -> None:
    """Make the slide that the command line asks for, and say what it came to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--size", type=int, nargs=2, default=(60_000, 50_000), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--mpp", type=float, default=0.25)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tissue", type=float, default=0.4, help="share of the blocks that are tissue")
    parser.add_argument("--shared", action="store_true", help="store each distinct tile once")
    parser.add_argument("--absent", action="store_true", help="do not store empty glass")
    parser.add_argument("--complete", action="store_true", help="whole JPEG streams, each with its tables")
    options = vars(parser.parse_args())
    path, (width, height) = options.pop("path"), options.pop("size")
    clock = time.perf_counter()
    make_slide(path, width, height, **options)
    size = path.stat().st_size / 1e6
    print(f"{path}: {width} x {height}, {size:,.1f} MB, made in {time.perf_counter() - clock:.1f} s")


if __name__ == "__main__":
    main()

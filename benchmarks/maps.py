"""Peak memory of writing the maps of slides of 1 and of 100 gigapixels, from an attention map on disk.

    python benchmarks/maps.py

Each writer runs in a process of its own, and reads the map in blocks from a file of float32 values; a position
is 32 pixels a side. Prints the peak resident memory of each process and the ratio.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

WRITERS = ("ome-tiff", "ome-tiff-rgb", "ome-zarr", "ome-zarr-0.4", "png-map")
CELL = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigapixels", type=float, nargs=2, default=(1.0, 100.0), metavar=("SMALL", "LARGE"))
    parser.add_argument("--writer", choices=WRITERS, help=argparse.SUPPRESS)
    parser.add_argument("--map", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.writer:
        print(write(options.writer, options.map))
        return
    print(f"{'writer':<14}{'MB, small':>12}{'MB, large':>12}{'ratio':>8}")
    with tempfile.TemporaryDirectory() as folder:
        maps = [make_map(Path(folder) / f"{size:g}.raw", size) for size in options.gigapixels]
        for writer in WRITERS:
            peaks = [peak(writer, file) for file in maps]
            print(f"{writer:<14}{peaks[0]:>12.0f}{peaks[1]:>12.0f}{peaks[1] / peaks[0]:>8.2f}", flush=True)


def make_map(file: Path, gigapixels: float) -> Path:
    """Write random positive values for a square slide of that size."""
    side = round((gigapixels * 1e9) ** 0.5 / CELL)
    rng = np.random.default_rng(0)
    with file.open("wb") as out:
        for _ in range(side):
            out.write(rng.exponential(size=side).astype("<f4").tobytes())
    return file


def peak(writer: str, file: Path) -> float:
    """Return the peak memory in MB of a process that writes the map."""
    command = [sys.executable, __file__, "--writer", writer, "--map", str(file)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def write(writer: str, file: Path) -> float:
    """Write a map; return the peak memory of this process in MB."""
    from ats_cli.results.maps.map_png import write_map_png
    from ats_cli.results.maps.ome_tiff import write_ome_tiff
    from ats_cli.results.maps.ome_zarr import write_ome_zarr
    from ats_cli.results.maps.rendering import rendering
    from ats_cli.results.maps.slide_map import SlideMap

    side = round((file.stat().st_size // 4) ** 0.5)

    def block(row_start: int, row_stop: int, col_start: int, col_stop: int) -> np.ndarray:
        offsets = [4 * (row * side + col_start) for row in range(row_start, row_stop)]
        rows = [np.fromfile(file, "<f4", col_stop - col_start, offset=offset) for offset in offsets]
        return np.stack(rows).astype(np.float32, copy=False)

    slide_map = SlideMap("attention", side, side, float(CELL), 0.25, (side * CELL, side * CELL), block)
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        path = Path(folder) / "map"
        if writer.startswith("ome-tiff"):
            write_ome_tiff(path, slide_map, rendering(slide_map, "log") if writer.endswith("rgb") else None)
        elif writer == "png-map":
            write_map_png(path, slide_map, rendering(slide_map, "log"), 1600)
        else:
            write_ome_zarr(path, slide_map, "0.4" if writer.endswith("0.4") else "0.5")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()

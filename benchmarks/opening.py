"""How long opening takes, against tifffile reading the first page of the same file, and how many bytes it reads.

    python -m benchmarks.opening SLIDE

The two take turns, with the file in the page cache; the fastest of 100 each is printed, and their ratio.
"""

from __future__ import annotations

import argparse
import gc
import time
from pathlib import Path

import tifffile

from ats_cli.slides import open_slide


def opening(path: Path, repeats: int = 100) -> tuple[float, float, int | None]:
    """(seconds that we take, seconds that tifffile takes for the first page, bytes that we read)."""
    ours, theirs, read = [], [], None
    for _ in range(repeats):
        gc.collect()
        gc.disable()  # what one leaves behind is not cleared away in the other's time
        start = time.perf_counter()
        with tifffile.TiffFile(path) as tiff:
            tiff.pages[0]
        between = time.perf_counter()
        with open_slide(path) as slide:
            read = slide.bytes_read
        theirs.append(between - start)
        ours.append(time.perf_counter() - between)
        gc.enable()
    return min(ours), min(theirs), read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path)
    slide: Path = parser.parse_args().slide
    ours, theirs, read = opening(slide)
    size = slide.stat().st_size
    print(f"{slide.name}: opened in {ours * 1e3:.2f} ms, {ours / theirs:.1f} times the {theirs * 1e3:.2f} ms that")
    print(f"tifffile takes for its first page; {(read or 0) / 1e6:.2f} of {size / 1e6:.1f} MB read.")


if __name__ == "__main__":
    main()

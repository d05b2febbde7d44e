"""A map as OME-TIFF: a pyramid of float32 values, or of their colours for viewers that show RGB without settings.

Physical sizes and the position of the plane line the map up with the slide: OME puts the origin at the centre of the
slide's first pixel.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ats_cli.records import PICTURE_SOFTWARE
from ats_cli.results.maps.pyramid import TILE, MapLevel, map_levels
from ats_cli.results.maps.rendering import Rendering
from ats_cli.results.maps.slide_map import SlideMap


def write_ome_tiff(path: Path, slide_map: SlideMap, colors: Rendering | None = None) -> None:
    """Write a pyramidal OME-TIFF; an existing file is replaced whole or not at all.

    `colors`: None for the values as float32, else an RGB rendering as JPEG. Raises OSError.
    """
    import tifffile

    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with TemporaryDirectory() as folder:
            levels = map_levels(slide_map, Path(folder))
            with tifffile.TiffWriter(part, bigtiff=True, ome=True) as tiff:
                for number, level in enumerate(levels):
                    options: dict[str, Any] = {"subfiletype": 1, "metadata": None}
                    if number == 0:
                        options = {"subifds": len(levels) - 1, "metadata": _metadata(slide_map, colors is not None)}
                    options |= _encoding(level, colors)
                    # One worker: with more, tifffile collects encoded tiles in memory.
                    tiff.write(tile=(TILE, TILE), maxworkers=1, software=PICTURE_SOFTWARE, **options)
        part.replace(path)
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _encoding(level: MapLevel, colors: Rendering | None) -> dict[str, Any]:
    if colors is None:
        return {
            "data": level.tiles(), "shape": (level.rows, level.cols), "dtype": np.float32,
            "photometric": "minisblack", "compression": "zlib",
        }  # fmt: skip

    def tiles(colors: Rendering = colors) -> Iterator[NDArray[np.uint8]]:
        yield from (colors.colors(tile) for tile in level.tiles())

    return {
        "data": tiles(), "shape": (level.rows, level.cols, 3), "dtype": np.uint8,
        "photometric": "rgb", "compression": "jpeg", "compressionargs": {"level": 90},
    }  # fmt: skip


def _metadata(slide_map: SlideMap, rgb: bool) -> dict[str, Any]:
    origin, unit = slide_map.origin(), slide_map.unit
    return {
        "axes": "YXS" if rgb else "YX",
        "Name": slide_map.name,
        "PhysicalSizeX": slide_map.cell_size,
        "PhysicalSizeY": slide_map.cell_size,
        "PhysicalSizeXUnit": unit,
        "PhysicalSizeYUnit": unit,
        "Plane": {
            "PositionX": [origin],
            "PositionY": [origin],
            "PositionXUnit": [unit],
            "PositionYUnit": [unit],
        },
    }

"""A map alone as PNG, with exactly the aspect of the slide, for viewers that lay a picture over it."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ats_cli.records import PICTURE_SOFTWARE
from ats_cli.results.files import write_whole
from ats_cli.results.maps.rendering import Rendering
from ats_cli.results.maps.slide_map import Floats, SlideMap


def write_map_png(path: Path, slide_map: SlideMap, colors: Rendering, max_size: int) -> None:
    """Write an RGBA picture whose longer side is `max_size`; cells of value 0 are transparent. Raises OSError.

    A pixel of several cells has the colour of the one with the largest absolute value, so that a single one is visible.
    """
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    width, height = slide_map.slide_size
    zoom = max_size / max(width, height)
    shape = max(1, round(height * zoom)), max(1, round(width * zoom))
    columns = _cells(shape[1], width, slide_map.cell, slide_map.cols)
    rows = _cells(shape[0], height, slide_map.cell, slide_map.rows)
    picture = np.zeros((*shape, 4), np.uint8)
    for number, (start, stop) in enumerate(rows.tolist()):
        values = _strongest(slide_map.block(start, stop, 0, slide_map.cols), columns)
        picture[number, :, :3] = colors.colors(values[None])[0]
        picture[number, :, 3] = np.where(values != 0, 255, 0)
    text, file = PngInfo(), BytesIO()
    text.add_text("Software", PICTURE_SOFTWARE)
    Image.fromarray(picture).save(file, "png", pnginfo=text)
    write_whole(path, file.getvalue())


def _cells(pixels: int, side: int, cell: float, cells: int) -> NDArray[np.int64]:
    """Return (pixels, 2): the first cell of each pixel, and the one after its last, whose middles lie in the pixel.

    A pixel in which no middle of a cell lies has the cell under its own middle.
    """
    edges = np.arange(pixels + 1) * (side / pixels / cell)
    first, last = np.ceil(edges[:-1] - 0.5).astype(np.int64), np.ceil(edges[1:] - 0.5).astype(np.int64)
    under = np.floor((edges[:-1] + edges[1:]) / 2).astype(np.int64)
    empty = last <= first
    first, last = np.where(empty, under, first), np.where(empty, under + 1, last)
    first = first.clip(0, cells - 1)
    return np.stack([first, np.maximum(last.clip(max=cells), first + 1)], axis=1)


def _strongest(strip: Floats, columns: NDArray[np.int64]) -> Floats:
    """Return for each pixel of a row the value furthest from 0 among its cells."""
    column = np.take_along_axis(strip, np.abs(strip).argmax(axis=0)[None], axis=0)[0]
    longest = int((columns[:, 1] - columns[:, 0]).max())
    index = np.minimum(columns[:, :1] + np.arange(longest), columns[:, 1:] - 1)
    values = column[index]
    return np.take_along_axis(values, np.abs(values).argmax(axis=1)[:, None], axis=1)[:, 0]

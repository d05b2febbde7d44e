"""Slides whose pictures lie anywhere on a larger canvas, as Leica and 3DHISTECH write them: SCN and MIRAX."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
Place = tuple[Pixels, int, int]
"""A picture, and x, y of its corner on the canvas."""

NANOMETRES = 500  # a pixel of an SCN
SIDE = 32  # of a MIRAX tile


def write_scn(path: Path, canvas: tuple[int, int], places: Sequence[Place]) -> Path:
    """A Leica SCN of several pictures on a canvas (width, height)."""
    area = [side * NANOMETRES for side in canvas]
    macro = np.full((16, 16, 3), 200, np.uint8)
    images = [_scn_image(0, macro.shape, (0, 0, *area), "0.6")]
    for page, (pixels, x, y) in enumerate(places, 1):
        view = [value * NANOMETRES for value in (x, y, pixels.shape[1], pixels.shape[0])]
        images.append(_scn_image(page, pixels.shape, view, "20"))
    xml = (
        '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">'
        f'<collection name="c" sizeX="{area[0]}" sizeY="{area[1]}"><barcode>x</barcode>{"".join(images)}'
        "</collection></scn>"
    )
    with tifffile.TiffWriter(path, bigtiff=True) as out:
        for number, picture in enumerate([macro, *(pixels for pixels, _, _ in places)]):
            out.write(
                picture, tile=(256, 256), photometric="rgb", compression="jpeg", compressionargs={"level": 98},
                description=xml if number == 0 else None, metadata=None, resolution=(20_000, 20_000),
                resolutionunit="CENTIMETER",
            )  # fmt: skip
    return path


def _scn_image(page: int, shape: tuple[int, ...], view: Sequence[int], objective: str) -> str:
    x, y, width, height = view
    size = f'sizeX="{shape[1]}" sizeY="{shape[0]}"'
    return (
        f'<image name="i{page}" uuid="urn:uuid:{page}"><creationDate>2012-01-01T00:00:00Z</creationDate>'
        f'<device model="Leica SCN400" version="1"/><pixels {size}><dimension {size} r="0" ifd="{page}"/></pixels>'
        f'<view sizeX="{width}" sizeY="{height}" offsetX="{x}" offsetY="{y}" spacingZ="0"/><scanSettings>'
        f"<objectiveSettings><objective>{objective}</objective></objectiveSettings><illuminationSettings>"
        "<numericalAperture>0.4</numericalAperture><illuminationSource>brightfield</illuminationSource>"
        "</illuminationSettings></scanSettings></image>"
    )


def write_mirax(path: Path, canvas: tuple[int, int], places: Sequence[Place]) -> Path:
    """A MIRAX slide of one picture, its sides multiples of SIDE, on a canvas of about (width, height)."""
    ((pixels, left, top),) = places
    rows, cols = pixels.shape[0] // SIDE, pixels.shape[1] // SIDE
    across, down = -(-canvas[0] // SIDE), -(-canvas[1] // SIDE)
    data, entries, positions = io.BytesIO(), [], bytearray(9 * across * down)
    for row in range(rows):
        for col in range(cols):
            start, number = data.tell(), row * across + col
            Image.fromarray(pixels[row * SIDE :, col * SIDE :][:SIDE, :SIDE]).save(data, "png")
            entries.append((number, start, data.tell() - start, 0))
            struct.pack_into("<bii", positions, 9 * number, 0, left + col * SIDE, top + row * SIDE)
    buffer = data.tell()
    data.write(positions)
    slide_id = "0123456789ABCDEF" * 2
    folder = path.with_suffix("")
    folder.mkdir(parents=True)
    path.write_bytes(b"a small picture")
    (folder / "Data0000.dat").write_bytes(data.getvalue())
    (folder / "Slidedat.ini").write_text(_slidedat(slide_id, across, down))
    head = b"01.02" + slide_id.encode()
    roots = len(head) + 8
    # Pointers to the levels and to the record of positions; each leads to a list, which leads to its page.
    lists = roots + 8
    pages = lists + 16
    page = struct.pack("<ii", len(entries), 0) + b"".join(struct.pack("<4i", *entry) for entry in entries)
    (folder / "Index.dat").write_bytes(
        head
        + struct.pack("<2i", roots, roots + 4)
        + struct.pack("<2i", lists, lists + 8)
        + struct.pack("<4i", 0, pages, 0, pages + len(page))
        + page
        + struct.pack("<7i", 1, 0, 0, 0, buffer, len(positions), 0)
    )
    return path


def _slidedat(slide_id: str, across: int, down: int) -> str:
    return f"""[GENERAL]
SLIDE_VERSION = 01.02
SLIDE_ID = {slide_id}
IMAGENUMBER_X = {across}
IMAGENUMBER_Y = {down}
OBJECTIVE_MAGNIFICATION = 20
CameraImageDivisionsPerSide = 1
[HIERARCHICAL]
HIER_COUNT = 1
NONHIER_COUNT = 1
INDEXFILE = Index.dat
HIER_0_NAME = Slide zoom level
HIER_0_COUNT = 1
HIER_0_VAL_0_SECTION = LEVEL
NONHIER_0_NAME = VIMSLIDE_POSITION_BUFFER
NONHIER_0_COUNT = 1
[DATAFILE]
FILE_COUNT = 1
FILE_0 = Data0000.dat
[LEVEL]
OVERLAP_X = 0
OVERLAP_Y = 0
MICROMETER_PER_PIXEL_X = 0.5
MICROMETER_PER_PIXEL_Y = 0.5
IMAGE_FORMAT = PNG
IMAGE_FILL_COLOR_BGR = 16777215
DIGITIZER_WIDTH = {SIDE}
DIGITIZER_HEIGHT = {SIDE}
IMAGE_CONCAT_FACTOR = 0
"""


WRITERS: dict[str, Callable[[Path, tuple[int, int], Sequence[Place]], Path]] = {"scn": write_scn, "mrxs": write_mirax}

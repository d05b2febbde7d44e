"""Rotated and mirrored images: map boxes between the stored and the upright image, and turn pixels upright.

`orientation` is numbered as in TIFF and EXIF. From 5 to 8, rows and columns are exchanged. Either may be reversed.
"""

from __future__ import annotations

from ats_cli.slides.reader import Box, Damage, Level, Region

# By orientation: whether rows and columns are exchanged, and whether stored x and y are reversed.
_STORED = {
    1: (False, False, False), 2: (False, True, False), 3: (False, True, True), 4: (False, False, True),
    5: (True, False, False), 6: (True, False, True), 7: (True, True, True), 8: (True, True, False),
}  # fmt: skip


def exchanges(orientation: int) -> bool:
    """Whether the stored rows are the upright image's columns."""
    return _STORED[orientation][0]


def upright_level(lv: Level, orientation: int) -> Level:
    if not exchanges(orientation):
        return lv
    return Level(lv.height, lv.width, lv.downsample, lv.tile_height, lv.tile_width, lv.compression)


def stored_box(box: Box, stored: Level, orientation: int) -> Box:
    """Return the box on the stored level with the pixels of an upright box."""
    exchanged, back_x, back_y = _STORED[orientation]
    x, y, width, height = (box[1], box[0], box[3], box[2]) if exchanged else box
    return (
        stored.width - x - width if back_x else x,
        stored.height - y - height if back_y else y,
        width,
        height,
    )


def upright(region: Region, stored: Level, orientation: int) -> Region:
    """Return a region of the stored level, turned upright."""
    exchanged, back_x, back_y = _STORED[orientation]
    pixels = region.pixels[:: -1 if back_y else 1, :: -1 if back_x else 1]
    if exchanged:
        pixels = pixels.transpose(1, 0, 2)
    damage = tuple(Damage(_upright_box(box, stored, orientation), reason) for box, reason in region.damage)
    return Region(pixels, damage)


def _upright_box(box: Box, stored: Level, orientation: int) -> Box:
    exchanged, back_x, back_y = _STORED[orientation]
    x, y, width, height = box
    x = stored.width - x - width if back_x else x
    y = stored.height - y - height if back_y else y
    return (y, x, height, width) if exchanged else (x, y, width, height)

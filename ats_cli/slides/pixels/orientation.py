"""Images that are stored turned or mirrored: which stored box lies under an upright one, and its pixels upright.

`orientation` as TIFF and EXIF number it. From 5 to 8 rows and columns are exchanged; then either may run backwards.
"""

from __future__ import annotations

from ats_cli.slides.reader import Box, Damage, Level, Region

# Whether, seen from the upright image, rows and columns are exchanged, and x and y run backwards in the stored one.
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
    """Where the pixels of an upright box lie on the level as stored."""
    exchanged, back_x, back_y = _STORED[orientation]
    x, y, width, height = (box[1], box[0], box[3], box[2]) if exchanged else box
    return (
        stored.width - x - width if back_x else x,
        stored.height - y - height if back_y else y,
        width,
        height,
    )


def upright(region: Region, stored: Level, orientation: int) -> Region:
    """A region of the level as stored, turned."""
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

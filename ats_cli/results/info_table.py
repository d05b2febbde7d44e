"""The table that `ats info` prints of a slide."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from ats_cli.records import NOMINAL_SCALE
from ats_cli.results.table import megabytes, text

# Damaged places that a table names.
MAX_PROBLEMS = 10


def info_table(record: dict[str, Any], reader_because: str) -> Table:
    """Return the table of one slide: a fact a row, then a row a level."""
    table = Table(box=None, show_header=False, pad_edge=False, title_justify="left")
    table.title = text(record["slide_id"], "bold")
    table.add_column(style="dim")
    table.add_column(overflow="fold")

    def row(fact: str, value: str) -> None:
        table.add_row(text(fact), text(value))

    row("path", record["path"])
    if record["error"] is not None:
        row("error", record["error"])
        return table
    row("vendor", record["vendor"])
    row("reader", f"{record['reader']} ({reader_because})")
    row("size", f"{record['width']} x {record['height']} px")
    if record["bounds"]:
        row("bounds", "x {x}, y {y}, {width} x {height} px: the part that QuPath shows".format(**record["bounds"]))
    if record["plane"]:
        row("plane", f"{record['plane']} (choose with --plane)")
    if record["color_profile"]:
        row("colours", f"{record['color_profile']} (--color-profile srgb applies it)")
    if record["mpp"] is None:
        row("mpp", "unknown: give --mpp to models that work in microns")
    else:
        nominal = "nominal, " if record["mpp_source"] == NOMINAL_SCALE else ""
        row("mpp", f"{record['mpp']:.4f} µm per pixel ({nominal}from {record['mpp_source']})")
    row("file", f"{megabytes(record['bytes_total'])} MB")
    for number, level in enumerate(record["levels"]):
        facts = [
            f"{level['width']} x {level['height']} px",
            f"downsample {level['downsample']:g}",
            f"tiles of {level['tile_width']} x {level['tile_height']}",
            level["compression"],
        ]
        row(f"level {number}", ", ".join(filter(None, facts)))
    if record["sound"] is not None:
        tried = f"{record['tiles_checked']:,} of {record['tiles_total']:,} native tiles tried"
        bad = f"{len(record['problems'])} cannot be read" if record["tiles_checked"] else "there is nothing to read"
        row("check", f"sound: {tried}, all can be read" if record["sound"] else f"NOT SOUND: {tried}, {bad}")
        if not record["checksums"]:
            row("", "its tiles carry no checksum: bytes that were changed and still decode are not found")
    for problem in record["problems"][:MAX_PROBLEMS]:
        row(f"level {problem['level']}", f"x {problem['x']}, y {problem['y']}: {problem['problem']}")
    if len(record["problems"]) > MAX_PROBLEMS:
        row("", f"and {len(record['problems']) - MAX_PROBLEMS} more; --json has all")
    return table

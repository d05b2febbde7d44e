"""`ats info`: what a slide is, from its headers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ats_cli.commands import options as o
from ats_cli.records import NOMINAL_SCALE, SCHEMA_VERSION, AtsError

if TYPE_CHECKING:
    from rich.table import Table

    from ats_cli.slides import Check, Slide, SlideSource

EXAMPLES = """Examples:

ats info slide.svs

ats info slides/ --json > slides.jsonl"""

# Damaged places that a table names.
MOST_PROBLEMS = 10


def command(
    slides: o.Slides = None,
    mpp: o.Mpp = None,
    backend: o.Backend = None,
    plane: o.Plane = None,
    color_profile: o.ColorProfile = None,
    download: o.Download = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Also decode the corners of every level and 100 native tiles drawn at random: is the slide sound?",
            rich_help_panel=o.OUTPUT,
        ),
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="One JSON object a slide, a line each.", rich_help_panel=o.OUTPUT)
    ] = False,
    debug: o.Debug = False,
) -> None:
    """Show what a slide is: its reader, size, levels, resolution and where that is known from. Reads only headers.

    Exit status: 0 all slides could be opened and are sound as far as was looked, 1 some are not, 2 the call is wrong,
    130 interrupted.
    """
    from ats_cli.commands.messages import Tally, answer, sentence
    from ats_cli.commands.sources import gather
    from ats_cli.commands.streams import console
    from ats_cli.results.record import json_line

    sources = gather(slides, None, mpp)

    from ats_cli.slides import check_slide, open_slide, parse_plane

    reading: dict[str, Any] = {
        "backend": backend,
        "plane": parse_plane(plane) if plane is not None else None,
        "color_profile": color_profile or "none",
        "download": download,
    }
    tables = console()
    tally = Tally(len(sources))
    for number, source in enumerate(sources):
        error = None
        try:
            with open_slide(source.path, mpp=source.mpp, **reading) as slide:
                record = info_record(source, slide)
                found = check_slide(slide) if check else None
        except AtsError as caught:
            error = str(caught)
            tally.count(error)
        except Exception as caught:
            error = f"{source.path.name}: {sentence(caught)}"
            tally.count(error, debug)
        else:
            record |= check_record(found)
            tally.count(unsound(source, found) if found is not None and not found.sound else None)
        if error is not None:
            record = failed_record(source, error) | {"sound": False if check else None}
        if json:
            answer(json_line(record))
        else:
            if number:
                tables.print()
            tables.print(info_table(record, "chosen by --backend" if backend else "chosen by the file's content"))
    tally.finish()


def info_record(source: SlideSource, slide: Slide) -> dict[str, Any]:
    """Return the `--json` line of a slide that could be opened."""
    from ats_cli.slides.color import profile_name

    levels = [
        {
            "width": level.width,
            "height": level.height,
            "downsample": level.downsample,
            "tile_width": level.tile_width,
            "tile_height": level.tile_height,
            "compression": level.compression or None,
        }
        for level in slide.levels
    ]
    # Every reader hands over 8-bit RGB, whatever the file holds.
    return failed_record(source, None) | {
        "reader": slide.reader,
        "vendor": slide.vendor,
        "width": slide.width,
        "height": slide.height,
        "plane": slide.plane,
        "color_profile": profile_name(slide.color_profile()),
        "levels": levels,
        "mpp": slide.mpp,
        "mpp_source": slide.mpp_source,
        "channels": 3,
        "dtype": "uint8",
        "bytes_total": slide.bytes_total,
    }


def failed_record(source: SlideSource, error: str | None) -> dict[str, Any]:
    """Return the `--json` line of a slide of which nothing is known but the error."""
    return {
        "schema_version": SCHEMA_VERSION,
        "slide_id": source.slide_id,
        "path": str(source.path),
        "status": "ok" if error is None else "failed",
        "error": error,
        "reader": None,
        "vendor": None,
        "width": None,
        "height": None,
        "plane": None,
        "color_profile": None,
        "levels": [],
        "mpp": None,
        "mpp_source": None,
        "channels": None,
        "dtype": None,
        "bytes_total": None,
        "sound": None,
        "problems": [],
        "tiles_checked": None,
        "tiles_total": None,
        "checksums": None,
    }


def check_record(found: Check | None) -> dict[str, Any]:
    """Return what a check adds to the `--json` line: whether the slide is sound, and where it is not."""
    if found is None:
        return {}
    problems = [{"level": p.level, "x": p.x, "y": p.y, "problem": p.sentence} for p in found.problems]
    return {
        "sound": found.sound,
        "problems": problems,
        "tiles_checked": found.tiles,
        "tiles_total": found.tiles_total,
        "checksums": found.checksums,
    }


def unsound(source: SlideSource, found: Check) -> str:
    """Return the sentence about a slide that is not sound."""
    if not found.tiles:
        return found.problems[0].sentence
    return (
        f"{source.path.name}: not sound, {len(found.problems)} of the {found.tiles} native tiles tried cannot be "
        "read. Copy or export it again."
    )


def info_table(record: dict[str, Any], reader_because: str) -> Table:
    """Return the table of one slide: a fact a row, then a row a level."""
    from rich.table import Table

    from ats_cli.results.table import megabytes, text

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
    for problem in record["problems"][:MOST_PROBLEMS]:
        row(f"level {problem['level']}", f"x {problem['x']}, y {problem['y']}: {problem['problem']}")
    if len(record["problems"]) > MOST_PROBLEMS:
        row("", f"and {len(record['problems']) - MOST_PROBLEMS} more; --json has all")
    return table

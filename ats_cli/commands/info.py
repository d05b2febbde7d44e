"""`ats info`: what a slide is, from its headers."""

from __future__ import annotations

from typing import Annotated

import typer

from ats_cli.commands.options import base as o
from ats_cli.errors import AtsError

EXAMPLES = """Examples:

ats info slide.svs

ats info slides/ --json > slides.jsonl"""


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
            help="Also decode the corners of every level and 100 native tiles drawn at random, to find damage.",
            rich_help_panel=o.OUTPUT,
        ),
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="One JSON object a slide, a line each.", rich_help_panel=o.OUTPUT)
    ] = False,
    debug: o.Debug = False,
) -> None:
    """Show a slide's reader, size, levels, resolution and the source of the resolution. Reads only headers.

    Exit status: 0 all slides can be opened and no damage was found, 1 some are not, 2 the call is wrong,
    130 interrupted.
    """
    from ats_cli.commands.common.messages import answer, sentence
    from ats_cli.commands.common.sources import gather
    from ats_cli.commands.common.streams import console
    from ats_cli.commands.common.tally import Tally
    from ats_cli.commands.options.settings import open_options
    from ats_cli.inference.runs.slide_info import check_record, failed_record, info_record, unsound
    from ats_cli.results.info_table import info_table
    from ats_cli.results.record import json_line

    sources = gather(slides, None, mpp)

    from ats_cli.slides import check_slide, open_with

    options = open_options(backend, plane, color_profile, download)
    tables = console()
    tally = Tally(len(sources))
    for number, source in enumerate(sources):
        error = None
        try:
            with open_with(source.path, options, source.mpp) as slide:
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

"""`ats heatmap`: where the attention of a model lies on a slide, as a picture."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from ats_cli.commands.options import base as o
from ats_cli.errors import AtsError

EXAMPLES = """Examples:

ats heatmap slide.svs -o slide.png

ats heatmap slides/ -o heatmaps --model my-model --scale log"""


def command(
    slides: o.Slides = None,
    *,
    mpp: o.Mpp = None,
    backend: o.Backend = None,
    plane: o.Plane = None,
    color_profile: o.ColorProfile = None,
    roi: o.Roi = None,
    roi_class: o.RoiClass = None,
    roi_origin: o.RoiOrigin = None,
    model: o.Model = None,
    output: o.PicturesOutput,
    max_size: Annotated[
        int,
        typer.Option(min=64, help="The longer side of the slide in the picture, in pixels.", rich_help_panel=o.OUTPUT),
    ] = 1600,
    alpha: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="How opaque the highest attention is; less attention is fainter.",
            rich_help_panel=o.OUTPUT,
        ),
    ] = 0.6,
    colormap: Annotated[str, typer.Option(help="Any colormap of matplotlib.", rich_help_panel=o.OUTPUT)] = "turbo",
    scale: Annotated[
        Literal["linear", "log", "rank"],
        typer.Option(
            help="How attention becomes colour: log and rank show faint places too.", rich_help_panel=o.OUTPUT
        ),
    ] = "linear",
    no_overlay: Annotated[
        bool, typer.Option("--no-overlay", help="The attention alone, without the slide.", rich_help_panel=o.OUTPUT)
    ] = False,
    device: o.Device = "auto",
    threads: o.Threads = 4,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Draw the attention of a model over each slide. No tile is read: only the low-resolution view.

    Prints the path of each picture.

    Exit status: 0 all done, 1 some slides failed, 2 the call is wrong, 130 interrupted.
    """
    from ats_cli.commands.common.messages import announce_model, answer, say, sentence
    from ats_cli.commands.common.progress_display import slide_bar
    from ats_cli.commands.common.sources import gather
    from ats_cli.commands.common.tally import Tally
    from ats_cli.commands.options.settings import open_options, region_options
    from ats_cli.inference.runs.slide_heatmap import picture_paths, slide_heatmap
    from ats_cli.results.pictures.heatmap import HeatmapOptions, check_colormap
    from ats_cli.slides.regions.region_files import with_regions

    sources = gather(slides, None, mpp)
    pictures = picture_paths(sources, output)

    from ats_cli.inference import resolve_device
    from ats_cli.zoo import find_model, load_model

    check_colormap(colormap)
    opening, regions = open_options(backend, plane, color_profile), region_options(roi_class, roi_origin)
    sources = with_regions(sources, roi, regions)
    folder = find_model(model)
    announce_model(folder, model, quiet)
    loaded = load_model(folder, device=resolve_device(device))
    try:
        pictures[0].parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AtsError(
            f"{error.filename}: this folder cannot be made ({error.strerror}). Choose another -o."
        ) from error

    options = HeatmapOptions(scale, alpha, colormap, max_size)
    tally = Tally(len(sources), quiet, uses_mpp=folder.spec.unit == "um")
    with slide_bar(len(sources), quiet) as advance:
        try:
            for source, picture in zip(sources, pictures, strict=True):
                try:
                    heatmap = slide_heatmap(
                        source, loaded, opening, regions, max_size=max_size, overlay=not no_overlay, threads=threads
                    )
                except AtsError as error:
                    tally.count(str(error))
                    continue
                except Exception as error:
                    tally.count(f"{source.path.name}: {sentence(error)}", debug)
                    continue
                finally:
                    advance()
                tally.count_scale(source.slide_id, heatmap)
                tally.count_regions(source.slide_id, heatmap.regions)
                if heatmap.problem and not quiet:
                    say(f"{heatmap.problem} It is left white, without attention.")
                # Outside the `try`: a folder that cannot be written to is no fault of this slide.
                heatmap.write(picture, options, source.slide_id)
                tally.count(None)
                answer(str(picture))
        except KeyboardInterrupt:
            raise tally.interrupted("The pictures named above are complete.") from None
    tally.finish()

"""`ats heatmap`: where the attention of a model lies on a slide, as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ats_cli.commands import options as o
from ats_cli.records import AtsError

if TYPE_CHECKING:
    from ats_cli.slides import SlideSource

EXAMPLES = """Examples:

ats heatmap slide.svs -o slide.png

ats heatmap slides/ -o heatmaps --model my-model --scale log"""

OTHER_PICTURES = (".jpg", ".jpeg", ".tif", ".tiff", ".svg", ".pdf", ".gif", ".webp", ".bmp")


def command(
    slides: o.Slides = None,
    *,
    mpp: o.Mpp = None,
    backend: o.Backend = None,
    plane: o.Plane = None,
    color_profile: o.ColorProfile = None,
    model: o.Model = None,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="PNG|FOLDER",
            help="A .png file for one slide, or a folder that gets one a slide.",
            rich_help_panel=o.OUTPUT,
        ),
    ],
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
    from ats_cli.commands.messages import Tally, announce_model, answer, progress, say, sentence
    from ats_cli.commands.sources import gather

    sources = gather(slides, None, mpp)
    pictures = picture_paths(sources, output)

    from ats_cli.inference import attention_map, resolve_device
    from ats_cli.results.heatmap import check_colormap, write_heatmap
    from ats_cli.slides import open_slide, parse_plane
    from ats_cli.zoo import find_model, load_model

    check_colormap(colormap)
    reading: dict[str, Any] = {
        "backend": backend,
        "plane": parse_plane(plane) if plane is not None else None,
        "color_profile": color_profile or "none",
    }
    folder = find_model(model)
    announce_model(folder, model, quiet)
    loaded = load_model(folder, device=resolve_device(device))

    try:
        pictures[0].parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AtsError(
            f"{error.filename}: this folder cannot be made ({error.strerror}). Choose another -o."
        ) from error

    tally = Tally(len(sources))
    with progress(len(sources), quiet, streams=True) as advance:
        try:
            for source, picture in zip(sources, pictures, strict=True):
                try:
                    with open_slide(source.path, mpp=source.mpp, **reading) as slide:
                        attention = attention_map(slide, loaded, threads=threads)
                        downsample = max(slide.width, slide.height, max_size) / max_size
                        seen = None if no_overlay else slide.scan_view(downsample, threads=threads)
                        size, slide_mpp = (slide.width, slide.height), slide.mpp
                        if folder.spec.unit == "um" and not quiet:
                            tally.count_scale(source.slide_id, slide.mpp, slide.mpp_source)
                except AtsError as error:
                    tally.count(str(error))
                    continue
                except Exception as error:
                    tally.count(f"{source.path.name}: {sentence(error)}", debug)
                    continue
                finally:
                    advance()
                if seen is not None and seen.problem and not quiet:
                    say(f"{seen.problem} It is left white, without attention.")
                # Outside the `try`: a folder that cannot be written to is no fault of this slide.
                write_heatmap(
                    picture,
                    None if seen is None else seen.pixels,
                    downsample,
                    attention,
                    size,
                    slide_mpp,
                    scale=scale,
                    alpha=alpha,
                    colormap=colormap,
                    max_size=max_size,
                    title=source.slide_id,
                )
                tally.count(None)
                answer(str(picture))
        except KeyboardInterrupt:
            raise tally.interrupted("The pictures named above are complete.") from None
    tally.finish()


def picture_paths(sources: list[SlideSource], output: Path) -> list[Path]:
    """Return where each slide's picture goes. AtsError where `output` does not fit, or two would be one."""
    suffix = output.suffix.lower()
    if not output.is_dir():
        if suffix in OTHER_PICTURES:
            raise AtsError(f"{output}: heatmaps are PNG files. Give {output.with_suffix('.png')}, or a folder.")
        if suffix == ".png":
            if len(sources) > 1:
                raise AtsError(f"{output}: {len(sources)} slides do not fit into one picture. Give a folder.")
            return [output]
    from ats_cli.slides.find import safe_name

    taken: dict[Path, str] = {}
    for source in sources:
        picture = output / f"{safe_name(source.slide_id.replace('/', '_'))}.png"
        if picture in taken:
            raise AtsError(f"{taken[picture]} and {source.slide_id} would both be written to {picture}.")
        taken[picture] = source.slide_id
    return list(taken)

"""`ats heatmap`: maps of the attention, or of the evidence, over slides."""

from __future__ import annotations

from ats_cli.commands.options import base as o

EXAMPLES = """Examples:

ats heatmap slide.svs -o slide.png

ats heatmap run -o maps --what evidence:tumor"""


def command(
    slides: o.SlidesOrRun = None,
    *,
    mpp: o.Mpp = None,
    backend: o.Backend = None,
    plane: o.Plane = None,
    color_profile: o.ColorProfile = None,
    roi: o.Roi = None,
    roi_class: o.RoiClass = None,
    roi_origin: o.RoiOrigin = None,
    model: o.Model = None,
    tiles: o.Tiles = None,
    seed: o.RunSeed = None,
    output: o.PicturesOutput,
    what: o.What = "attention",
    format: o.MapFormat = "png",
    max_size: o.MaxSize = 1600,
    alpha: o.Alpha = 0.6,
    colormap: o.Colormap = None,
    scale: o.Scale = "auto",
    no_overlay: o.NoOverlay = False,
    device: o.Device = "auto",
    threads: o.Threads = 4,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Draw the attention of a model over each slide, or the evidence of the tiles that were read, as a map.

    Predicts each slide as `ats predict` does. Of a run folder no tile is read again, only the low-resolution view.
    Prints the path of each map.

    Exit status: 0 all done, 1 some slides failed, 2 the call is wrong, 130 interrupted.
    """
    from ats_cli.commands.common.messages import announce_model, answer, say
    from ats_cli.commands.common.progress_display import slide_bar
    from ats_cli.commands.common.sources import gather
    from ats_cli.commands.common.tally import Tally
    from ats_cli.commands.options.settings import open_options, region_options
    from ats_cli.inference.draws.options import DrawOptions
    from ats_cli.inference.executors.predict_task import load_configured_model, predict_task
    from ats_cli.inference.executors.slide_task import ModelConfig
    from ats_cli.inference.runs.slide_heatmap import (
        make_folder,
        model_of_run,
        picture_paths,
        refuse_with_run,
        run_in,
        tasks_of_run,
        tasks_of_slides,
    )
    from ats_cli.records import PixelRequest
    from ats_cli.results.pictures.heatmap import HeatmapOptions, check_colormap
    from ats_cli.results.pictures.slide_picture import (
        PictureOptions,
        class_index_of,
        default_colormap,
        parse_what,
        write_picture,
    )
    from ats_cli.slides.regions.region_files import with_regions
    from ats_cli.zoo import find_model

    kind, class_name = parse_what(what)
    drawn = HeatmapOptions(scale, alpha, check_colormap(colormap or default_colormap(kind)).name, max_size)
    options = PictureOptions(kind, class_name, format, not no_overlay, drawn)
    opening, regions = open_options(backend, plane, color_profile), region_options(roi_class, roi_origin)
    pixels, run = PixelRequest(options.needs, max_size), run_in(slides)
    if run is None:
        sources = with_regions(gather(slides, None, mpp), roi, regions)
        folder = find_model(model)
        tasks = tasks_of_slides(sources, opening, regions, DrawOptions(tiles, seed=seed or 0, threads=threads), pixels)
    else:
        given: dict[str, object] = {"--model": model, "--tiles": tiles, "--seed": seed, "--mpp": mpp, "--roi": roi}
        given |= {"--backend": backend, "--plane": plane, "--color-profile": color_profile}
        refuse_with_run(run, given | {"--roi-class": roi_class, "--roi-origin": roi_origin})
        folder = model_of_run(run)
        tasks = tasks_of_run(run, pixels, threads)
    pictures = picture_paths([task.source for task in tasks], output, format)
    class_index_of(folder.spec.classes, class_name)
    announce_model(folder, model, quiet or run is not None)
    loaded = load_configured_model(ModelConfig(folder, device))
    make_folder(pictures[0].parent)

    tally = Tally(len(tasks), quiet, uses_mpp=folder.spec.unit == "um")
    with slide_bar(len(tasks), quiet) as advance:
        try:
            for task, picture in zip(tasks, pictures, strict=True):
                prediction = predict_task(task, loaded)
                advance()
                if prediction.status == "ok":
                    write_picture(picture, prediction, options)
                tally.add(prediction)
                if prediction.status == "ok":
                    problem = prediction.pixels.view_problem if prediction.pixels else None
                    if problem and not quiet:
                        say(f"{problem} It is left white, without attention.")
                    answer(str(picture))
        except KeyboardInterrupt:
            raise tally.interrupted("The maps named above are complete.") from None
    if run is not None and len(tasks) < len(run.slides):
        say(f"{len(run.slides) - len(tasks)} of {len(run.slides)} slides of the run have no prediction, and no map.")
        tally.failed_outputs = len(run.slides) - len(tasks)
    tally.finish()

"""The slides of `ats heatmap`: predicted for their pictures, or those of a run, of which no tile is read again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ats_cli.errors import AtsError
from ats_cli.inference.draws.options import DrawOptions
from ats_cli.inference.executors.slide_task import SlideTask, regions_of
from ats_cli.inference.runs.prediction_request import PredictionRequest
from ats_cli.inference.runs.run_settings import DEFAULTS, draw_options_of, open_options_of, region_options_of
from ats_cli.inference.runs.run_start import sources_of_run
from ats_cli.records import PixelRequest
from ats_cli.results.files import refuse_dangling_link
from ats_cli.results.maps.ome_zarr import is_map
from ats_cli.results.pictures.slide_picture import SUFFIXES, Format
from ats_cli.results.run.folder import RunFolder
from ats_cli.results.run.run_file import RUN
from ats_cli.slides import SlideSource
from ats_cli.slides.inputs.discovery import safe_name
from ats_cli.slides.options import OpenOptions, RegionOptions
from ats_cli.zoo import ModelFolder, find_model

OTHER_PICTURES = (".jpg", ".jpeg", ".tif", ".tiff", ".svg", ".pdf", ".gif", ".webp", ".bmp")


def run_in(slides: Sequence[str] | None) -> RunFolder | None:
    """Return the run folder that the arguments of a call name, if they name one alone."""
    if slides is None or len(slides) != 1 or not (Path(slides[0]) / RUN).is_file():
        return None
    return RunFolder(Path(slides[0]))


def refuse_with_run(run: RunFolder, options: Mapping[str, object]) -> None:
    """Raise AtsError for the first option that is given: a run has its own model, tiles and settings."""
    for option, value in options.items():
        if value is not None:
            raise AtsError(f"{run.path}: a run has its own model, tiles and settings. Leave out {option}.")


def make_folder(folder: Path) -> None:
    """Make the folder of the maps. Raises AtsError if that is not possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"{error.filename}: this folder cannot be made ({error.strerror}). Choose another -o."
        raise AtsError(reason) from error


def model_of_run(run: RunFolder) -> ModelFolder:
    """Return the model of a run. Raises AtsError where the folder holds another one now."""
    model = find_model(run.model["folder"])
    if model.hash != run.model["hash"]:
        raise AtsError(
            f"{run.path}: was predicted with another model than {model.path} holds now. Predict it again with "
            "--overwrite."
        )
    return model


def tasks_of_run(run: RunFolder, pixels: PixelRequest, threads: int) -> list[SlideTask]:
    """Return a task for each slide of a run that was predicted. Raises AtsError if there is none."""
    settings = {**DEFAULTS, **run.settings}
    opening, draw_options = open_options_of(settings), draw_options_of(settings, threads=threads)
    regions = region_options_of(settings)
    tasks = []
    for source in sources_of_run(run, PredictionRequest([])):
        predicted = run.predicted(source.slide_id)
        if predicted is not None:
            tasks.append(SlideTask(source, opening, draw_options, None, regions_of(source, regions), predicted, pixels))
    if not tasks:
        raise AtsError(f"{run.path}: no slide of this run was predicted. Finish it with `ats predict -o {run.path}`.")
    return tasks


def tasks_of_slides(
    sources: Sequence[SlideSource],
    opening: OpenOptions,
    regions: RegionOptions,
    draw_options: DrawOptions,
    pixels: PixelRequest,
) -> list[SlideTask]:
    """Return a task for each slide."""
    return [
        SlideTask(source, opening, draw_options, regions=regions_of(source, regions), pixels=pixels)
        for source in sources
    ]


def picture_paths(sources: Sequence[SlideSource], output: Path, format: Format = "png") -> list[Path]:
    """Return the path of each slide's picture. AtsError if `output` is not suitable, or two paths would be equal."""
    refuse_dangling_link(output)
    suffix = SUFFIXES[format]
    if not output.is_dir() or output.name.lower().endswith(suffix):
        if output.name.lower().endswith(suffix):
            if len(sources) > 1:
                raise AtsError(f"{output}: {len(sources)} slides do not fit into one picture. Give a folder.")
            return _harmless([output], sources)
        if output.suffix.lower() in (".png", ".zarr", *OTHER_PICTURES):
            fitting = output.with_name(output.name.split(".")[0] + suffix)
            raise AtsError(f"{output}: this call writes {suffix} files. Give {fitting}, or a folder; see --format.")
    slide_of: dict[Path, str] = {}
    for source in sources:
        picture = output / f"{safe_name(source.slide_id.replace('/', '_'))}{suffix}"
        if picture in slide_of:
            raise AtsError(f"{slide_of[picture]} and {source.slide_id} would both be written to {picture}.")
        slide_of[picture] = source.slide_id
    return _harmless(list(slide_of), sources)


def _harmless(pictures: list[Path], sources: Sequence[SlideSource]) -> list[Path]:
    """Return the paths. AtsError where a slide, or a folder that `ats` did not write, would be replaced."""
    slides = {_place(source.path): source.slide_id for source in sources if isinstance(source.path, Path)}
    for picture in pictures:
        if not picture.exists():
            continue
        if _place(picture) in slides:
            raise AtsError(f"{picture}: is the slide {slides[_place(picture)]} itself. Give another -o.")
        if picture.is_dir() and not is_map(picture):
            raise AtsError(f"{picture}: a folder that ats did not write. Delete it, or give another -o.")
    return pictures


def _place(path: Path) -> tuple[int, int] | None:
    """Return what identifies a file or folder on this machine, None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino

"""What an executor hands to the process that predicts: a model's configuration, then one task per slide. No torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ats_cli.errors import Failure, SlideError
from ats_cli.inference.draws.options import DrawOptions
from ats_cli.prediction_parts import ModelName, Provenance
from ats_cli.records import NO_PIXELS, Fingerprint, PixelRequest, Prediction, TilesRead
from ats_cli.results.run.folder import RunFolder
from ats_cli.results.run.slide_files import optional_writers
from ats_cli.slides import SlideSource
from ats_cli.slides.options import OpenOptions, RegionOptions
from ats_cli.slides.regions.region_files import read_regions
from ats_cli.slides.regions.slide_regions import Regions
from ats_cli.zoo import ModelFolder

OnProgress = Callable[[str, int, int], None]
"""Called while a slide is predicted: its id, tiles read, tiles to read."""


@dataclass(frozen=True)
class ModelConfig:
    """Which model to load, and onto what: `device` and `precision` as the user gives them."""

    model: ModelFolder
    device: str = "auto"
    precision: str = "auto"


@dataclass(frozen=True)
class SlideTask:
    """One slide to predict.

    before: the tiles of a shorter race that this one continues, or None.
    regions: where tiles may be drawn, or why that is not known; None for the whole slide. Workers need not have the
    file that they come from.
    predicted: what was predicted of the slide already; only pixels are added to it.
    pixels: those that writers of the run need.
    """

    source: SlideSource
    open_options: OpenOptions = field(default_factory=OpenOptions)
    draw_options: DrawOptions = field(default_factory=DrawOptions)
    before: TilesRead | None = None
    regions: Regions | SlideError | None = None
    predicted: Prediction | None = None
    pixels: PixelRequest = NO_PIXELS


def slide_tasks(
    sources: Iterable[SlideSource],
    open_options: OpenOptions,
    draw_options: DrawOptions,
    region_options: RegionOptions = RegionOptions(),
    run: RunFolder | None = None,
) -> Iterator[SlideTask]:
    """Yield a task per slide. `run`: where the tiles of shorter races are, which are not read again."""
    writers = [] if run is None else optional_writers(run.outputs)
    pixels = PixelRequest(frozenset(need for writer in writers for need in writer.needs) - {"tiles"})
    for source in sources:
        before = None if run is None else run.before(source.slide_id)
        yield SlideTask(source, open_options, draw_options, before, regions_of(source, region_options), pixels=pixels)


def regions_of(source: SlideSource, options: RegionOptions) -> Regions | SlideError | None:
    """Return the regions of a slide, None for the whole slide; a file that cannot be used fails its slide only."""
    if source.roi is None:
        return None
    try:
        return read_regions(source.roi, options)
    except SlideError as error:
        return SlideError(str(error), error.kind, source.path.name)


def failed(
    source: SlideSource,
    model: ModelFolder | Any,
    sentence: str,
    kind: Failure,
    fingerprint: Fingerprint | None = None,
) -> Prediction:
    """Return the record of a slide that could not be predicted. `model`: a ModelFolder or a LoadedModel."""
    return Prediction(
        slide_id=source.slide_id,
        path=source.given,
        status="failed",
        error=sentence,
        failure=kind,
        classes=model.spec.classes,
        provenance=Provenance(fingerprint=fingerprint),
        model=ModelName(model.spec.name, model.hash),
    )

"""What a model keeps of the slides that it was trained on, so that it knows a slide that is unlike them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ats_cli.inference.draw_options import DrawOptions
from ats_cli.inference.predict import predict_slide
from ats_cli.records import SlideError
from ats_cli.slides import open_slide
from ats_cli.slides.remote_path import AnyPath
from ats_cli.zoo import LoadedModel, load_model
from ats_cli.zoo.familiarity import Familiarity, fit, write_familiarity
from ats_cli.zoo.folder import read_folder
from ats_cli.zoo.load import fingerprint
from ats_cli.zoo.sums import write_sums

# Slides of each kind that are looked at, at most: more change the mean and covariance of some fifty traits little.
MOST = 400


class Readable(Protocol):
    """A slide that can be opened."""

    @property
    def path(self) -> AnyPath: ...
    @property
    def mpp(self) -> float | None: ...


def add_familiarity(
    folder: Path,
    train: Sequence[Readable],
    held: Sequence[Readable],
    device: str = "cpu",
    threads: int = 4,
    reading: Mapping[str, Any] = {},
) -> Familiarity | None:
    """Look at a model's training and validation slides and write what they are like into its folder.

    `reading`: further keywords of `open_slide`.

    None, and nothing is written, where there are too few.
    """
    found_folder = read_folder(folder)
    if found_folder.spec.task != "multi-class":  # which cannot predict yet
        return None
    model = load_model(found_folder, device)
    found = familiarity(model, train, held, threads, reading)
    if found is not None:
        write_familiarity(folder, found)
        write_sums(folder)
    return found


def familiarity(
    model: LoadedModel,
    train: Sequence[Readable],
    held: Sequence[Readable],
    threads: int = 4,
    reading: Mapping[str, Any] = {},
) -> Familiarity | None:
    """What slides are like that a model was trained on, and where the limit is. At most MOST of each kind."""
    weights = fingerprint(dict(model.nets.state_dict()))
    seen, seen_held = (traits_of(model, _some(slides), threads, reading) for slides in (train, held))
    return fit(seen, seen_held, model.spec.tiles, weights)


def traits_of(
    model: LoadedModel, slides: Sequence[Readable], threads: int = 4, reading: Mapping[str, Any] = {}
) -> NDArray[np.float64]:
    """The traits (n, T) of slides, as a prediction with the model's own budget finds them; those that fail are left
    out."""
    describing = replace(model, describes=True)
    found = []
    for source in slides:
        try:
            with open_slide(source.path, mpp=source.mpp, **reading) as slide:
                traits = predict_slide(slide, describing, DrawOptions(threads=threads)).traits
        except SlideError:
            continue
        if traits is not None:
            found.append(traits)
    return np.array(found) if found else np.empty((0, 0))


def _some(slides: Sequence[Readable]) -> Sequence[Readable]:
    """All, or MOST of them at even distances."""
    if len(slides) <= MOST:
        return slides
    return [slides[i] for i in np.linspace(0, len(slides) - 1, MOST).round().astype(int)]

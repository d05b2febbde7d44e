"""Fit a model's distribution of slides to those that it was trained on, so that it recognises other slides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ats_cli.errors import SlideError
from ats_cli.inference.draws.options import DrawOptions
from ats_cli.inference.predict import predict_slide
from ats_cli.registry import TASKS
from ats_cli.slides import OpenOptions, open_with
from ats_cli.slides.remote.path import AnyPath
from ats_cli.zoo import LoadedModel, load_model
from ats_cli.zoo.folder import read_folder
from ats_cli.zoo.load import fingerprint
from ats_cli.zoo.out_of_distribution import OutOfDistribution, fit, write_out_of_distribution
from ats_cli.zoo.sums import write_sums

# Training slides, and validation slides, that are predicted at most: more change a mean and covariance in about fifty
# dimensions little.
MAX_SLIDES = 400


class SlideLocation(Protocol):
    """A slide that can be opened."""

    @property
    def path(self) -> AnyPath: ...
    @property
    def mpp(self) -> float | None: ...


def add_out_of_distribution(
    folder: Path,
    training: Sequence[SlideLocation],
    validation: Sequence[SlideLocation],
    device: str = "cpu",
    threads: int = 4,
    opening: OpenOptions = OpenOptions(),
) -> OutOfDistribution | None:
    """Fit to a model's training and validation slides, and write the result into the model's folder.

    opening: how the slides are opened.

    Returns None and writes nothing if there are too few slides.
    """
    model_folder = read_folder(folder)
    if not TASKS[model_folder.spec.task].single_label:  # the limit is not validated for other tasks
        return None
    model = load_model(model_folder, device)
    fitted = fit_out_of_distribution(model, training, validation, threads, opening)
    if fitted is not None:
        write_out_of_distribution(folder, fitted)
        write_sums(folder)
    return fitted


def fit_out_of_distribution(
    model: LoadedModel,
    training: Sequence[SlideLocation],
    validation: Sequence[SlideLocation],
    threads: int = 4,
    opening: OpenOptions = OpenOptions(),
) -> OutOfDistribution | None:
    """Return the distribution of a model's training slides. At most MAX_SLIDES of each kind are predicted."""
    weights = fingerprint(dict(model.nets.state_dict()))
    of_training, of_validation = (
        slide_embeddings(model, _evenly_spaced(slides), threads, opening) for slides in (training, validation)
    )
    return fit(of_training, of_validation, model.spec.tiles, weights)


def slide_embeddings(
    model: LoadedModel, slides: Sequence[SlideLocation], threads: int = 4, opening: OpenOptions = OpenOptions()
) -> NDArray[np.float64]:
    """Return the embeddings (n, T) of slides, predicted with the model's own budget. Slides that fail are left out."""
    with_embedding = replace(model, computes_embedding=True)
    embeddings = []
    for source in slides:
        try:
            with open_with(source.path, opening, source.mpp) as slide:
                embedding = predict_slide(slide, with_embedding, DrawOptions(threads=threads)).comparison.embedding
        except SlideError:
            continue
        if embedding is not None:
            embeddings.append(embedding)
    return np.array(embeddings) if embeddings else np.empty((0, 0))


def _evenly_spaced(slides: Sequence[SlideLocation]) -> Sequence[SlideLocation]:
    """Return all slides, or MAX_SLIDES of them at even distances."""
    if len(slides) <= MAX_SLIDES:
        return slides
    return [slides[i] for i in np.linspace(0, len(slides) - 1, MAX_SLIDES).round().astype(int)]

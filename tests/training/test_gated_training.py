"""Training a model with a gate: beside the estimate without it, and with the range of terms that intervals need."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small import small_spec, square, write_slide
from trainings import train_slides

from ats_cli.nets.model import Model
from ats_cli.records import HeadSpec
from ats_cli.training import LabelledSlide
from ats_cli.training.loop.state import fresh_model


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> list[LabelledSlide]:
    """Grey canvases with a bright or a dark square."""
    folder, rng = tmp_path_factory.mktemp("squares"), np.random.default_rng(0)
    found = []
    for number in range(8):
        label, light = (("bright", 250), ("dark", 10))[number % 2]
        x, y = rng.integers(0, 50, 2).tolist()
        path = write_slide(folder / f"{number}.tif", square(97, 83, x, y, 30, light, ground=128))
        found.append(LabelledSlide(str(number), path, label))
    return found


def gate_weights(nets: Model) -> torch.Tensor:
    assert nets.gate is not None
    return torch.cat([parameter.detach().flatten() for parameter in nets.gate.parameters()])


@pytest.mark.integration
def test_the_gate_is_trained_and_the_loss_without_it_counts(slides: list[LabelledSlide]) -> None:
    specs = [
        small_spec({}, {"steps": 4, "batch_size": 4, "ungated_loss": loss}, tiles=6, head=HeadSpec(gate=4))
        for loss in (0.0, 1.0)
    ]
    alone, beside = (train_slides(spec, slides, []).nets for spec in specs)
    fresh = fresh_model(specs[0], 0)
    assert not torch.equal(gate_weights(alone), gate_weights(fresh))
    assert not torch.equal(alone.head.weight, beside.head.weight)


@pytest.mark.integration
def test_the_range_of_terms_is_that_of_drawn_tiles(slides: list[LabelledSlide]) -> None:
    """It lies within what features of length 1 can give, and is narrower."""
    nets = train_slides(small_spec({}, {"steps": 4, "batch_size": 4}, tiles=6), slides, []).nets
    low, high = nets.term_range
    nets.bound_terms()
    lowest, highest = nets.term_range
    assert (lowest - 1e-4 <= low).all() and (low < high).all() and (high <= highest + 1e-4).all()
    assert (high - low < 0.9 * (highest - lowest)).all()

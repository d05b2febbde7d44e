"""A slide turned, mirrored and recoloured is the same slide: its view and its tiles change together."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from small import random_nets, small_spec

from ats_cli.nets.geometry import geometry_on
from ats_cli.training.dataset.augment import NONE, Augmentation, draw_augmentation
from ats_cli.training.dataset.slide_store import SlideView
from ats_cli.training.loop.attention_source import view_source

TURNS = [Augmentation(turns, mirror, np.ones(3)) for turns, mirror in product(range(4), (False, True))]


@pytest.mark.parametrize("augmentation", TURNS)
def test_undone_it_is_as_before(augmentation: Augmentation) -> None:
    view = torch.rand(3, 7, 4)
    assert torch.equal(augmentation.undo(augmentation.apply(view)), view)
    assert torch.equal(augmentation.undo(augmentation.apply(view)[0]), view[0])


def test_there_are_eight_and_each_is_another() -> None:
    view = torch.rand(3, 5, 5)
    seen = {tuple(augmentation.apply(view).flatten().tolist()) for augmentation in TURNS}
    assert len(seen) == 8
    assert torch.equal(NONE.apply(view), view)


@pytest.mark.parametrize("augmentation", TURNS)
def test_view_and_tile_turn_together(augmentation: Augmentation) -> None:
    """A tile cut from the turned view is the turned tile."""
    view = torch.rand(3, 12, 12)
    mark = torch.zeros(12, 12)
    mark[3, 8] = 1
    tile = augmentation.apply(view[:, 2:5, 7:10][None])[0]
    (row, col) = (augmentation.apply(mark.expand(3, -1, -1))[0] == 1).nonzero()[0].tolist()
    turned = augmentation.apply(view)
    assert torch.equal(turned[:, row - 1 : row + 2, col - 1 : col + 2], tile)
    assert augmentation.undo(augmentation.apply(mark.expand(3, -1, -1))[0])[3, 8] == 1


def test_colours_are_powers_the_same_for_view_and_tile() -> None:
    augmentation = Augmentation(1, True, np.array([0.5, 1.0, 2.0]))
    image = torch.rand(2, 3, 4, 4)
    changed = augmentation.undo(augmentation.apply(image))
    for channel, gamma in enumerate((0.5, 1.0, 2.0)):
        torch.testing.assert_close(changed[:, channel], image[:, channel] ** gamma)
    assert augmentation.apply(torch.zeros(3, 2, 2)).eq(0).all() and augmentation.apply(torch.ones(3, 2, 2)).eq(1).all()


def test_only_what_the_recipe_allows_is_drawn() -> None:
    rng = np.random.default_rng(0)
    plain = small_spec().training
    for _ in range(20):
        drawn = draw_augmentation(plain, rng)
        assert (drawn.turns, drawn.mirror) == (0, False) and (drawn.gamma == 1).all()
    flips = [draw_augmentation(small_spec(training={"flips": True}).training, rng) for _ in range(200)]
    assert {(one.turns, one.mirror) for one in flips} == set(product(range(4), (False, True)))
    jitter = [draw_augmentation(small_spec(training={"colour_jitter": 0.2}).training, rng).gamma for _ in range(200)]
    assert 0.1 < np.log(jitter).std() < 0.4 and np.exp(-1) <= np.min(jitter) <= np.max(jitter) <= np.exp(1)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("augmentation", TURNS)
def test_attention_of_a_turned_view_lies_on_the_upright_slide(stride: int, augmentation: Augmentation) -> None:
    """A net that knows no direction attends alike however the slide is turned, also where positions are partial."""
    spec = small_spec({"stride": stride, "prior_saturation": 1.0})
    nets = random_nets(spec)
    for parameter in nets.attention.parameters():
        parameter.zero_()
    view = np.random.default_rng(0).integers(0, 256, (13, 10, 3), dtype=np.uint8)
    geometry = geometry_on(spec, None)
    slide_view = SlideView(view, np.ones(geometry.grid_shape((13, 10)), bool), geometry)
    upright = view_source(nets, slide_view, NONE).all_logits()
    turned = view_source(nets, slide_view, augmentation).all_logits()
    torch.testing.assert_close(turned, upright)


def test_brightness_saturation_and_hue_are_the_same_for_view_and_tile() -> None:
    """Each pixel changes by itself: a tile of the changed view is the changed tile."""
    rng = np.random.default_rng(0)
    spec = small_spec(training={"brightness_jitter": 0.4, "saturation_jitter": 0.5, "hue_jitter": 0.1}).training
    view = torch.rand(3, 12, 12)
    changes = [draw_augmentation(spec, rng) for _ in range(20)]
    assert len({(one.brightness, one.saturation, one.hue) for one in changes}) == 20
    for one in changes:
        changed = one.apply(view)
        assert not torch.equal(changed, view)
        torch.testing.assert_close(changed[:, 2:6, 5:9], one.apply(view[:, 2:6, 5:9][None])[0])
        assert 0.67 < one.brightness < 1.5 and 0.6 < one.saturation < 1.65 and abs(one.hue) <= 0.1
    grey = torch.full((3, 4, 4), 0.4)
    bright = Augmentation(0, False, np.ones(3), brightness=1.5, saturation=0.3, hue=0.2)
    torch.testing.assert_close(bright.apply(grey), grey * 1.5, atol=1e-3, rtol=0)

"""Training follows the gradient of the whole attention, though it runs backward over crops of the view only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from small import noise, random_nets, small_spec, write_slide

from ats_cli.nets.attention import UNIFORM_SHARE, normalise
from ats_cli.nets.attention_sampling import entropy
from ats_cli.nets.model import Model, to_unit
from ats_cli.records import HeadSpec, ModelSpec
from ats_cli.training.dataset.augment import NONE, Augmentation
from ats_cli.training.dataset.labelled import LabelledSlide
from ats_cli.training.dataset.slide_store import SlideStore
from ats_cli.training.loop import step
from ats_cli.training.loop.step import SlideRandomness, draw_tiles, forward_batch, part_size

TURNED = Augmentation(1, True, np.array([0.8, 1.0, 1.3]))


def trainable(spec: ModelSpec) -> Model:
    return random_nets(spec).train().requires_grad_(True)


def attention_gradient(nets: Model) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in nets.attention.parameters() if p.grad is not None])


@pytest.mark.integration
@pytest.mark.parametrize("augmentation", [NONE, TURNED], ids=["", "turned"])
@pytest.mark.parametrize(("stride", "gate"), [(1, 0), (2, 0), (1, 3)])
def test_with_every_position_drawn_the_gradient_is_that_of_the_whole_view(
    stride: int, gate: int, augmentation: Augmentation, tmp_path: Path
) -> None:
    """Then nothing is random: the loop's gradient is that of softmax and sum, computed here over the whole view."""
    spec = small_spec({"stride": stride}, tiles=10_000, head=HeadSpec(gate))
    nets = trainable(spec)
    slide = LabelledSlide("a", write_slide(tmp_path / "a.tif", noise(150, 118)), "bright")
    with SlideStore(spec, 10**9, 1) as store:
        drawn = draw_tiles(nets, store, [slide], [SlideRandomness(augmentation, np.random.default_rng(0))])
        output = forward_batch(nets, drawn)
        (output.logits[0, 0] + output.entropy[0]).backward()
        found = attention_gradient(nets)

        (view,) = store.views([slide])
        nets.zero_grad()
        image = augmentation.apply(to_unit(torch.from_numpy(view.pixels)[None]))
        logits = nets.attention.pool(augmentation.undo(nets.attend_pixels(image)))
        attention = normalise(logits, torch.from_numpy(view.allowed)[None], UNIFORM_SHARE)
        boxes = view.boxes(np.arange(view.allowed.size))
        patches = store.read_tiles([slide], [boxes])[0].result()
        encoded = nets.encode_patches(augmentation.apply(to_unit(torch.from_numpy(patches))))
        weights = attention.flatten() * nets.gates(encoded)
        expected = (weights[:, None] * nets.features.project(encoded)).sum(0) / weights.sum()
        (nets.logits(expected)[0] + entropy(attention)[0]).backward()
    torch.testing.assert_close(output.logits[0], nets.logits(expected), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found, attention_gradient(nets), rtol=2e-3, atol=1e-5)


@pytest.mark.integration
@pytest.mark.parametrize(("sampler", "second"), [("with-replacement", False), ("systematic", True)])
def test_over_many_draws_the_gradient_is_that_of_all_positions(sampler: str, second: bool, tmp_path: Path) -> None:
    spec = small_spec(training={"sampler": sampler, "second_draw": second}, tiles=10_000)
    nets = trainable(spec)
    slide = LabelledSlide("a", write_slide(tmp_path / "a.tif", noise(60, 52)), "bright")
    rng = np.random.default_rng(0)

    centre = None

    def gradient(store: SlideStore, tiles: int) -> tuple[torch.Tensor, torch.Tensor]:
        nets.zero_grad()
        drawn = draw_tiles(nets, store, [slide], [SlideRandomness(NONE, rng)], tiles=tiles)
        output = forward_batch(nets, drawn, centre)
        output.logits[0, 0].backward()
        return attention_gradient(nets), output.expected[0]

    with SlideStore(spec, 10**9, 1) as store:
        nets.spec = small_spec()  # all positions, each once
        exact, centre = gradient(store, 10_000)
        nets.spec = spec
        draws = torch.stack([gradient(store, 6)[0] for _ in range(400)])
    errors = (draws.mean(0) - exact) / (draws.std(0) / 400**0.5 + 1e-9)
    assert errors.abs().max() < 4.5 and errors.square().mean() < 2
    # Twice as large, or of the other sign, it would be seen.
    assert ((draws.mean(0) - 2 * exact) / (draws.std(0) / 400**0.5 + 1e-9)).abs().max() > 4.5


def test_a_batch_of_any_size_is_processed_in_parts_of_bounded_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The patches of one part are processed together, and those of one further part are read."""
    monkeypatch.setattr(step, "PATCH_PIXELS", 3 * 4 * 16 * 16)
    spec = small_spec()
    nets = trainable(spec)
    path = write_slide(tmp_path / "a.tif", noise(90, 90))
    slides = [LabelledSlide(str(i), path, "bright") for i in range(8)]
    randomness = [SlideRandomness(NONE, np.random.default_rng(i)) for i in range(8)]
    with SlideStore(spec, 10**9, 1) as store:
        parts = [(part, len(drawn)) for part, drawn in step.draw_parts(nets, store, slides, randomness)]
    assert parts == [(slice(0, 3), 3), (slice(3, 6), 3), (slice(6, 9), 2)]
    assert part_size(tiles=25, patch_size=224) == 1 and part_size(tiles=10_000, patch_size=224) == 1

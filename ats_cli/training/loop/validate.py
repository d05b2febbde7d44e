"""Figures on slides that are not trained on."""

import torch
from lightning_fabric import Fabric

from ats_cli.nets.model import Model
from ats_cli.sampling import slide_rng
from ats_cli.training.dataset.augment import NONE
from ats_cli.training.dataset.labelled import LabelledSlide
from ats_cli.training.dataset.slide_store import SlideStore
from ats_cli.training.loop.processes import add_up
from ats_cli.training.loop.step import SlideRandomness, draw_tiles, forward_batch, part_size
from ats_cli.training.task import accuracy, losses, targets


def validate(
    nets: Model,
    store: SlideStore,
    slides: list[LabelledSlide],
    scale: tuple[float, float] = (0.0, 1.0),
    fabric: Fabric | None = None,
) -> dict[str, float]:
    """Mean accuracy, loss and share of the attention drawn, over slides, which the processes share.

    Draws the recipe's `validation_tiles`, the same every time. `scale`: mean and standard deviation of the targets of
    a regression. Leaves `nets` in eval mode.
    """
    spec = nets.spec
    own = slides if fabric is None else slides[fabric.global_rank :: fabric.world_size]
    total = torch.zeros(3, dtype=torch.float64)
    nets.eval()
    with torch.inference_mode():
        tiles = spec.training.validation_tiles or spec.tiles
        size = part_size(tiles, spec.features.patch_size)
        for start in range(0, len(own), size):
            batch = own[start : start + size]
            randomness = [SlideRandomness(NONE, slide_rng(0, slide.path.name)) for slide in batch]
            output = forward_batch(nets, draw_tiles(nets, store, batch, randomness, tiles=tiles))
            target = targets(spec, batch, scale).to(output.logits.device)
            rows = (accuracy(spec, output.logits, target), losses(spec, output.logits, target), output.mass)
            total += torch.stack([row.cpu().double().sum() for row in rows])
    means = ((total if fabric is None else add_up(fabric, total)) / len(slides)).tolist()
    return dict(zip(("accuracy", "loss", "attention_mass"), means, strict=True))

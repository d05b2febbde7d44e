"""Figures on slides that are not learnt from."""

import torch
from lightning_fabric import Fabric

from ats_cli.nets.model import Model
from ats_cli.sampling import slide_rng
from ats_cli.training.augment import NONE
from ats_cli.training.data import LabelledSlide
from ats_cli.training.processes import add_up
from ats_cli.training.step import Chance, look, see
from ats_cli.training.store import SlideStore
from ats_cli.training.task import losses, right, targets


def validate(
    nets: Model,
    store: SlideStore,
    slides: list[LabelledSlide],
    tiles: int | None = None,
    sampler: str | None = None,
    scale: tuple[float, float] = (0.0, 1.0),
    fabric: Fabric | None = None,
) -> dict[str, float]:
    """Accuracy, loss and mean attention mass drawn, over slides, which the processes share. The draws are the same
    every time."""
    spec = nets.spec
    sampler = sampler or spec.training.sampler
    mine = slides if fabric is None else slides[fabric.global_rank :: fabric.world_size]
    total = torch.zeros(3, dtype=torch.float64)
    nets.eval()
    with torch.inference_mode():
        for start in range(0, len(mine), spec.training.batch_size):
            batch = mine[start : start + spec.training.batch_size]
            chances = [Chance(NONE, slide_rng(0, slide.path.name)) for slide in batch]
            seeing = see(nets, look(nets, store, batch, tiles or spec.tiles, sampler, chances))
            target = targets(spec, batch, scale).to(seeing.logits.device)
            rows = (right(spec, seeing.logits, target), losses(spec, seeing.logits, target), seeing.mass)
            total += torch.stack([row.cpu().double().sum() for row in rows])
    accuracy, loss, mass = ((total if fabric is None else add_up(fabric, total)) / len(slides)).tolist()
    return {"accuracy": accuracy, "loss": loss, "attention_mass": mass}

"""The state of a training between two steps, which a checkpoint holds."""

from dataclasses import dataclass, field
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from ats_cli.nets.model import Model
from ats_cli.records import TrainingSpec
from ats_cli.training.checkpoint import Tensors, optimiser_tensors, part, restore_optimiser
from ats_cli.training.diary import Diary
from ats_cli.training.order import Order
from ats_cli.training.watch import Watch

# Share of the moving average of expected features that a step leaves as it was.
CENTRE_KEEPS = 0.9


@dataclass
class TrainingState:
    """All that a training needs to continue. It is complete between two steps only: a step changes it in place."""

    nets: Model
    optimiser: torch.optim.Optimizer
    order: Order
    watch: Watch
    fabric: Fabric
    step: int = 0
    centre: Tensor | None = None
    best: dict[str, Any] = field(default_factory=dict)
    best_weights: Tensors | None = None

    def move_centre(self, expected: Tensor) -> None:
        """Add a batch's mean expected features to the moving average."""
        before = self.centre
        self.centre = expected if before is None else CENTRE_KEEPS * before + (1 - CENTRE_KEEPS) * expected

    def keep_better(self, figures: dict[str, float], choose: bool) -> None:
        """Keep the nets of the lowest validation loss: accuracy on a few hundred slides moves by chance."""
        if not choose or not self.best or figures["loss"] < self.best["loss"]:
            self.best = {**figures, "step": self.step}
            self.best_weights = {k: v.clone() for k, v in self.nets.state_dict().items()}

    def out_of_patience(self, recipe: TrainingSpec) -> bool:
        """Whether `patience` validations since the best were no better."""
        waited = self.step - int(self.best.get("step", self.step))
        return 0 < recipe.patience * recipe.validate_every <= waited

    def write(self, diary: Diary) -> None:
        """Write the checkpoint of this step."""
        tensors = {f"nets.{name}": tensor for name, tensor in self.nets.state_dict().items()}
        tensors |= optimiser_tensors(self.optimiser)
        if self.centre is not None:
            tensors["centre"] = self.centre
        state = {
            "step": self.step,
            "order": self.order.state(),
            "watch": self.watch.state(),
            "best": self.best,
            "precision": self.fabric.strategy.precision.state_dict(),
        }
        diary.checkpoint(tensors, state, self.best_weights)

    def restore(self, diary: Diary) -> None:
        """Take over the last checkpoint, if there is one."""
        if not diary.last.exists():
            return
        tensors, state, best = diary.read()
        self.nets.load_state_dict(part(tensors, "nets"))
        restore_optimiser(self.optimiser, tensors)
        self.fabric.strategy.precision.load_state_dict(state["precision"])
        self.order.restore(state["order"])
        self.watch.restore(state["watch"])
        self.centre = tensors["centre"].to(self.fabric.device) if "centre" in tensors else None
        self.step, self.best, self.best_weights = state["step"], state["best"], best

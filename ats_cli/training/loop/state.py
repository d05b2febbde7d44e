"""The state of a training between two steps: take a step, save it to a checkpoint, restore it from one."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from ats_cli.errors import AtsError
from ats_cli.nets.attention import TrunkAttention
from ats_cli.nets.model import Model
from ats_cli.records import ModelSpec
from ats_cli.sampling import slide_rng
from ats_cli.training.dataset.augment import Augmentation, draw_augmentation
from ats_cli.training.dataset.labelled import LabelledSlide
from ats_cli.training.dataset.order import BatchOrder
from ats_cli.training.dataset.slide_store import SlideStore
from ats_cli.training.loop.checkpoint import (
    Tensors,
    optimiser_tensors,
    restore_optimiser,
    with_prefix,
    without_prefix,
)
from ats_cli.training.loop.processes import add_up, add_up_gradients, average_statistics
from ats_cli.training.loop.rates import parameter_groups, set_modes, set_rates
from ats_cli.training.loop.step import SlideRandomness, draw_parts, forward_batch, part_size
from ats_cli.training.loop.training_log import TrainingLog
from ats_cli.training.loop.training_monitor import TrainingMonitor
from ats_cli.training.options import TrainOptions
from ats_cli.training.pretrained import load_matching, load_pretrained
from ats_cli.training.task import accuracy, baseline_loss, losses, scale_of, slide_weights, targets

CENTRE_DECAY = 0.9
"""The share of the moving average of expected features that a step leaves unchanged."""
MAX_GRADIENT_NORM = 1.0


@dataclass(frozen=True)
class StepFigures:
    """Means over the slides of a step, over all processes.

    `objective`: the loss less the weighted entropy. `loss`: of the task. `mass`: share of the attention drawn.
    `effective`: effective positions; `evenness`: these as a share of all positions.
    """

    objective: float
    loss: float
    accuracy: float
    mass: float
    effective: float
    evenness: float


class TrainState:
    """All that a training needs to continue. `step` changes it in place; between two steps it is complete.

    `nets`: on the device. `slides`: to train on. `scale`: mean and standard deviation of the targets of a regression.
    `centre`: (D,), the moving average of expected features, or None. `best`: figures of the best validation, with its
    step, and `best_weights`. `log`: where checkpoints are, or None. `warmed_up`: whether a warm-up is done.
    """

    def __init__(
        self,
        nets: Model,
        slides: list[LabelledSlide],
        options: TrainOptions,
        fabric: Fabric,
        log: TrainingLog | None = None,
    ) -> None:
        # Convolutions are fastest, on a processor by far, with the channels of a pixel side by side.
        self.nets: Model = nets.to(fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.slides, self.options = slides, options
        self.fabric, self.log = fabric, log
        spec = nets.spec
        recipe = self.recipe = spec.training
        groups = parameter_groups(nets, recipe)
        self.optimiser = torch.optim.Adam(groups, lr=recipe.lr, weight_decay=recipe.weight_decay)
        self._stepper: Any = fabric.setup_optimizers(self.optimiser)
        weights = slide_weights(spec, slides)
        draws = recipe.balance == "draws"
        self._loss_weights = np.ones(len(slides)) if draws else weights
        self.order = BatchOrder(len(slides), options.seed, weights / weights.sum() if draws else None)
        self.monitor = TrainingMonitor(spec, baseline_loss(spec, slides))
        self.scale = scale_of(spec, slides)
        self.steps_done = 0
        self.warmed_up = False
        self.centre: Tensor | None = None
        self.best: dict[str, Any] = {}
        self.best_weights: Tensors | None = None

    @classmethod
    def start(
        cls,
        spec: ModelSpec,
        slides: list[LabelledSlide],
        options: TrainOptions,
        fabric: Fabric,
        log: TrainingLog | None = None,
        init: Model | None = None,
    ) -> TrainState:
        """Return the state before the first step; with `options.resume`, that of the log's last checkpoint, if any.

        Raises AtsError if the checkpoint, or the pretrained weights that the spec names, cannot be read.
        """
        nets = fresh_model(spec, options.seed)
        resumed = options.resume and log is not None and log.last.exists()
        if not resumed:
            load_pretrained(nets)
            if init is not None:
                load_matching(nets, init)
        state = cls(nets, slides, options, fabric, log)
        if resumed:
            state.restore()
        return state

    @property
    def learning_rate(self) -> float:
        """The highest of all parameter groups."""
        return max((group["lr"] for group in self.optimiser.param_groups), default=0.0)

    def step(self, store: SlideStore) -> StepFigures:
        """Take one optimiser step on the next batch. Raises AtsError if the objective or the gradient is not finite."""
        step, fabric, recipe = self.steps_done + 1, self.fabric, self.recipe
        seed = np.random.SeedSequence((self.options.seed, step, fabric.global_rank))
        torch.manual_seed(int(seed.generate_state(1)[0]))
        set_rates(self.optimiser, recipe, step)
        set_modes(self.nets, recipe, step)
        batch, randomness = self.order.next(recipe)
        if isinstance(self.nets.attention, TrunkAttention):
            copies = [int(r.rng.integers(recipe.copies)) for r in randomness]
            augmented = [self.copy(self.slides[i], copy) for i, copy in zip(batch, copies, strict=True)]
            randomness = [replace(r, augmentation=a) for r, a in zip(randomness, augmented, strict=True)]
        own = slice(fabric.global_rank, None, fabric.world_size)
        if not isinstance(self.nets.attention, TrunkAttention):
            store.prefetch([self.slides[i] for i in self.order.remaining[: recipe.batch_size][own]])

        self.optimiser.zero_grad(set_to_none=True)
        sums, expected = self._accumulate_gradients(store, batch[own], randomness[own], len(batch))
        add_up_gradients(fabric, self.nets)
        figures = StepFigures(*add_up(fabric, sums).tolist())
        norm = fabric.clip_gradients(self.nets, self.optimiser, max_norm=MAX_GRADIENT_NORM, error_if_nonfinite=False)
        # With fp16 a gradient may overflow: the scaler then skips the step and lowers its scale.
        overflow_allowed = self.options.precision == "fp16"
        if not math.isfinite(figures.objective) or not (overflow_allowed or math.isfinite(float(norm or 0.0))):
            raise AtsError(self._not_finite_message(step))
        self._stepper.step()
        average_statistics(fabric, self.nets)
        if recipe.second_draw:
            # Updated after the step: a centre that depends on this sample would bias its gradient.
            self._move_centre(add_up(fabric, expected))
        self.steps_done = step
        return figures

    def copy(self, slide: LabelledSlide, number: int) -> Augmentation:
        """The augmentation of one of the slide's copies, the same in each step, fold and training with this seed."""
        return draw_augmentation(self.recipe, slide_rng(self.options.seed, f"{slide.slide_id} {number}"))

    def trial(self, store: SlideStore) -> int:
        """Forward and backward over the slides of one part of a batch, without a step. Returns how many these are."""
        before = {name: tensor.clone() for name, tensor in self.nets.state_dict().items()}
        set_modes(self.nets, self.recipe, self.recipe.steps)
        numbers = range(min(len(self.slides), part_size(self.nets.spec.tiles, self.nets.spec.features.patch_size)))
        numbers = numbers[: self.recipe.batch_size]
        randomness = [SlideRandomness(self.copy(self.slides[i], 0), np.random.default_rng(i)) for i in numbers]
        self._accumulate_gradients(store, list(numbers), randomness, len(numbers))
        self.optimiser.zero_grad(set_to_none=True)
        self.nets.load_state_dict(before)
        return len(numbers)

    def _accumulate_gradients(
        self, store: SlideStore, numbers: list[int], randomness: list[SlideRandomness], batch_size: int
    ) -> tuple[Tensor, Tensor]:
        """Forward and backward over this process's slides, part by part: see `draw_parts`.

        Returns the sums of the figures (6,) in float64 and of the expected features (D,), divided by `batch_size`.
        """
        spec, device, autocast = self.nets.spec, self.fabric.device, self.fabric.autocast
        slides = [self.slides[i] for i in numbers]
        sums = torch.zeros(6, dtype=torch.float64)
        expected = torch.zeros(self.nets.features.width, device=device)
        for part, drawn in draw_parts(self.nets, store, slides, randomness, autocast):
            output = forward_batch(self.nets, drawn, self.centre, autocast)
            target = targets(spec, slides[part], self.scale).to(device)
            weights = torch.from_numpy(self._loss_weights[numbers[part]])
            loss = losses(spec, output.logits, target) * weights.to(output.logits)
            beside = 0.0 if output.ungated is None else losses(spec, output.ungated, target) * weights.to(loss)
            objective = loss + self.recipe.ungated_loss * beside - self.recipe.entropy_weight * output.entropy
            self.fabric.backward(objective.sum() / batch_size)
            correct = accuracy(spec, output.logits, target)
            rows = (objective, loss, correct, output.mass, output.effective, output.evenness)
            sums += torch.stack([row.detach().cpu().double().sum() for row in rows]) / batch_size
            expected += output.expected.sum(0) / batch_size
        return sums, expected

    def _move_centre(self, expected: Tensor) -> None:
        before = self.centre
        self.centre = expected if before is None else CENTRE_DECAY * before + (1 - CENTRE_DECAY) * expected

    def keep_best(self, figures: dict[str, float]) -> None:
        """Keep the weights of the lowest validation loss: accuracy on a few hundred slides is too noisy to choose by.

        Without `choose_best`, keep those of the last validation.
        """
        if not self.options.choose_best or not self.best or figures["loss"] < self.best["loss"]:
            self.best = {**figures, "step": self.steps_done}
            self.best_weights = {name: tensor.clone() for name, tensor in self.nets.state_dict().items()}

    def out_of_patience(self) -> bool:
        """Whether the last `patience` validations were no better than the best."""
        steps_since_best = self.steps_done - int(self.best.get("step", self.steps_done))
        return 0 < self.recipe.patience * self.recipe.validate_every <= steps_since_best

    def save(self) -> None:
        """Write the checkpoint of this step to the log, if there is one, in the first process."""
        if self.log is None or not self.fabric.is_global_zero:
            return
        tensors = with_prefix("nets", self.nets.state_dict()) | optimiser_tensors(self.optimiser)
        if self.centre is not None:
            tensors["centre"] = self.centre
        values = {
            "step": self.steps_done,
            "warmed_up": self.warmed_up,
            "order": self.order.state(),
            "watch": self.monitor.state(),
            "best": self.best,
            "precision": self.fabric.strategy.precision.state_dict(),
        }
        self.log.save_checkpoint(tensors, values, self.best_weights)

    def restore(self) -> None:
        """Take over the log's last checkpoint. Raises AtsError if it cannot be read."""
        assert self.log is not None
        tensors, values, best_weights = self.log.load_checkpoint()
        self.nets.load_state_dict(without_prefix("nets", tensors))
        restore_optimiser(self.optimiser, tensors)
        self.fabric.strategy.precision.load_state_dict(values["precision"])
        self.order.restore(values["order"])
        self.monitor.restore(values["watch"])
        self.centre = tensors["centre"].to(self.fabric.device) if "centre" in tensors else None
        self.steps_done, self.best, self.best_weights = values["step"], values["best"], best_weights
        self.warmed_up = values.get("warmed_up", self.steps_done > 0)  # earlier versions had no warm-up

    def _not_finite_message(self, step: int) -> str:
        text = f"the loss is no longer a number at step {step}. Lower --lr and train again."
        if self.log is None or not self.log.last.exists():
            return text
        return f"{text} {self.log.last.parent} keeps the nets of before."


def fresh_model(spec: ModelSpec, seed: int) -> Model:
    """A model with random weights from the seed. torch's global generator is left unchanged."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Model(spec)

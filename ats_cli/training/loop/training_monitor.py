"""Warnings about a training that is stuck: each is given once, with the settings to change."""

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ats_cli.records import ModelSpec

AT_CHANCE = 0.97  # a loss above this share of the loss by chance is at chance
FEW_POSITIONS = 1.5  # fewer effective positions: attention has collapsed
EVERYWHERE = 0.9  # a larger share of the positions: attention is uniform


@dataclass
class TrainingMonitor:
    """Checks the means over the last window of steps: a twentieth of the training, at least ten.

    A loss at chance and a uniform attention are reported only after a third of the steps and two windows of training
    the attention: before, both are normal. A collapsed attention is reported at any time. `baseline_loss`: that of a
    model that knows only how frequent the labels are. `reported`: the sentences given so far, by kind.
    """

    spec: ModelSpec
    baseline_loss: float
    recent: deque[tuple[float, float, float]] = field(default_factory=deque)
    reported: dict[str, str] = field(default_factory=dict)

    def add_step(self, step: int, loss: float, effective: float, evenness: float) -> list[str]:
        """Add the figures of `step`, means over its slides, and return the sentences that are due.

        `loss`: without the entropy term. `effective`: effective positions; `evenness`: their share of all positions.
        """
        recipe = self.spec.training
        window = max(10, recipe.steps // 20)
        self.recent.append((loss, effective, evenness))
        while len(self.recent) > window:
            self.recent.popleft()
        if len(self.recent) < window:
            return []
        loss, effective, evenness = np.mean(self.recent, axis=0).tolist()
        late = step >= max(recipe.steps / 3, recipe.freeze * recipe.steps + 2 * window)
        due = {
            "chance": late and loss > AT_CHANCE * self.baseline_loss,
            "one": effective < FEW_POSITIONS and evenness < EVERYWHERE,
            "everywhere": late and recipe.lr_attention > 0 and evenness > EVERYWHERE,
        }
        new = {
            name: self._sentence(name, step, window, loss, effective, evenness)
            for name, is_due in due.items()
            if is_due and name not in self.reported
        }
        self.reported |= new
        return list(new.values())

    def _sentence(self, name: str, step: int, window: int, loss: float, effective: float, evenness: float) -> str:
        recipe = self.spec.training
        over = f"over the last {window} steps"
        if name == "chance":
            classes = len(self.spec.classes)
            known = (
                f"ln {classes} = " if math.isclose(self.baseline_loss, math.log(max(classes, 1)), abs_tol=1e-3) else ""
            )
            return (
                f"step {step}: the loss is {loss:.3f} {over}, no better than chance ({known}{self.baseline_loss:.3f}). "
                "Check that the labels can be seen in single tiles at this scale; then train on crops "
                "(training.crop), with more --tiles, a content prior (attention.prior), or another --lr "
                f"(now {recipe.lr:g})."
            )
        if name == "one":
            return (
                f"step {step}: attention has collapsed: {effective:.1f} positions a slide {over}. Raise "
                f"training.entropy_weight (now {recipe.entropy_weight:g}) or training.freeze (now {recipe.freeze:g}), "
                "or lower training.lr_attention."
            )
        return (
            f"step {step}: attention is spread over all the slide ({evenness:.0%} of the positions {over}): tiles are "
            f"drawn anywhere. Lower training.entropy_weight (now {recipe.entropy_weight:g}), give a content prior "
            "(attention.prior), or more --tiles."
        )

    def state(self) -> dict[str, Any]:
        """The state as JSON values."""
        return {"recent": [list(row) for row in self.recent], "told": dict(self.reported)}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a `state()`."""
        self.recent = deque((a, b, c) for a, b, c in state["recent"])
        self.reported = dict(state["told"])

"""Never stuck silently: what a training shows that will not mend by itself is said, once, with what to change."""

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ats_cli.records import ModelSpec

# How near to the loss by chance is at chance; how few positions, or how large a share of them all, is a collapse.
AT_CHANCE, FEW_POSITIONS, EVERYWHERE = 0.97, 1.5, 0.9


@dataclass
class Watch:
    """Looks at the last `window` steps: a twentieth of the training, at least ten.

    At chance, and attention everywhere, are told once a training has had time to leave both: when the attention has
    learnt for two windows and a third of the steps are done. Attention on one position is told at any time.
    """

    spec: ModelSpec
    chance: float
    recent: deque[tuple[float, float, float]] = field(default_factory=deque)
    told: dict[str, str] = field(default_factory=dict)

    def see(self, step: int, loss: float, effective: float, evenness: float) -> list[str]:
        """Sentences that are due after `step`: its loss, without the entropy's part; over its slides, the mean of the
        effective positions, and of their share of all positions."""
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
            "chance": late and loss > AT_CHANCE * self.chance,
            "one": effective < FEW_POSITIONS and evenness < EVERYWHERE,
            "everywhere": late and recipe.lr_attention > 0 and evenness > EVERYWHERE,
        }
        new = {
            name: self._sentence(name, step, window, loss, effective, evenness)
            for name, is_due in due.items()
            if is_due and name not in self.told
        }
        self.told |= new
        return list(new.values())

    def _sentence(self, name: str, step: int, window: int, loss: float, effective: float, evenness: float) -> str:
        recipe = self.spec.training
        over = f"over the last {window} steps"
        if name == "chance":
            classes = len(self.spec.classes)
            known = f"ln {classes} = " if math.isclose(self.chance, math.log(max(classes, 1)), abs_tol=1e-3) else ""
            return (
                f"step {step}: the loss is {loss:.3f} {over}, no better than chance ({known}{self.chance:.3f}). "
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
        """What it has seen and said, as plain JSON values."""
        return {"recent": [list(row) for row in self.recent], "told": dict(self.told)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state()`."""
        self.recent = deque((a, b, c) for a, b, c in state["recent"])
        self.told = dict(state["told"])

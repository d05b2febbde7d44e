"""The [training] table of model.toml: how a model is trained. No torch, no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class WarmupSpec:
    """The warm-up before a training. `when`: "auto" with a frozen pretrained feature network, "always", "never".

    `tiles` of each slide are drawn anywhere and encoded once, of at most `slides` slides. Classifiers of their features
    are trained for `steps` steps at the learning rate `lr`, from `starts` random starts, of which the best is taken;
    then the attention network for `attention_steps`, at that of the training.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    when: Literal["auto", "always", "never"] = "auto"
    tiles: int = 256
    slides: int = 200
    steps: int = 600
    lr: float = 3e-4
    starts: int = 3
    attention_steps: int = 300


@dataclass(frozen=True)
class TrainingSpec:
    """How a model is trained (a recipe). `freeze` is the share of steps with the attention net frozen.

    `lr_attention`, `lr_features` and `lr_head` are factors on `lr`; a part with 0 stays as it is, to the bit.
    `balance`: "weights" counts every class alike in the loss, "draws" in the batches. `crop`: train on squares of so
    many pixels of the view, 0 for all of it. `patience`: stop after so many validations that are no better than the
    best, 0 for never. `second_draw`: the attention's gradient about a second draw, unbiased for every sampler, instead
    of about the mean of the draw. `stain_jitter`: strength of random mixtures of the stains. `copies`: with an
    attention network whose first part is frozen, augmented copies of each slide, encoded once. `validation_tiles`:
    drawn in a validation, 0 for as many as in training. `validation_slides`: in each validation but the last, 0 for
    all. `ungated_loss`: with a gate, the weight of the loss of the estimate without it, which keeps the attention from
    leaving its work to the gate.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    steps: int = 1000
    batch_size: int = 32
    lr: float = 2e-3
    weight_decay: float = 0.0
    freeze: float = 0.15
    entropy_weight: float = 1e-3
    second_draw: bool = False
    sampler: str = "systematic"
    flips: bool = False
    colour_jitter: float = 0.0
    stain_jitter: float = 0.0
    brightness_jitter: float = 0.0
    saturation_jitter: float = 0.0
    hue_jitter: float = 0.0
    copies: int = 6
    validate_every: int = 100
    validation_tiles: int = 0
    validation_slides: int = 100
    patience: int = 0
    lr_attention: float = 1.0
    lr_features: float = 1.0
    lr_head: float = 1.0
    balance: Literal["none", "weights", "draws"] = "none"
    crop: int = 0
    ungated_loss: float = 1.0
    warmup: WarmupSpec = WarmupSpec()

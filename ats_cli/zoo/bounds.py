"""Bounds of the numbers in model.toml. A damaged or hostile file is refused before a network is built from it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from ats_cli.errors import AtsError, ModelError
from ats_cli.records import ModelSpec
from ats_cli.registry import ATTENTION_NETWORKS, FEATURE_NETWORKS, SAMPLERS, TASKS

# Layers of an attention network, channels of a layer, pixels of a patch side: more than any model has, but few enough
# for memory.
MAX_LAYERS, MAX_CHANNELS, MAX_PIXELS = 16, 2048, 4096
MAX_TILES, MAX_CLASSES, MAX_STEPS = 10_000_000, 100_000, 1_000_000_000
MAX_STARTS = 100
MAX_STAIN_JITTER = 2.0  # beyond it no stain is left
_SCALE = (1e-4, 1e6)
_FACTOR = (1e-6, 1e6)

# Options of timm that fetch or load weights. model.toml must not set them.
_LOADS = ("pretrained", "checkpoint", "cache_dir")


def refuse_nonsense(spec: ModelSpec, where: str) -> None:
    """Raise ModelError for a number out of bounds, or for values that contradict each other."""
    for key, value, least, most in _positive(spec):
        if not value > 0:
            raise ModelError(f"{where}: {key} must be a number above 0, not {shown(value)}.")
        if not least <= value <= most:
            raise ModelError(f"{where}: {key} must be a number above 0, {least:g} to {most:g}, not {shown(value)}.")
    for key, value, most in _not_negative(spec):
        if not 0 <= value <= most or value == math.inf:
            up_to = "" if most == math.inf else f", at most {most:g}"
            raise ModelError(f"{where}: {key} must be 0 or more{up_to}, not {shown(value)}.")
    for key, value in _any_sign(spec):
        if not abs(value) <= _FACTOR[1]:
            raise ModelError(f"{where}: {key} must be between -1e6 and 1e6, not {shown(value)}.")
    if spec.training.sampler not in SAMPLERS:
        raise ModelError(f'{where}: training.sampler "{spec.training.sampler}" is not one of {", ".join(SAMPLERS)}.')
    try:
        TASKS.check(spec.task)
    except AtsError as error:
        raise ModelError(f"{where}: {error}") from error
    _refuse_unknown_networks(spec, where)
    colours = {"attention": spec.attention, "features": spec.features}
    for key, values in (
        (f"{table}.{key}", getattr(of, key)) for table, of in colours.items() for key in ("mean", "std")
    ):
        if len(values) not in (0, 3):
            raise ModelError(f"{where}: {key} must be three numbers, or none, not {len(values)}.")
    for key, channels in (("attention", spec.attention.channels), ("features", spec.features.channels)):
        if len(channels) > MAX_LAYERS:
            raise ModelError(f"{where}: {key}.channels are {len(channels)} layers, more than {MAX_LAYERS}.")
    if len(spec.classes) > MAX_CLASSES:
        raise ModelError(f"{where}: {len(spec.classes)} classes, more than {MAX_CLASSES}.")
    if len(set(spec.classes)) != len(spec.classes):
        raise ModelError(f"{where}: classes name the same class twice.")
    for key, option in spec.features.options.items():
        _refuse_option(key, option, where)


def _refuse_unknown_networks(spec: ModelSpec, where: str) -> None:
    try:
        ATTENTION_NETWORKS.check(spec.attention.net)
    except AtsError as error:
        raise ModelError(f"{where}: attention.net: {error}") from error
    try:
        FEATURE_NETWORKS.check(spec.features.net.partition(":")[0])
    except AtsError as error:
        raise ModelError(f"{where}: features.net: {error}") from error


def _positive(spec: ModelSpec) -> Iterator[tuple[str, float, float, float]]:
    """Yield key, value, minimum and maximum."""
    attention, features, training = spec.attention, spec.features, spec.training
    yield "attention.scale", attention.scale, *_SCALE
    yield "attention.stride", attention.stride, 1, MAX_PIXELS
    yield "attention.prior_saturation", attention.prior_saturation, *_FACTOR
    yield "features.scale", features.scale, *_SCALE
    yield "features.patch_size", features.patch_size, 1, MAX_PIXELS
    yield "tiles", spec.tiles, 1, MAX_TILES
    yield "head_scale", spec.head_scale, *_FACTOR
    for name in ("steps", "batch_size", "validate_every", "copies"):
        yield f"training.{name}", getattr(training, name), 1, MAX_STEPS
    yield "training.warmup.tiles", training.warmup.tiles, 2, MAX_TILES
    yield "training.warmup.slides", training.warmup.slides, 1, MAX_STEPS
    yield "training.warmup.starts", training.warmup.starts, 1, MAX_STARTS
    yield "attention.blocks", attention.blocks, 1, MAX_LAYERS
    for key, values in (("attention.std", attention.std), ("features.std", features.std), ("std", spec.std)):
        yield from ((f"{key}[{i}]", value, *_FACTOR) for i, value in enumerate(values))
    for key, channels in (("attention.channels", attention.channels), ("features.channels", features.channels)):
        yield from ((f"{key}[{i}]", value, 1, MAX_CHANNELS) for i, value in enumerate(channels))


def _not_negative(spec: ModelSpec) -> Iterator[tuple[str, float, float]]:
    """Yield key, value and maximum."""
    training = spec.training
    yield "background", spec.background, 255
    yield "features.hidden", spec.features.hidden, MAX_CHANNELS
    yield "head.gate", spec.head.gate, MAX_CHANNELS
    yield "training.freeze", training.freeze, 1
    yield "training.hue_jitter", training.hue_jitter, 0.5
    yield "training.patience", training.patience, MAX_STEPS
    yield "training.crop", training.crop, MAX_STEPS
    yield "training.validation_tiles", training.validation_tiles, MAX_TILES
    yield "training.validation_slides", training.validation_slides, MAX_STEPS
    yield "training.stain_jitter", training.stain_jitter, MAX_STAIN_JITTER
    yield "training.warmup.steps", training.warmup.steps, MAX_STEPS
    yield "training.warmup.attention_steps", training.warmup.attention_steps, MAX_STEPS
    yield "training.warmup.lr", training.warmup.lr, math.inf
    rates = ("lr", "weight_decay", "lr_attention", "lr_features", "lr_head")
    for name in (*rates, "colour_jitter", "brightness_jitter", "saturation_jitter", "ungated_loss"):
        yield f"training.{name}", getattr(training, name), math.inf


def _any_sign(spec: ModelSpec) -> Iterator[tuple[str, float]]:
    yield "attention.prior_strength", spec.attention.prior_strength
    yield "training.entropy_weight", spec.training.entropy_weight
    of_parts = (("attention.mean", spec.attention.mean), ("features.mean", spec.features.mean))
    for key, values in (*of_parts, ("mean", spec.mean)):
        yield from ((f"{key}[{i}]", value) for i, value in enumerate(values))


def _refuse_option(key: str, option: Any, where: str) -> None:
    if key.startswith(_LOADS):
        raise ModelError(f"{where}: features.options.{key}: weights come from the model folder only. Delete this key.")
    for value in option if isinstance(option, list | tuple) else [option]:
        if not isinstance(value, str | int | float):
            raise ModelError(
                f"{where}: features.options.{key} must be a number, a text, true or false, or a list of these."
            )
        if not isinstance(value, str) and not abs(value) <= _FACTOR[1]:
            raise ModelError(f"{where}: features.options.{key} must be between -1e6 and 1e6, not {shown(value)}.")


def shown(value: object) -> str:
    """Return a value of model.toml as text for a message."""
    try:
        return f"{value}"[:80]
    except ValueError:  # an integer of thousands of digits
        return "a number of thousands of digits"

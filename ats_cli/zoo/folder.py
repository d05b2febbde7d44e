"""What is in a model folder, and whether it makes sense. Reads model.toml; no torch."""

import difflib
import hashlib
import math
import tomllib
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import TypeAdapter, ValidationError

from ats_cli.records import SCHEMA_VERSION, AttentionSpec, FeatureSpec, ModelError, ModelSpec, TrainingSpec
from ats_cli.registry import SAMPLERS

SPEC_FILE = "model.toml"
WEIGHTS_FILE = "weights.safetensors"
TABLES = {"attention": AttentionSpec, "features": FeatureSpec, "training": TrainingSpec}


@dataclass(frozen=True)
class ModelFolder:
    """A model folder as found on disk. Without weights it is a recipe: something to train."""

    path: Path
    spec: ModelSpec
    hash: str
    chosen_because: str = ""

    @property
    def has_weights(self) -> bool:
        return (self.path / WEIGHTS_FILE).is_file()


def read_folder(path: Path, chosen_because: str = "") -> ModelFolder:
    """Read and check a model folder. Raises ModelError with a sentence that names file and key."""
    file = path / SPEC_FILE
    if not file.is_file():
        raise ModelError(f"{path}: no {SPEC_FILE} in this folder. A model is a folder that `ats train` wrote.")
    try:
        text = file.read_text(encoding="utf-8")
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{file}: not valid TOML ({error}). Mend the file, or take it from a good copy.") from error
    return ModelFolder(path, parse_spec(table, str(file)), _hash(path), chosen_because)


def parse_spec(table: dict[str, Any], where: str) -> ModelSpec:
    """A model.toml's table as a ModelSpec. Raises ModelError; an unknown key is named with the nearest known one."""
    _refuse_unknown_keys(table, ModelSpec, where)
    for name, kind in TABLES.items():
        if isinstance(table.get(name), dict):
            _refuse_unknown_keys(table[name], kind, f"{where}: [{name}]")
    if table.get("schema_version", SCHEMA_VERSION) != SCHEMA_VERSION:
        raise ModelError(
            f"{where}: schema_version {table['schema_version']} is not one this ats reads "
            f"({SCHEMA_VERSION}). Update ats."
        )
    try:
        spec = TypeAdapter(ModelSpec).validate_python(table)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ModelError(f"{where}: {key}: {first['msg']}. Mend this key; docs/models.md lists them all.") from error
    _refuse_nonsense(spec, where)
    return spec


def write_spec(spec: ModelSpec, path: Path) -> None:
    """Write model.toml. What is empty is left out."""
    path.write_text(tomli_w.dumps(_without_empty(asdict(spec))), encoding="utf-8")


def _without_empty(table: dict[str, Any]) -> dict[str, Any]:
    full = {key: _without_empty(value) if isinstance(value, dict) else value for key, value in table.items()}
    return {key: value for key, value in full.items() if value not in ("", (), {})}


def _refuse_unknown_keys(table: dict[str, Any], kind: type, where: str) -> None:
    assert is_dataclass(kind)
    known = [f.name for f in fields(kind)]
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f'did you mean "{near[0]}"?' if near else f"known keys: {', '.join(known)}."
            raise ModelError(f'{where}: unknown key "{key}"; {hint}')


def _refuse_nonsense(spec: ModelSpec, where: str) -> None:
    positive = {
        "attention.scale": spec.attention.scale,
        "attention.stride": spec.attention.stride,
        "attention.prior_saturation": spec.attention.prior_saturation,
        "features.scale": spec.features.scale,
        "features.patch_size": spec.features.patch_size,
        "tiles": spec.tiles,
        "head_scale": spec.head_scale,
        "training.steps": spec.training.steps,
        "training.batch_size": spec.training.batch_size,
        "training.validate_every": spec.training.validate_every,
        **{f"features.std[{i}]": value for i, value in enumerate(spec.features.std)},
        **{f"std[{i}]": value for i, value in enumerate(spec.std)},
        **{f"attention.channels[{i}]": value for i, value in enumerate(spec.attention.channels)},
        **{f"features.channels[{i}]": value for i, value in enumerate(spec.features.channels)},
    }
    for key, value in positive.items():
        if not (value > 0 and math.isfinite(value)):
            raise ModelError(f"{where}: {key} must be a number above 0, not {value}.")
    bounds = {
        "background": (spec.background, 255),
        "training.lr": (spec.training.lr, math.inf),
        "training.weight_decay": (spec.training.weight_decay, math.inf),
        "training.freeze": (spec.training.freeze, 1),
        **{
            f"training.{key}": (getattr(spec.training, key), 0.5 if key == "hue_jitter" else math.inf)
            for key in (
                "colour_jitter",
                "brightness_jitter",
                "saturation_jitter",
                "hue_jitter",
                "lr_attention",
                "lr_features",
                "lr_head",
                "crop",
            )
        },
    }
    for key, (value, most) in bounds.items():
        if not 0 <= value <= most or math.isinf(value):
            raise ModelError(
                f"{where}: {key} must be 0 or more{'' if most == math.inf else f', at most {most}'}, not {value}."
            )
    if spec.training.sampler not in SAMPLERS:
        raise ModelError(f'{where}: training.sampler "{spec.training.sampler}" is not one of {", ".join(SAMPLERS)}.')
    for key, values in (("mean", spec.features.mean), ("std", spec.features.std)):
        if len(values) not in (0, 3):
            raise ModelError(f"{where}: features.{key} must be three numbers, or none, not {len(values)}.")
    if len(set(spec.classes)) != len(spec.classes):
        raise ModelError(f"{where}: classes name the same class twice.")


def _hash(path: Path) -> str:
    """What makes the model answer as it does: sha256 over model.toml and the weights, the first 16 hex digits."""
    digest = hashlib.sha256((path / SPEC_FILE).read_bytes())
    weights = path / WEIGHTS_FILE
    if weights.is_file():
        with weights.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:16]

"""Read and validate a model folder's model.toml. No torch."""

import difflib
import hashlib
import os
import tomllib
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import TypeAdapter, ValidationError

from ats_cli.errors import ModelError
from ats_cli.records import SCHEMA_VERSION, AttentionSpec, FeatureSpec, HeadSpec, ModelSpec, TrainingSpec, WarmupSpec
from ats_cli.spec_table import spec_table
from ats_cli.text import printable
from ats_cli.zoo.bounds import refuse_nonsense, shown

SPEC_FILE = "model.toml"
WEIGHTS_FILE = "weights.safetensors"
DATA_FILE = "data.json"
"""What a training understood of its slides, in numbers."""
MODEL_FILES = (
    SPEC_FILE, WEIGHTS_FILE, "familiarity.safetensors", "SHA256SUMS", "README.md", "metrics.json", "calibration.json",
    "data.json",
)  # fmt: skip
"""The files of a model folder that ats reads."""
MAX_BYTES = 1 << 20  # of model.toml
MULTILINE = ("description", "notice")  # texts that may have several lines
TABLES = {
    ("attention",): AttentionSpec,
    ("features",): FeatureSpec,
    ("head",): HeadSpec,
    ("training",): TrainingSpec,
    ("training", "warmup"): WarmupSpec,
}
RETIRED = {"training": ("centred",)}
"""Keys of earlier versions that are read without effect."""


@dataclass(frozen=True)
class ModelFolder:
    """A model folder on disk. Without weights it is a recipe: a model to train. `path` of a recipe may be a file."""

    path: Path
    spec: ModelSpec
    hash: str
    chosen_because: str = ""

    @property
    def has_weights(self) -> bool:
        return (self.path / WEIGHTS_FILE).is_file()


def read_folder(path: Path, chosen_because: str = "") -> ModelFolder:
    """Read and check a model folder. Raises ModelError with a sentence that names file and key.

    Control characters are removed from its texts.
    """
    file = path / SPEC_FILE
    _refuse_links_out(path)
    if not file.is_file():
        raise ModelError(f"{path}: no {SPEC_FILE} in this folder. A model is a folder that `ats train` wrote.")
    return ModelFolder(path, parse_spec(_table(file), str(file)), _hash(path), chosen_because)


def read_recipe(file: Path, chosen_because: str = "") -> ModelFolder:
    """Read and check a recipe that is one file, of any name, in the format of model.toml; no weights belong to it.

    Raises ModelError with a sentence that names file and key.
    """
    spec = parse_spec(_table(file), str(file))
    return ModelFolder(file, spec, hashlib.sha256(file.read_bytes()).hexdigest()[:16], chosen_because)


def _table(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ModelError(f"{file}: larger than {MAX_BYTES:,} bytes. Take it from a good copy.")
        return tomllib.loads(content.decode("utf-8").replace("\r\n", "\n"))
    except OSError as error:
        raise ModelError(f"{file}: cannot be read ({error.strerror}). Check its access rights.") from error
    except RecursionError as error:
        raise ModelError(f"{file}: nested too deep. Fix the file, or take it from a good copy.") from error
    except ValueError as error:  # no TOML, no UTF-8, or a number of too many digits
        raise ModelError(f"{file}: not valid TOML ({error}). Fix the file, or take it from a good copy.") from error


def parse_spec(table: dict[str, Any], where: str) -> ModelSpec:
    """Return the table of a model.toml as a ModelSpec. Raises ModelError, which names the nearest known key."""
    try:
        table = _printable(table)
    except RecursionError as error:
        raise ModelError(f"{where}: nested too deep. Fix the file, or take it from a good copy.") from error
    _refuse_unknown_keys(table, ModelSpec, where)
    table = _without_retired(table)
    for names, kind in TABLES.items():
        inner: Any = table
        for name in names:
            inner = inner.get(name) if isinstance(inner, dict) else None
        if isinstance(inner, dict):
            _refuse_unknown_keys(inner, kind, f"{where}: [{'.'.join(names)}]")
    if table.get("schema_version", SCHEMA_VERSION) != SCHEMA_VERSION:
        raise ModelError(
            f"{where}: schema_version {shown(table['schema_version'])} is not one this ats reads "
            f"({SCHEMA_VERSION}). Update ats."
        )
    try:
        spec = TypeAdapter(ModelSpec).validate_python(table)
    except RecursionError as error:
        raise ModelError(f"{where}: nested too deep. Fix the file, or take it from a good copy.") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ModelError(f"{where}: {key}: {first['msg']}. Fix this key; docs/models.md lists them all.") from error
    refuse_nonsense(spec, where)
    return spec


def write_spec(spec: ModelSpec, path: Path) -> None:
    """Write model.toml without empty values."""
    path.write_text(tomli_w.dumps(_without_empty(spec_table(spec))), encoding="utf-8")


def _without_empty(table: dict[str, Any]) -> dict[str, Any]:
    full = {key: _without_empty(value) if isinstance(value, dict) else value for key, value in table.items()}
    return {key: value for key, value in full.items() if value not in ("", (), {})}


def _without_retired(table: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {key: value for key, value in inner.items() if key not in RETIRED.get(name, ())}
        if isinstance(inner, dict)
        else inner
        for name, inner in table.items()
    }


def _refuse_unknown_keys(table: dict[str, Any], kind: type, where: str) -> None:
    assert is_dataclass(kind)
    known = [f.name for f in fields(kind)]
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f'did you mean "{near[0]}"?' if near else f"known keys: {', '.join(known)}."
            raise ModelError(f'{where}: unknown key "{key}"; {hint}')


def _printable(value: Any, lines: bool = False) -> Any:
    """Return a value of model.toml without control characters in its texts."""
    if isinstance(value, str):
        return printable(value, lines)
    if isinstance(value, list | tuple):
        return type(value)(_printable(item) for item in value)
    if isinstance(value, dict):
        return {printable(key): _printable(item, key in MULTILINE) for key, item in value.items()}
    return value


def _refuse_links_out(folder: Path) -> None:
    """Raise ModelError if a file of a model is not a regular file, or is a link that leads out of its folder.

    Models fetched from the hub consist of links to the blobs beside their snapshots.
    """
    inside = [folder.resolve()]
    if inside[0].parent.name == "snapshots":
        inside.append(inside[0].parent.parent / "blobs")
    for file in (folder / name for name in MODEL_FILES):
        if file.is_symlink() and not any(Path(os.path.realpath(file)).is_relative_to(place) for place in inside):
            raise ModelError(f"{file}: a link that leads out of the model's folder. Copy the file itself there.")
        if file.exists() and not file.is_file():
            raise ModelError(f"{file}: not a file. Take the model from a good copy.")


def _hash(path: Path) -> str:
    """Return the first 16 hex digits of the sha256 over model.toml and the weights."""
    digest = hashlib.sha256((path / SPEC_FILE).read_bytes())
    weights = path / WEIGHTS_FILE
    if weights.is_file():
        with weights.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:16]

"""Find a model by name or by path. No torch."""

import os
from pathlib import Path

from ats_cli.records import ModelError
from ats_cli.zoo.default import default_model
from ats_cli.zoo.folder import SPEC_FILE, WEIGHTS_FILE, ModelFolder, read_folder
from ats_cli.zoo.hub import is_hub_name, pull

DEFAULT_MODEL = "colon-epithelium"
MODEL_VARIABLE = "ATS_MODEL"


def find_model(name: str | None = None) -> ModelFolder:
    """A model with weights, by folder, shipped name or hf://owner/name; without a name, the default.

    Raises ModelError when there is none, naming those that ship.
    """
    chosen, because = default_name() if name is None else (name, "named by --model")
    folder = find_recipe(chosen, because)
    if not folder.has_weights:
        raise ModelError(
            f"{folder.path}: no {WEIGHTS_FILE}: this is a recipe, not a model yet. "
            f"Train it: ats train DATA --recipe {folder.path} -o MODEL"
        )
    return folder


def default_name() -> tuple[str, str]:
    """The model that is used when none is named, and why: ATS_MODEL, else what `ats models default` was told, else the
    shipped demonstration."""
    if named := os.environ.get(MODEL_VARIABLE):
        return named, f"named by {MODEL_VARIABLE}"
    if kept := default_model():
        return kept, "named by `ats models default`"
    return DEFAULT_MODEL, f"the default, as neither --model nor {MODEL_VARIABLE} nor `ats models default` names one"


def find_recipe(name: str, chosen_because: str = "") -> ModelFolder:
    """A model folder, with or without weights, by path, shipped name or hf://owner/name."""
    if is_hub_name(name):
        return read_folder(pull(name), chosen_because)
    path = Path(name)
    if path.is_file() and path.name == SPEC_FILE:
        return read_folder(path.parent, chosen_because)
    # A folder of slides may happen to be called as a shipped model is: only a folder with a model in it comes first.
    shipped = shipped_folder() / name
    if os.sep not in name and (shipped / SPEC_FILE).is_file() and not (path / SPEC_FILE).is_file():
        return read_folder(shipped, chosen_because)
    if path.is_dir():
        return read_folder(path, chosen_because)
    raise ModelError(
        f"{name}: no such model folder, and no model of that name ships with ats. "
        f"Shipped: {', '.join(recipe_names()) or 'none'}."
    )


def model_names() -> list[str]:
    """Names of the shipped models that have weights, sorted."""
    return sorted(p.parent.name for p in shipped_folder().glob(f"*/{WEIGHTS_FILE}"))


def recipe_names() -> list[str]:
    """Names of everything that ships and can be trained, with weights or without, sorted."""
    return sorted(p.parent.name for p in shipped_folder().glob(f"*/{SPEC_FILE}"))


def shipped_folder() -> Path:
    """Where the shipped models lie: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).resolve().parents[1]
    beside = package.parent / "models"
    # The checkout is asked for first and by its project file: an unrelated folder called models proves nothing.
    if beside.is_dir() and (package.parent / "pyproject.toml").is_file():
        return beside
    return package / "_models"

"""Find a model by name or by path. No torch."""

import os
from pathlib import Path

from ats_cli.errors import ModelError
from ats_cli.paths import user_path
from ats_cli.zoo.default import default_model
from ats_cli.zoo.folder import SPEC_FILE, WEIGHTS_FILE, ModelFolder, read_folder, read_recipe
from ats_cli.zoo.hub import is_hub_name, pull

DEFAULT_MODEL = "colon-epithelium"
MODEL_VARIABLE = "ATS_MODEL"
RECIPE_SUFFIX = ".toml"


def find_model(name: str | None = None) -> ModelFolder:
    """Return a model with weights, by folder, shipped name or hf://owner/name; without a name, the default.

    Raises ModelError if there is none, and lists the shipped ones.
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
    """Return the default model and why it is: from ATS_MODEL, `ats models default`, or the shipped demonstration."""
    if named := os.environ.get(MODEL_VARIABLE):
        return named, f"named by {MODEL_VARIABLE}"
    if name := default_model():
        return name, "named by `ats models default`"
    return DEFAULT_MODEL, f"the default, as neither --model nor {MODEL_VARIABLE} nor `ats models default` names one"


def find_recipe(name: str, chosen_because: str = "") -> ModelFolder:
    """Return a model folder, with or without weights, by path, shipped name or hf://owner/name. Its path is absolute.

    A .toml file of any other name than model.toml is a recipe by itself, whatever else its folder holds. Raises
    ModelError if there is none.
    """
    if is_hub_name(name):
        return read_folder(pull(name), chosen_because)
    path = user_path(name).absolute()
    if path.is_file() and path.name == SPEC_FILE:
        return read_folder(path.parent, chosen_because)
    # A folder of slides may have the name of a shipped model: only a folder with a model in it takes precedence.
    shipped = shipped_folder() / name
    if os.sep not in name and (shipped / SPEC_FILE).is_file() and not (path / SPEC_FILE).is_file():
        return read_folder(shipped, chosen_because)
    if path.is_dir():
        return read_folder(path, chosen_because)
    if path.is_file():
        if path.suffix.lower() != RECIPE_SUFFIX:
            raise ModelError(f"{path}: not a recipe. A recipe is a {RECIPE_SUFFIX} file, or a folder with {SPEC_FILE}.")
        return read_recipe(path, chosen_because)
    if path.suffix.lower() == RECIPE_SUFFIX:
        raise ModelError(f"{path}: no such file. Check its name.")
    raise ModelError(
        f"{name}: no such model folder, and no model of that name ships with ats. "
        f"Shipped: {', '.join(recipe_names()) or 'none'}."
    )


def lasting_name(name: str, folder: ModelFolder) -> str:
    """Return what names `folder`, found by `name`, from any working directory.

    That is its real path, or the name itself of a shipped model and of one of the hub.
    """
    return name if is_hub_name(name) or folder.path.parent == shipped_folder() else str(folder.path.resolve())


def model_names() -> list[str]:
    """Return the names of the shipped models that have weights, sorted."""
    return sorted(p.parent.name for p in shipped_folder().glob(f"*/{WEIGHTS_FILE}"))


def recipe_names() -> list[str]:
    """Return the names of all shipped models and recipes, with weights or without, sorted."""
    return sorted(p.parent.name for p in shipped_folder().glob(f"*/{SPEC_FILE}"))


def shipped_folder() -> Path:
    """Return the folder of the shipped models: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).resolve().parents[1]
    beside = package.parent / "models"
    # A checkout is recognised by its project file: an unrelated folder may be called models too.
    if beside.is_dir() and (package.parent / "pyproject.toml").is_file():
        return beside
    return package / "_models"

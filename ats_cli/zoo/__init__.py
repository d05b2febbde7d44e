"""A model folder: model.toml, weights.safetensors, README.md, metrics.json. Read, write, verify, find by name.

Finding a model needs no torch, loading it does: `load` is imported when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ats_cli.zoo.find import find_model, model_names
from ats_cli.zoo.folder import ModelFolder, read_folder

if TYPE_CHECKING:
    from ats_cli.zoo.load import LoadedModel, load_model, save_model

__all__ = ["LoadedModel", "ModelFolder", "find_model", "load_model", "model_names", "read_folder", "save_model"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("ats_cli.zoo.load"), name)

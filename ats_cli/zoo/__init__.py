"""A model folder: model.toml, weights.safetensors, README.md, metrics.json. Read, write, verify, find by name."""

from ats_cli.zoo.find import find_model, model_names
from ats_cli.zoo.folder import ModelFolder, read_folder
from ats_cli.zoo.load import LoadedModel, load_model, save_model

__all__ = ["LoadedModel", "ModelFolder", "find_model", "load_model", "model_names", "read_folder", "save_model"]

"""Training: labelled slides in, a model folder out."""

from ats_cli.training.dataset.labelled import LabelledSlide, labelled_slides
from ats_cli.training.dataset.split import split_off
from ats_cli.training.folder import train_folder
from ats_cli.training.options import Callbacks, DataOptions, RecipeOptions, TrainOptions
from ats_cli.training.train import train_model

__all__ = [
    "Callbacks",
    "DataOptions",
    "LabelledSlide",
    "RecipeOptions",
    "TrainOptions",
    "labelled_slides",
    "split_off",
    "train_folder",
    "train_model",
]

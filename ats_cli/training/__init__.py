"""Labelled folder -> model folder."""

from ats_cli.training.data import LabelledSlide, labelled_slides
from ats_cli.training.folder import train_folder
from ats_cli.training.split import split_off
from ats_cli.training.train import train_model

__all__ = ["LabelledSlide", "labelled_slides", "split_off", "train_folder", "train_model"]

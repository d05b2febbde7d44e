"""What is written: one line of --json, tables for people, heatmaps, run folders."""

from ats_cli.results.record import prediction_dict
from ats_cli.results.table import print_predictions

__all__ = ["prediction_dict", "print_predictions"]

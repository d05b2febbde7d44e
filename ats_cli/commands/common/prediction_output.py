"""The predictions of a run on stdout: a line of JSON each as it finishes, or one table at the end."""

from __future__ import annotations

from collections.abc import Sequence

from ats_cli.commands.common.messages import answer
from ats_cli.commands.common.streams import console
from ats_cli.records import Prediction


class PredictionOutput:
    """Prints predictions. `order`: the slides' ids in the order of the table."""

    def __init__(self, as_json: bool, order: Sequence[str]) -> None:
        self._as_json, self._order = as_json, order
        self._predictions: dict[str, Prediction] = {}

    def add(self, prediction: Prediction, is_new: bool = True) -> None:
        if self._as_json:
            from ats_cli.results.record import json_line, prediction_dict

            answer(json_line(prediction_dict(prediction)))
        else:
            from ats_cli.results.run.slide_files import without_tiles

            self._predictions[prediction.slide_id] = without_tiles(prediction)

    def end(self) -> None:
        """Print the table."""
        if self._predictions:
            from ats_cli.results.table import print_predictions

            print_predictions(console(), [self._predictions[i] for i in self._order if i in self._predictions])

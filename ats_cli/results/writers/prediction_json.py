"""prediction.json: the record of a slide, as `--json` prints it. A slide is done when it has this file."""

from __future__ import annotations

from pathlib import Path

from ats_cli.records import Need, Prediction
from ats_cli.results.files import json_bytes
from ats_cli.results.record import finite_json, prediction_dict, prediction_from

RECORD = "prediction.json"


class PredictionJson:
    name, summary = RECORD, "the record of the slide, as --json prints it"
    option = ""
    needs: tuple[Need, ...] = ()

    def write(self, path: Path, prediction: Prediction) -> None:
        path.write_bytes(json_bytes(prediction_dict(prediction)))


WRITER = PredictionJson()


def read_record(folder: Path) -> Prediction | None:
    """Return the prediction in a slide's folder, or None if there is no valid record."""
    try:
        return prediction_from(finite_json((folder / RECORD).read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None

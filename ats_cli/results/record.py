"""The record that `--json` prints: a Prediction as plain JSON values. Keys are stable; new ones may be added."""

from __future__ import annotations

import json
import math
from typing import Any

from ats_cli.records import SCHEMA_VERSION, Prediction
from ats_cli.registry import TASKS
from ats_cli.results.columns import COLUMNS, PARTS
from ats_cli.text import json_text


def prediction_dict(prediction: Prediction) -> dict[str, Any]:
    """Return a prediction as JSON-ready values.

    Values per class are objects keyed by class name. What does not apply, or is no finite number, is None.
    `se`, `logits_se` and `se_kind` are None for draws whose sampling error is unknown.
    """
    return {"schema_version": SCHEMA_VERSION} | {column.name: column.encode(prediction) for column in COLUMNS}


def prediction_from(record: dict[str, Any]) -> Prediction:
    """Return the prediction of a record, without its tiles. A key that older records lack has its default.

    Raises KeyError, TypeError, ValueError or AttributeError if it is no record of a prediction.
    """
    if unknown := record.keys() - {"schema_version", *(column.name for column in COLUMNS)}:
        raise ValueError(f"unknown key {min(unknown)}")
    if record["schema_version"] != SCHEMA_VERSION:
        raise ValueError("of another version")
    values: dict[str, dict[str, Any]] = {"": {}, **{part: {} for part in PARTS}}
    for column in COLUMNS:
        if column.name in record:
            values[column.part][column.name] = column.decode(record[column.name], record["classes"])
    parts: dict[str, Any] = {name: part(**values[name]) for name, part in PARTS.items()}
    prediction = Prediction(**values[""], **parts)
    if prediction.task not in TASKS:
        raise ValueError(f"unknown task {prediction.task}")
    if prediction.status == "ok" and not _has_answer(prediction):
        raise ValueError("no answer")
    return prediction


def _has_answer(p: Prediction) -> bool:
    """Whether the answer of the prediction's task is there, in finite numbers."""
    answer = getattr(p, TASKS[p.task].answer_fields[0])
    numbers = answer if isinstance(answer, tuple) else (answer,)
    return bool(numbers) and all(number is not None and math.isfinite(number) for number in numbers)


def finite_json(data: bytes) -> Any:
    """Return the value of a JSON document. ValueError for what is none, nests too deep, or has numbers that are not
    finite."""

    def number(text: str) -> float:
        if math.isfinite(value := float(text)):
            return value
        raise ValueError(f"{text} is not a finite number")

    try:
        return json.loads(data, parse_float=number, parse_constant=number)
    except RecursionError:
        raise ValueError("nested too deep") from None


def json_line(record: dict[str, Any]) -> str:
    """Return a record as one line of JSON, without the newline. ValueError where a number is not finite."""
    return json_text(json.dumps(record, ensure_ascii=False, allow_nan=False))

"""The record that `--json` prints: a Prediction as plain JSON values. Keys are stable; new ones may be added."""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import cache
from typing import Any, get_args

from ats_cli.errors import Failure
from ats_cli.records import Fingerprint, Prediction
from ats_cli.registry import TASKS
from ats_cli.results.columns import COLUMNS
from ats_cli.text import json_text


def prediction_dict(prediction: Prediction) -> dict[str, Any]:
    """Return a prediction as JSON-ready values.

    Values per class are objects keyed by class name. What does not apply, or is no finite number, is None.
    `se`, `logits_se` and `se_kind` are None for draws whose sampling error is unknown.
    """
    return {column.name: column.codec.encode(prediction, column.name) for column in COLUMNS}


def prediction_from(record: dict[str, Any]) -> Prediction:
    """Return the prediction of a record, without its tiles.

    Raises KeyError, TypeError, ValueError or AttributeError if it is no record of a prediction.
    """
    if unknown := record.keys() - {column.name for column in COLUMNS}:
        raise ValueError(f"unknown key {min(unknown)}")
    arguments: dict[str, Any] = {}
    for column in COLUMNS:
        arguments |= column.codec.decode(record, column.name)
    prediction = Prediction(**arguments)
    _check(prediction)
    return prediction


_TYPES: dict[str, Callable[[Any], bool]] = {
    "None": lambda value: value is None,
    "str": lambda value: isinstance(value, str),
    "bool": lambda value: isinstance(value, bool),
    "int": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "float": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "Failure": lambda value: isinstance(value, str) and value in get_args(Failure),
    "dict[str, float]": lambda value: (
        isinstance(value, dict) and all(one is None or _is_number(one) for one in value.values())
    ),
    "tuple[str, ...]": lambda value: isinstance(value, tuple) and all(isinstance(name, str) for name in value),
    "tuple[float, ...]": lambda value: isinstance(value, tuple) and all(map(_is_number, value)),
    "tuple[DrawnTile, ...]": lambda value: value == (),
    "Fingerprint": lambda value: isinstance(value, Fingerprint) and all(isinstance(part, str) for part in value),
}
"""By the annotation of a field, whether a value is of its type."""


def _check(p: Prediction) -> None:
    """Raise ValueError where a field is not of its type, or an answer is not whole."""
    for name, type_ in ((field.name, str(field.type)) for field in fields(p)):
        if not any(_is_a(kind, getattr(p, name)) for kind in type_.split(" | ")):
            raise ValueError(f"{name} is not of type {type_}")
    if p.task not in TASKS:
        raise ValueError(f"unknown task {p.task}")
    answer = getattr(p, TASKS[p.task].answer_fields[0])
    numbers = (answer if isinstance(answer, tuple) else (answer,)) or (None,)
    if p.status == "ok" and not all(number is not None and math.isfinite(number) for number in numbers):
        raise ValueError("no answer")


def _is_a(kind: str, value: Any) -> bool:
    if kind.startswith("Literal["):
        return isinstance(value, str) and value in _literals(kind)
    return kind in _TYPES and _TYPES[kind](value)


@cache
def _literals(kind: str) -> Sequence[str]:
    """The values of `Literal['a', 'b']`."""
    found: list[str] = ast.literal_eval(kind.removeprefix("Literal"))
    return found


def _is_number(value: Any) -> bool:
    return _TYPES["float"](value)


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

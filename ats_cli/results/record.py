"""The record that `--json` prints: a Prediction as plain JSON values. Keys are stable; new ones may be added."""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import cache
from typing import Any, get_args

from ats_cli.records import SCHEMA_VERSION, Failure, Fingerprint, Prediction
from ats_cli.text import json_text


def prediction_dict(prediction: Prediction) -> dict[str, Any]:
    """Return a prediction as JSON-ready values.

    Values per class are objects keyed by class name. What does not apply, or is no finite number, is None.
    `se`, `logits_se` and `se_kind` are None for draws that cannot say their sampling error.
    """
    p = prediction
    model = None if p.model_name is None else {"name": p.model_name, "hash": p.model_hash}
    return {
        "schema_version": SCHEMA_VERSION,
        "slide_id": p.slide_id,
        "path": p.path,
        "status": p.status,
        "error": p.error,
        "failure": p.failure,
        "predicted": p.predicted,
        "classes": list(p.classes),
        "probabilities": _by_class(p.classes, p.probabilities),
        "se": _by_class(p.classes, p.se),
        "logits": _by_class(p.classes, p.logits),
        "logits_se": _by_class(p.classes, p.logits_se),
        "se_kind": p.se_kind,
        "tiles": p.tiles,
        "positions": p.positions,
        "attention_mass": _finite(p.attention_mass),
        "effective_positions": _finite(p.effective_positions),
        "tiles_unreadable": p.tiles_unreadable,
        "mass_unreadable": _finite(p.mass_unreadable),
        "sampler": p.sampler,
        "seed": p.seed,
        "settled": p.settled,
        "bytes_read": p.bytes_read,
        "bytes_view": p.bytes_view,
        "bytes_total": p.bytes_total,
        "mpp": _finite(p.mpp),
        "mpp_source": p.mpp_source,
        "reader": p.reader,
        "fingerprint": None if p.fingerprint is None else p.fingerprint._asdict(),
        "precision": p.precision,
        "seconds": None if p.seconds is None else {key: _finite(value) for key, value in p.seconds.items()},
        "unfamiliar": p.unfamiliar,
        "unfamiliar_score": _finite(p.unfamiliar_score),
        "unfamiliar_to": p.unfamiliar_to,
        "model": model,
        "task": p.task,
        "value": _finite(p.value),
        "se_value": _finite(p.se_value),
    }


def prediction_from(record: dict[str, Any]) -> Prediction:
    """Return the prediction that a record was made of, without its tiles.

    KeyError, TypeError, ValueError or AttributeError where it is no such record.
    """
    if record["schema_version"] != SCHEMA_VERSION:
        raise ValueError("of another version")
    classes = tuple(record["classes"])
    per_class: dict[str, Any] = {
        name: _values(classes, record[name]) for name in ("probabilities", "se", "logits", "logits_se")
    }
    model = {"name": None, "hash": None} if record["model"] is None else record["model"]
    mark = record.get("fingerprint")
    not_fields = ("schema_version", "model", "classes", "fingerprint", *per_class)
    plain: dict[str, Any] = {name: value for name, value in record.items() if name not in not_fields}
    prediction = Prediction(
        classes=classes,
        **per_class,
        **plain,
        model_name=model["name"],
        model_hash=model["hash"],
        fingerprint=None if mark is None else Fingerprint(**mark),
    )
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
    answer = (p.value,) if p.task == "regression" else p.probabilities
    if p.status == "ok" and not all(value is not None and math.isfinite(value) for value in answer or (None,)):
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


def _by_class(classes: tuple[str, ...], values: tuple[float, ...] | None) -> dict[str, float | None] | None:
    if values is None:
        return None
    return {name: _finite(value) for name, value in zip(classes, values, strict=True)}


def _values(classes: tuple[str, ...], by_class: dict[str, float | None] | None) -> tuple[float, ...] | None:
    if by_class is None:
        return None
    return tuple(math.nan if (value := by_class[name]) is None else value for name in classes)


def _finite(value: float | None) -> float | None:
    """Return a plain float, or None for what JSON has no number for (NaN, infinities)."""
    return float(value) if value is not None and math.isfinite(value) else None

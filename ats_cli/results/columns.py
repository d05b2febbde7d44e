"""The columns of a prediction: keys of its JSON record, headings of predictions.csv. A new one is a line of COLUMNS."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ats_cli.records import SCHEMA_VERSION, Fingerprint, Prediction
from ats_cli.registry import TASKS

Record = Mapping[str, Any]


class Codec(NamedTuple):
    """How a column is written to JSON and read back.

    encode: (prediction, key) -> the JSON value.
    decode: (record, key) -> keyword arguments of Prediction.
    """

    encode: Callable[[Prediction, str], Any]
    decode: Callable[[Record, str], dict[str, Any]]


@dataclass(frozen=True)
class Column:
    """One column.

    name: the key in JSON, and the heading in predictions.csv.
    codec: how its value is written to JSON and read back.
    csv_place: a number that orders the columns of predictions.csv; None if the column is in JSON only.
    csv_heading: the heading in predictions.csv if it differs; of a column per class, what precedes the class.
    """

    name: str
    codec: Codec
    csv_place: int | None = None
    csv_heading: str = ""


def finite(value: float | None) -> float | None:
    """Return a plain float, or None for what JSON has no number for (NaN, infinities)."""
    return float(value) if value is not None and math.isfinite(value) else None


def _optional(record: Record, key: str) -> dict[str, Any]:
    """Return the value of a key that older records may lack."""
    return {key: record[key]} if key in record else {}


def _encode_classes(prediction: Prediction, key: str) -> dict[str, float | None] | None:
    values = getattr(prediction, key)
    if values is None:
        return None
    return {name: finite(value) for name, value in zip(prediction.classes, values, strict=True)}


def _decode_classes(record: Record, key: str) -> dict[str, Any]:
    by_class = record[key]
    if by_class is None:
        return {key: None}
    return {key: tuple(math.nan if (value := by_class[name]) is None else value for name in record["classes"])}


def _encode_seconds(prediction: Prediction, key: str) -> dict[str, float | None] | None:
    seconds = prediction.seconds
    return None if seconds is None else {stage: finite(value) for stage, value in seconds.items()}


def _encode_fingerprint(prediction: Prediction, key: str) -> dict[str, str] | None:
    return None if prediction.fingerprint is None else prediction.fingerprint._asdict()


def _decode_fingerprint(record: Record, key: str) -> dict[str, Any]:
    value = record.get(key)
    return {key: None if value is None else Fingerprint(**value)}


def _encode_model(prediction: Prediction, key: str) -> dict[str, str | None] | None:
    return None if prediction.model_name is None else {"name": prediction.model_name, "hash": prediction.model_hash}


def _decode_model(record: Record, key: str) -> dict[str, Any]:
    model = {"name": None, "hash": None} if record[key] is None else record[key]
    return {"model_name": model["name"], "model_hash": model["hash"]}


def _decode_version(record: Record, key: str) -> dict[str, Any]:
    if record[key] != SCHEMA_VERSION:
        raise ValueError("of another version")
    return {}


VERSION = Codec(lambda prediction, key: SCHEMA_VERSION, _decode_version)
PLAIN = Codec(getattr, _optional)
NUMBER = Codec(lambda prediction, key: finite(getattr(prediction, key)), _optional)
NAMES = Codec(lambda prediction, key: list(getattr(prediction, key)), lambda record, key: {key: tuple(record[key])})
PER_CLASS = Codec(_encode_classes, _decode_classes)
SECONDS = Codec(_encode_seconds, _optional)
FINGERPRINT = Codec(_encode_fingerprint, _decode_fingerprint)
MODEL = Codec(_encode_model, _decode_model)

# In the order of the JSON record. The column `name` of predictions.csv holds the attribute `name` of a prediction.
COLUMNS = (
    Column("schema_version", VERSION),
    Column("slide_id", PLAIN, 10),
    Column("path", PLAIN, 20),
    Column("status", PLAIN, 30),
    Column("error", PLAIN, 200),
    Column("failure", PLAIN),
    Column("predicted", PLAIN, 40),
    Column("classes", NAMES),
    Column("probabilities", PER_CLASS, 50, "prob"),
    Column("se", PER_CLASS, 60, "se"),
    Column("logits", PER_CLASS),
    Column("logits_se", PER_CLASS),
    Column("se_kind", PLAIN, 70),
    Column("tiles", PLAIN, 80),
    Column("positions", PLAIN, 90),
    Column("attention_mass", NUMBER, 100),
    Column("effective_positions", NUMBER, 110),
    Column("tiles_unreadable", PLAIN, 120),
    Column("mass_unreadable", NUMBER),
    Column("sampler", PLAIN),
    Column("seed", PLAIN),
    Column("settled", PLAIN),
    Column("bytes_read", PLAIN, 130),
    Column("bytes_view", PLAIN),
    Column("bytes_total", PLAIN),
    Column("mpp", NUMBER, 150),
    Column("mpp_source", PLAIN, 160),
    Column("reader", PLAIN),
    Column("fingerprint", FINGERPRINT),
    Column("precision", PLAIN, 170),
    Column("seconds", SECONDS, 140),
    Column("unfamiliar", PLAIN, 180),
    Column("unfamiliar_score", NUMBER, 190),
    Column("unfamiliar_to", PLAIN),
    Column("model", MODEL),
    Column("task", PLAIN),
    Column("value", NUMBER, 51),
    Column("se_value", NUMBER, 61),
)
ANSWERS = ("probabilities", "value", "se", "se_value")  # of which a task has some, `Task.answer_fields`
CSV_COLUMNS = sorted((column for column in COLUMNS if column.csv_place is not None), key=lambda c: c.csv_place or 0)


def csv_columns(task: str) -> list[Column]:
    """Return the columns of predictions.csv for a task."""
    return [c for c in CSV_COLUMNS if c.name not in ANSWERS or c.name in TASKS[task].answer_fields]


def answer_columns(task: str) -> list[Column]:
    """Return the columns of predictions.csv that hold the answer of a task: values and standard errors."""
    return [column for column in csv_columns(task) if column.name in ANSWERS]


def headings(column: Column, classes: tuple[str, ...]) -> list[str]:
    """Return the headings of a column in predictions.csv: one, or one per class."""
    if column.codec is PER_CLASS:
        return [f"{column.csv_heading}_{name}" for name in classes]
    return [column.name]


def cells(column: Column, prediction: Prediction, classes: int) -> list[Any]:
    """Return the cells of a column in predictions.csv. A value that does not apply is None."""
    value = getattr(prediction, column.name)
    if column.codec is PER_CLASS:
        return list(value or (None,) * classes)
    if column.codec is SECONDS:
        return [(value or {}).get("total")]
    return [value]

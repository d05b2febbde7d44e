"""The columns of a prediction: keys of its JSON record, headings of predictions.csv.

They are the fields of `Prediction` and of its parts: a new column is a new field (`ats_cli.prediction_parts`).
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, NamedTuple, get_args

from ats_cli.errors import Failure
from ats_cli.prediction_parts import ModelName
from ats_cli.records import Fingerprint, Prediction, RegionsUsed
from ats_cli.registry import TASKS

Names = tuple[str, ...]


def finite(value: float | None) -> float | None:
    """Return a plain float, or None for what JSON has no number for (NaN, infinities)."""
    return float(value) if value is not None and math.isfinite(value) else None


class Codec(NamedTuple):
    """How values of a type are written to JSON and read back. For None it is not asked.

    is_valid: whether a value that was read back is of the type.
    encode: (value, classes) -> the JSON value.
    decode: (JSON value, classes) -> the value.
    """

    is_valid: Callable[[Any], bool]
    encode: Callable[[Any, Names], Any] = lambda value, classes: value
    decode: Callable[[Any, Names], Any] = lambda value, classes: value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _one_of(names: Names) -> Codec:
    return Codec(lambda value: isinstance(value, str) and value in names)


def _all_text(value: tuple[Any, ...]) -> bool:
    return all(isinstance(part, str) for part in value)


def _is_regions(value: RegionsUsed) -> bool:
    of_right_type = isinstance(value.file, str) and isinstance(value.certain, bool)
    return of_right_type and value.origin in (None, "bounds", "level0") and isinstance(value.outside, int)


def _named_tuple(
    type_: type[Fingerprint] | type[ModelName] | type[RegionsUsed], is_valid: Callable[[Any], bool] = _all_text
) -> Codec:
    return Codec(
        is_valid,
        lambda value, classes: value._asdict(),
        lambda value, classes: type_(**value),
    )


PER_CLASS = Codec(
    lambda value: all(map(_is_number, value)),
    lambda value, classes: {name: finite(number) for name, number in zip(classes, value, strict=True)},
    lambda value, classes: tuple(math.nan if value[name] is None else value[name] for name in classes),
)
SECONDS = Codec(
    lambda value: isinstance(value, dict) and all(number is None or _is_number(number) for number in value.values()),
    lambda value, classes: {stage: finite(number) for stage, number in value.items()},
)
CODECS = {
    "str": Codec(lambda value: isinstance(value, str)),
    "bool": Codec(lambda value: isinstance(value, bool)),
    "int": Codec(lambda value: isinstance(value, int) and not isinstance(value, bool)),
    "float": Codec(_is_number, lambda value, classes: finite(value)),
    "dict[str, float]": SECONDS,
    "tuple[str, ...]": Codec(
        lambda value: isinstance(value, tuple) and all(isinstance(name, str) for name in value),
        lambda value, classes: list(value),
        lambda value, classes: tuple(value) if isinstance(value, list) else value,
    ),
    "tuple[int, ...]": Codec(
        lambda value: isinstance(value, tuple) and all(isinstance(number, int) for number in value),
        lambda value, classes: list(value),
        lambda value, classes: tuple(value) if isinstance(value, list) else value,
    ),
    "tuple[float, ...]": PER_CLASS,
    "Failure": _one_of(get_args(Failure)),
    "Fingerprint": _named_tuple(Fingerprint),
    "ModelName": _named_tuple(ModelName),
    "RegionsUsed": _named_tuple(RegionsUsed, _is_regions),
}
"""By the annotation of a field, apart from `Literal` and `| None`."""


def _codec(annotation: str) -> Codec:
    if annotation.startswith("Literal"):
        return _one_of(tuple(ast.literal_eval(annotation.removeprefix("Literal"))))
    return CODECS[annotation]


@dataclass(frozen=True)
class Column:
    """One column.

    name: the key in JSON, and the heading in predictions.csv. part: the field of Prediction that holds it; "" if it is
    a field itself. optional: whether it may be None.
    csv_place: orders the columns of predictions.csv; None if the column is in JSON only.
    csv_heading: of a column per class, what precedes the class.
    """

    name: str
    part: str
    codec: Codec
    optional: bool
    csv_place: int | None = None
    csv_heading: str = ""

    def value(self, prediction: Prediction) -> Any:
        """Return the value of a prediction."""
        return getattr(getattr(prediction, self.part) if self.part else prediction, self.name)

    def encode(self, prediction: Prediction) -> Any:
        """Return the JSON value of a prediction."""
        value = self.value(prediction)
        return None if value is None else self.codec.encode(value, prediction.classes)

    def decode(self, value: Any, classes: Names) -> Any:
        """Return the value of a JSON value. Raises ValueError, or another error of a wrong type, if it has none."""
        if value is None and self.optional:
            return None
        decoded = self.codec.decode(value, classes)
        if not self.codec.is_valid(decoded):
            raise ValueError(f"{self.name} is not of its type")
        return decoded


def _columns(of: Any, part: str = "") -> Iterator[Column]:
    """Yield the columns of a dataclass: those of a part where the part stands."""
    for field in fields(of):
        if is_dataclass(field.default_factory):
            yield from _columns(field.default_factory, field.name)
        elif field.metadata.get("written", True):
            annotation = str(field.type)
            codec = _codec(annotation.removesuffix(" | None"))
            yield Column(field.name, part, codec, annotation.endswith(" | None"), **field.metadata)


LAST = (
    "seconds", "unfamiliar", "unfamiliar_score", "unfamiliar_to", "model", "task", "value", "se_value", "low_value",
    "high_value",
)  # fmt: skip
"""Keys that stand last in the JSON record, in this order."""
COLUMNS = tuple(sorted(_columns(Prediction), key=lambda c: LAST.index(c.name) if c.name in LAST else -1))
"""In the order of the JSON record."""
PARTS: dict[str, Any] = {
    field.name: field.default_factory for field in fields(Prediction) if is_dataclass(field.default_factory)
}
ANSWERS = (
    "probabilities",
    "value",
    "se",
    "se_value",
    "low",
    "high",
    "low_value",
    "high_value",
)  # of which a task has some, `Task.answer_fields`
CSV_COLUMNS = sorted((column for column in COLUMNS if column.csv_place is not None), key=lambda c: c.csv_place or 0)


def csv_columns(task: str) -> list[Column]:
    """Return the columns of predictions.csv for a task."""
    return [c for c in CSV_COLUMNS if c.name not in ANSWERS or c.name in TASKS[task].answer_fields]


def answer_columns(task: str) -> list[Column]:
    """Return the columns of predictions.csv that hold the answer of a task: values and standard errors."""
    return [column for column in csv_columns(task) if column.name in ANSWERS]


def headings(column: Column, classes: Names) -> list[str]:
    """Return the headings of a column in predictions.csv: one, or one per class."""
    if column.codec is PER_CLASS:
        return [f"{column.csv_heading}_{name}" for name in classes]
    return [column.name]


def cells(column: Column, prediction: Prediction, classes: int) -> list[Any]:
    """Return the cells of a column in predictions.csv. A value that does not apply is None."""
    value = column.value(prediction)
    if column.codec is PER_CLASS:
        return list(value or (None,) * classes)
    if column.codec is SECONDS:
        return [(value or {}).get("total")]
    return [value]

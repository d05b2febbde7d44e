"""What was understood of labelled slides: counts only, no name and no path of a slide or a patient."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import mean
from textwrap import wrap
from typing import Any, NamedTuple

from ats_cli.slides.inputs.splits import SPLITS
from ats_cli.text import printable

LINES, COLUMNS = 15, 75
"""Of a terminal of 80 columns, with "ats: " before each line."""

LINES_OF_NOTES = 6


@dataclass(frozen=True)
class InputNotes:
    """What a table or a folder of labelled slides holds besides slides that are used.

    missing: column -> how many cells have no value. left_out: why -> how many slides or rows. duplicates: slides that
    are the same file as another and are not counted again. notes: sentences for the user.
    """

    missing: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    duplicates: int = 0
    notes: tuple[str, ...] = ()

    def without(self, why: str, count: int) -> InputNotes:
        """The same, with `count` more slides left out."""
        return replace(self, left_out={**self.left_out, why: self.left_out.get(why, 0) + count}) if count else self


class SummaryRow(NamedTuple):
    """What is counted of a slide. classes: several for multi-label. number: the label of a regression, or None."""

    part: str
    classes: Sequence[str]
    group: str = ""
    number: float | None = None


@dataclass(frozen=True)
class DataSummary:
    """Labelled slides in numbers.

    parts: part of the split -> slides. classes: class -> part -> slides, in the order of the model's classes.
    numbers: least, mean and largest label of a regression, or None. groups: how many; ungrouped: slides without one,
    each a group of its own. largest_group: slides of the largest group. without_tissue: slides that were left out since
    no tissue was found in them. folds: slides that each fold is judged on.
    """

    slides: int
    parts: Mapping[str, int]
    classes: Mapping[str, Mapping[str, int]]
    numbers: tuple[float, float, float] | None
    groups: int
    ungrouped: int
    largest_group: int
    without_tissue: int
    missing: Mapping[str, int]
    left_out: Mapping[str, int]
    duplicates: int
    notes: tuple[str, ...]
    folds: tuple[int, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready values: the content of data.json."""
        values = asdict(self)
        del values["notes"]  # sentences may name a path
        return {"schema_version": 1} | values

    def lines(self, limit: int | None = LINES) -> list[str]:
        """Lines of COLUMNS characters; at most `limit`, with classes and sentences beyond it counted."""
        above, below, notes = list(self._above()), list(self._below()), self._note_lines()
        shown = list(self.classes)
        if limit is not None:
            if len(notes) > LINES_OF_NOTES:
                notes = [*notes[: LINES_OF_NOTES - 1], "... --dry-run shows all of this"]
            room = limit - len(above) - len(below) - len(notes) - 1
            if len(shown) > room:
                # The rarest classes are those to be checked.
                rarest = sorted(shown, key=lambda name: sum(self.classes[name].values()))[: max(1, room - 1)]
                shown = [name for name in shown if name in set(rarest)]
        table = self._table(shown)
        if hidden := len(self.classes) - len(shown):
            table.append(f"  and {hidden} more classes, none of them rarer")
        return [*notes, *above, *table, *below]

    def _note_lines(self) -> list[str]:
        return [line for note in self.notes for line in wrap(printable(note), COLUMNS, subsequent_indent="  ")]

    def _above(self) -> Iterator[str]:
        parts = ", ".join(f"{count} {part}" for part, count in self.parts.items() if part)
        yield f"{self.slides} slides" + f": {parts}" * bool(parts)
        if self.numbers is not None:
            yield "labels from {:g} to {:g}, mean {:g}".format(*(self.numbers[i] for i in (0, 2, 1)))

    def _table(self, names: Sequence[str]) -> list[str]:
        """A line a class: slides in each part."""
        if not names:
            return []
        parts = [part for part in self.parts if len(self.parts) > 1 or part] or [""]
        heads = [part or "slides" for part in parts]
        widths = [max(len(head), 5) for head in heads]
        room = COLUMNS - 4 - sum(width + 2 for width in widths)
        written = {name: _cut(name, room) for name in names}
        first = max(len("class"), *map(len, written.values()))
        lines = [("class", heads), *((written[n], [str(self.classes[n].get(p, 0)) for p in parts]) for n in names)]
        return [
            f"  {name:<{first}}" + "".join(f"  {cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
            for name, cells in lines
        ]

    def _below(self) -> Iterator[str]:
        if self.groups:
            alone = f"; {self.ungrouped} slides without a group" * bool(self.ungrouped)
            largest = f"up to {self.largest_group} slides" if self.largest_group > 1 else "one slide each"
            yield f"{self.groups} groups of {largest}{alone}"
        if self.missing:
            cells = ", ".join(f"{count} {column}" for column, count in self.missing.items())
            yield _cut(f"cells without a value: {cells}", COLUMNS)
        if self.left_out:
            yield _cut("left out: " + ", ".join(f"{count} {why}" for why, count in self.left_out.items()), COLUMNS)
        if self.duplicates:
            yield f"same files, counted once: {self.duplicates}"
        if self.folds:
            few, most = min(self.folds), max(self.folds)
            yield f"{len(self.folds)} folds, judged on {few}{f' to {most}' * (most > few)} slides each"


def summarise(rows: Iterable[SummaryRow], classes: Sequence[str], notes: InputNotes, no_tissue: int = 0) -> DataSummary:
    """Count labelled slides. `classes`: all that are to be counted, also those of no slide; none for a regression."""
    every = list(rows)
    parts = Counter(row.part for row in every)
    counts: dict[str, Counter[str]] = {name: Counter() for name in classes}
    for row in every:
        for name in row.classes:
            counts.setdefault(name, Counter())[row.part] += 1
    groups = Counter(row.group for row in every if row.group)
    numbers = [row.number for row in every if row.number is not None]
    return DataSummary(
        slides=len(every),
        parts={part: parts[part] for part in sorted(parts, key=_order)},
        classes={name: dict(own) for name, own in counts.items()},
        numbers=(min(numbers), mean(numbers), max(numbers)) if numbers else None,
        groups=len(groups),
        ungrouped=sum(not row.group for row in every),
        largest_group=max(groups.values(), default=0),
        without_tissue=no_tissue,
        missing=dict(notes.missing),
        left_out=dict(notes.left_out),
        duplicates=notes.duplicates,
        notes=notes.notes,
    )


def _order(part: str) -> tuple[int, str]:
    return (SPLITS.index(part) if part in SPLITS else len(SPLITS), part)


def _cut(text: str, width: int) -> str:
    text = printable(text)
    return text if len(text) <= width else text[: width - 3] + "..."

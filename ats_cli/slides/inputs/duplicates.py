"""Each labelled slide once: one file under two names is an error if the names disagree, and else counts once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ats_cli.errors import AtsError
from ats_cli.slides.identity.same_slide import same_slides
from ats_cli.slides.inputs.data_summary import InputNotes
from ats_cli.slides.inputs.discovery import NAMED
from ats_cli.slides.remote.path import AnyPath


class Occurrence(NamedTuple):
    """A labelled slide. split, group: "" for none."""

    slide_id: str
    path: AnyPath
    label: str
    split: str = ""
    group: str = ""


@dataclass(frozen=True)
class Once:
    """The slides that remain. groups: number of the slide -> its group, in the order given."""

    groups: dict[int, str]
    notes: InputNotes


def each_once(found: Sequence[Occurrence], contents: Sequence[str], notes: InputNotes) -> Once:
    """Leave out slides that are the same file as another before them, by link, hard link or copy.

    `contents`: of their fingerprints. The first keeps the group of the others if it has none. Raises AtsError, naming
    both, for one file with two labels, in two parts of a split or of two groups.
    """
    groups = {number: slide.group for number, slide in enumerate(found)}
    again: list[tuple[int, int]] = []
    agree = same_slides([slide.path for slide in found], contents)
    for first, *others in agree.same:
        for other in others:
            _refuse_contradiction(found[first]._replace(group=groups[first]), found[other])
            groups[first] = groups[first] or groups.pop(other, "")
            groups.pop(other, None)
            again.append((other, first))
    said = [*notes.notes]
    if again:
        what = "slide is the same file as another" if len(again) == 1 else "slides are the same files as others"
        said.append(f"{len(again)} {what} of the same label, counted once: {_named(found, again)}.")
    alike = [(other, first) for first, *others in agree.alike for other in others]
    if alike:
        what = "slide agrees" if len(alike) == 1 else "slides agree"
        said.append(
            f"{len(alike)} {what} with another in size, head, middle and tail: {_named(found, alike)}. They are remote "
            "and were not compared whole: check that they are not one file."
        )
    return Once(groups, InputNotes(notes.missing, notes.left_out, notes.duplicates + len(again), tuple(said)))


def _refuse_contradiction(first: Occurrence, other: Occurrence) -> None:
    what = f"{other.path} is the same file as {first.path}, but"
    if other.label != first.label:
        raise AtsError(f"{what} has the label {other.label!r}, not {first.label!r}. Give a slide one label.")
    if other.split != first.split:
        parts = [f"in {split}" if split else "without a split" for split in (other.split, first.split)]
        raise AtsError(f"{what} is {parts[0]}, not {parts[1]}. Keep a slide in one part of the split.")
    if other.group and first.group and other.group != first.group:
        raise AtsError(f"{what} is of group {other.group}, not {first.group}. Correct one of them, or remove it.")


def _named(found: Sequence[Occurrence], pairs: Sequence[tuple[int, int]]) -> str:
    named = [f"{found[other].slide_id} (as {found[first].slide_id})" for other, first in pairs[:NAMED]]
    return ", ".join(named) + ", ..." * (len(pairs) > NAMED)

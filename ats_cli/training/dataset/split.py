"""Split slides into training and validation: every class on both sides, and no group on both sides."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ats_cli.errors import AtsError
from ats_cli.training.dataset.labelled import LabelledSlide
from ats_cli.training.dataset.stratify import deal, lacking

Slides = list[LabelledSlide]
Split = tuple[Slides, Slides]
"""(training, validation)."""

ClassNames = Callable[[str], list[str]]
"""The classes in a label, see `Task.class_names`; none if the label is a number."""


def one_class(label: str) -> list[str]:
    """A label that is one class."""
    return [label]


def split_off(slides: Slides, fraction: float, seed: int, class_names: ClassNames = one_class) -> Split:
    """The split of the table or the folder; if it has none, about `fraction` of each class is for validation.

    Slides of one group stay together; a slide without a group is a group of its own. Raises AtsError if a class would
    not be in both parts.
    """
    if not 0 <= fraction < 1:
        raise AtsError(f"--val {fraction}: not a fraction. Give a number from 0 to below 1, like --val 0.2.")
    train = [s for s in slides if s.split in ("", "train")]
    _check_trained(slides, train, class_names)
    validation = [s for s in slides if s.split == "val"]
    if validation:
        _check_validated(train, validation, class_names)
        return train, validation
    if fraction == 0:
        return train, []
    groups = _Groups(train, class_names)
    for name, number in groups.counts():
        if number < 2:
            what = f"class {name}" if name else "the training set"
            raise AtsError(
                f"{what} has {number} {groups.unit}: too few to keep some for validation. "
                "Add slides, or train with --val 0."
            )
    part = deal(groups.kinds, groups.members, 2, np.random.default_rng(seed), fraction)
    if missing := lacking(part, groups.members, 2):
        raise AtsError(
            f"no way was found to have class {groups.names[missing[0][1]]} in both training and validation: its slides "
            "share their groups with those of other rare classes. Add slides, or train with --val 0."
        )
    return groups.slides(part != 0), groups.slides(part == 0)


def folds(slides: Slides, count: int, seed: int, class_names: ClassNames = one_class) -> list[Split]:
    """`count` splits: every slide that is not for testing is in validation once, and no group is on both sides.

    Every fold has about its share of each class. Raises AtsError if a fold would lack a class.
    """
    if not count:
        return []
    usable = [s for s in slides if s.split != "test"]
    _check_trained(slides, usable, class_names)
    groups = _Groups(usable, class_names)
    for name, number in groups.counts():
        if number < count:
            what = f"class {name}" if name else "the data"
            raise AtsError(
                f"--folds {count}: {what} has {number} slides or groups, too few for a fold each. Use fewer."
            )
    part = deal(groups.kinds, groups.members, count, np.random.default_rng(seed))
    if missing := lacking(part, groups.members, count):
        raise AtsError(
            f"--folds {count}: no way was found to have class {groups.names[missing[0][1]]} in every fold: its slides "
            "share their groups with those of other rare classes. Use fewer folds, or add slides."
        )
    return [(groups.slides(part != number), groups.slides(part == number)) for number in range(count)]


class _Groups:
    """Slides by group. names: the classes. members: (groups, classes) bool, which group has slides of which class.

    kinds: of each group the number of the rarest of its classes, -1 without any.
    """

    def __init__(self, slides: Sequence[LabelledSlide], class_names: ClassNames) -> None:
        self._slides = slides
        numbers: dict[tuple[str, str], int] = {}
        self._group = np.array(
            [
                numbers.setdefault(("group", s.group) if s.group else ("slide", s.slide_id), len(numbers))
                for s in slides
            ],
            np.int64,
        )
        found = [class_names(s.label) for s in slides]
        self.names = sorted({name for names in found for name in names})
        column = {name: number for number, name in enumerate(self.names)}
        self.members = np.zeros((len(numbers), len(self.names)), bool)
        for group, names in zip(self._group, found, strict=True):
            self.members[group, [column[name] for name in names]] = True
        self.unit = "slide(s)" if len(numbers) == len(slides) else "group(s)"
        rarity = np.where(self.members, self.members.sum(0), len(numbers) + 1)
        self.kinds = np.where(self.members.any(1), rarity.argmin(1) if self.names else 0, -1)

    def counts(self) -> list[tuple[str, int]]:
        """How many groups each class is in; without classes, how many groups there are, as class ""."""
        if not self.names:
            return [("", len(self.members))]
        return list(zip(self.names, self.members.sum(0).tolist(), strict=True))

    def slides(self, wanted: NDArray[np.bool_]) -> Slides:
        """The slides of the groups for which `wanted`, (groups,) bool, is true."""
        return [slide for slide, group in zip(self._slides, self._group, strict=True) if wanted[group]]


def _check_trained(slides: Slides, train: Slides, class_names: ClassNames) -> None:
    for name in sorted(_classes(slides, class_names) - _classes(train, class_names)):
        raise AtsError(f"class {name} has no slide to train on: all are kept for validation or test. Add slides.")
    if not train:
        raise AtsError("there is no slide to train on: all are kept for validation or test. Add slides.")


def _check_validated(train: Slides, validation: Slides, class_names: ClassNames) -> None:
    for name in sorted(_classes(train, class_names) - _classes(validation, class_names)):
        raise AtsError(
            f"class {name} has no slide in the validation part of the split, so it would not be judged. Put one there, "
            "or have no part for validation: --val keeps a share of each class."
        )


def _classes(slides: Slides, class_names: ClassNames) -> set[str]:
    return {name for slide in slides for name in class_names(slide.label)}

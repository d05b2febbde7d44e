"""Split slides into training and validation: stratified by class, with no group on both sides."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ats_cli.errors import AtsError
from ats_cli.training.dataset.labelled import LabelledSlide

Slides = list[LabelledSlide]
Split = tuple[Slides, Slides]
"""(training, validation)."""


def split_off(slides: Slides, fraction: float, seed: int, stratify: bool = True) -> Split:
    """The split of the manifest; if it has none, `fraction` of each class, at least one slide, is for validation.

    Slides of one group stay together: a group counts as one, of its most frequent class. Without `stratify`, the
    classes are ignored. Raises AtsError when a class would have no slide to train on.
    """
    if not 0 <= fraction < 1:
        raise AtsError(f"--val {fraction}: not a fraction. Give a number from 0 to below 1, like --val 0.2.")
    train = [s for s in slides if s.split in ("", "train")]
    _check_trained(slides, train, stratify)
    if any(s.split == "val" for s in slides):
        return train, [s for s in slides if s.split == "val"]
    if fraction == 0:
        return train, []
    rng = np.random.default_rng(seed)
    units = _units(train)
    kinds = _kinds(train, units, stratify)
    validation: set[int] = set()
    for kind in sorted(set(kinds)):
        members = [i for i, own in enumerate(kinds) if own == kind]
        count = max(1, round(fraction * len(members)))
        if count >= len(members):
            what = f"class {kind}" if stratify else "the training set"
            unit_name = "slide(s)" if len(units) == len(train) else "group(s)"
            raise AtsError(
                f"{what} has {len(members)} {unit_name}: too few to keep some for validation. "
                "Add slides, or train with --val 0."
            )
        validation.update(i for unit in rng.choice(members, count, replace=False).tolist() for i in units[unit])
    rest = [s for i, s in enumerate(train) if i not in validation]
    _check_trained(train, rest, stratify)
    return rest, [s for i, s in enumerate(train) if i in validation]


def folds(slides: Slides, count: int, seed: int, stratify: bool = True) -> list[Split]:
    """`count` splits: every slide that is not for testing is in validation once, and no group is on both sides.

    Every fold has its share of each class. Raises AtsError if a class has fewer groups than folds.
    """
    if not count:
        return []
    usable = [s for s in slides if s.split != "test"]
    units = _units(usable)
    kinds = _kinds(usable, units, stratify)
    few = [(number, kind) for kind, number in sorted(Counter(kinds).items()) if number < count]
    if few:
        number, kind = few[0]
        what = f"class {kind}" if stratify else "the data"
        raise AtsError(f"--folds {count}: {what} has {number} slides or groups, too few for a fold each. Use fewer.")
    rng = np.random.default_rng(seed)
    fold = np.zeros(len(usable), np.int64)
    begin = 0
    for kind in sorted(set(kinds)):
        members = rng.permutation([i for i, own in enumerate(kinds) if own == kind])
        for place, unit in enumerate(members.tolist()):
            # Each class continues where the last one ended, so that the folds have the same size.
            fold[units[unit]] = (begin + place) % count
        begin += len(members)
    return [
        (
            [s for s, k in zip(usable, fold, strict=True) if k != number],
            [s for s, k in zip(usable, fold, strict=True) if k == number],
        )
        for number in range(count)
    ]


def _units(slides: Sequence[LabelledSlide]) -> list[list[int]]:
    """Numbers of the slides of each group, in the order of their first slides."""
    together: dict[tuple[str, str], list[int]] = {}
    for i, slide in enumerate(slides):
        together.setdefault(("group", slide.group) if slide.group else ("slide", slide.slide_id), []).append(i)
    return list(together.values())


def _kinds(slides: Sequence[LabelledSlide], units: list[list[int]], stratify: bool) -> list[str]:
    """The class of each unit: the most frequent one; of ties, the first by name."""
    if not stratify:
        return [""] * len(units)
    counts = [Counter(slides[i].label for i in unit) for unit in units]
    return [min(count, key=lambda label: (-count[label], label)) for count in counts]


def _check_trained(slides: Slides, train: Slides, stratify: bool) -> None:
    for label in sorted({s.label for s in slides} - {s.label for s in train} if stratify else set()):
        raise AtsError(f"class {label} has no slide to train on: all are kept for validation or test. Add slides.")
    if not train:
        raise AtsError("there is no slide to train on: all are kept for validation or test. Add slides.")

"""Which slides are learnt from and which are kept to see how well: stratified by class, no group on both sides."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ats_cli.records import AtsError
from ats_cli.training.data import LabelledSlide

Slides = list[LabelledSlide]


def split_off(slides: Slides, fraction: float, seed: int, stratify: bool = True) -> tuple[Slides, Slides]:
    """(train, validation). A manifest's own split is kept; else `fraction` of each class, at least one, is drawn.

    Slides of one group stay together: a group counts as one, of its most frequent class. Without `stratify` all are
    drawn from together. Raises AtsError when a class would have no slide to train on.
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
    held: set[int] = set()
    for kind in sorted(set(kinds)):
        members = [i for i, own in enumerate(kinds) if own == kind]
        many = max(1, round(fraction * len(members)))
        if many >= len(members):
            what = f"class {kind}" if stratify else "the training set"
            one = "slide(s)" if len(units) == len(train) else "group(s)"
            raise AtsError(
                f"{what} has {len(members)} {one}: too few to keep some for validation. "
                "Add slides, or train with --val 0."
            )
        held.update(i for unit in rng.choice(members, many, replace=False).tolist() for i in units[unit])
    kept = [s for i, s in enumerate(train) if i not in held]
    _check_trained(train, kept, stratify)
    return kept, [s for i, s in enumerate(train) if i in held]


def folds(slides: Slides, count: int, seed: int, stratify: bool = True) -> list[tuple[Slides, Slides]]:
    """`count` pairs (train, held out): every slide that is not for testing is held out once, and no group is on both
    sides. Every fold has its share of each class. Raises AtsError where a class has fewer groups than folds.
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
            # Each class goes on where the last one ended, so that folds are of one size.
            fold[units[unit]] = (begin + place) % count
        begin += len(members)
    return [
        (
            [s for s, k in zip(usable, fold, strict=True) if k != one],
            [s for s, k in zip(usable, fold, strict=True) if k == one],
        )
        for one in range(count)
    ]


def _units(slides: Sequence[LabelledSlide]) -> list[list[int]]:
    """Numbers of the slides that stay together, in the order of the first of each."""
    together: dict[tuple[str, str], list[int]] = {}
    for i, slide in enumerate(slides):
        together.setdefault(("group", slide.group) if slide.group else ("slide", slide.slide_id), []).append(i)
    return list(together.values())


def _kinds(slides: Sequence[LabelledSlide], units: list[list[int]], stratify: bool) -> list[str]:
    """The class of each unit: the most frequent, of equals the first."""
    if not stratify:
        return [""] * len(units)
    counts = [Counter(slides[i].label for i in unit) for unit in units]
    return [min(count, key=lambda label: (-count[label], label)) for count in counts]


def _check_trained(slides: Slides, train: Slides, stratify: bool) -> None:
    for label in sorted({s.label for s in slides} - {s.label for s in train} if stratify else set()):
        raise AtsError(f"class {label} has no slide to train on: all are kept for validation or test. Add slides.")
    if not train:
        raise AtsError("there is no slide to train on: all are kept for validation or test. Add slides.")

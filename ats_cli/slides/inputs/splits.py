"""The parts of a split, by the words that tables and folders have for them."""

from __future__ import annotations

import re

from ats_cli.slides.inputs.labels import plain

SPLITS = ("train", "val", "test")

_WORDS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val", "development": "val",
    "test": "test", "testing": "test", "holdout": "test", "hold-out": "test", "hold_out": "test", "held-out": "test",
}  # fmt: skip
_NAMES = re.compile(rf"({'|'.join(_WORDS)})(?:[ _.-]?(?:set|data|split|slides))?", re.IGNORECASE)


def split_of(written: str | None) -> str:
    """One of SPLITS in any case or by its common synonyms; another word as it is written; "" for an empty cell.

    >>> split_of("Train"), split_of("TESTING"), split_of(" valid "), split_of("fold 3"), split_of(None)
    ('train', 'test', 'val', 'fold 3', '')
    >>> split_of("test set"), split_of("train_data"), split_of("dev"), split_of("Hold-out"), split_of("tester")
    ('test', 'train', 'val', 'test', 'tester')
    """
    text = plain(written or "")
    found = _NAMES.fullmatch(text)
    return _WORDS[found[1].casefold()] if found else text


_FOLD = re.compile(r"(k?fold|cv|split|partition)[ _.-]?\d+", re.IGNORECASE)


def is_fold(name: str) -> bool:
    """Whether a folder is called like one fold of a cross-validation.

    >>> [is_fold(name) for name in ("fold1", "Fold_02", "cv-3", "folded", "fold")]
    [True, True, True, False, False]
    """
    return _FOLD.fullmatch(name.strip()) is not None

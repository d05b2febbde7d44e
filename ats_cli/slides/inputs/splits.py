"""Which part of the data a row belongs to: the words that tables have for training, validation and test."""

from __future__ import annotations

SPLITS = ("train", "val", "test")

_WORDS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip


def split_of(written: str | None) -> str:
    """One of SPLITS in any case or by its common synonyms; another word as it is written; "" for an empty cell.

    >>> split_of("Train"), split_of("TESTING"), split_of(" valid "), split_of("fold 3"), split_of(None)
    ('train', 'test', 'val', 'fold 3', '')
    """
    text = (written or "").strip()
    return _WORDS.get(text.casefold(), text)

"""What a training was begun with: training.json and split.csv. One that goes on must have the same."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ats_cli.records import AtsError
from ats_cli.results.files import csv_bytes, json_bytes, write_whole
from ats_cli.results.run_facts import facts, now
from ats_cli.training.data import LabelledSlide

SETTINGS_FILE, SPLIT_FILE = "training.json", "split.csv"


def write_settings(
    output: Path,
    settings: dict[str, Any],
    train: list[LabelledSlide],
    held: list[LabelledSlide],
    command: str,
    computation: dict[str, Any],
    tell: Callable[[str], None],
) -> None:
    """Write the settings, the split and the environment; those of a training that goes on must be the same.

    `computation`: what changes the last digits of the weights only. `tell` is given a sentence where that differs.
    """
    columns = ("slide_id", "split", "label", "group", "weight", "mpp", "roi", "path", "content")
    rows = [
        (s.slide_id, split, s.label, s.group, s.weight, s.mpp, s.roi, s.path, s.content)
        for split, slides in (("train", train), ("val", held))
        for s in slides
    ]
    split = csv_bytes([columns, *rows])
    if (output / SETTINGS_FILE).exists():
        before = json.loads((output / SETTINGS_FILE).read_text(encoding="utf-8"))
        settings_before = _flat(before["settings"])
        differ = [f"another {key}" for key, value in _flat(settings).items() if settings_before.get(key) != value]
        if (output / SPLIT_FILE).read_bytes() != split:
            replaced = _replaced(output / SPLIT_FILE, [*train, *held])
            differ += [f"another file as {replaced[0]}" if replaced else "other slides, or another split of them"]
        if differ:
            raise AtsError(
                f"{output}: this training was begun with {differ[0]}. Go on with the same call and --resume, or train "
                "into a new folder."
            )
        own = before["environment"].get("computation", computation)
        others = [f"{key} {own.get(key)}, now {value}" for key, value in computation.items() if own.get(key) != value]
        if others:
            tell(
                f"{output}: this training was begun with {'; '.join(others)}. Its weights will differ in their last "
                "digits from those of a training that is not interrupted."
            )
        return
    write_whole(output / SPLIT_FILE, split)
    environment = facts([], computation["device"]) | {"command": command, "computation": computation}
    content = {"started": now(), "settings": settings, "environment": environment}
    write_whole(output / SETTINGS_FILE, json_bytes(content, allow_nan=True))


def _replaced(file: Path, slides: list[LabelledSlide]) -> list[str]:
    """The ids of slides whose content is another than what split.csv says."""
    with file.open(newline="", encoding="utf-8") as stream:
        before = {row["slide_id"]: row.get("content") for row in csv.DictReader(stream)}
    return [s.slide_id for s in slides if before.get(s.slide_id, s.content) not in (s.content, None)]


def as_json(values: dict[str, Any]) -> dict[str, Any]:
    """As they are when read again: lists for tuples."""
    return dict(json.loads(json.dumps(values)))


def _flat(values: dict[str, Any], before: str = "") -> dict[str, Any]:
    """{"recipe": {"training": {"lr": 1}}} -> {"recipe.training.lr": 1}."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{before}{key}.") if isinstance(value, dict) else {before + key: value}
    return flat

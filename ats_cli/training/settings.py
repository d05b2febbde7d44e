"""The settings of a training, in training.json and split.csv. A resumed training must have the same."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ats_cli.errors import AtsError
from ats_cli.results.files import csv_bytes, json_bytes, write_whole
from ats_cli.results.run.provenance import facts, now
from ats_cli.slides import AnyPath
from ats_cli.training.dataset.split import Split
from ats_cli.training.loop.processes import TORCH_THREADS

OPTIONS = {
    **{name: f"--{name}" for name in ("seed", "precision", "init", "folds", "tiles", "task", "name")},
    **{f"training.{name}": f"--{name.replace('_', '-')}" for name in ("lr", "batch_size", "sampler", "balance")},
    **{f"training.{name}": f"--{name.replace('_', '-')}" for name in ("steps", "lr_features", "patience")},
    **{f"reading.{name}": f"--{name.replace('_', '-')}" for name in ("backend", "plane", "color_profile")},
    "regions.class": "--roi-class", "regions.origin": "--roi-origin", "regions.content": "regions of the hash",
    "features.net": "--features", "features.pretrained": "--pretrained", "attention.net": "--attention-net",
}  # fmt: skip
"""The options of `ats train` that settings come from."""

STEPS = "recipe.training.steps"
SETTINGS_FILE, SPLIT_FILE = "training.json", "split.csv"


def write_settings(
    output: Path,
    settings: dict[str, Any],
    split: Split,
    command: str,
    computation: dict[str, Any],
    on_message: Callable[[str], None],
) -> None:
    """Write settings, split and environment of a training into `output`, or check them against those of an earlier one.

    `computation`: settings that change only the last digits of the weights; `on_message` gets a sentence if they
    differ. Raises AtsError if another setting, or the split, differs.
    """
    columns = ("slide_id", "split", "label", "group", "weight", "mpp", "roi", "path", "content")
    rows = [
        (s.slide_id, name, s.label, s.group, s.weight, s.mpp, _absolute(s.roi), _absolute(s.path), s.content)
        for name, slides in zip(("train", "val"), split, strict=True)
        for s in slides
    ]
    table = csv_bytes([columns, *rows])
    if (output / SETTINGS_FILE).exists():
        _check_settings(output, settings, table, computation, on_message)
        return
    write_whole(output / SPLIT_FILE, table)
    environment = facts([], computation["device"]) | {"command": command, "computation": computation}
    content = {"started": now(), "settings": settings, "environment": environment}
    write_whole(output / SETTINGS_FILE, json_bytes(content, allow_nan=True))


def _check_settings(
    output: Path,
    settings: dict[str, Any],
    table: bytes,
    computation: dict[str, Any],
    on_message: Callable[[str], None],
) -> None:
    refuse_other_settings(output, settings)
    if difference := _split_difference((output / SPLIT_FILE).read_bytes(), table):
        raise AtsError(_begun(output, difference))
    own = _content(output)["environment"].get("computation", computation)
    others = [f"{key} {own.get(key)}, now {value}" for key, value in computation.items() if own.get(key) != value]
    if others:
        on_message(
            f"{output}: this training was started with {'; '.join(others)}. Its weights will differ in their last "
            "digits from those of a training without interruption."
        )


def refuse_other_settings(output: Path, settings: dict[str, Any], unknown: Sequence[str] = ()) -> None:
    """Raise AtsError if `output` has a training with other settings.

    `unknown`: names, like "recipe.training.steps", that are not compared.
    """
    if not (output / SETTINGS_FILE).exists():
        return
    before = _flat(_content(output)["settings"])
    for key, value in _flat(settings).items():
        if before.get(key) != value and key not in unknown:
            raise AtsError(_begun(output, f"{_said(key, before.get(key))}, not {_said(key, value)}"))


def _content(output: Path) -> dict[str, Any]:
    file = output / SETTINGS_FILE
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return {"settings": dict(content["settings"]), "environment": dict(content["environment"])}
    except (ValueError, KeyError, TypeError) as error:
        raise AtsError(f"{file}: not the settings of a training ({error}). Train into a new folder.") from error


def _begun(output: Path, difference: str) -> str:
    return (
        f"{output}: this training was started {difference}. Continue it with the same call and --resume, or train "
        "into a new folder."
    )


def threads_begun_with(output: Path) -> int | None:
    """Return the number of torch's threads when the training in `output` was started; None if unknown."""
    try:
        threads = json.loads((output / SETTINGS_FILE).read_text(encoding="utf-8"))["environment"]["computation"]
        return int(threads[TORCH_THREADS])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _said(key: str, value: Any) -> str:
    """Return "with --lr 0.1" or "without --folds", the setting named as its option, if it has one."""
    option = OPTIONS.get(key.removeprefix("recipe."), key)
    return f"without {option}" if value in (None, "") else f"with {option} {value}"


def _split_difference(before: bytes, table: bytes) -> str:
    """Return the difference of two versions of split.csv, if any, else "".

    A file with the same id and content is the same slide in any folder. A column `content` that `before` lacks is
    ignored.
    """
    if before == table:
        return ""
    old, new = (list(csv.DictReader(io.StringIO(content.decode("utf-8"), newline=""))) for content in (before, table))
    contents = {row["slide_id"]: row.get("content") for row in old}
    ignored = {"path"} if all(contents.values()) else {"path", "content"} if None in contents.values() else set()
    if _without(old, ignored) == _without(new, ignored):
        return ""
    for row in new:
        if contents.get(row["slide_id"], row["content"]) not in (row["content"], None):
            return f"with another file as {row['slide_id']}"
    return "with other slides, or another split of them (--val, or the table or folder of slides, differs)"


def _without(rows: list[dict[str, str]], ignored: set[str]) -> list[dict[str, str]]:
    return [{key: value for key, value in row.items() if key not in ignored} for row in rows]


def _absolute(path: AnyPath | None) -> AnyPath | None:
    """Return a path that means the same file in any working directory."""
    return path.absolute() if isinstance(path, Path) else path


def as_json(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values after a round trip through JSON: lists for tuples."""
    return dict(json.loads(json.dumps(values)))


def _flat(values: dict[str, Any], before: str = "") -> dict[str, Any]:
    """{"recipe": {"training": {"lr": 1}}} -> {"recipe.training.lr": 1}."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{before}{key}.") if isinstance(value, dict) else {before + key: value}
    return flat

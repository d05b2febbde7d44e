"""What was understood of labelled slides, shown before the work or instead of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ats_cli.commands.common.messages import answer, say
from ats_cli.text import json_text

if TYPE_CHECKING:
    from ats_cli.slides.inputs.data_summary import DataSummary


def say_summary(summary: DataSummary, quiet: bool) -> None:
    """Show it on stderr in at most 15 lines, unless `quiet`."""
    for line in () if quiet else summary.lines():
        say(line)


def answer_summary(summary: DataSummary, as_json: bool) -> None:
    """Print all of it on stdout, as the answer of a dry run; with `as_json` on one line."""
    if as_json:
        _answer_json(summary.as_dict() | {"notes": list(summary.notes)})
        return
    for line in summary.lines(None):
        answer(line)


def answer_model(folder: Path, as_json: bool) -> None:
    """Print the folder of a trained model on stdout; with `as_json` also what was understood of its slides."""
    if as_json:
        from ats_cli.zoo.folder import DATA_FILE

        _answer_json({"model": str(folder), "data": json.loads((folder / DATA_FILE).read_text(encoding="utf-8"))})
    else:
        answer(str(folder))


def _answer_json(value: Any) -> None:
    answer(json_text(json.dumps(value, ensure_ascii=False)))

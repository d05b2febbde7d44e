"""Verify a model folder: checksums, model.toml, shapes of the weights, and that all are finite."""

from __future__ import annotations

from pathlib import Path

from ats_cli.errors import ModelError
from ats_cli.zoo.folder import WEIGHTS_FILE, read_folder
from ats_cli.zoo.load import load_unlisted
from ats_cli.zoo.sums import SUMS_FILE, differing


def verify(folder: Path) -> list[str]:
    """Return the problems of a model folder, a sentence each; none if it is sound."""
    problems = [
        f"{folder / name}: not the file that {SUMS_FILE} lists. Fetch the model again, or train again."
        for name in differing(folder)
    ]
    try:
        found = read_folder(folder)
        if not found.has_weights:
            return [*problems, f"{folder}: no {WEIGHTS_FILE}: a recipe, not a model. Train it, or fetch it again."]
        load_unlisted(found)
    except ModelError as error:
        return [*problems, str(error)]
    return problems

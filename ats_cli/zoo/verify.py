"""Whether a model folder is whole: checksums, description, shapes of the weights, and that all are numbers."""

from __future__ import annotations

from pathlib import Path

import torch

from ats_cli.records import ModelError
from ats_cli.zoo.familiarity import FAMILIARITY_FILE, read_familiarity
from ats_cli.zoo.folder import WEIGHTS_FILE, read_folder
from ats_cli.zoo.load import fingerprint, load_model
from ats_cli.zoo.sums import SUMS_FILE, differing


def verify(folder: Path) -> list[str]:
    """What is wrong with a model folder, a sentence each; none when it is sound."""
    problems = [
        f"{folder / name}: not the file that {SUMS_FILE} lists. Fetch the model again, or train it anew."
        for name in differing(folder)
    ]
    try:
        found = read_folder(folder)
        if not found.has_weights:
            return [*problems, f"{folder}: no {WEIGHTS_FILE}: a recipe, not a model. Train it, or fetch it again."]
        state = load_model(found).nets.state_dict()
    except ModelError as error:
        return [*problems, str(error)]
    if (folder / FAMILIARITY_FILE).is_file() and read_familiarity(folder, fingerprint(state)) is None:
        problems.append(f"{folder / FAMILIARITY_FILE}: cannot be read, or is of other weights. Train the model anew.")
    for name, tensor in state.items():
        wrong = int((~torch.isfinite(tensor)).sum())
        if wrong:
            problems.append(f"{folder / WEIGHTS_FILE}: {wrong} of {name} are no numbers. Train the model anew.")
    return problems

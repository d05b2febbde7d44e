"""Load the networks of a model folder, and save them. Weights are safetensors: numbers, nothing executable."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save

from ats_cli.errors import ModelError
from ats_cli.nets.model import Model
from ats_cli.plain_options import check_device, check_precision
from ats_cli.records import ModelSpec
from ats_cli.zoo.find import find_model
from ats_cli.zoo.folder import SPEC_FILE, WEIGHTS_FILE, ModelFolder, write_spec
from ats_cli.zoo.out_of_distribution import (
    OUT_OF_DISTRIBUTION_FILE,
    OutOfDistribution,
    read_out_of_distribution,
)
from ats_cli.zoo.shipped_weights import with_shipped, without_shipped
from ats_cli.zoo.sums import SUMS_FILE, differing, write_sums

TERM_RANGE = "term_range"
"""`Model.term_range` in the file of the weights: no weight, but found with them."""
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class LoadedModel:
    """Networks ready to use, and the model folder that they are from.

    precision: what the feature network's backbone and the attention network, except its last layer, compute in.
    out_of_distribution: the distribution of the training slides, or None.
    computes_embedding: whether predictions hold the embedding that is compared with it.
    """

    nets: Model
    spec: ModelSpec
    hash: str
    device: torch.device
    precision: str = "fp32"
    out_of_distribution: OutOfDistribution | None = None
    computes_embedding: bool = False

    @property
    def name(self) -> str:
        return self.spec.name


def load_model(
    model: str | Path | ModelFolder | None = None, device: str = "cpu", precision: str = "fp32"
) -> LoadedModel:
    """Load a model by name, folder or None (the default), in eval mode. Raises ModelError with a sentence.

    `precision`, "fp32", "bf16" or "fp16", is what the feature net's backbone and the attention network, except its
    last layer, compute in; all else is in float32.
    A folder that does not match its SHA256SUMS is refused.
    """
    check_precision(precision, auto=False)
    check_device(device, auto=False)
    folder = model if isinstance(model, ModelFolder) else find_model(None if model is None else str(model))
    if changed := differing(folder.path):
        raise ModelError(
            f"{folder.path / changed[0]}: not the file that {SUMS_FILE} lists. Take the model from a good copy; if you "
            f"changed the file yourself, delete {SUMS_FILE}."
        )
    return load_unlisted(folder, device, precision)


def load_unlisted(folder: ModelFolder, device: str = "cpu", precision: str = "fp32") -> LoadedModel:
    """Load a model without comparing its checksums."""
    file = folder.path / WEIGHTS_FILE
    nets = _nets(folder)
    try:
        weights = load_file(file)
    except Exception as error:  # the reader of a damaged file raises errors of many types
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{file}: not a readable safetensors file ({reason}). Take it from a good copy.") from error
    for name, tensor in weights.items():
        wrong = int((~torch.isfinite(tensor)).sum()) if tensor.is_floating_point() else 0
        if wrong:
            raise ModelError(
                f"{file}: {wrong} values of {name} are NaN or infinite. Take it from a good copy, or train again."
            )
    weights = with_shipped(nets, weights, str(folder.path / SPEC_FILE))
    term_range = weights.pop(TERM_RANGE, None)
    kinds = {name: tensor.is_floating_point() for name, tensor in nets.state_dict().items()}
    try:
        if other := [name for name, tensor in weights.items() if kinds.get(name) == (not tensor.is_floating_point())]:
            raise RuntimeError(f"{other[0]} is of another type")
        nets.load_state_dict(weights)
        if term_range is not None and term_range.shape != nets.term_range.shape:
            raise RuntimeError(f"{TERM_RANGE} is of another shape")
    except RuntimeError as error:
        detail = str(error).splitlines()[-1].strip()
        raise ModelError(f"{file}: the weights do not fit model.toml ({detail}).") from error
    if term_range is None:  # a model of an earlier version
        nets.bound_terms()
    else:
        nets.term_range = term_range.float()
    torch_device = torch.device(device)
    nets = nets.eval().requires_grad_(False).to(torch_device)
    nets.features.backbone.to(DTYPES[precision])
    nets.attention.compute_in(DTYPES[precision])
    reference = read_out_of_distribution(folder.path, fingerprint(weights))
    return LoadedModel(nets, folder.spec, folder.hash, torch_device, precision, reference, reference is not None)


def _nets(folder: ModelFolder) -> Model:
    try:
        return Model(folder.spec)
    except (RuntimeError, MemoryError, TypeError, ValueError) as error:  # options that a network does not accept
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"{folder.path / SPEC_FILE}: its networks cannot be built ({reason}). Fix it, or take it from a good copy."
        ) from error


def fingerprint(weights: dict[str, torch.Tensor]) -> str:
    """Return a hash of the head's weights, 16 hex digits: it differs between trainings."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        if name.startswith("head."):
            digest.update(weights[name].detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def save_model(folder: Path, nets: Model, metrics: dict[str, Any], card: str) -> None:
    """Write the files of a model folder. Weights come last: a folder with weights lacks at most its checksums.

    Weights that ship with ats are left out where training did not change them: model.toml names them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in (SUMS_FILE, OUT_OF_DISTRIBUTION_FILE):  # they belong to the previous weights
        (folder / name).unlink(missing_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in nets.state_dict().items()}
    spec, tensors = without_shipped(nets, tensors)
    if nets.term_range.isnan().any():
        nets.bound_terms()
    tensors[TERM_RANGE] = nets.term_range.detach().cpu().contiguous()
    write_spec(spec, folder / SPEC_FILE)
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(card, encoding="utf-8")
    part = folder / (WEIGHTS_FILE + ".part")
    # Not save_file: only the owner could read its file.
    part.write_bytes(save(tensors))
    part.replace(folder / WEIGHTS_FILE)
    write_sums(folder)

"""Initial weights: of a timm model, from the hub or a local file, or of another model folder."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ats_cli.errors import ModelError
from ats_cli.nets.model import Model
from ats_cli.paths import user_path
from ats_cli.records import ModelSpec
from ats_cli.zoo.shipped_weights import fill_in

TIMM, HUB = "timm:", "hf-hub:"
HEADS = ("fc.", "head.", "classifier.", "head_dist.")


def resolved(spec: ModelSpec) -> ModelSpec:
    """The spec with its feature network's architecture written out: the trained model does not need the hub.

    `timm:hf-hub:owner/name` becomes timm's architecture with its options. With pretrained weights ("hub", or that
    name), mean and standard deviation of the colours are those of the network's configuration. Raises ModelError if the
    hub cannot be reached or has no such network.
    """
    features = spec.features
    if not features.net.startswith(TIMM):
        return spec
    name = features.net.removeprefix(TIMM)
    if name.startswith(HUB):
        config, architecture, options = _from_hub(name)
        net, given = TIMM + architecture, {**options, **features.options}
        features = replace(features, net=net, options=given, pretrained=features.pretrained or name)
    elif features.pretrained:
        import timm

        config = getattr(timm.get_pretrained_cfg(name), "__dict__", {})
    else:
        return spec
    if not features.mean and not features.std and config.get("mean"):
        features = replace(features, mean=tuple(config["mean"]), std=tuple(config["std"]))
    return replace(spec, features=features)


def lasting_weights(pretrained: str) -> str:
    """Return what names the same pretrained weights from any working directory: of a file its absolute path."""
    if pretrained in ("", "hub") or pretrained.startswith(HUB):
        return pretrained
    return str(user_path(pretrained).absolute())


def load_pretrained(nets: Model) -> None:
    """Load the weights that training begins with: those that ship with ats, and those that the feature network's spec
    names, without classification heads.

    `features.pretrained` is a local safetensors file, "hub" for timm's own weights, or `hf-hub:owner/name`. Raises
    ModelError if they cannot be read, do not fit, or are not finite.
    """
    fill_in(nets)
    spec = nets.spec.features
    if not spec.pretrained:
        return
    if spec.pretrained == "hub" or spec.pretrained.startswith(HUB):
        import timm

        name = spec.net.removeprefix(TIMM) if spec.pretrained == "hub" else spec.pretrained
        size = {"img_size": spec.patch_size} if hasattr(nets.features.backbone, "patch_embed") else {}
        try:
            theirs = timm.create_model(name, pretrained=True, num_classes=0, **{**size, **spec.options})
        except Exception as error:  # errors of the network and of the hub have no common class
            raise ModelError(_unreachable(name, error)) from error
        weights: dict[str, Tensor] = theirs.state_dict()
    else:
        weights = _from_file(user_path(spec.pretrained))
    _load(nets.features.backbone, weights, spec.pretrained)


def load_matching(nets: Model, others: nn.Module) -> list[str]:
    """Load the weights of `others` where name and shape match. Returns the names of the other tensors of `nets`."""
    theirs, ours = others.state_dict(), nets.state_dict()
    same = {name: t for name, t in theirs.items() if name in ours and ours[name].shape == t.shape}
    _refuse_not_finite(same, "--init")
    nets.load_state_dict(same, strict=False)
    return sorted(set(ours) - set(same))


def _from_hub(name: str) -> tuple[dict[str, Any], str, dict[str, Any]]:
    from timm.models import load_model_config_from_hf

    try:
        config, architecture, options = load_model_config_from_hf(name.removeprefix(HUB))
    except Exception as error:  # errors of the network and of the hub have no common class
        raise ModelError(_unreachable(name, error)) from error
    return dict(config), str(architecture), dict(options or {})


def _from_file(file: Path) -> dict[str, Tensor]:
    try:
        return dict(load_file(file))
    except FileNotFoundError as error:
        raise ModelError(f'features.pretrained: {file}: no such file. Give a safetensors file, or "hub".') from error
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"features.pretrained: {file}: not a readable safetensors file ({error}). Files that hold code are not "
            "loaded: convert it with safetensors.torch.save_file."
        ) from error


def _load(backbone: nn.Module, weights: dict[str, Tensor], where: str) -> None:
    _refuse_not_finite(weights, f"features.pretrained: {where}")
    try:
        missing, unknown = backbone.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        detail = str(error).splitlines()[-1].strip()
        raise ModelError(
            f"features.pretrained: {where}: its weights do not fit the feature network ({detail})."
        ) from error
    unknown = [name for name in unknown if not name.startswith(HEADS)]
    if missing or unknown:
        what = f"{missing[0]} is missing" if missing else f"{unknown[0]} is unknown to it"
        raise ModelError(f"features.pretrained: {where}: its weights are not of this feature network: {what}.")


def _refuse_not_finite(weights: dict[str, Tensor], where: str) -> None:
    """Raise ModelError if a weight is NaN or infinite."""
    for name, tensor in weights.items():
        if not bool(tensor.isfinite().all()):
            raise ModelError(f"{where}: {name} has NaN or infinite values. Take the weights from a good copy.")


def _unreachable(name: str, error: Exception) -> str:
    reason = " ".join(str(error).split())[:200]
    return (
        f"feature network {name}: could not be fetched from the hub ({type(error).__name__}: {reason}). Check the name "
        "and the connection, log in if its owners require it (hf auth login), or give its weights as a local file "
        "(features.pretrained)."
    )

"""Which device computes, and in which precision."""

import torch

from ats_cli.errors import AtsError
from ats_cli.nets.features import find_feature_network
from ats_cli.plain_options import check_device, check_precision
from ats_cli.records import FeatureSpec


def resolve_device(name: str = "auto") -> str:
    """Return a device for torch from "auto", "cpu", "cuda", "cuda:1" or "mps". Raises AtsError if it does not exist."""
    check_device(name)
    # Convolutions in TF32 would be faster, but the record says fp32.
    torch.backends.cudnn.allow_tf32 = False
    if name == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    kind, _, number = name.partition(":")
    if kind == "cuda" and not torch.cuda.is_available():
        raise AtsError(f"--device {name}: torch finds no CUDA device here. Use --device cpu.")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise AtsError(f"--device {name}: there are {torch.cuda.device_count()} CUDA devices, counted from 0.")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise AtsError(f"--device {name}: torch finds no Apple GPU here. Use --device cpu.")
    return name


def resolve_precision(name: str, device: str, net: FeatureSpec) -> str:
    """Return the precision of the networks, "fp32", "bf16" or "fp16", from one of them or "auto".

    It is that of the feature network's backbone and of the attention network's layers before the last.
    "auto" is bf16 for the feature networks that are faster in it, on a device that supports it natively. Raises
    AtsError for a precision that the device does not support.
    """
    check_precision(name)
    if name == "auto":
        supported = _native_bf16() if device == "cpu" else device.startswith("cuda") and torch.cuda.is_bf16_supported()
        return "bf16" if supported and find_feature_network(net)[0].bf16 else "fp32"
    if name == "fp16" and device == "cpu":
        raise AtsError("--precision fp16: is for a GPU. Use bf16 or fp32 on a processor.")
    return name


def _native_bf16() -> bool:
    """Whether the processor has instructions for bf16. Without them it is slower than fp32."""
    asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, name, lambda: False)()) for name in asked)

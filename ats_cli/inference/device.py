"""Which device computes."""

import torch

from ats_cli.records import AtsError


def resolve_device(name: str = "auto") -> str:
    """A device torch knows, from "auto", "cpu", "cuda", "cuda:1" or "mps". Raises AtsError when it is not there."""
    # Convolutions in TF32 would be faster, and the record, which says fp32, untrue.
    torch.backends.cudnn.allow_tf32 = False
    if name == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (number and not number.isdigit()):
        raise AtsError(f'--device {name}: not a device. Choose "auto", "cpu", "cuda", "cuda:1" or "mps".')
    if kind == "cuda" and not torch.cuda.is_available():
        raise AtsError(f"--device {name}: torch finds no CUDA device here. Use --device cpu.")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise AtsError(f"--device {name}: there are {torch.cuda.device_count()} CUDA devices, counted from 0.")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise AtsError(f"--device {name}: torch finds no Apple GPU here. Use --device cpu.")
    return name

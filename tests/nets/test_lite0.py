"""EfficientNet-Lite0: the features of timm's, and an attention network that is as local as it says."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from small import noise, small_spec, write_slide
from torch import Tensor

from ats_cli.errors import ModelError
from ats_cli.inference import attention_pass as passes
from ats_cli.inference.context import PredictionContext
from ats_cli.nets.attention import TrunkAttention
from ats_cli.nets.attention_crops import logits_at
from ats_cli.nets.efficientnet_lite import STAGES, Lite0, Lite0Trunk
from ats_cli.nets.model import Model, to_unit
from ats_cli.records import FeatureSpec, ModelSpec
from ats_cli.slides import open_slide
from ats_cli.zoo import LoadedModel
from ats_cli.zoo.shipped_weights import fill_in, shipped_weights

sys.path.insert(0, str(Path(__file__).parents[2]))  # the benchmarks are no part of the installed package

from benchmarks.convert_lite0 import folded


def timm_net() -> torch.nn.Module:
    """timm's, random, with running statistics that are not those of a fresh net."""
    torch.manual_seed(0)
    net = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.2)
            torch.nn.init.normal_(module.running_mean, std=0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    return net.eval()


@pytest.mark.integration
@pytest.mark.parametrize("shape", [(224, 224), (96, 160)])
def test_the_features_are_timm_s(shape: tuple[int, int]) -> None:
    theirs, ours = timm_net(), Lite0()
    ours.load_state_dict({name: tensor.float() for name, tensor in folded(theirs.state_dict()).items()})
    patches = torch.rand(2, 3, *shape) * 2 - 1
    with torch.inference_mode():
        expected = theirs.forward_head(theirs.forward_features(patches), pre_logits=True)
        found = ours.eval()(patches)
    assert (found - expected).norm() < 1e-5 * expected.norm()


def test_a_patch_of_any_size_has_features_and_a_map_of_its_cells() -> None:
    for stages, stride, channels in [(1, 2, 16), (2, 4, 24), (3, 8, 40), (4, 16, 80), (5, 16, 112), (7, 32, 320)]:
        trunk = Lite0Trunk(stages)
        assert (trunk.stride, trunk.channels) == (stride, channels) and stages <= len(STAGES)
        assert trunk(torch.rand(1, 3, 33, 50)).shape == (1, channels, -(-33 // stride), -(-50 // stride))


def spec_of(blocks: int = 3, stride: int = 16, prior: str = "dense", **features: object) -> ModelSpec:
    of_features = FeatureSpec(scale=1.0, patch_size=16, **{"channels": (4, 4, 4, 4), **features})  # type: ignore[arg-type]
    return small_spec({"net": "lite0", "blocks": blocks, "stride": stride, "prior": prior}, features=of_features)


def nets_of(blocks: int = 3, stride: int = 16, prior: str = "dense") -> Model:
    """The shipped trunk below a random head: a fresh head would hide what the trunk gives."""
    torch.manual_seed(1)
    nets = Model(spec_of(blocks, stride, prior))
    fill_in(nets)
    torch.nn.init.normal_(nets.attention.last.weight, std=0.4)
    return nets.eval()


def attention_of(nets: Model) -> TrunkAttention:
    assert isinstance(nets.attention, TrunkAttention)
    return nets.attention


CASES = [(1, 2, "none"), (2, 8, "bright"), (3, 8, "none"), (3, 24, "dense"), (4, 16, "dense")]


@pytest.mark.integration
@pytest.mark.parametrize(("blocks", "stride", "prior"), CASES)
def test_strips_at_every_boundary_and_crops_give_the_logits_of_the_whole(blocks: int, stride: int, prior: str) -> None:
    nets = nets_of(blocks, stride, prior)
    halo = nets.attention.halo
    rng = np.random.default_rng(blocks)
    height, width = (int(n) for n in 3 * halo + 5 * stride + rng.integers(1, stride + 1, 2) * np.array([1, 2]))
    view = torch.rand(1, 3, height, width)
    with torch.no_grad():
        whole = nets.attend(view)[0]
        rows, cols = -(-height // stride), -(-width // stride)
        assert whole.shape == (rows, cols) and whole.std() > 0.01
        for first in range(rows):
            top, last = max(0, first * stride - halo), min(rows, first + 2)
            strip = nets.attend(view[:, :, top : last * stride + halo])[0]
            assert (strip[first - top // stride :][: last - first] - whole[first:last]).abs().max() < 1e-4
    positions = np.array([0, cols - 1, rows * cols - 1, rows // 2 * cols + cols // 2, (rows - 2) * cols + 1])
    flat = whole.flatten()[torch.from_numpy(positions)]
    at = logits_at(nets.attend, view[0], positions, stride, halo)
    assert (at - flat).abs().max() < 1e-4


@pytest.mark.integration
@pytest.mark.parametrize(("blocks", "stride", "prior"), CASES)
def test_the_encoded_view_gives_the_same_logits_whole_and_in_crops(blocks: int, stride: int, prior: str) -> None:
    nets, view = nets_of(blocks, stride, prior), torch.rand(1, 3, 15 * stride + 3, 14 * stride + 1)
    attention = attention_of(nets)
    whole = nets.attend(view)[0]
    encoded = nets.encode_views(view)
    assert not encoded.requires_grad and encoded.dtype == torch.float32
    torch.testing.assert_close(nets.attend_encoded(encoded)[0], whole)
    positions = np.array([0, 14, 15 * 16 - 1, 7 * 15 + 7])
    assert 4 * (attention.cells + 2 * attention.score_halo) ** 2 < encoded[0, 0].numel(), "crops are taken"
    at = logits_at(nets.attend_encoded, encoded[0], positions, attention.cells, attention.score_halo)
    torch.testing.assert_close(at, whole.flatten()[torch.from_numpy(positions)], rtol=0, atol=1e-5)
    assert (nets.attend_encoded(encoded.half())[0] - whole).abs().max() < 0.02, "16 bits suffice to store it"


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_a_logit_depends_on_as_many_pixels_as_it_says_and_on_no_more(blocks: int) -> None:
    """By its gradient. The trunk has none, so that of a copy whose weights are all positive and whose values are within
    the linear part of ReLU6."""
    trunk = Lite0Trunk(blocks)
    for parameter in trunk.parameters():
        parameter.data.fill_(1e-3)
    cell, stride = 160 // trunk.stride, trunk.stride
    view = torch.full((1, 3, 400, 400), 0.1, requires_grad=True)
    trunk(view)[0, :, cell, cell].sum().backward()
    assert view.grad is not None
    touched = view.grad[0].abs().sum(0).double().nonzero()
    first, last = cell * stride - trunk.before, (cell + 1) * stride + trunk.beyond - 1
    assert touched.min() == first and touched.max() == last
    attention = Model(spec_of(blocks, stride)).attention
    assert attention.halo >= max(trunk.before, trunk.beyond) + stride > attention.halo - stride


@pytest.mark.parametrize("width", [161, 75])
def test_a_slide_read_in_strips_is_the_slide_read_whole(
    width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nets = nets_of(stride=8)
    pixels = noise(403, width)
    model = LoadedModel(nets, nets.spec, "0" * 16, torch.device("cpu"))
    with open_slide(write_slide(tmp_path / "slide.tif", pixels)) as slide:
        view = to_unit(torch.from_numpy(slide.read_view(4.0))[None])
        for strip in (1, 2000):
            monkeypatch.setattr(passes, "STRIP_PIXELS", strip)
            found = passes.AttentionPass(PredictionContext(slide, model, threads=2)).attention()[0].values
            with torch.no_grad():
                expected = nets.attend(view)[0].double().flatten().log_softmax(0).reshape(found.shape)
            assert found.shape[0] > 10 and np.abs(np.log(found) - expected.numpy()).max() < 1e-4


def test_nothing_trains_the_trunk() -> None:
    nets = nets_of()
    before = {name: tensor.clone() for name, tensor in nets.attention.state_dict().items()}
    nets.train().requires_grad_(True)
    optimiser = torch.optim.AdamW(nets.parameters(), lr=0.1, weight_decay=0.1)
    nets.attend(torch.rand(2, 3, 65, 70)).square().sum().backward()
    optimiser.step()
    changed = {name for name, tensor in nets.attention.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"hidden.weight", "hidden.bias", "last.weight", "last.bias"}


def test_an_untrained_network_attends_as_its_prior_says() -> None:
    nets = Model(spec_of(stride=8))
    view = torch.ones(1, 3, 64, 64)
    view[..., 16:32, 24:40] = 0.1
    with torch.no_grad():
        logits = nets.attend(view)[0]
    dark = torch.zeros(8, 8, dtype=torch.bool)
    dark[2:4, 3:5] = True
    assert logits[dark].min() > 2 and logits[4:, 6:].abs().max() < 0.1


def test_a_stride_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ModelError, match=r"attention\.stride must be a multiple of 16, .* not 24"):
        Model(spec_of(blocks=4, stride=24))


def test_views_and_patches_are_normalised_as_the_weights_want_it() -> None:
    nets = Model(spec_of(net="lite0"))
    for values in (nets.view_mean, nets.view_std, nets.patch_mean, nets.patch_std):
        assert values.flatten().tolist() == [0.5] * 3
    given = Model(spec_of(net="lite0", mean=(0.1, 0.2, 0.3)))
    assert given.patch_mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
    other = Model(small_spec(std=(0.3, 0.3, 0.3)))
    assert other.view_std.flatten().tolist() == other.patch_std.flatten().tolist() == pytest.approx([0.3] * 3)


def test_the_shipped_weights_tell_pictures_apart() -> None:
    """Random weights map all pictures to nearly the same features."""

    def likeness(net: Lite0) -> float:
        torch.manual_seed(0)
        x = torch.linspace(-3, 3, 64)
        pictures = torch.stack([torch.sin(x[:, None] * k + x * (k % 3)).expand(3, 64, 64) for k in (1, 4, 9, 16)])
        with torch.no_grad():
            features: Tensor = torch.nn.functional.normalize(net.eval()(pictures))
        return float((features @ features.T)[~torch.eye(4, dtype=torch.bool)].max())

    net = Lite0()
    net.load_state_dict(shipped_weights("lite0"))
    assert likeness(net) < 0.9


def test_features_end_in_a_trainable_layer_where_the_spec_says_so() -> None:
    nets = Model(spec_of(net="lite0", hidden=24))
    features = nets.embed(torch.rand(3, 3, 32, 32))
    assert features.shape == (3, 24) and nets.features.width == 24 and nets.head.in_features == 24
    torch.testing.assert_close(features.norm(dim=1), torch.ones(3))
    assert features.min() >= 0
    assert {"features.projection.weight", "features.projection.bias"} < nets.state_dict().keys()
    nets.features.backbone.to(torch.bfloat16)
    assert nets.embed(torch.rand(3, 3, 32, 32)).dtype == torch.float32

"""Our ResNets are timm's: the same weights, the same features."""

import pytest
import timm
import torch

from ats_cli.nets.feature_networks.resnet import LAYERS, ResNet
from ats_cli.nets.features import FeatureNet
from ats_cli.records import FeatureSpec


@pytest.mark.integration
@pytest.mark.parametrize("name", LAYERS)
def test_the_weights_are_named_and_shaped_as_timm_s(name: str) -> None:
    with torch.device("meta"):
        theirs = timm.create_model(name, pretrained=False, num_classes=0).state_dict()
        ours = ResNet(name).state_dict()
    assert {key: value.shape for key, value in ours.items()} == {key: value.shape for key, value in theirs.items()}


@pytest.mark.integration
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_the_features_are_timm_s(name: str) -> None:
    torch.manual_seed(0)
    theirs = timm.create_model(name, pretrained=False, num_classes=0)
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    theirs(torch.rand(4, 3, 64, 64))  # running statistics that are not those of a fresh net
    ours = FeatureNet(FeatureSpec(scale=1.0, patch_size=64, net=f"timm:{name}"))
    assert isinstance(ours.backbone, ResNet)
    ours.backbone.load_state_dict(theirs.state_dict())
    patches = torch.rand(3, 3, 70, 61)
    with torch.inference_mode():
        found = ours.eval()(patches)
        expected = torch.nn.functional.normalize(theirs.eval()(patches), dim=1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert ours.width == theirs.num_features

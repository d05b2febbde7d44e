"""The attention net is local: a strip with its halo, or a crop, gives the logits that the whole view gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from small import noise, random_model, random_nets, small_spec, write_slide

from ats_cli.inference import attention_pass as look
from ats_cli.inference.context import PredictionContext
from ats_cli.nets.model import to_unit
from ats_cli.slides import open_slide, tissue_mask
from ats_cli.tasks.multi_class import softmax

PRIORS = ("bright", "dense", "none")


@pytest.mark.integration
@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("channels", [(4, 4), (4,), ()])
@pytest.mark.parametrize("shape", [(41, 37), (30, 33)])
def test_strips_and_crops_give_the_logits_of_the_whole(
    prior: str, stride: int, channels: tuple[int, ...], shape: tuple[int, int]
) -> None:
    nets = random_nets(small_spec({"prior": prior, "stride": stride, "channels": channels}))
    view = torch.rand(1, 3, *shape)
    whole = nets.attend(view)[0]
    rows, cols = -(-shape[0] // stride), -(-shape[1] // stride)
    assert whole.shape == (rows, cols)
    halo = nets.attention.halo
    assert halo % stride == 0
    for first, last in [(0, 3), (2, 7), (rows - 4, rows), (rows - 1, rows)]:
        top, left = max(0, first * stride - halo), 0
        strip = nets.attend(view[:, :, top : last * stride + halo])[0]
        torch.testing.assert_close(strip[first - top // stride :][: last - first], whole[first:last], rtol=0, atol=1e-5)
        left = max(0, 5 * stride - halo)
        crop = nets.attend(view[:, :, top : last * stride + halo, left : 8 * stride + halo])[0]
        inside = crop[first - top // stride :, 5 - left // stride :][: last - first, :3]
        torch.testing.assert_close(inside, whole[first:last, 5:8], rtol=0, atol=1e-5)


@pytest.mark.integration
@pytest.mark.parametrize("tissue_only", [False, True])
@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize(("stride", "scale"), [(1, 4.0), (3, 2.7), (3, 4.0)])
def test_a_slide_seen_in_strips_is_the_slide_seen_whole(
    prior: str, stride: int, scale: float, tissue_only: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.full((203, 161, 3), 250, np.uint8)
    pixels[31:170, 22:101] = noise(139, 79)
    pixels[120:125] = 3  # never scanned
    model = random_model(
        small_spec({"prior": prior, "stride": stride, "scale": scale, "channels": (4, 4), "tissue_only": tissue_only})
    )
    with open_slide(write_slide(tmp_path / "slide.tif", pixels)) as slide:
        view = slide.read_view(scale)
        maps = []
        for strip in (1, 700, 10_000_000):
            monkeypatch.setattr(look, "STRIP_PIXELS", strip)
            attention_pass = look.AttentionPass(PredictionContext(slide, model, threads=2))
            maps.append(attention_pass.attention()[0])
    logits = model.nets.attend(to_unit(torch.from_numpy(view)[None])).double()
    allowed = np.ones(logits.shape[1:], bool)
    if tissue_only:
        allowed = attention_pass.geometry.positions_in(tissue_mask(view))
        assert 0 < allowed.sum() < allowed.size
    expected = softmax(np.where(allowed, logits[0].detach().numpy(), -np.inf).ravel()).reshape(allowed.shape)
    for found in maps:
        attention = found.values
        assert found.positions == allowed.sum()
        assert attention.sum() == pytest.approx(1, abs=1e-12)
        assert np.array_equal(attention > 0, allowed)
        assert np.abs(np.log(attention[allowed]) - np.log(expected[allowed])).max() < 1e-5

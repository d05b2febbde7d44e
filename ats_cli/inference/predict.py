"""One slide -> one Prediction: look, draw, read the drawn tiles, estimate."""

import time
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ats_cli.inference.look import look_at
from ats_cli.nets.model import to_unit
from ats_cli.records import DrawnTile, Prediction
from ats_cli.sampling import Draw, draw, slide_rng
from ats_cli.slides import Slide
from ats_cli.zoo import LoadedModel


def predict_slide(
    slide: Slide,
    model: LoadedModel,
    *,
    tiles: int | None = None,
    sampler: str = "systematic",
    seed: int = 0,
    batch_size: int = 32,
    threads: int = 4,
    slide_id: str | None = None,
) -> Prediction:
    """Classify a slide from `tiles` of its tiles (default: the model's budget).

    The same slide, seed and model give the same draw, whatever else is predicted beside it. Raises SlideError when
    the slide cannot be read, has no tissue, or lacks the microns per pixel that the model asks for.
    """
    clock = time.perf_counter()
    look = look_at(slide, model, threads)
    drawn = draw(look.attention, tiles or model.spec.tiles, sampler, slide_rng(seed, slide.path.name))
    boxes = look.geometry.boxes(drawn.positions, look.attention.shape[1])
    features, seconds = _features(slide, model, boxes, batch_size, threads)

    terms = model.nets.tile_terms(features).double().cpu().numpy()
    bias = model.nets.head.bias.double().cpu().numpy()
    shares = drawn.weights[:, None] * terms
    logits = shares.sum(0) + bias
    probabilities = softmax(logits)
    seconds = {**look.seconds, **seconds, "total": time.perf_counter() - clock}
    return Prediction(
        slide_id=slide_id or slide.path.stem,
        path=str(slide.path),
        status="ok",
        predicted=model.spec.classes[int(np.argmax(logits))],
        classes=model.spec.classes,
        probabilities=tuple(probabilities.tolist()),
        logits=tuple(logits.tolist()),
        tiles=len(drawn.positions),
        positions=look.positions,
        attention_mass=float(min(1.0, drawn.attention.sum())),
        effective_positions=float(1 / np.square(look.attention).sum()),
        sampler=sampler,
        seed=seed,
        bytes_read=slide.bytes_read,
        bytes_total=slide.bytes_total,
        mpp=slide.mpp,
        mpp_source=slide.mpp_source,
        reader=slide.reader,
        precision="fp32",
        seconds={name: round(value, 4) for name, value in seconds.items()},
        model_name=model.name,
        model_hash=model.hash,
        drawn=_drawn_tiles(drawn, boxes, shares, softmax(terms + bias)),
    )


def _features(
    slide: Slide, model: LoadedModel, boxes: NDArray[np.float64], batch_size: int, threads: int
) -> tuple[Tensor, dict[str, float]]:
    """Features (n, D) of the tiles (n, 4), and the seconds spent reading and computing."""
    seconds = {"read": 0.0, "features": 0.0}
    patches = slide.read_tiles(boxes, model.spec.features.patch_size, model.spec.background, threads)
    parts = []
    clock = time.perf_counter()
    for batch, real in _batches(patches, min(batch_size, len(boxes))):
        seconds["read"] += time.perf_counter() - clock
        clock = time.perf_counter()
        with torch.inference_mode():
            parts.append(model.nets.embed(to_unit(torch.from_numpy(batch).to(model.device)))[:real])
        seconds["features"] += time.perf_counter() - clock
        clock = time.perf_counter()
    return torch.cat(parts), seconds


def _batches(patches: Iterator[NDArray[np.uint8]], size: int) -> Iterator[tuple[NDArray[np.uint8], int]]:
    """Batches of one size, and how many of each are real: the last is padded, so that a patch's features do not
    depend on how many happen to lie beside it."""
    held: list[NDArray[np.uint8]] = []
    for patch in patches:
        held.append(patch)
        if len(held) == size:
            yield np.stack(held), size
            held = []
    if held:
        yield np.stack(held + held[-1:] * (size - len(held))), len(held)


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities over the last axis, in float64."""
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(-1, keepdims=True))


def _drawn_tiles(
    drawn: Draw, boxes: NDArray[np.float64], shares: NDArray[np.float64], probabilities: NDArray[np.float64]
) -> tuple[DrawnTile, ...]:
    rows = zip(
        boxes.tolist(),
        drawn.attention.tolist(),
        drawn.weights.tolist(),
        drawn.draws.tolist(),
        probabilities.tolist(),
        shares.tolist(),
        strict=True,
    )
    return tuple(
        DrawnTile(x, y, width, height, attention, weight, draws, tuple(own), tuple(share))
        for (x, y, width, height), attention, weight, draws, own, share in rows
    )

"""The estimators on the maps of a trained model: error, accuracy, stopping, and whether the mean is right.

    python -m benchmarks.real_maps --slides OUT/1500px --model megapixel-digits

OUT/1500px holds test slides made by `benchmarks.megapixel_mnist.measure`. Every position of every slide is put
through the feature net once; after that all draws are free, and compared with the exact answer. The samplers, the
standard errors and the test are those that `ats predict` uses, and one slide is put through `ats predict
--exhaustive` itself to see that the exact answer is the same.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ats_cli.inference import predict_slide
from ats_cli.inference.attention_pass import AttentionPass
from ats_cli.inference.context import PredictionContext
from ats_cli.inference.draws.options import DrawOptions
from ats_cli.nets.model import to_unit
from ats_cli.registry import SAMPLERS
from ats_cli.sampling import Betting, draw, lowest_margins, standard_error
from ats_cli.slides import open_slide
from ats_cli.slides.inputs.manifest import ManifestRow, read_manifest
from ats_cli.zoo import LoadedModel, load_model
from benchmarks.estimators import t_of

CONFIDENCE, MOST = 0.95, 100


@dataclass(frozen=True)
class Exact:
    """Everything about one slide: attention (rows, cols), all positions' terms (K, C), the exact logits (C,)."""

    attention: np.ndarray
    terms: np.ndarray
    logits: np.ndarray
    label: int


def exact_answer(row: ManifestRow, model: LoadedModel) -> Exact:
    """All positions of a slide of black canvas; patches that are black all over are computed once."""
    with open_slide(row.path) as slide:
        attention_pass = AttentionPass(PredictionContext(slide, model, threads=2))
        attention = attention_pass.attention()[0].values
        size = model.spec.features.patch_size
        canvas = np.pad(slide.read_view(1.0), ((size, size), (size, size), (0, 0)))
        corners = (
            attention_pass.geometry.boxes(np.arange(attention.size), attention_pass.cols)[:, :2].astype(int) + size
        )
    summed = np.pad(canvas[..., 0].cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    x, y = corners.T
    ink = summed[y + size, x + size] - summed[y, x + size] - summed[y + size, x] + summed[y, x]
    terms = np.repeat(_terms(model, np.zeros((1, size, size, 3), np.uint8)), attention.size, axis=0)
    inked = np.flatnonzero(ink)
    for start in range(0, len(inked), 256):
        batch = inked[start : start + 256]
        patches = np.stack([canvas[y[k] : y[k] + size, x[k] : x[k] + size] for k in batch])
        terms[batch] = _terms(model, patches)
    bias = model.nets.head.bias.double().numpy()
    logits = attention.ravel() @ terms + bias
    return Exact(attention, terms, logits, model.spec.classes.index(row.label))


def _terms(model: LoadedModel, patches: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return model.nets.tile_terms(model.nets.embed(to_unit(torch.from_numpy(patches)))).double().numpy()


def sampled(one: Exact, tiles: int, sampler: str, bias: np.ndarray, seed: int) -> np.ndarray:
    drawn = draw(one.attention, tiles, sampler, np.random.default_rng(seed))
    return drawn.weights @ one.terms[drawn.positions] + bias


def errors(slides: list[Exact], bias: np.ndarray, draws: int) -> None:
    print(f"\nMean squared error of the class logits, as a ratio to Des Raj's; {draws} draws of each slide.\n")
    print("| sampler | n = 10 | n = 25 |\n|---|---|---|")
    mse = {
        (sampler, n): np.mean(
            [((sampled(s, n, sampler, bias, seed) - s.logits) ** 2).sum() for s in slides for seed in range(draws)]
        )
        for sampler in SAMPLERS
        for n in (10, 25)
    }
    for sampler in SAMPLERS:
        cells = " | ".join(f"{mse[sampler, n] / mse['without-replacement', n]:.2f}" for n in (10, 25))
        print(f"| {sampler} | {cells} |")


def accuracies(slides: list[Exact], bias: np.ndarray) -> None:
    print(f"\nAccuracy on {len(slides)} slides.\n\n| sampler | 10 tiles |\n|---|---|")
    for sampler in SAMPLERS:
        right = [sampled(s, 10, sampler, bias, i).argmax() == s.label for i, s in enumerate(slides)]
        print(f"| {sampler} | {np.mean(right):.3f} |")
    print(f"| every position | {np.mean([s.logits.argmax() == s.label for s in slides]):.3f} |")


def stopping(slides: list[Exact], model: LoadedModel, bias: np.ndarray) -> None:
    lowest = lowest_margins(model.spec.head_scale * model.nets.head.weight.double().numpy())
    tiles, settled, agree, right = [], [], [], []
    for i, one in enumerate(slides):
        drawn = draw(one.attention, MOST, "murthy", np.random.default_rng(i))
        test = Betting(lowest, bias, 1 - CONFIDENCE)
        for position, attention in zip(drawn.positions, drawn.attention, strict=True):
            if test.update(one.terms[position], float(attention)) is not None:
                break
        tiles.append(test.tiles)
        settled.append(test.settled is not None)
        at_stop = draw(one.attention, test.tiles, "murthy", np.random.default_rng(i))
        answer = (at_stop.weights @ one.terms[at_stop.positions] + bias).argmax()
        right.append(answer == one.label)
        if test.settled is not None:
            agree.append(test.settled == one.logits.argmax())
    print(
        f"\nAdaptive at {CONFIDENCE}, at most {MOST} tiles: {np.mean(settled):.3f} of the slides settled; of these "
        f"{np.mean(agree):.3f} as every position would; tiles {np.mean(tiles):.1f} on average (median "
        f"{np.median(tiles):.0f}) over all slides; accuracy {np.mean(right):.3f}."
    )


def means(one: Exact, bias: np.ndarray, seeds: int) -> None:
    print(
        f"\nMean of the logits over {seeds} seeds of one slide against the exact ones, in standard errors of that mean"
        " (the largest over the classes), 10 tiles.\n\n| sampler | largest |\n|---|---|"
    )
    for sampler in SAMPLERS:
        logits = np.array([sampled(one, 10, sampler, bias, seed) for seed in range(seeds)])
        off = np.abs(logits.mean(0) - one.logits) / (logits.std(0, ddof=1) / np.sqrt(seeds))
        print(f"| {sampler} | {off.max():.2f} |")


def coverage(slides: list[Exact], bias: np.ndarray, draws: int) -> None:
    print(
        "\nShare of draws whose 95 % t interval about the logit of the predicted class holds the exact one, and how"
        " many of the draws have an interval.\n\n| sampler | n = 10 | n = 25 | n = 100 |\n|---|---|---|---|"
    )
    for sampler in SAMPLERS:
        cells = []
        for n in (10, 25, 100):
            inside = []
            for one in slides:
                c = one.logits.argmax()
                for seed in range(draws):
                    drawn = draw(one.attention, n, sampler, np.random.default_rng(seed))
                    values = one.terms[drawn.positions, c]
                    error = standard_error(drawn, values)
                    if error.se is not None and error.df is not None:
                        off = abs(drawn.weights @ values + bias[c] - one.logits[c])
                        inside.append(off <= t_of(error.df) * error.se)
            share = len(inside) / (len(slides) * draws)
            cells.append(f"{np.mean(inside):.2f} ({share:.0%})" if inside else "none")
        print(f"| {sampler} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slides", type=Path, required=True, help="folder with manifest.csv")
    parser.add_argument("--model", default="megapixel-digits")
    parser.add_argument("--many", type=int, default=200, help="slides, drawn from the manifest")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=300)
    arguments = parser.parse_args()

    model = load_model(arguments.model)
    bias = model.nets.head.bias.double().numpy()
    rows = [row for row in read_manifest(arguments.slides / "manifest.csv").rows if row.split == "test"]
    rows = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))[: arguments.many]]
    slides = [exact_answer(row, model) for row in rows]
    with open_slide(rows[0].path) as slide:
        through_predict = predict_slide(slide, model, DrawOptions(exhaustive=True)).logits
    print(
        f"{len(slides)} slides of {slides[0].attention.size} positions; effective positions "
        f"{np.median([1 / np.square(s.attention).sum() for s in slides]):.0f} (median). `ats predict --exhaustive` of "
        f"the first differs from the exact logits used here by at most "
        f"{np.abs(np.array(through_predict) - slides[0].logits).max():.1e}."
    )
    errors(slides, bias, arguments.draws)
    accuracies(slides, bias)
    stopping(slides, model, bias)
    means(slides[0], bias, arguments.seeds)
    coverage(slides, bias, arguments.draws)


if __name__ == "__main__":
    main()

"""What the centred gradient does: for the gradient's error, and for what training with it reaches.

    python -m benchmarks.centred --digits FOLDER -o OUT

FOLDER holds MNIST's t10k idx files. Makes slides for the small recipe, trains it with each seed with the gradient as
it is and centred, and measures all models on the same test slides. Then, on training slides, the nets of the first
seed as they begin and as they end: the gradient of the attention net's weights that a draw of a few tiles gives,
against the exact one from all positions. What is differentiated is v . F, v being the slope of the loss in the
expected features F at their exact value; so nothing but the draw errs.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ats_cli.nets.attention import normalise
from ats_cli.nets.estimate import expected_features
from ats_cli.nets.model import Model, to_unit
from ats_cli.registry import SAMPLERS
from ats_cli.sampling import draw
from ats_cli.training import DataOptions, LabelledSlide, RecipeOptions, TrainOptions, labelled_slides, train_folder
from ats_cli.training.dataset.slide_store import SlideStore
from ats_cli.zoo import load_model
from ats_cli.zoo.find import find_recipe
from benchmarks.megapixel_mnist.measure import accuracy, make

RECIPE, TILES = "digits-small", 6
SLIDES, DRAWS = 16, 100


def trained(manifest: Path, out: Path, seed: int, centred: bool) -> Path:
    """The small recipe, as `ats train` trains it, unless the model is there."""
    folder = out / f"{'centred' if centred else 'plain'}{seed}"
    if not folder.exists():
        data = DataOptions(manifest=manifest, validation=0.1)
        recipe = RecipeOptions(recipe=RECIPE, overrides={"centred": centred})
        train_folder(folder, data, recipe, TrainOptions(seed=seed))
    return folder


def gradient_errors(nets: Model, slides: list[LabelledSlide]) -> dict[tuple[str, bool], float]:
    """{(sampler, centred): mean squared error of the attention net's gradient}, summed over its weights."""
    parameters = list(nets.attention.requires_grad_().parameters())
    store = SlideStore(nets.spec, memory=10**9, threads=2)
    exact = [_everything(nets, store, slide) for slide in slides]
    # Training centres on a moving average of the expected features of earlier slides.
    centre = torch.stack([(attention.flatten() @ features).detach() for attention, features in exact]).mean(0)
    errors: dict[tuple[str, bool], float] = {}
    for slide, (attention, features) in zip(slides, exact, strict=True):
        expected = (attention.flatten() @ features).detach().requires_grad_()
        label = torch.tensor([nets.spec.classes.index(slide.label)])
        (v,) = torch.autograd.grad(functional.cross_entropy(nets.logits(expected[None]), label), expected)
        truth = _flat_gradient(attention.flatten() @ features @ v, parameters)
        chances = attention.detach().double().numpy()
        for sampler in SAMPLERS:
            rng = np.random.default_rng(0)
            for _ in range(DRAWS):
                one = draw(chances, TILES, sampler, rng)
                positions, weights = torch.from_numpy(one.positions), torch.from_numpy(one.weights).float()
                for c in (None, centre):
                    estimate = expected_features(features[positions], attention.flatten()[positions], weights, c)
                    off = _flat_gradient(estimate @ v, parameters) - truth
                    key = (sampler, c is not None)
                    errors[key] = errors.get(key, 0.0) + float(off.square().sum()) / DRAWS
    store.close()
    return errors


def _everything(nets: Model, store: SlideStore, slide: LabelledSlide) -> tuple[Tensor, Tensor]:
    """Attention (rows, cols) with its graph, and the features (K, D) of all positions without."""
    (view,) = store.views([slide])
    attention = normalise(nets.attend(to_unit(torch.from_numpy(view.pixels)[None])))[0]
    boxes = view.geometry.boxes(np.arange(attention.numel()), attention.shape[1])
    patches = store.read_tiles([slide], [boxes])[0].result()
    with torch.no_grad():
        features = torch.cat([nets.embed(to_unit(part)) for part in torch.from_numpy(patches).split(256)])
    return attention, features


def _flat_gradient(scalar: Tensor, parameters: list[Tensor]) -> Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(scalar, parameters, retain_graph=True)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--digits", type=Path, required=True, help="folder with MNIST's t10k idx files")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    make(arguments.digits, arguments.output / "data", "--canvas 160 --classes 3 --noise 3 --train 1500 --test 1000")
    manifest = arguments.output / "data" / "manifest.csv"

    print(f"Accuracy of `{RECIPE}` on 1000 test slides, {TILES} tiles, pivotal.\n")
    print(f"| gradient | {' | '.join(f'seed {s}' for s in arguments.seeds)} | mean |")
    print("|---" * (len(arguments.seeds) + 2) + "|")
    for centred in (False, True):
        models = [trained(manifest, arguments.output, seed, centred) for seed in arguments.seeds]
        shares = [accuracy(model, manifest, TILES, "pivotal") for model in models]
        cells = " | ".join(f"{share:.3f}" for share in [*shares, np.mean(shares)])
        print(f"| {'centred' if centred else 'as it is'} | {cells} |", flush=True)

    slides = [slide for slide in labelled_slides(None, manifest) if slide.split == "train"][:SLIDES]
    spec = find_recipe(RECIPE).spec
    torch.manual_seed(arguments.seeds[0])
    stages = {
        "at the start": Model(spec),
        "at the end": load_model(arguments.output / f"plain{arguments.seeds[0]}").nets,
    }
    print(f"\nMean squared error of the attention net's gradient, {TILES} tiles, {DRAWS} draws of each of {SLIDES}")
    print("slides; drawn with replacement and not centred = 1.\n")
    names = [f"{stage}, {kind}" for stage in stages for kind in ("as it is", "centred")]
    print(f"| sampler | {' | '.join(names)} |\n{'|---' * (len(names) + 1)}|")
    found = [gradient_errors(nets, slides) for nets in stages.values()]
    for sampler in SAMPLERS:
        cells = [f"{e[sampler, c] / e['with-replacement', False]:.3f}" for e in found for c in (False, True)]
        print(f"| {sampler} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()

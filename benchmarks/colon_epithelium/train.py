"""The shipped model colon-epithelium: cross-validated, then trained on all images.

    python benchmarks/colon_epithelium/train.py --images FOLDER -o MODEL

FOLDER holds CRCHistoPhenotypes' images with labels.csv (`image,label`). Every fold trains a fixed number of steps
and is judged once, at the end, on images it never saw: nothing is chosen on them. The model written is trained on
all images by the same recipe, so the folds' figures stand for it.
"""

import argparse
import csv
import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ats_cli.inference import predict_slide
from ats_cli.inference.draws.options import DrawOptions
from ats_cli.inference.out_of_distribution import add_out_of_distribution
from ats_cli.nets.model import Model
from ats_cli.records import ModelSpec
from ats_cli.slides import open_slide
from ats_cli.training import LabelledSlide, TrainOptions, train_model
from ats_cli.zoo import LoadedModel, read_folder, save_model

MPP = 0.55  # as published: 20x, 0.55 microns per pixel
TILES = 12  # of an image of 275 x 275 micrometres, in training and in the folds
BUDGET = 100  # of a slide, in the model that is written: slides are larger
RECIPE = Path(__file__).resolve().parents[2] / "models" / "colon-epithelium"


def read_images(folder: Path) -> list[LabelledSlide]:
    with (folder / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [LabelledSlide(row["image"], folder / row["image"], row["label"], mpp=MPP) for row in rows]


def stratified_folds(labels: list[str], folds: int, seed: int) -> np.ndarray:
    """(n,) fold of each image; every fold has its share of each class."""
    rng = np.random.default_rng(seed)
    fold = np.zeros(len(labels), int)
    for label in sorted(set(labels)):
        members = rng.permutation([i for i, own in enumerate(labels) if own == label])
        fold[members] = np.arange(len(members)) % folds
    return fold


def probabilities(nets: Model, spec: ModelSpec, images: list[LabelledSlide], tiles: int) -> np.ndarray:
    """(n,) probability of epithelium, as `ats predict` gives it."""
    model = LoadedModel(nets.requires_grad_(False), spec, "", torch.device("cpu"))
    epithelium = spec.classes.index("epithelium")
    found = []
    for image in images:
        with open_slide(image.path, mpp=image.mpp) as slide:
            found.append(predict_slide(slide, model, DrawOptions(tiles=tiles)).probabilities[epithelium])
    return np.array(found)


def auc(scores: np.ndarray, positive: np.ndarray) -> float:
    """The chance that a positive scores above a negative; ties count half (Mann-Whitney)."""
    above = scores[positive][:, None] - scores[~positive][None]
    return float(((above > 0) + 0.5 * (above == 0)).mean())


def cross_validate(spec: ModelSpec, images: list[LabelledSlide], folds: int, seed: int) -> dict[str, object]:
    labels = [image.label for image in images]
    fold = stratified_folds(labels, folds, seed)
    positive = np.array([label == "epithelium" for label in labels])
    scores = np.zeros(len(images))
    accuracies, aucs = [], []
    for k in range(folds):
        inside = np.flatnonzero(fold == k)
        train = [image for image, own in zip(images, fold, strict=True) if own != k]
        trained = train_model(spec, train, [], TrainOptions(seed=seed + k))
        scores[inside] = probabilities(trained.nets, spec, [images[i] for i in inside], spec.tiles)
        accuracies.append(float(((scores[inside] > 0.5) == positive[inside]).mean()))
        aucs.append(auc(scores[inside], positive[inside]))
        print(f"fold {k + 1} of {folds}: accuracy {accuracies[-1]:.3f}, AUC {aucs[-1]:.3f}", flush=True)
    return {
        "folds": folds,
        "tiles": spec.tiles,
        "accuracy": round(float(np.mean(accuracies)), 4),
        "accuracy_sd_over_folds": round(float(np.std(accuracies, ddof=1)), 4),
        "accuracy_by_fold": [round(a, 4) for a in accuracies],
        "auc": round(float(np.mean(aucs)), 4),
        "auc_sd_over_folds": round(float(np.std(aucs, ddof=1)), 4),
        "auc_by_fold": [round(a, 4) for a in aucs],
        "auc_pooled": round(auc(scores, positive), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder with labels.csv and the images it names")
    parser.add_argument("-o", "--output", type=Path, help="write the model, trained on all images, to this folder")
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--folds", type=int, default=5, help="0: no cross-validation")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    spec = replace(read_folder(arguments.recipe).spec, classes=("epithelium", "none"), tiles=TILES)
    images = read_images(arguments.images)
    metrics: dict[str, object] = {"images": len(images), "seed": arguments.seed}
    if arguments.folds:
        metrics["cross_validation"] = cross_validate(spec, images, arguments.folds, arguments.seed)
        print(json.dumps(metrics["cross_validation"], indent=2))
    if arguments.output:
        trained = train_model(spec, images, [], TrainOptions(seed=arguments.seed))
        trained.nets.spec = replace(spec, tiles=BUDGET)
        command = shlex.join(["python", *sys.argv]).replace(str(arguments.images), "FOLDER")
        save_model(arguments.output, trained.nets, metrics, card(spec, metrics, command))
        add_out_of_distribution(arguments.output, images, [])
        print(arguments.output)


def card(spec: ModelSpec, metrics: dict[str, object], command: str) -> str:
    figures = metrics.get("cross_validation")
    assert isinstance(figures, dict), "a card without measured figures is no card"
    return f"""# colon-epithelium

H&E of colon: does the image hold at least one epithelial nucleus ("epithelium"), or none ("none")?

**A demonstration, for research and trying out only. Not for diagnosis, not for any other organ or stain.** It was
trained on {metrics["images"]} images of 500 x 500 pixels from one hospital: it has never seen a whole slide, and
what it says of one shows how `ats` works, not what is in the tissue.

## Trained on

{metrics["images"]} images of CRCHistoPhenotypes (Sirinukunwattana et al., IEEE Transactions on Medical Imaging 2016;
20x, {MPP} microns per pixel; half of them with epithelial nuclei), released for research purposes only. The images
are not part of this project. Augmentation: turns, mirror images, stain strength.

## Measured

{figures["folds"]}-fold cross-validation, stratified, at {figures["tiles"]} tiles an image (the budget for slides is
{BUDGET}), nothing chosen on the held-out images. The spread is the standard deviation over the folds:

| | mean | spread | by fold |
|---|---|---|---|
| accuracy | {figures["accuracy"]:.3f} | {figures["accuracy_sd_over_folds"]:.3f} | {figures["accuracy_by_fold"]} |
| AUC | {figures["auc"]:.3f} | {figures["auc_sd_over_folds"]:.3f} | {figures["auc_by_fold"]} |

AUC over all held-out images together: {figures["auc_pooled"]:.3f}. Twelve images a fold is few: the spread is as
much of the finding as the mean. The model shipped is trained on all images by the same recipe.

For comparison, Ilse et al. (ICML 2018) report accuracy 0.904 and AUC 0.968 on all 100 images of the set, 10-fold, with
patches cut around annotated nuclei; this model finds its own places.

## Made by

    {command}
"""


if __name__ == "__main__":
    main()

"""Does a model know what it does not know? Own slides against others, for both shipped models.

    python -m benchmarks.familiarity --digits FOLDER --colon FOLDER --roads FOLDER

FOLDER --digits holds MNIST's t10k idx files, --colon CRCHistoPhenotypes' images with labels.csv, --roads road scenes
(images, with their subfolders). For each model, the share of its own validation slides that it calls unfamiliar, and
for slides of each other kind the share that it calls so, the AUROC of the score against its own validation slides, and
how many it refuses to look at (no tissue found).

Own validation slides: of megapixel-digits, canvases of digits that no training canvas holds; of colon-epithelium, the
held-out images of five folds, each with a model trained on the other four. A model of colon takes other pictures as if
they were 0.55 microns per pixel.

--ship first writes what is familiar into the folders of the shipped models: for megapixel-digits 400 of its training
canvases, and 200 more of its training split for the limit; for colon-epithelium all of its images.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ats_cli.inference.out_of_distribution import (
    add_out_of_distribution,
    fit_out_of_distribution,
    slide_embeddings,
)
from ats_cli.slides import SlideSource
from ats_cli.training import TrainOptions, train_model
from ats_cli.zoo import LoadedModel, load_model, read_folder
from ats_cli.zoo.out_of_distribution import OutOfDistribution
from benchmarks.colon_epithelium.train import MPP, read_images, stratified_folds

MODELS = Path(__file__).resolve().parents[1] / "models"
FAMILIAR, HELD = 400, 200  # canvases for mean and covariance, and for the limit
OTHERS = 100  # pictures of each other kind, at most
FOLDS = 5


@dataclass(frozen=True)
class Scores:
    """Scores of slides of one kind, and how many were refused."""

    scores: np.ndarray
    refused: int


def score(model: LoadedModel, known: OutOfDistribution, slides: Sequence[SlideSource]) -> Scores:
    embeddings = slide_embeddings(model, slides)
    scores = np.array([known.score(own) for own in embeddings], float)
    return Scores(scores, len(slides) - len(scores))


def auroc(own: np.ndarray, others: np.ndarray) -> float:
    """The chance that another's score is above an own one's; ties count half."""
    above = others[:, None] - own[None]
    return float(((above > 0) + 0.5 * (above == 0)).mean())


def canvases(digits: Path, out: Path, options: str) -> list[SlideSource]:
    """Canvases of digits, in the order of their numbers, which deal out the classes."""
    command = [sys.executable, "-m", "benchmarks.megapixel_mnist.make", "--digits", str(digits), "-o", str(out)]
    subprocess.run([*command, *options.split()], check=True, stdout=subprocess.DEVNULL)
    return as_slides(sorted(out.glob("*/*/*.tif"), key=lambda path: path.stem))


def as_slides(paths: Sequence[Path], mpp: float | None = MPP) -> list[SlideSource]:
    return [SlideSource(path.stem, path, mpp) for path in paths]


def noise(out: Path) -> list[SlideSource]:
    """Random colours: each pixel its own, or in squares of 4 and 16 pixels."""
    rng = np.random.default_rng(0)
    out.mkdir()
    for i in range(OTHERS):
        side = (1, 4, 16)[i % 3]
        squares = rng.integers(0, 256, (512 // side, 512 // side, 3), dtype=np.uint8)
        Image.fromarray(squares.repeat(side, 0).repeat(side, 1)).save(out / f"{i:03}.png")
    return as_slides(sorted(out.iterdir()))


def some(slides: Sequence[SlideSource]) -> list[SlideSource]:
    step = max(1, len(slides) // OTHERS)
    return list(slides[::step][:OTHERS])


def colon_folds(images: Path, others: dict[str, list[SlideSource]], seed: int = 0) -> tuple[Scores, dict[str, Scores]]:
    """Scores of held-out images over all folds, and of the others by the first fold's model."""
    spec = replace(read_folder(MODELS / "colon-epithelium").spec, tiles=12)
    labelled = read_images(images)
    fold = stratified_folds([image.label for image in labelled], FOLDS, seed)
    own, elsewhere = [], {}
    for k in range(FOLDS):
        train = [image for image, its in zip(labelled, fold, strict=True) if its != k]
        held = [image for image, its in zip(labelled, fold, strict=True) if its == k]
        nets = train_model(spec, train, [], TrainOptions(seed=seed + k)).nets.requires_grad_(False)
        model = LoadedModel(nets, replace(spec, tiles=100), "", torch.device("cpu"))
        known = fit_out_of_distribution(model, train, [])
        assert known is not None
        own.append(score(model, known, [SlideSource(i.slide_id, i.path, i.mpp) for i in held]))
        if k == 0:
            elsewhere = {name: score(model, known, slides) for name, slides in others.items()}
    return Scores(np.concatenate([s.scores for s in own]), sum(s.refused for s in own)), elsewhere


def table(name: str, own: Scores, others: dict[str, Scores]) -> None:
    print(f"\n{name}: {len(own.scores)} own validation slides, {(own.scores > 1).mean():.1%} called unfamiliar")
    print("| slides | scored | refused | AUROC | called unfamiliar | median score |\n|---|---|---|---|---|---|")
    for kind, found in others.items():
        scores = found.scores
        figures = "| - | - | - |"
        if len(scores):
            figures = f"| {auroc(own.scores, scores):.3f} | {(scores > 1).mean():.1%} | {np.median(scores):.1f} |"
        print(f"| {kind} | {len(scores)} | {found.refused} {figures}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--digits", type=Path, required=True)
    parser.add_argument("--colon", type=Path, required=True)
    parser.add_argument("--roads", type=Path, required=True)
    parser.add_argument("--only-ship", action="store_true", help="the same, and nothing else")
    parser.add_argument("--ship", action="store_true", help="write what is familiar into the shipped models first")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        images = read_images(arguments.colon)
        colon = [SlideSource(image.slide_id, image.path, image.mpp) for image in images]
        roads = some(as_slides(sorted(p for p in arguments.roads.rglob("*") if p.suffix in (".jpg", ".png", ".ppm"))))
        if arguments.ship or arguments.only_ship:
            options = f"--canvas 500 --noise 6 25 --train {FAMILIAR + HELD} --test 0"
            trained_on = canvases(arguments.digits, out / "train", options)
            print(
                add_out_of_distribution(
                    MODELS / "megapixel-digits", trained_on[:FAMILIAR], trained_on[FAMILIAR:]
                ).reference_slides
            )
            print(add_out_of_distribution(MODELS / "colon-epithelium", colon, []).reference_slides, flush=True)
        if arguments.only_ship:
            return
        small = canvases(arguments.digits, out / "500", f"--canvas 500 --noise 6 25 --train 0 --test {HELD}")
        large = canvases(arguments.digits, out / "1500", "--canvas 1500 --noise 50 --train 0 --test 50")
        random = noise(out / "noise")

        digits = load_model("megapixel-digits")
        assert digits.out_of_distribution is not None, "first run it with --ship"
        others = {"colon": colon, "road scenes": roads, "random noise": random, "canvases of 1500 px": large}
        found = {name: score(digits, digits.out_of_distribution, slides) for name, slides in others.items()}
        table("megapixel-digits", score(digits, digits.out_of_distribution, small), found)

        others = {"canvases of digits": some(small), "road scenes": roads, "random noise": random}
        own, first = colon_folds(arguments.colon, others)
        table("colon-epithelium, five folds (others: the first fold's model)", own, first)
        shipped = load_model("colon-epithelium")
        assert shipped.out_of_distribution is not None, "first run it with --ship"
        found = {name: score(shipped, shipped.out_of_distribution, slides) for name, slides in others.items()}
        table("colon-epithelium as shipped (own: the folds')", own, found)


if __name__ == "__main__":
    main()

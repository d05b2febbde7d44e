"""The shipped model megapixel-digits: made and measured, start to end.

    python -m benchmarks.megapixel_mnist.measure --digits FOLDER -o OUT

FOLDER holds MNIST's t10k idx files. Makes the slides (500 px to train on, with 6 or 25 strokes; 500 px with 6 strokes
and 1500 px with 50 to test on), trains the recipe with each seed by `ats train`, and measures every model on all test
slides as `ats predict` would. OUT gets the slides, a model folder a seed, and `figures.json`; `--ship FOLDER` copies
the first seed's model there, with the figures of all seeds in its card. Test slides are made of digits that no
training slide holds, and nothing is chosen on them.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from ats_cli.inference import predict_many
from ats_cli.slides import SlideSource
from ats_cli.slides.inputs.manifest import ManifestRow, read_manifest
from ats_cli.zoo import load_model

RECIPE = "megapixel-digits"
SAMPLERS = ("pivotal", "systematic")  # what `ats predict` draws by, and what training draws by
WORKERS = 2


def make(digits: Path, out: Path, options: str) -> None:
    """Make one set of slides, unless it is there."""
    if not out.exists():
        command = [sys.executable, "-m", "benchmarks.megapixel_mnist.make", "--digits", str(digits), "-o", str(out)]
        subprocess.run([*command, *options.split()], check=True)


def train(manifest: Path, out: Path, seed: int) -> float:
    """`ats train`, unless the model is there; the seconds of one core it took, which are kept beside the model."""
    note = out.with_suffix(".seconds")
    if out.exists():
        return float(note.read_text())
    before = processor_seconds()
    command = [sys.executable, "-m", "ats_cli", "train", "--manifest", str(manifest), "--recipe", RECIPE]
    options = ["--val", "0.02", "--seed", str(seed), "--name", RECIPE, "-o", str(out)]
    subprocess.run([*command, *options], check=True)
    seconds = processor_seconds() - before
    note.write_text(f"{seconds:.0f}\n")
    return seconds


def processor_seconds() -> float:
    """Of all processes that this one has waited for: what else the machine does counts little."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def accuracy(model_folder: Path, manifest: Path, tiles: int, sampler: str) -> float:
    """Share of a manifest's test slides that are predicted rightly. A slide that fails is an error here."""
    rows = [row for row in read_manifest(manifest) if row.split == "test"]
    jobs = [(model_folder, rows[i::WORKERS], tiles, sampler) for i in range(WORKERS)]
    with ProcessPoolExecutor(WORKERS, get_context("spawn")) as pool:
        return sum(pool.map(_right, *zip(*jobs, strict=True))) / len(rows)


def _right(model_folder: Path, rows: list[ManifestRow], tiles: int, sampler: str) -> int:
    torch.set_num_threads(1)
    sources = [SlideSource(str(row.path), row.path) for row in rows]
    predictions = predict_many(sources, load_model(model_folder), tiles=tiles, sampler=sampler)
    return sum(p.predicted == row.label for p, row in zip(predictions, rows, strict=True))


def measure(model: Path, slides: dict[str, Path]) -> dict[str, float]:
    return {
        f"{name}, 10 tiles, {sampler}": accuracy(model, folder / "manifest.csv", 10, sampler)
        for name, folder in slides.items()
        for sampler in SAMPLERS
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--digits", type=Path, required=True, help="folder with MNIST's t10k idx files")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--ship", type=Path, help="copy the first seed's model here, with the figures in its card")
    arguments = parser.parse_args()
    out: Path = arguments.output

    make(arguments.digits, out / "train", "--canvas 500 --noise 6 25 --train 10000 --test 0")
    make(arguments.digits, out / "500px", "--canvas 500 --noise 6 --train 0 --test 2000")
    make(arguments.digits, out / "1500px", "--canvas 1500 --noise 50 --train 0 --test 400")
    slides = {"500 px": out / "500px", "1500 px": out / "1500px"}
    figures, seconds = {}, []
    for seed in arguments.seeds:
        model = out / f"seed{seed}"
        seconds.append(train(out / "train" / "manifest.csv", model, seed))
        figures[seed] = measure(model, slides)
        print(f"seed {seed}: trained in {seconds[-1]:.0f} s of one core", figures[seed], flush=True)
    (out / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(table(figures))
    if arguments.ship:
        ship(out / f"seed{arguments.seeds[0]}", arguments.ship, figures, seconds)


def table(figures: dict[int, dict[str, float]]) -> str:
    """Markdown: a row a setting, a column a seed, and the mean."""
    seeds = list(figures)
    lines = [f"| test accuracy | {' | '.join(f'seed {s}' for s in seeds)} | mean |", "|---" * (len(seeds) + 2) + "|"]
    for name in figures[seeds[0]]:
        values = [figures[s][name] for s in seeds]
        cells = " | ".join(f"{v:.3f}" for v in values)
        lines.append(f"| {name} | {cells} | {np.mean(values):.3f} |")
    return "\n".join(lines)


def ship(trained: Path, folder: Path, figures: dict[int, dict[str, float]], seconds: list[float]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("model.toml", "weights.safetensors", "familiarity.safetensors", "SHA256SUMS"):
        shutil.copy(trained / name, folder / name)
    metrics = json.loads((trained / "metrics.json").read_text())
    metrics["test"] = {f"seed {seed}": own for seed, own in figures.items()}
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    seed, steps, minutes = next(iter(figures)), metrics["steps_done"], np.mean(seconds) / 60
    card = CARD.format(table=table(figures), seed=seed, steps=steps, minutes=minutes, halved=minutes / 2)
    (folder / "README.md").write_text(card)


CARD = """# megapixel-digits

Megapixel MNIST: which digit is there three times, among two other digits and many strokes, on a black canvas? A toy
with a known answer, to see the method work and to measure it. Not for anything else: it has only ever seen white
strokes on black.

- Looks at the slide at 8.33 level-0 pixels per pixel, content prior: brightness
- Reads 10 tiles of 50 x 50 pixels
- Feature net: the paper's kind of small convolutional net with GroupNorm, 43 thousand weights

## Trained on

9,800 canvases of 500 x 500 pixels (200 more to choose the checkpoint), half of them with 6 strokes and half with 25,
made of 8,000 of MNIST's 10,000 test digits. The canvases it is tested on are made of the other 2,000. It takes many
strokes in training to learn to pass over the 50 of the large canvas: there, the attention on five digits must outweigh
that on ten times as many strokes.

{steps:,} steps of 32 canvases took {minutes:.1f} minutes of processor time (mean of the seeds), {halved:.1f} minutes
with two cores kept busy.

## Measured

On 2,000 canvases of 500 x 500 pixels with 6 strokes, and, without any training there, on 400 canvases of 1500 x 1500
pixels with 50 strokes. The weights shipped are those of seed {seed}.

{table}

A sampler changes nothing in the weights: the rows differ by the estimator alone.

## Made by

    python -m benchmarks.megapixel_mnist.measure --digits FOLDER -o OUT --ship models/megapixel-digits

which runs, for each seed,

    ats train --manifest OUT/train/manifest.csv --recipe megapixel-digits --val 0.02 --seed SEED -o OUT/seedSEED

MNIST: Yann LeCun and Corinna Cortes, CC BY-SA 3.0.
"""


if __name__ == "__main__":
    main()

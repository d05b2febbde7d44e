"""What reading slides from disk costs a training, over the same training from memory.

    python -m benchmarks.training --digits FOLDER

Megapixel MNIST as pyramidal TIFF: the same steps on the same tiles, once read from the files when they are drawn, once
cut from arrays in memory; in turn, several times, so that whatever else the computer does falls on both alike. Views
are cached in both. The weights must end the same, or the two did not do the same.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import tifffile
import torch
from numpy.typing import NDArray

from ats_cli.training import Callbacks, LabelledSlide, TrainOptions, train, train_model
from ats_cli.training.dataset.labelled import labelled_slides
from ats_cli.training.dataset.slide_store import SlideStore
from ats_cli.zoo.find import find_recipe
from benchmarks.megapixel_mnist import make


class InMemory(SlideStore):
    """Slides as arrays: a tile is cut, not read. For a recipe whose tiles are level-0 pixels, on black."""

    pixels: dict[str, NDArray[np.uint8]] = {}  # noqa: RUF012 (filled once, for all runs)

    def _read(self, slide: LabelledSlide, boxes: NDArray[np.float64]) -> NDArray[np.uint8]:
        side = self.spec.features.patch_size
        image = self.pixels[slide.slide_id]  # with a border of one tile
        corners = boxes[:, :2].astype(int) + side
        return np.stack([image[y : y + side, x : x + side] for x, y in corners])


def seconds_of_steps(
    store: type[SlideStore], slides: list[LabelledSlide], steps: int, batch: int
) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Seconds of each step after the views are at hand, and the weights at the end."""
    recipe = find_recipe("megapixel-digits").spec
    warm = -(-len(slides) // batch) + 1
    spec = replace(recipe, training=replace(recipe.training, steps=warm + steps, batch_size=batch))
    clock: list[float] = []
    train.SlideStore = store  # type: ignore[misc]
    try:
        callbacks = Callbacks(on_progress=lambda _: clock.append(time.perf_counter()))
        trained = train_model(spec, slides, [], TrainOptions(), callbacks=callbacks)
    finally:
        train.SlideStore = SlideStore  # type: ignore[misc]
    return np.diff(clock)[warm - 1 :].tolist(), dict(trained.nets.state_dict())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--digits", required=True, help="folder with MNIST's two t10k idx.gz files")
    parser.add_argument("--canvas", type=int, default=1500)
    parser.add_argument("--slides", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=12, help="steps a run, after those that read the views")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sizes = ["--canvas", str(arguments.canvas), "--train", str(arguments.slides), "--test", "1", "--noise", "50"]
        make.main(["--digits", arguments.digits, "-o", f"{folder}/data", *sizes])
        all_slides = labelled_slides(None, Path(folder) / "data" / "manifest.csv")
        slides = [slide for slide in all_slides if slide.split == "train"]
        border = find_recipe("megapixel-digits").spec.features.patch_size
        for slide in slides:
            image = np.repeat(tifffile.imread(slide.path)[:, :, None], 3, axis=2)
            InMemory.pixels[slide.slide_id] = np.pad(image, ((border, border), (border, border), (0, 0)))
        what = f"{len(slides)} canvases of {arguments.canvas} px, {arguments.batch_size} a step"
        print(f"{what}; {torch.get_num_threads()} torch threads", flush=True)
        runs: dict[type[SlideStore], list[float]] = {SlideStore: [], InMemory: []}
        for _ in range(arguments.rounds):
            ends = []
            for store, seconds in runs.items():
                some, weights = seconds_of_steps(store, slides, arguments.steps, arguments.batch_size)
                seconds += some
                ends.append(weights)
            assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0]), "not the same training"
        disk, memory = (statistics.median(seconds) for seconds in runs.values())
        print(
            f"{1000 * disk:.0f} ms a step from disk, {1000 * memory:.0f} ms from memory: ratio {disk / memory:.3f}",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A test of the installation, in a minute: train on synthetic slides, save, load, predict."""

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import tifffile

from ats_cli.errors import AtsError
from ats_cli.inference import predict_many
from ats_cli.slides import find_slides
from ats_cli.training.folder import train_folder
from ats_cli.training.loop.processes import first_process
from ats_cli.training.options import Callbacks, DataOptions, RecipeOptions, TrainOptions
from ats_cli.zoo import load_model

RECIPE, SIDE, SLIDES_PER_CLASS, MIN_ACCURACY = "digits-small", 200, 12, 0.8
QUICK = {"steps": 60, "batch_size": 8, "lr": 0.005, "freeze": 0.5, "entropy_weight": 0.001, "validate_every": 60}


def smoke(options: TrainOptions, callbacks: Callbacks = Callbacks()) -> str:
    """Train for 60 steps to tell vertical stripes from horizontal ones, and predict.

    Returns a sentence with the result; "" in all processes but the first. Raises AtsError if the accuracy is low,
    KeyboardInterrupt if the training was interrupted.
    """
    clock = time.perf_counter()
    with TemporaryDirectory() as folder:
        data, output = Path(folder) / "data", Path(folder) / "model"
        _write_slides(data)
        recipe = RecipeOptions(recipe=RECIPE, overrides=QUICK)
        result = train_folder(output, DataOptions(folder=data, validation=0.25), recipe, options, callbacks=callbacks)
        if result.interrupted:
            raise KeyboardInterrupt
        if not first_process():
            return ""
        model = load_model(output, options.device)
        found = list(predict_many(find_slides([str(data)]), model))
        correct = [p.predicted == Path(p.path).parent.name for p in found]
    steps, device = result.steps_done, options.device
    outcome = f"{np.mean(correct):.0%} of {len(correct)} synthetic slides correct after {steps} steps on {device}"
    if np.mean(correct) < MIN_ACCURACY:
        raise AtsError(f"smoke: only {outcome}. All should be: something is wrong with this installation or device.")
    return f"smoke: {outcome}, in {time.perf_counter() - clock:.0f} s. Training, saving, loading and predicting work."


def _write_slides(folder: Path) -> None:
    """Black canvases with one striped square each, tiled TIFF."""
    rng = np.random.default_rng(0)
    stripes = np.full((40, 40, 3), 250, np.uint8)
    stripes[:, np.arange(40) % 8 < 4] = 60
    for label, square in (("upright", stripes), ("level", stripes.swapaxes(0, 1))):
        (folder / label).mkdir(parents=True)
        for number in range(SLIDES_PER_CLASS):
            pixels = rng.integers(0, 20, (SIDE, SIDE, 3), dtype=np.uint8)
            x, y = rng.integers(0, SIDE - 40, 2)
            pixels[y : y + 40, x : x + 40] = square
            file = folder / label / f"{number:02d}.tif"
            tifffile.imwrite(file, pixels, tile=(64, 64), photometric="rgb", compression="zlib", metadata=None)

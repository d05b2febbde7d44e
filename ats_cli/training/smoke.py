"""A minute on made-up slides, to see that training works here: read, learn, save, load, predict."""

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import tifffile

from ats_cli.inference import predict_many
from ats_cli.records import AtsError
from ats_cli.slides import find_slides
from ats_cli.training.folder import train_folder
from ats_cli.training.processes import first_process
from ats_cli.zoo import load_model

RECIPE, SIDE, EACH, ENOUGH = "digits-small", 200, 12, 0.8
QUICK = {"steps": 60, "batch_size": 8, "lr": 0.005, "freeze": 0.5, "entropy_weight": 0.001, "validate_every": 60}


def smoke(device: str = "cpu", **given: Any) -> str:
    """Train for 60 steps to tell upright stripes from level ones, by `train_folder` with what is `given`, and predict.

    Returns the sentence that says how it went. Raises AtsError where nothing was learnt, which is trivial here.
    """
    clock = time.perf_counter()
    with TemporaryDirectory() as folder:
        data, output = Path(folder) / "data", Path(folder) / "model"
        _write_slides(data)
        overrides = QUICK | given.pop("overrides", {})
        trained = train_folder(
            data=data, manifest=None, recipe=RECIPE, output=output, validation=0.25, device=device,
            overrides=overrides, **given,
        )  # fmt: skip
        if trained.interrupted:
            raise KeyboardInterrupt
        if not first_process():
            return ""
        model = load_model(output, device)
        found = list(predict_many(find_slides([str(data)]), model))
        right = [p.predicted == Path(p.path).parent.name for p in found]
    said = f"{np.mean(right):.0%} of {len(right)} made-up slides right after {trained.steps_done} steps on {device}"
    if np.mean(right) < ENOUGH:
        raise AtsError(f"smoke: only {said}. All should be: something is wrong with this installation or device.")
    return f"smoke: {said}, in {time.perf_counter() - clock:.0f} s. Training, saving, loading and predicting work here."


def _write_slides(folder: Path) -> None:
    """Black canvases with one striped square each, tiled TIFF."""
    rng = np.random.default_rng(0)
    stripes = np.full((40, 40, 3), 250, np.uint8)
    stripes[:, np.arange(40) % 8 < 4] = 60
    for label, square in (("upright", stripes), ("level", stripes.swapaxes(0, 1))):
        (folder / label).mkdir(parents=True)
        for number in range(EACH):
            pixels = rng.integers(0, 20, (SIDE, SIDE, 3), dtype=np.uint8)
            x, y = rng.integers(0, SIDE - 40, 2)
            pixels[y : y + 40, x : x + 40] = square
            file = folder / label / f"{number:02d}.tif"
            tifffile.imwrite(file, pixels, tile=(64, 64), photometric="rgb", compression="zlib", metadata=None)

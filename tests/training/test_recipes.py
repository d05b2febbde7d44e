"""The small recipe keeps its promise: three digits on 160 pixel canvases, learnt from their labels alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ats_cli.inference import predict_many
from ats_cli.slides import SlideSource
from ats_cli.training import labelled_slides
from ats_cli.zoo import load_model

ROOT = Path(__file__).parents[2]
DIGITS = ROOT.parent / "shared" / "data" / "labelled" / "mnist"

ACCURACY = 0.8
"""What the recipe must reach on 300 canvases of unseen digits; by chance it would be 0.33."""
TILES = 6


def run(*command: object) -> None:
    done = subprocess.run([str(word) for word in command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
@pytest.mark.skipif(not DIGITS.is_dir(), reason=f"no digits in {DIGITS}")
def test_digits_small(tmp_path: Path) -> None:
    sizes = ("--canvas", 160, "--classes", 3, "--noise", 3, "--train", 1500, "--test", 300)
    run(sys.executable, "-m", "benchmarks.megapixel_mnist.make", "--digits", DIGITS, "-o", tmp_path / "data", *sizes)
    manifest = tmp_path / "data" / "manifest.csv"
    ats = (sys.executable, "-c", "from ats_cli.app import main; main()")
    options = ("--recipe", "digits-small", "--val", 0.1, "--device", "cpu", "-o", tmp_path / "model")
    run(*ats, "train", "--manifest", manifest, *options)

    model = load_model(tmp_path / "model")
    assert model.spec.classes == ("0", "1", "2")
    test = [slide for slide in labelled_slides(None, manifest) if slide.split == "test"]
    found = list(predict_many([SlideSource(s.slide_id, s.path) for s in test], model, tiles=TILES))
    assert len(found) == 300
    right = sum(p.predicted == s.label for p, s in zip(found, test, strict=True))
    print(f"accuracy {right / len(test):.3f}")
    assert right / len(test) >= ACCURACY

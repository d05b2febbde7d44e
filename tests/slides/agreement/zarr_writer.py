"""OME-Zarr by zarr: 0.4 on Zarr 2 and 0.5 on Zarr 3, in folders and zips, sharded or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import zarr
from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec
from zarr.storage import ZipStore

from agreement.cases import Case
from agreement.pictures import Stored

_V3: dict[str, Any] = {"none": None, "zstd": ZstdCodec(), "gzip": GzipCodec(), "blosc": BloscCodec()}
_V2: dict[str, Any] = {"none": None, "zstd": numcodecs.Zstd(), "gzip": numcodecs.GZip(), "blosc": numcodecs.Blosc()}
_COLOURS = {
    "colours": (("red", "FF0000"), ("green", "00FF00"), ("blue", "0000FF")),
    "fluorescence": (("DAPI", "0000FF"), ("CD3", "00FF00"), ("CD8", "FF0000")),
}


def write_zarr(case: Case, levels: list[Stored], path: Path) -> None:
    """Chunks that are left out have the fill value. Planes are channels in chunks of their own."""
    version: Any = 2 if case.variant == "v2" else 3
    store: Any = ZipStore(path, mode="w") if case.variant == "v3 zip" else path
    root = zarr.create_group(store, zarr_format=version, attributes=_attributes(case, levels, version))
    channels = 1 if case.layout == "grey" else 3
    for number, level in enumerate(levels):
        pixels = level.samples[..., :channels].transpose(2, 0, 1)
        cols, rows = case.tile
        chunks = (1 if case.layout == "planes" else channels, rows, cols)
        sharded = {"shards": (chunks[0], 2 * rows, 3 * cols)} if case.variant == "v3 sharded" else {}
        array = root.create_array(
            str(number), shape=pixels.shape, chunks=chunks, dtype="uint8", fill_value=case.background,
            compressors=(_V2 if version == 2 else _V3)[case.codec], config={"write_empty_chunks": not sharded},
            **({"chunk_key_encoding": {"name": "v2", "separator": "/"}} if version == 2 else {}), **sharded,
        )  # fmt: skip
        if sharded:
            whole = np.where(level.held, pixels, case.background)
            array[:] = whole
            continue
        for row, col in np.argwhere(level.written).tolist():
            here = np.s_[:, row * rows : row * rows + rows, col * cols : col * cols + cols]
            array[here] = pixels[here]
    if case.variant == "v3 zip":
        store.close()


def _attributes(case: Case, levels: list[Stored], version: int) -> dict[str, Any]:
    axes = [
        {"name": "c", "type": "channel"},
        *({"name": axis, "type": "space", "unit": "micrometer"} for axis in "yx"),
    ]
    datasets = [
        {"path": str(n), "coordinateTransformations": [{"type": "scale", "scale": [1, *[0.5 * level.downsample] * 2]}]}
        for n, level in enumerate(levels)
    ]
    said: dict[str, Any] = {"multiscales": [{"axes": axes, "datasets": datasets, "version": "0.4"}]}
    if case.channels:
        said["omero"] = {"channels": [{"label": label, "color": colour} for label, colour in _COLOURS[case.channels]]}
    return {"ome": {"version": "0.5", **said}} if version == 3 else said

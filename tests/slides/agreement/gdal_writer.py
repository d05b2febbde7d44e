"""GeoTIFF by GDAL, which also decodes what is compared with: JPEG with tables of its own, bands of every meaning."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import tifffile
from rasterio.enums import Resampling
from rasterio.windows import Window

from agreement.cases import Case
from agreement.pictures import Bytes, Stored
from agreement.tiff_writers import pages_of

_PHOTOMETRIC = {"grey": "MINISBLACK", "three-of-grey": "MINISBLACK"}


def write_gdal(case: Case, levels: list[Stored], path: Path) -> None:
    samples, there = levels[0].samples, levels[0].written
    codec = case.codec.partition("-")[0].upper()
    options: dict[str, Any] = {"compress": codec, "photometric": _PHOTOMETRIC.get(case.layout, "RGB")}
    options |= {"JPEG": {"jpeg_quality": 92}, "WEBP": {"webp_lossless": True}}.get(codec, {})
    if case.codec == "jpeg-ycbcr":
        options["photometric"] = "YCBCR"
    if samples.shape[2] == 4:
        options["alpha"] = "YES" if case.layout == "rgba" else "NO"
    interleave = "band" if case.layout == "planar" else "pixel"
    side, sparse = case.tile[0], case.sparse == "all"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has no place on the earth
        with rasterio.open(
            path, "w", driver="GTiff", width=case.width, height=case.height, count=samples.shape[2], dtype="uint8",
            tiled=True, blockxsize=side, blockysize=side, interleave=interleave, sparse_ok=sparse, **options,
        ) as out:  # fmt: skip
            for row, col in np.argwhere(there):
                y, x = int(row) * side, int(col) * side
                part = samples[y : y + side, x : x + side]
                out.write(part.transpose(2, 0, 1), window=Window(x, y, part.shape[1], part.shape[0]))
        if len(levels) > 1:
            with (
                rasterio.Env(
                    GDAL_TIFF_OVR_BLOCKSIZE=str(side),
                    SPARSE_OK_OVERVIEW="ON" if sparse else "OFF",
                    JPEG_QUALITY_OVERVIEW="92",
                ),
                rasterio.open(path, "r+") as out,
            ):
                out.build_overviews([int(level.downsample) for level in levels[1:]], Resampling.average)


def decoded_by_gdal(levels: list[Stored], path: Path) -> list[Bytes]:
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(len(levels)):
            with rasterio.open(path, **({"overview_level": number - 1} if number else {})) as tiff:
                found.append(tiff.read().transpose(1, 2, 0))
    return found


def written_by_gdal(levels: list[Stored], samples: list[Bytes], path: Path) -> list[Stored]:
    """The levels as they are in the file, by its own index: GDAL leaves out tiles of zeros, and rounds sizes up."""
    found = []
    with tifffile.TiffFile(path) as tiff:
        for level, pixels, page in zip(levels, samples, pages_of(tiff, len(levels)), strict=True):
            tile = page.tilelength, page.tilewidth
            grid = -(-page.imagelength // tile[0]), -(-page.imagewidth // tile[1])
            there = (np.asarray(page.databytecounts) > 0).reshape(-1, *grid).all(axis=0)
            found.append(Stored(level.downsample, pixels, tile, there))
    return found

"""A map as OME-Zarr: a multiscale image of float32 values, version 0.5, or 0.4 for readers without Zarr 3 (QuPath)."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numcodecs

from ats_cli.records import PICTURE_SOFTWARE
from ats_cli.results.maps.pyramid import TILE, MapLevel, map_levels
from ats_cli.results.maps.slide_map import SlideMap, blocks, value_range

Version = Literal["0.5", "0.4"]

# Cells a side of a chunk.
CHUNK = 2 * TILE


def write_ome_zarr(path: Path, slide_map: SlideMap, version: Version = "0.5") -> None:
    """Write an OME-Zarr folder; an existing one is replaced whole or not at all. Raises OSError."""
    import zarr

    part, old = (path.with_name(f".{path.name}.{os.getpid()}.{kind}") for kind in ("part", "old.part"))
    shutil.rmtree(part, ignore_errors=True)
    try:
        with TemporaryDirectory() as folder:
            levels = map_levels(slide_map, Path(folder))
            group = zarr.create_group(part, zarr_format=3 if version == "0.5" else 2)
            attributes = _attributes(slide_map, levels, version)
            group.attrs.update({"ome": {"version": version} | attributes} if version == "0.5" else attributes)
            group.attrs["software"] = PICTURE_SOFTWARE
            for number, level in enumerate(levels):
                _write_level(group, str(number), level, version)
        if path.exists():
            path.replace(old)
        part.replace(path)
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def is_map(folder: Path) -> bool:
    """Whether a folder is empty, or a map that `write_ome_zarr` wrote."""
    files = [folder / "zarr.json", folder / ".zattrs"]
    texts = [file.read_text(encoding="utf-8", errors="replace") for file in files if file.is_file()]
    return not any(folder.iterdir()) or any(PICTURE_SOFTWARE in text for text in texts)


def _write_level(group: Any, name: str, level: MapLevel, version: Version) -> None:
    # Of 0.4, readers in Java know zlib and Blosc only.
    of_04, of_05 = {"compressors": numcodecs.Zlib(5)}, {"dimension_names": ("y", "x")}
    options: dict[str, Any] = of_04 if version == "0.4" else of_05
    separator = {"name": "default" if version == "0.5" else "v2", "separator": "/"}
    array = group.create_array(
        name, shape=(level.rows, level.cols), chunks=(CHUNK, CHUNK), dtype="<f4", fill_value=0.0,
        chunk_key_encoding=separator, **options,
    )  # fmt: skip
    for row_start, row_stop, col_start, col_stop in blocks(level.rows, level.cols, CHUNK):
        array[row_start:row_stop, col_start:col_stop] = level.block(row_start, row_stop, col_start, col_stop)


def _attributes(slide_map: SlideMap, levels: list[MapLevel], version: Version) -> dict[str, Any]:
    """Return the metadata of the image. Level i: scale k * 2^i, translation (k * 2^i - m) / 2 (`SlideMap.origin`)."""
    unit = {} if slide_map.mpp is None else {"unit": "micrometer"}
    axes = [{"name": name, "type": "space"} | unit for name in ("y", "x")]
    datasets = []
    for number, level in enumerate(levels):
        scale, translation = slide_map.cell_size * level.factor, slide_map.origin(level.factor)
        transformations = [
            {"type": "scale", "scale": [scale, scale]},
            {"type": "translation", "translation": [translation, translation]},
        ]
        datasets.append({"path": str(number), "coordinateTransformations": transformations})
    low, high = value_range(slide_map)
    channel = {
        "label": slide_map.name,
        "color": "FF0000",
        "active": True,
        "window": {"min": low, "max": high, "start": low, "end": high},
    }
    multiscale = {"name": slide_map.name, "axes": axes, "datasets": datasets}
    if version == "0.4":
        multiscale["version"] = version
    return {"multiscales": [multiscale], "omero": {"channels": [channel]}}

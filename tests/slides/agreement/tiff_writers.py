"""TIFF, SVS and OME-TIFF by tifffile; their lossy tiles are decoded by Pillow, one by one."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from agreement.cases import Case
from agreement.pictures import Bytes, Stored, palette, tile_of

_CODECS: dict[str, dict[str, Any]] = {
    "none": {},
    "lzw": {"compression": "lzw", "predictor": True},
    "deflate": {"compression": "zlib"},
    "zstd": {"compression": "zstd"},
    "jpeg2000": {"compression": "jpeg2000", "compressionargs": {"level": 0}},
    "webp": {"compression": "webp", "compressionargs": {"level": -1}},
    "webp-lossy": {"compression": "webp", "compressionargs": {"level": 90}},
    "jpeg-rgb": {"compression": "jpeg", "compressionargs": {"outcolorspace": "rgb", "level": 92}},
    "jpeg-ycbcr": {"compression": "jpeg", "compressionargs": {"level": 92}},
    "jpeg-grey": {"compression": "jpeg", "compressionargs": {"level": 92}},
}
_PHOTOMETRIC = {"grey": "minisblack", "white-is-zero": "miniswhite", "palette": "palette", "planes": "minisblack",
                "three-of-grey": "minisblack"}  # fmt: skip
_APERIO = "Aperio Image Library v11.2.1\r\n{w}x{h} [0,0 {w}x{h}] ({t[0]}x{t[1]}) JPEG/RGB Q=70|AppMag = 20|MPP = 0.5000"
_CHANNELS = {
    "colours": {"Name": ["red", "green", "blue"], "Color": [-16776961, 16711935, 65535]},
    "fluorescence": {"Name": ["DAPI", "CD3", "CD8"], "Color": [65535, 16711935, -16776961]},
}


def write_tiff(case: Case, levels: list[Stored], path: Path) -> None:
    order: Any = ">" if case.variant == "big-endian" else None
    with tifffile.TiffWriter(path, byteorder=order) as out:
        for number, level in enumerate(levels):
            options = _options(case, level.samples)
            if case.variant == "subifds" and number == 0:
                options["subifds"] = len(levels) - 1
            out.write(_data(case, level), metadata=None, subfiletype=int(number > 0), **options)


def write_svs(case: Case, levels: list[Stored], path: Path) -> None:
    """The first level, the thumbnail, the levels below: as Aperio orders them."""
    description = _APERIO.format(w=case.width, h=case.height, t=case.tile)
    with tifffile.TiffWriter(path) as out:
        for number, level in enumerate(levels):
            out.write(_data(case, level), metadata=None, description=description, **_options(case, level.samples))
            if number == 0:
                out.write(np.zeros((20, 30, 3), np.uint8), metadata=None, description=description, photometric="rgb")


def write_ome(case: Case, levels: list[Stored], path: Path) -> None:
    planes = case.layout in ("planes", "planar")
    axes = {"planes": "CYX", "planar": "SYX", "grey": "YX"}.get(case.layout, "YXS")
    metadata = {"axes": axes, "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    if case.channels:
        metadata["Channel"] = _CHANNELS[case.channels]
    with tifffile.TiffWriter(path, ome=True) as out:
        for number, level in enumerate(levels):
            options = _options(case, level.samples)
            if planes and case.layout == "planes":
                options.pop("planarconfig", None)
            if number == 0:
                out.write(_data(case, level), subifds=len(levels) - 1, metadata=metadata, **options)
            else:
                out.write(_data(case, level), subfiletype=1, metadata=None, **options)


def leave_out(levels: list[Stored], path: Path) -> None:
    """Let the index say of tiles that they are not there: an offset and a count of 0."""
    with tifffile.TiffFile(path, mode="r+") as tiff:
        for level, page in zip(levels, pages_of(tiff, len(levels)), strict=True):
            if level.written.all():
                continue
            for code in (324, 325):
                there = np.resize(level.written.ravel(), len(page.dataoffsets))
                values = page.dataoffsets if code == 324 else page.databytecounts
                page.tags[code].overwrite([int(v) if t else 0 for v, t in zip(values, there, strict=True)])


def decoded(case: Case, levels: list[Stored], path: Path) -> list[Bytes]:
    """The samples of each level as Pillow decodes them, tile by tile; as they were written, if nothing is lost."""
    if not case.lossy:
        return [level.samples for level in levels]
    found = []
    with tifffile.TiffFile(path) as tiff:
        for level, page in zip(levels, pages_of(tiff, len(levels)), strict=True):
            rows, cols = level.tile
            out = np.zeros_like(level.samples)
            across = -(-out.shape[1] // cols)
            for tile, (at, count) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
                if count:
                    tiff.filehandle.seek(at)
                    y, x = tile // across * rows, tile % across * cols
                    place = out[y : y + rows, x : x + cols]
                    stream = tiff.filehandle.read(count)
                    if page.jpegtables:
                        stream = page.jpegtables[:-2] + stream[2:]
                    place[:] = by_pillow(stream)[: place.shape[0], : place.shape[1]]
            found.append(out)
    return found


def by_pillow(stream: bytes) -> Bytes:
    """(rows, cols, samples) of one tile."""
    pixels = np.asarray(Image.open(io.BytesIO(stream)))
    return pixels[..., None] if pixels.ndim == 2 else pixels


def pages_of(tiff: tifffile.TiffFile, count: int) -> list[Any]:
    """The directories of the levels, the finest first, whether they follow each other or lie in SubIFDs."""
    pages = list(tiff.pages)
    below = list(pages[0].pages) if pages[0].pages is not None else []
    tiled = [page for page in pages if page.is_tiled == pages[0].is_tiled and page.subfiletype in (0, 1)]
    return ([pages[0], *below] if below else tiled)[:count]


def _options(case: Case, samples: Bytes) -> dict[str, Any]:
    rows, cols = tile_of(case, samples.shape)
    options: dict[str, Any] = dict(_CODECS[case.codec])
    options["photometric"] = _PHOTOMETRIC.get(case.layout, "rgb")
    options |= {"tile": (rows, cols)} if case.tile[0] else {"rowsperstrip": rows}
    if case.layout in ("planar",):
        options["planarconfig"] = "separate"
    elif samples.shape[2] > 1 and case.layout != "planes":
        options["planarconfig"] = "contig"
    if samples.shape[2] == 4:
        options["extrasamples"] = ["unassalpha" if case.layout == "rgba" else "unspecified"]
    if case.codec == "jpeg-ycbcr":
        options["subsampling"] = case.subsampling
    if case.layout == "palette":
        options["colormap"] = palette().T.astype(np.uint16) * 257
        options.pop("predictor", None)
    if case.orientation != 1:
        options["extratags"] = [(274, "H", 1, case.orientation, True)]
    return {**options, "shape": _shape(case, samples), "dtype": "uint8"}


def _shape(case: Case, samples: Bytes) -> tuple[int, ...]:
    rows, cols, count = samples.shape
    if case.layout in ("planar", "planes"):
        return count, rows, cols
    return (rows, cols) if count == 1 else (rows, cols, count)


def _data(case: Case, level: Stored) -> Any:
    """A level as tifffile takes it: whole for strips; else its tiles along the rows, of planes one after the other."""
    samples = level.samples
    apart = case.layout in ("planar", "planes")
    if not case.tile[0]:
        return np.ascontiguousarray(samples.transpose(2, 0, 1) if apart else samples.reshape(_shape(case, samples)))
    planes = np.split(samples, samples.shape[2], axis=2) if apart else [samples]
    return (_tile(case, level, plane, row, col) for plane in planes for row, col in np.ndindex(level.written.shape))


def _tile(case: Case, level: Stored, plane: Bytes, row: int, col: int) -> Any:
    rows, cols = level.tile
    part = plane[row * rows : row * rows + rows, col * cols : col * cols + cols]
    tile = padded(part, rows, cols)
    if case.restart:
        return jpeg(case, tile)
    return np.ascontiguousarray(tile[..., 0] if tile.shape[2] == 1 else tile)


def padded(tile: Bytes, rows: int, cols: int) -> Bytes:
    """A tile filled up with black, as tifffile does it itself."""
    return np.pad(tile, [(0, rows - tile.shape[0]), (0, cols - tile.shape[1]), (0, 0)])


def jpeg(case: Case, tile: Bytes) -> bytes:
    """A JPEG stream by Pillow, with the restart markers that the case asks for."""
    options: dict[str, Any] = {"restart_marker_blocks": case.restart} if case.restart else {}
    if case.codec == "jpeg-rgb":
        options |= {"keep_rgb": True, "subsampling": 0}
    elif case.codec == "jpeg-ycbcr":
        options["subsampling"] = {(1, 1): 0, (2, 1): 1, (2, 2): 2}[case.subsampling]
    out = io.BytesIO()
    Image.fromarray(tile[..., 0] if tile.shape[2] == 1 else tile).save(out, "JPEG", quality=92, **options)
    return out.getvalue()

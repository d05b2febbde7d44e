"""A case as a file, and what should be seen of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image
from rasterio.enums import ColorInterp

from agreement.cases import Case
from agreement.dicom_writer import write_dicom
from agreement.gdal_writer import decoded_by_gdal, write_gdal, written_by_gdal
from agreement.pictures import Bytes, Stored, levels_of, palette, shown
from agreement.reference import Truth, complete
from agreement.tiff_writers import decoded, leave_out, write_ome, write_svs, write_tiff
from agreement.zarr_writer import write_zarr

_TIFF_WRITERS: dict[str, Callable[[Case, list[Stored], Path], None]] = {
    "tiff": write_tiff,
    "svs": write_svs,
    "ome-tiff": write_ome,
}
_EXTENSIONS = {"gdal": "tif", "tiff": "tif", "ome-tiff": "ome.tif", "dicom": "dicom"}


@dataclass(frozen=True)
class Written:
    """`stored`: the levels as they were written; `levels`: what should be seen, upright, with no gaps."""

    path: Path
    stored: list[Stored]
    levels: list[Truth]


def write(case: Case, folder: Path) -> Written:
    """Write a case into an empty folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # GDAL remarks on pictures that have no place on the earth
        return _write(case, folder)


def _write(case: Case, folder: Path) -> Written:
    stored = levels_of(case)
    path = folder / f"slide.{_extension(case)}"
    if case.container == "gdal":
        write_gdal(case, stored, path)
        samples = decoded_by_gdal(stored, path)
        stored = written_by_gdal(stored, samples, path)
        if case.codec == "jpeg-ycbcr":  # GDAL enlarges halved chroma by copies; others, and libjpeg itself, smoothly
            samples = decoded(case, stored, path)
    elif case.container in _TIFF_WRITERS:
        _TIFF_WRITERS[case.container](case, stored, path)
        leave_out(stored, path)
        samples = decoded(case, stored, path)
    elif case.container == "dicom":
        samples = write_dicom(case, stored, path)
    elif case.container == "zarr":
        write_zarr(case, stored, path)
        samples = [level.samples for level in stored]
    else:
        samples = [_write_image(case, stored[0].samples, path)]
    levels = [
        Truth(level.downsample, upright(shown(case, pixels), case.orientation), upright(level.held, case.orientation))
        for level, pixels in zip(stored, samples, strict=True)
    ]
    return Written(path, stored, complete(levels, case.background))


def upright(pixels: NDArray[np.generic], orientation: int) -> NDArray[np.generic]:
    """Turned as TIFF's orientation says: where row 0 and column 0 of what is stored lie on the upright picture."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _extension(case: Case) -> str:
    if case.container == "zarr":
        return "zarr.zip" if case.variant == "v3 zip" else "zarr"
    return _EXTENSIONS.get(case.container, case.container)


def _write_image(case: Case, samples: Bytes, path: Path) -> Bytes:
    # Pillow calls a fourth band opacity.
    if case.container == "jp2" and (case.variant == "gdal" or case.layout == "rgb-and-infrared"):
        count = samples.shape[2]
        with rasterio.open(path, "w", driver="JP2OpenJPEG", width=case.width, height=case.height, count=count,
                           dtype="uint8", QUALITY=100, REVERSIBLE="YES") as out:  # fmt: skip
            if count > 1:
                fourth = ColorInterp.alpha if case.layout == "rgba" else ColorInterp.undefined
                out.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, fourth][:count]
            out.write(samples.transpose(2, 0, 1))
        return samples
    image = Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)
    if case.layout == "palette":
        image = Image.fromarray(samples[..., 0], mode="P")
        image.putpalette(palette().tobytes())
    exif = Image.Exif()
    exif[0x0112] = case.orientation
    if case.container == "jp2":
        image.save(path, irreversible=False)
        return samples
    if case.container == "png":
        image.save(path, exif=exif)
        return samples
    options: dict[str, Any] = {"keep_rgb": True, "subsampling": 0} if case.codec == "jpeg-rgb" else {}
    if case.codec == "jpeg-ycbcr":
        options = {"subsampling": {(1, 1): 0, (2, 1): 1, (2, 2): 2}[case.subsampling]}
    if case.restart:
        options["restart_marker_blocks"] = case.restart
    image.save(path, "JPEG", quality=92, exif=exif, **options)
    pixels = imagecodecs.jpeg8_decode(path.read_bytes())
    return np.asarray(pixels[..., None] if pixels.ndim == 2 else pixels)

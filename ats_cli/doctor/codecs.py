"""Each codec and each reader decodes one tile of a small slide that is written for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ats_cli.doctor.finding import Finding
from ats_cli.slides import open_slide

Pixels = NDArray[np.uint8]

SIDE = 64
# Name -> tifffile's compression, and the most that a decoded pixel may differ.
TIFF_CODECS: dict[str, tuple[str | None, int]] = {
    "uncompressed": (None, 0),
    "JPEG": ("jpeg", 8),
    "JPEG 2000": ("aperio_jp2000_rgb", 2),
    "JPEG XL": ("jpegxl", 8),
    "JPEG XR": ("jpegxr", 8),
    "WebP": ("webp", 8),
    "LZW": ("lzw", 0),
    "Deflate": ("deflate", 0),
    "Zstandard": ("zstd", 0),
    "PackBits": ("packbits", 0),
    "LZMA": ("lzma", 0),
}
WRONG_PIXELS = "decodes to wrong pixels"
REINSTALL = "Install it again: pip install --force-reinstall {package}."


def codec_findings() -> Iterator[Finding]:
    """Yield a finding for each TIFF codec, then one for each other reader."""
    pixels = _gradient()
    with TemporaryDirectory() as folder:
        for name, (compression, tolerance) in TIFF_CODECS.items():

            def write(path: Path, compression: str | None = compression) -> None:
                _write_tiff(path, pixels, compression)

            file = Path(folder) / f"{name.replace(' ', '-')}.tif"
            yield _finding("Codecs", f"TIFF, {name}", file, write, pixels, tolerance, "imagecodecs")
        for name, suffix, write_other, package in _other_readers(pixels):
            file = Path(folder) / f"{name.replace(' ', '-')}{suffix}"
            yield _finding("Readers", name, file, write_other, pixels, 0, package)
        yield _openslide(Path(folder) / "openslide.tif", pixels)


def _finding(
    area: str,
    name: str,
    file: Path,
    write: Callable[[Path], None],
    pixels: Pixels,
    tolerance: int,
    package: str,
) -> Finding:
    """Write a slide, read its only tile and compare the pixels."""
    try:
        write(file)
        with open_slide(file) as slide:
            (tile,) = slide.read_tiles([(0, 0, SIDE, SIDE)], SIDE)
    except Exception as error:  # a codec of a broken library may raise anything
        return Finding(area, name, "failed", _first_line(error), REINSTALL.format(package=package))
    if tile is None or np.abs(tile.astype(int) - pixels).max() > tolerance:
        return Finding(area, name, "failed", WRONG_PIXELS, REINSTALL.format(package=package))
    return Finding(area, name, "ok", "decoded one tile")


def _other_readers(pixels: Pixels) -> Iterator[tuple[str, str, Callable[[Path], None], str]]:
    """Yield (name, suffix, writer, package to install again) for each reader but that of TIFF."""

    def write_png(path: Path) -> None:
        from PIL import Image

        Image.fromarray(pixels).save(path)

    def write_zarr(path: Path) -> None:
        _write_zarr(path, pixels)

    yield "PNG", ".png", write_png, "pillow"
    yield "DICOM", ".dcm", lambda path: _write_dicom(path, pixels), "pydicom"
    yield "OME-Zarr", ".ome.zarr", write_zarr, "ats-cli"


def _openslide(file: Path, pixels: Pixels) -> Finding:
    """Read a tile through the library itself: the reader of `ats` opens a generic TIFF without it."""
    try:
        import openslide

        _write_tiff(file, pixels, "jpeg")
        with openslide.OpenSlide(file) as slide:
            tile = np.asarray(slide.read_region((0, 0), 0, (SIDE, SIDE)))[..., :3]
    except Exception as error:
        return Finding("Readers", "OpenSlide", "failed", _first_line(error), REINSTALL.format(package="openslide-bin"))
    if np.abs(tile.astype(int) - pixels).max() > 8:
        return Finding("Readers", "OpenSlide", "failed", WRONG_PIXELS, REINSTALL.format(package="openslide-bin"))
    return Finding("Readers", "OpenSlide", "ok", f"decoded one tile, version {openslide.__library_version__}")


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _gradient() -> Pixels:
    """Return smooth colours, which lossy codecs keep."""
    y, x = np.mgrid[:SIDE, :SIDE]
    return np.stack([x * 3 + 20, y * 3 + 20, x + y + 40], axis=-1).astype(np.uint8)


def _write_tiff(path: Path, pixels: Pixels, compression: str | None) -> None:
    import tifffile

    tifffile.imwrite(path, pixels, photometric="rgb", tile=(SIDE, SIDE), compression=compression, metadata=None)


def _write_zarr(path: Path, pixels: Pixels) -> None:
    import zarr

    group = zarr.create_group(path, zarr_format=3)
    axes = [{"name": "c", "type": "channel"}, {"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
    scale = {"type": "scale", "scale": [1.0, 1.0, 1.0]}
    datasets = [{"path": "0", "coordinateTransformations": [scale]}]
    multiscales: Any = [{"axes": axes, "datasets": datasets}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": multiscales}
    group.create_array("0", data=np.moveaxis(pixels, -1, 0).copy(), chunks=(1, SIDE, SIDE))


def _write_dicom(path: Path, pixels: Pixels) -> None:
    """Write one instance of VL Whole Slide Microscopy Image Storage, with the attributes that a reader needs."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, VLWholeSlideMicroscopyImageStorage, generate_uid

    slide = Dataset()
    slide.file_meta = FileMetaDataset()
    slide.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    slide.SOPClassUID = slide.file_meta.MediaStorageSOPClassUID = VLWholeSlideMicroscopyImageStorage
    slide.SOPInstanceUID = slide.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    slide.SeriesInstanceUID, slide.StudyInstanceUID = generate_uid(), generate_uid()
    slide.Modality, slide.ImageType = "SM", ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    slide.DimensionOrganizationType, slide.NumberOfFrames = "TILED_FULL", 1
    slide.Rows = slide.Columns = slide.TotalPixelMatrixRows = slide.TotalPixelMatrixColumns = SIDE
    slide.SamplesPerPixel, slide.PhotometricInterpretation, slide.PlanarConfiguration = 3, "RGB", 0
    slide.BitsAllocated, slide.BitsStored, slide.HighBit, slide.PixelRepresentation = 8, 8, 7, 0
    slide.PixelData = pixels.tobytes()
    slide.save_as(path, enforce_file_format=True)

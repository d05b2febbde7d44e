"""DICOM-WSI by pydicom: a folder with one file a level."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.sequence import Sequence

from agreement.cases import Case
from agreement.pictures import Bytes, Stored
from agreement.tiff_writers import by_pillow, jpeg

_SYNTAX = {"none": uid.ExplicitVRLittleEndian, "jpeg": uid.JPEGBaseline8Bit, "jpeg2000": uid.JPEG2000Lossless,
           "jpegls": uid.JPEGLSLossless}  # fmt: skip


def write_dicom(case: Case, levels: list[Stored], path: Path) -> list[Bytes]:
    """Writes a folder. Returns the samples of each level as Pillow decodes them."""
    path.mkdir()
    found = []
    for number, level in enumerate(levels):
        frames = [(row, col, _frame(case, level, row, col)) for row, col in np.argwhere(level.written).tolist()]
        found.append(_decoded(case, level, frames) if case.lossy else level.samples)
        ds = _header(case, level, [frame for _, _, frame in frames])
        if not level.written.all():
            ds.DimensionOrganizationType = "TILED_SPARSE"
            places = [_place(col * case.tile[0], row * case.tile[1]) for row, col, _ in frames]
            ds.PerFrameFunctionalGroupsSequence = Sequence(places)
        pydicom.dcmwrite(path / f"level{number}.dcm", ds, enforce_file_format=True)
    return found


def _frame(case: Case, level: Stored, row: int, col: int) -> bytes:
    cols, rows = case.tile
    part = level.samples[row * rows : row * rows + rows, col * cols : col * cols + cols]
    tile = np.pad(part, [(0, rows - part.shape[0]), (0, cols - part.shape[1]), (0, 0)])
    if case.codec.startswith("jpeg-"):
        return jpeg(case, tile)
    pixels = np.ascontiguousarray(tile[..., 0] if tile.shape[2] == 1 else tile)
    if case.codec == "jpeg2000":
        return bytes(imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="j2k"))
    if case.codec == "jpegls":
        return bytes(imagecodecs.jpegls_encode(pixels))
    return bytes((tile.transpose(2, 0, 1) if case.layout == "planar" else tile).tobytes())


def _decoded(case: Case, level: Stored, frames: list[tuple[int, int, bytes]]) -> Bytes:
    out = np.zeros_like(level.samples)
    cols, rows = case.tile
    for row, col, frame in frames:
        place = out[row * rows : row * rows + rows, col * cols : col * cols + cols]
        place[:] = by_pillow(frame)[: place.shape[0], : place.shape[1]]
    return out


def _header(case: Case, level: Stored, frames: list[bytes]) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = _SYNTAX[case.codec.partition("-")[0]]
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = uid.VLWholeSlideMicroscopyImageStorage
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = uid.generate_uid()
    ds.SeriesInstanceUID, ds.Modality, ds.ImageType = "1.2.3", "SM", ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    ds.TotalPixelMatrixRows, ds.TotalPixelMatrixColumns = level.samples.shape[:2]
    ds.Columns, ds.Rows = case.tile
    ds.NumberOfFrames, ds.DimensionOrganizationType = len(frames), "TILED_FULL"
    ds.SamplesPerPixel = level.samples.shape[2]
    ds.PhotometricInterpretation = _photometric(case)
    if ds.SamplesPerPixel > 1:
        ds.PlanarConfiguration = int(case.layout == "planar")
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation = 7, 0
    measures, shared = Dataset(), Dataset()
    measures.PixelSpacing = [0.00025 * level.downsample] * 2
    shared.PixelMeasuresSequence = Sequence([measures])
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    if case.codec == "none":
        data = b"".join(frames)
        ds.PixelData = data + b"\0" * (len(data) % 2)
    elif case.variant == "extended table":
        ds.PixelData, ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths = encapsulate_extended(frames)
    else:
        ds.PixelData = encapsulate(frames, has_bot=case.variant != "no table")
    ds["PixelData"].VR = "OB"
    return ds


def _photometric(case: Case) -> str:
    if case.layout == "grey":
        return "MONOCHROME2"
    return {"jpeg-ycbcr": "YBR_FULL_422", "jpeg2000": "RGB"}.get(case.codec, "RGB")


def _place(x: int, y: int) -> Dataset:
    """The functional groups of a frame of a sparse image."""
    position, identified, group = Dataset(), Dataset(), Dataset()
    position.ColumnPositionInTotalImagePixelMatrix, position.RowPositionInTotalImagePixelMatrix = x + 1, y + 1
    position.ZOffsetInSlideCoordinateSystem = 0
    identified.OpticalPathIdentifier = "1"
    more: dict[str, Any] = {
        "PlanePositionSlideSequence": Sequence([position]),
        "OpticalPathIdentificationSequence": Sequence([identified]),
    }
    for key, value in more.items():
        setattr(group, key, value)
    return group

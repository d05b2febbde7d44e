"""Headers of DICOM-WSI instances (files): their metadata, and where their frames lie in the file."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.errors import InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, VLWholeSlideMicroscopyImageStorage

from ats_cli.errors import SlideError, named_errors
from ats_cli.slides.byte_source import ByteSource
from ats_cli.slides.formats.dicom.items import frame_ranges
from ats_cli.slides.reader import MPP_OF_POWER, unreadable

# pydicom logs odd values. Errors are raised, so keep these remarks off stderr.
logging.getLogger("pydicom").addHandler(logging.NullHandler())
logging.getLogger("pydicom").propagate = False

_TAGS = [
    "SOPClassUID", "SeriesInstanceUID", "Modality", "ImageType", "Manufacturer", "ManufacturerModelName",
    "SeriesDescription", "InstanceNumber", "Rows", "Columns", "TotalPixelMatrixColumns", "TotalPixelMatrixRows",
    "TotalPixelMatrixFocalPlanes", "NumberOfFrames", "NumberOfOpticalPaths", "OpticalPathSequence",
    "DimensionOrganizationType", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration",
    "BitsAllocated", "BitsStored", "PixelRepresentation", "WindowCenter", "WindowWidth", "RescaleSlope",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "ImagedVolumeWidth", "ImagedVolumeHeight",
    "ConcatenationUID", "ConcatenationFrameOffsetNumber", "ExtendedOffsetTable", "RescaleIntercept",
]  # fmt: skip


@dataclass(frozen=True)
class PixelFacts:
    """The pixel format of an instance. `window`: the values shown as black and white; None if not stated."""

    syntax: UID
    photometric: str
    samples: int
    planar: bool
    bits_allocated: int
    bits_stored: int
    signed: bool
    window: tuple[float, float] | None


@dataclass(frozen=True)
class Instance:
    """One image of a series: a level, a label or an overview.

    sources: its files, several if it is concatenated.
    frames: their number by the header; the file may hold fewer.
    files, offsets, counts: (frames,), the file, offset and bytes of each frame.
    places: of a sparse image, (frames, 4): column and row in pixels, z in micrometres, optical path. None if all
        frames are stored, in the order optical path, focal plane, row, column.
    """

    sources: tuple[ByteSource, ...]
    series: str
    kind: str
    width: int
    height: int
    tile_width: int
    tile_height: int
    focal_planes: int
    optical_paths: int
    frames: int
    files: NDArray[np.intp]
    offsets: NDArray[np.int64]
    counts: NDArray[np.int64]
    places: NDArray[np.float64] | None
    pixels: PixelFacts
    mpp: tuple[float, float] | None
    mpp_source: str | None
    profile: bytes | None
    properties: dict[str, str]
    concatenation: tuple[str, int] | None


def series_of(source: ByteSource) -> str | None:
    """Return the UID of a file's series; None if it is not a DICOM or does not state one."""
    try:
        with source.headers() as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if stream.read(132)[128:] != b"DICM":
                return None
            stream.seek(0)
            # Tags are ordered, and the UID of the series comes before all long values.
            found = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=["SeriesInstanceUID"])
            return str(found.SeriesInstanceUID) or None
    except Exception:  # opening the file reports what is wrong
        return None


def read_instance(source: ByteSource, by_items: bool = False) -> Instance:
    """Read the headers of one file. `by_items`: find frames without the file's table of offsets.

    Raises SlideError if it is damaged or not a whole-slide image.
    """
    with named_errors(source.path.name):  # the file, not the series
        try:
            with source.headers() as stream, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                header = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=_TAGS)
                return _instance(source, header, stream, by_items)
        except SlideError:
            raise
        except InvalidDicomError:
            raise SlideError("not a DICOM file. Leave out --backend.") from None
        except Exception as error:
            raise unreadable(source.path, error, "its DICOM header could not be read") from error


def join(parts: Sequence[Instance]) -> Instance:
    """Join the parts of a concatenation into one image, in the order of their frames."""
    parts = sorted(parts, key=lambda part: part.concatenation or ("", 0))
    first = parts[0]
    places = [part.places for part in parts if part.places is not None]
    return replace(
        first,
        sources=tuple(source for part in parts for source in part.sources),
        frames=sum(part.frames for part in parts),
        files=np.concatenate([part.files + number for number, part in enumerate(parts)]),
        offsets=np.concatenate([part.offsets for part in parts]),
        counts=np.concatenate([part.counts for part in parts]),
        places=np.concatenate(places) if len(places) == len(parts) else None,
    )


def _instance(source: ByteSource, header: pydicom.Dataset, stream: BinaryIO, by_items: bool) -> Instance:
    if header.get("SOPClassUID") != VLWholeSlideMicroscopyImageStorage:
        raise SlideError(
            f"a DICOM of modality {header.get('Modality') or 'unknown'}, not a whole-slide image. "
            "Give a file or a folder of DICOM-WSI."
        )
    syntax = header.file_meta.TransferSyntaxUID
    if syntax == DeflatedExplicitVRLittleEndian:
        raise SlideError("a deflated DICOM is not read. Convert it to another transfer syntax.")
    frames = int(header.get("NumberOfFrames") or 1)
    rows, cols = int(header.Rows), int(header.Columns)
    width, height = int(header.TotalPixelMatrixColumns), int(header.TotalPixelMatrixRows)
    if min(rows, cols, width, height, frames) < 1:
        raise SlideError("the image has no pixels.")
    pixels = PixelFacts(
        syntax=syntax,
        photometric=str(header.PhotometricInterpretation),
        samples=int(header.SamplesPerPixel),
        planar=int(header.get("PlanarConfiguration") or 0) == 1,
        bits_allocated=int(header.BitsAllocated),
        bits_stored=int(header.BitsStored),
        signed=int(header.get("PixelRepresentation") or 0) == 1,
        window=_window(header),
    )
    frame_bytes = rows * cols * pixels.samples * pixels.bits_allocated // 8
    offsets, counts = frame_ranges(source.size, header, stream, frames, frame_bytes, by_items)
    kind = list(header.get("ImageType") or [])
    mpp, mpp_source = _mpp(header, width, height)
    concatenation = header.get("ConcatenationUID")
    keys = ("Manufacturer", "ManufacturerModelName", "SeriesDescription", "PhotometricInterpretation", "ImageType")
    return Instance(
        sources=(source,),
        series=str(header.get("SeriesInstanceUID") or ""),
        kind=str(kind[2]) if len(kind) > 2 else "VOLUME",
        width=width,
        height=height,
        tile_width=cols,
        tile_height=rows,
        focal_planes=int(header.get("TotalPixelMatrixFocalPlanes") or 1),
        optical_paths=int(header.get("NumberOfOpticalPaths") or len(header.get("OpticalPathSequence") or []) or 1),
        frames=frames,
        files=np.zeros(len(offsets), dtype=np.intp),
        offsets=offsets,
        counts=counts,
        places=_places(header),
        pixels=pixels,
        mpp=mpp,
        mpp_source=mpp_source,
        profile=bytes(_first_path(header).get("ICCProfile") or b"") or None,
        properties={f"dicom.{key}": str(header.get(key)) for key in keys if header.get(key)}
        | {"dicom.TransferSyntax": syntax.name},
        concatenation=(str(concatenation), int(header.get("ConcatenationFrameOffsetNumber") or 0))
        if concatenation
        else None,
    )


def _places(header: pydicom.Dataset) -> NDArray[np.float64] | None:
    """Return `Instance.places` from the frames' own positions; None if they state none."""
    groups = header.get("PerFrameFunctionalGroupsSequence")
    if header.get("DimensionOrganizationType") == "TILED_FULL" or not groups:
        return None
    paths: dict[str, int] = {}
    found = np.zeros((len(groups), 4))
    for place, group in zip(found, groups, strict=True):
        position = group.PlanePositionSlideSequence[0]
        identified = group.get("OpticalPathIdentificationSequence")
        path = str(identified[0].OpticalPathIdentifier) if identified else ""
        place[:] = (
            int(position.ColumnPositionInTotalImagePixelMatrix) - 1,
            int(position.RowPositionInTotalImagePixelMatrix) - 1,
            float(position.get("ZOffsetInSlideCoordinateSystem") or 0),
            paths.setdefault(path, len(paths)),
        )
    return found


def _shared(header: pydicom.Dataset, sequence: str) -> pydicom.Dataset:
    """Return the first item of a functional group shared by all frames; an empty dataset if there is none."""
    groups = header.get("SharedFunctionalGroupsSequence")
    items = groups[0].get(sequence) if groups else None
    return items[0] if items else pydicom.Dataset()


def _first_path(header: pydicom.Dataset) -> pydicom.Dataset:
    """Return the first optical path; an empty dataset if there is none."""
    paths = header.get("OpticalPathSequence")
    return paths[0] if paths else pydicom.Dataset()


def _window(header: pydicom.Dataset) -> tuple[float, float] | None:
    """Return the stored values to show as black and white; None if the file states none."""
    window = _shared(header, "FrameVOILUTSequence")
    window = window if "WindowCenter" in window else header
    centre, width = (_first_number(window.get(key)) for key in ("WindowCenter", "WindowWidth"))
    values = _shared(header, "PixelValueTransformationSequence")
    values = values if "RescaleSlope" in values else header
    as_stored = values.get("RescaleSlope", 1) == 1 and values.get("RescaleIntercept", 0) == 0
    if centre is None or width is None or not as_stored:
        return None
    return centre - width / 2, centre + width / 2


def _first_number(value: Any) -> float | None:
    """Return the first of one or several numbers."""
    found = list(value) if isinstance(value, MultiValue) else [value]
    return float(found[0]) if found and found[0] is not None else None


def _mpp(header: pydicom.Dataset, width: int, height: int) -> tuple[tuple[float, float] | None, str | None]:
    spacing = _shared(header, "PixelMeasuresSequence").get("PixelSpacing")
    if spacing is not None and len(spacing) == 2:
        return (float(spacing[1]) * 1000, float(spacing[0]) * 1000), "dicom pixel spacing"
    across, down = header.get("ImagedVolumeWidth"), header.get("ImagedVolumeHeight")
    if across and down:
        return (float(across) * 1000 / width, float(down) * 1000 / height), "dicom imaged volume"
    guess = MPP_OF_POWER.get(float(_first_path(header).get("ObjectiveLensPower") or 0))
    return ((guess, guess), "objective power") if guess else (None, None)

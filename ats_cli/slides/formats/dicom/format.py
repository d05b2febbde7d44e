"""The format `dicom`: a file of a DICOM-WSI series, or a folder that holds one series."""

from __future__ import annotations

from pathlib import Path

from ats_cli.slides.format import Format
from ats_cli.slides.formats.dicom.files import EXTENSIONS, group_by_series, is_dicom, is_dicom_folder
from ats_cli.slides.formats.lookup import extensions
from ats_cli.slides.plane import Plane
from ats_cli.slides.reader import Reader


class DicomFormat(Format):
    name = "dicom"
    extensions = EXTENSIONS

    def sniff(self, path: Path, head: bytes) -> bool:
        return head[128:132] == b"DICM" if head else is_dicom_folder(path)

    def open(self, path: Path, plane: Plane | None) -> Reader:
        from ats_cli.slides.formats.dicom.reader import DicomReader  # imports pydicom, which is slow

        return DicomReader(path, plane)

    def may_be_slide(self, path: Path) -> bool:
        return super().may_be_slide(path) or is_dicom(path)

    def is_slide_folder(self, folder: Path) -> bool:
        """Whether a folder holds one DICOM series and nothing else."""
        return is_dicom_folder(folder) and _only_dicom(folder) and len(group_by_series(folder)) <= 1


def _only_dicom(folder: Path) -> bool:
    others = set(extensions()) - set(EXTENSIONS)
    return not any(entry.is_dir() or entry.suffix.lower() in others for entry in folder.iterdir())


FORMAT = DicomFormat()

"""The slides of a command: those named in the call, or the rows of a manifest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ats_cli.errors import AtsError

if TYPE_CHECKING:
    from ats_cli.slides import SlideSource


def gather(
    slides: list[str] | None, manifest: Path | None, mpp: float | None, group_by: str | None = None, na: str = "auto"
) -> list[SlideSource]:
    """Return the slides of a call, each with its id and the mpp that the user gave. Raises AtsError if there are none.

    group_by: the column of the manifest that names their groups. na: see `read_manifest`.

    A row of a manifest whose file is missing is a slide too: it fails later, alone.
    """
    from ats_cli.slides import SlideSource, find_slides, read_manifest
    from ats_cli.slides.inputs.discovery import say_one_file, slide_ids
    from ats_cli.slides.regions.region_files import region_file

    if slides and manifest:
        raise AtsError("slides were given both in the call and with --manifest. Give one or the other.")
    if group_by is not None and manifest is None:
        raise AtsError("--group-by names a column of a manifest. Give the slides with --manifest.")
    if manifest is not None:
        table = read_manifest(manifest, group_by=group_by, na=na, with_labels=False)
        ids = slide_ids([row.path for row in table.rows])
        groups = table.groups(ids) if group_by else [None] * len(ids)
        sources = [
            SlideSource(name, row.path, row.mpp or mpp, group, roi=region_file(row.roi))
            for name, row, group in zip(ids, table.rows, groups, strict=True)
        ]
        say_one_file(sources)
        return sources
    if not slides:
        raise AtsError("no slides were given. Name files, folders or globs in quotes.")
    return find_slides(slides, mpp)

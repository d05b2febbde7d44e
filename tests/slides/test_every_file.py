"""Every file, and some folders, of a collection of real, odd and damaged slides: what it opens as, or why it does not.

The table is every_file.csv: mpp and mpp_source, plane and sentence are empty where there is none. A file that opens and
has a sentence opens, and cannot be read. A sentence stands without the file's name, and ends in ... where the rest is
some library's own words.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from slide_pictures import DATA

from ats_cli.errors import SlideError
from ats_cli.slides import Slide, open_slide

pytestmark = pytest.mark.integration

TABLE = Path(__file__).with_name("every_file.csv")
FACTS = ("reader", "vendor", "width", "height", "levels", "mpp", "mpp_source", "plane")
NO_SLIDES = ("SOURCE.txt", "README.md", "Readme.md", "manifest.md")


def rows() -> dict[str, dict[str, str]]:
    with TABLE.open(newline="", encoding="utf-8") as stream:
        return {row["file"]: row for row in csv.DictReader(stream)}


def files_there() -> set[str]:
    found = set()
    for path in DATA.rglob("*"):
        inside = path.relative_to(DATA)
        within_zarr = any(part.endswith(".zarr") for part in inside.parts[:-1])
        if within_zarr or path.name in NO_SLIDES or (path.is_dir() and path.suffix != ".zarr"):
            continue
        found.add(inside.as_posix())
    return found


def facts(slide: Slide) -> dict[str, str]:
    return {
        "reader": slide.reader,
        "vendor": slide.vendor,
        "width": str(slide.width),
        "height": str(slide.height),
        "levels": " ".join(f"{level.downsample:.5g}" for level in slide.levels),
        "mpp": "" if slide.mpp is None else f"{slide.mpp:.6g}",
        "mpp_source": slide.mpp_source or "",
        "plane": slide.plane or "",
    }


def opened(path: Path) -> tuple[dict[str, str], str]:
    """The facts of a file, none if it does not open, and the message of what went wrong."""
    found = dict.fromkeys(FACTS, "")
    try:
        with open_slide(path) as slide:
            found = facts(slide)
            slide.read_view(max(1.0, slide.width / 200))
    except SlideError as error:
        return found, str(error)
    return found, ""


def test_a_file_is_what_the_table_says(data: Path) -> None:
    for file, row in rows().items():
        found, sentence = opened(data / file)
        assert found == {name: row[name] for name in FACTS}, file
        if not row["sentence"]:
            assert sentence == "", file
        elif row["sentence"].endswith("..."):
            assert sentence.startswith(f"{Path(file).name}: {row['sentence'].removesuffix('...')}"), file
        else:
            assert sentence == f"{Path(file).name}: {row['sentence']}", file


def test_the_table_has_every_file(data: Path) -> None:
    assert files_there() == {file for file in rows() if file in files_there() or not (data / file).is_dir()}

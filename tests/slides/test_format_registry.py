"""A format that another package adds: opened by its content, by `ats info` and `ats predict`."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from slide_pictures import picture

from ats_cli.errors import SlideError
from ats_cli.registry import FORMATS
from ats_cli.slides import open_slide
from ats_cli.slides.format import Format
from ats_cli.slides.formats.image_reader import ImageReader
from ats_cli.slides.plane import Plane
from ats_cli.slides.reader import Box, Damage, Reader, Region

ROOT = Path(__file__).parents[2]
HEIGHT, WIDTH = 700, 900


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder of packages with the example of docs/extending.md, as pip would install it."""
    section = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8").partition("## Add a format")[2]
    module, project = re.findall(r"```(?:python|toml)\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)
    assert len([line for line in module.splitlines() if line.strip()]) < 30
    folder = tmp_path / "packages"
    metadata = folder / "raw_for_ats-1.0.dist-info"
    metadata.mkdir(parents=True)
    (folder / "raw_for_ats.py").write_text(module)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: raw-for-ats\nVersion: 1.0\n")
    _, line = project.strip().splitlines()
    (metadata / "entry_points.txt").write_text(f"[ats_cli.formats]\n{line.replace(chr(34), '')}\n")
    return folder


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    """A folder with a slide in the format of the example, called as it says, and one called otherwise."""
    folder = tmp_path / "slides"
    folder.mkdir()
    content = b"RAW8" + np.array([WIDTH, HEIGHT], "<u4").tobytes() + picture(HEIGHT, WIDTH).tobytes()
    (folder / "a.rawslide").write_bytes(content)
    (folder / "b.svs").write_bytes(content)
    return folder


def ats(packages: Path | None, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(map(str, filter(None, (ROOT, packages))))
    return subprocess.run(
        [sys.executable, "-m", "ats_cli", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )


@pytest.mark.integration
def test_the_format_of_another_package_is_opened_by_content(packages: Path, slides: Path) -> None:
    done = ats(packages, "info", slides, "--check", "--json")
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["slide_id"] for record in records] == ["a", "b"], done.stderr
    for record in records:
        assert (record["reader"], record["vendor"], record["mpp"]) == ("raw", "raw", 0.5)
        assert (record["width"], record["height"], record["sound"]) == (WIDTH, HEIGHT, True)
    assert "raw" in ats(packages, "info", "--help").stdout
    without = ats(None, "info", slides / "a.rawslide", "--json")
    assert without.returncode == 1 and "not a slide or image format" in without.stderr


@pytest.mark.integration
def test_the_format_of_another_package_is_predicted(packages: Path, slides: Path) -> None:
    done = ats(packages, "predict", slides / "a.rawslide", "--backend", "raw", "-n", "4", "--json", "--processes", "1")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert (record["status"], record["reader"], record["mpp"]) == ("ok", "raw", 0.5)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("import a_library_that_is_not_installed", "ModuleNotFoundError: .*a_library_that_is_not_installed"),
        ("OTHER = 1", "AttributeError: .*FORMAT"),
        ("def broken(:", "SyntaxError: "),
    ],
)
def test_a_format_that_cannot_be_imported_stops_no_other(
    packages: Path, slides: Path, module: str, reason: str
) -> None:
    """One warning names the package; slides of other formats are read, and --backend says why it cannot be had."""
    from PIL import Image

    (packages / "raw_for_ats.py").write_text(module)
    for name in ("c.png", "d.png"):
        Image.fromarray(picture(40, 50)).save(slides / name)
    done = ats(packages, "info", slides / "c.png", slides / "d.png", "--json")
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["reader"] for record in records] == ["image", "image"], done.stderr
    assert re.search(rf"the format 'raw' of the package raw-for-ats cannot be imported \({reason}", done.stderr)
    assert done.stderr.count("raw-for-ats") == 1 and "Traceback" not in done.stderr
    chosen = ats(packages, "info", slides / "a.rawslide", "--backend", "raw")
    assert chosen.returncode != 0 and "Mend, update or uninstall that package" in chosen.stderr


class HiddenImage(Format):
    """A picture behind a word of four letters: no file of the other formats."""

    name, extensions = "hidden", (".hidden",)

    def sniff(self, path: Path, head: bytes) -> bool:
        return head.startswith(b"HIDE")

    def open(self, path: Path, plane: Plane | None) -> Reader:
        picture_file = path.with_suffix(".unpacked")
        picture_file.write_bytes(path.read_bytes()[4:])
        return ImageReader(picture_file)


def test_a_format_registered_by_a_program_is_opened_by_content(tmp_path: Path) -> None:
    from PIL import Image

    expected = picture(40, 50)
    Image.fromarray(expected).save(tmp_path / "a.png")
    (tmp_path / "a.dat").write_bytes(b"HIDE" + (tmp_path / "a.png").read_bytes())
    with pytest.raises(SlideError, match="not a slide or image format"):
        open_slide(tmp_path / "a.dat")
    FORMATS.register(HiddenImage.name, HiddenImage())
    try:
        with open_slide(tmp_path / "a.dat") as slide:
            assert np.array_equal(slide.read_view(1), expected)
    finally:
        FORMATS.unregister(HiddenImage.name)


class BrokenFormat(HiddenImage):
    """Its errors do not say which slide they are about."""

    def open(self, path: Path, plane: Plane | None) -> Reader:
        if path.stat().st_size == 4:
            raise SlideError("there is no picture in it.", "memory")
        reader = super().open(path, plane)
        reader.read = self.read  # type: ignore[method-assign]
        return reader

    def read(self, level: int, boxes: Sequence[Box], threads: int) -> Iterator[Region]:
        x, y, width, height = boxes[0]
        yield Region(np.zeros((height, width, 3), np.uint8), (Damage(boxes[0], f"tile {x}, {y} is damaged."),))
        raise SlideError("the disk is gone.")


def test_errors_of_a_format_get_the_name_of_the_slide(tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(picture(40, 50)).save(tmp_path / "a.png")
    (tmp_path / "a.dat").write_bytes(b"HIDE" + (tmp_path / "a.png").read_bytes())
    (tmp_path / "b.dat").write_bytes(b"HIDE")
    FORMATS.register(BrokenFormat.name, BrokenFormat())
    try:
        with pytest.raises(SlideError, match=r"^b\.dat: there is no picture in it\.$") as raised:
            open_slide(tmp_path / "b.dat")
        assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)
        assert raised.value.kind == "memory"
        slide = open_slide(tmp_path / "a.dat")
        regions = slide.scan_level(0, [(0, 0, 8, 8)] * 2)
        assert next(regions).damage[0].reason == "a.dat: tile 0, 0 is damaged."
        with pytest.raises(SlideError, match=r"^a\.dat: the disk is gone\.$"):
            next(regions)
    finally:
        FORMATS.unregister(BrokenFormat.name)

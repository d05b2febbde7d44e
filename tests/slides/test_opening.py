"""Every real file gives pixels or one sentence, never a traceback; and what is not a slide says so."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from slide_pictures import DATA, picture

from ats_cli.errors import AtsError, SlideError
from ats_cli.registry import FORMATS
from ats_cli.slides import open_slide


def real_files() -> list[Path]:
    files = [p for p in DATA.rglob("*") if p.is_file() and not any(part.endswith(".zarr") for part in p.parts)]
    return sorted([*files, *DATA.rglob("*.zarr")])


@pytest.mark.integration
@pytest.mark.parametrize("backend", [None, *FORMATS])
def test_every_real_file_gives_pixels_or_one_sentence(data: Path, backend: str | None) -> None:
    for path in real_files():
        try:
            with open_slide(path, backend=backend) as slide:
                downsample = max(1.0, slide.width / 200)
                assert slide.read_view(downsample).shape == (*slide.view_shape(downsample), 3), path
                boxes = [(-10.5, -3, 64, 64), (slide.width / 2, slide.height / 2, 99.5, 99.5)]
                assert [p.shape for p in slide.read_tiles(boxes, 32)] == [(32, 32, 3)] * 2, path
        except SlideError as error:
            message = str(error)
            assert message.startswith(path.name + ": ") and "\n" not in message and message.endswith("."), path
            assert len(message) < 600, path


@pytest.mark.parametrize(
    ("name", "reader", "mpp"),
    [
        ("wsic-samples/CMU-1-Small-Region.svs", "tiff", 0.499),
        ("slideio-tutorial/test3-TRITC 2 (560).ndpi", "openslide", pytest.approx(0.228, abs=1e-3)),
        ("wsic-samples/CMU-1-Small-Region.webp.tiff", "tiff", None),
        ("wsic-samples/XYC-half-mpp.tiff", "tiff", 0.5),
        ("qupath-cells/cells.ome.tif", "tiff", 0.25),
        ("qupath-cells/cells.jpg", "image", None),
    ],
)
def test_the_reader_goes_by_content(data: Path, tmp_path: Path, name: str, reader: str, mpp: float | None) -> None:
    odd = tmp_path / "x.dat"
    odd.symlink_to(data / name)
    with open_slide(odd) as slide:
        assert (slide.reader, slide.mpp) == (reader, mpp)


def test_what_is_no_slide_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty.svs").touch()
    (tmp_path / "text.svs").write_text("not a slide at all, " * 50)
    (tmp_path / "table.CSV").write_text("slide,label\na.svs,x\n")
    (tmp_path / "x.geojson").write_text("{}")
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "dicom").mkdir()
    (tmp_path / "dicom" / "1.dcm").touch()
    with zipfile.ZipFile(tmp_path / "z.zarr.zip", "w") as out:
        out.writestr(".zgroup", "{}")
    for name, says in {
        "empty.svs": "the file is empty",
        "text.svs": "not a slide or image format that is read. Convert",
        "table.CSV": "not a slide or image format that is read. Give a table of slides with --manifest",
        "x.geojson": "not a slide or image format that is read. Give regions of slides with --roi",
        "folder": "a folder, not a slide",
        "a.zarr": "no Zarr array or group is there",
        "dicom": "1.dcm is no DICOM that can be read",
        "z.zarr.zip": "could not be read|a Zarr group without an array",
        "nowhere.svs": "no such file",
    }.items():
        with pytest.raises(SlideError, match=f"^{name}: .*{says}.*\\.$"):
            open_slide(tmp_path / name)
    with pytest.raises(AtsError, match=r"unknown format 'czi'\. Choose one of image, tiff, openslide, dicom, zarr\."):
        open_slide(tmp_path / "text.svs", backend="czi")


def test_a_library_that_fails_in_a_new_way_is_still_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(picture(9, 9)).save(tmp_path / "a.png")

    def fail(*_: object) -> None:
        raise RuntimeError("inner\nworkings")

    monkeypatch.setattr("ats_cli.slides.formats.image_reader._stored_size", fail)
    with pytest.raises(SlideError, match=r"^a\.png: could not be read \(inner workings\)\.$"):
        open_slide(tmp_path / "a.png")


def test_microns_per_pixel_by_hand_by_file_and_not_at_all(tmp_path: Path, data: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(picture(9, 9)).save(path)
    slide = open_slide(path)
    assert slide.mpp is None and slide.mpp_source is None
    sentence = r"^a\.png: no microns-per-pixel in the file\. Give --mpp 0\.25 or a column mpp in the manifest\.$"
    with pytest.raises(SlideError, match=sentence):
        slide.require_mpp()
    with pytest.raises(SlideError, match=sentence):
        slide.read_at_mpp(1)
    given = open_slide(path, mpp=25)
    assert (given.mpp, given.mpp_source) == (25, "given") and np.shape(given.read_at_mpp(50)) == (5, 5, 3)
    with pytest.raises(SlideError, match="no microns-per-pixel"):
        open_slide(path, mpp=-1)
    coarse = open_slide(data / "google-medical-imaging" / "multi_frame_jpeg_camelyon_challenge_image.dcm")
    assert coarse.mpp is None
    with pytest.raises(SlideError, match=r"outside 0\.05 to 20 and not accepted"):
        coarse.require_mpp()


def test_unequal_microns_per_pixel_are_not_averaged(tmp_path: Path) -> None:
    Image.fromarray(picture(9, 9)).save(tmp_path / "a.tif", x_resolution=40000, y_resolution=30000, resolution_unit=3)
    slide = open_slide(tmp_path / "a.tif")
    assert slide.mpp is None
    with pytest.raises(SlideError, match="not square"):
        slide.require_mpp()


@pytest.mark.integration
def test_libraries_that_few_slides_need_are_imported_when_one_does() -> None:
    code = "import sys, ats_cli.slides; print(*(m for m in sys.modules if '.' not in m))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"zarr", "pydicom", "wsidicom", "torch"} & set(done.stdout.split())


def test_half_a_slide_is_said_to_be_cut_short(tmp_path: Path) -> None:
    """A copy that broke off: a TIFF's index stands at its end, so that nothing of it is there."""
    whole = (Path(__file__).parents[2] / "examples" / "CMU-1-Small-Region.svs").read_bytes()
    (tmp_path / "half.svs").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SlideError, match=r"^half\.svs: no image in this TIFF\. It was cut short"):
        open_slide(tmp_path / "half.svs")

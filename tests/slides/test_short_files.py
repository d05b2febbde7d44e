"""Files that end within their first bytes: each is refused in a sentence of this program, not a library's alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import originals
from PIL import Image
from slide_pictures import picture

from ats_cli.errors import SlideError
from ats_cli.slides import open_slide

OUR_WORDS = "|".join(
    (
        "the file is empty",
        "not a slide or image format",
        "no image in this TIFF",
        "its header is damaged, cut short",
        "the image is damaged or cut short",
        "neither a folder of Zarr nor a whole zip of one",
    )
)
FORMATS = ("svs", "ome-tiff", "tiff", "png", "jpeg", "jp2", "zarr", "dicom", "bmp", "webp", "ppm", "j2k", "tif", "btf")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("whole")
    files = originals(folder)
    for name in ("bmp", "webp", "ppm", "j2k"):
        files[name] = folder / f"image.{name}"
        Image.fromarray(picture(60, 70)).save(files[name])
    for name in ("tif", "btf"):
        files[name] = folder / f"big-endian.{name}"
        tifffile.imwrite(files[name], picture(60, 70), byteorder=">", bigtiff=name == "btf")
    return files


@pytest.mark.integration
@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(count=st.integers(0, 64))
def test_a_file_of_a_few_bytes_is_refused_in_our_words(
    whole: dict[str, Path], tmp_path: Path, name: str, count: int
) -> None:
    short = tmp_path / f"short{whole[name].suffix}"
    short.write_bytes(whole[name].read_bytes()[:count])
    with pytest.raises(SlideError, match=rf"^{short.name}: ({OUR_WORDS})"), open_slide(short) as slide:
        slide.read_view(1)


@given(st.sampled_from(["svs", "ome-tiff", "tiff", "tif", "btf"]), st.integers(4, 64))
@settings(max_examples=30, deadline=None)
def test_a_tiff_of_a_few_bytes_has_no_image(whole: dict[str, Path], name: str, count: int) -> None:
    """A TIFF of four bytes was refused with "unpack requires a buffer of 4 bytes"."""
    short = whole[name].with_name(f"short-{name}.tif")
    short.write_bytes(whole[name].read_bytes()[:count])
    with pytest.raises(SlideError, match="no image in this TIFF"):
        open_slide(short)

"""A PNG with a changed byte anywhere in its pixels is damage, as each of its chunks has a checksum."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ats_cli.errors import SlideError
from ats_cli.slides import check_slide, open_slide


@pytest.fixture(scope="module")
def png(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("png") / "noise.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(path)
    return path


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_changed_byte_is_damage(png: Path, data: st.DataObject) -> None:
    content = bytearray(png.read_bytes())
    start = content.index(b"IDAT")
    place = data.draw(st.integers(start + 4, len(content) - 13))
    content[place] ^= data.draw(st.integers(1, 255))
    changed = png.with_name("changed.png")
    changed.write_bytes(content)
    with open_slide(changed) as slide:
        assert not check_slide(slide).sound
        with pytest.raises(SlideError, match="damaged or cut short"):
            slide.read_view(1)


@settings(max_examples=20, deadline=None)
@given(left=st.floats(0.1, 0.999))
def test_a_cut_file_is_damage(png: Path, left: float) -> None:
    content = png.read_bytes()
    cut = png.with_name("cut.png")
    cut.write_bytes(content[: int(len(content) * left)])
    with open_slide(cut) as slide, pytest.raises(SlideError, match="damaged or cut short"):
        slide.read_view(1)


def test_the_whole_file_is_sound(png: Path) -> None:
    with open_slide(png) as slide:
        assert check_slide(slide).sound

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageOps
from slide_pictures import picture

from ats_cli.errors import SlideError
from ats_cli.slides import open_slide
from ats_cli.slides.formats import image_reader


@pytest.mark.parametrize("suffix", ["png", "bmp", "webp"])
def test_plain_images_are_decoded_at_the_first_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(picture(33, 47)).save(path, **({"lossless": True} if suffix == "webp" else {}))
    slide = open_slide(path)
    assert slide.reader == "image" and (slide.width, slide.height) == (47, 33)
    assert slide.resident_bytes == 0 and slide.bytes_read == 0
    assert np.array_equal(slide.read_view(1), picture(33, 47))
    assert slide.resident_bytes == 33 * 47 * 4 and slide.bytes_read == slide.bytes_total
    slide.close()
    assert slide.resident_bytes == 0


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_upright(tmp_path: Path, suffix: str, orientation: int) -> None:
    image = Image.fromarray(np.kron(picture(3, 5), np.ones((8, 8, 1), np.uint8)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    image.save(path, exif=exif, **({"quality": 100, "subsampling": 0} if suffix == "jpg" else {}))
    tagged = image.copy()
    tagged.getexif()[0x0112] = orientation
    upright = np.asarray(ImageOps.exif_transpose(tagged)).astype(int)
    slide = open_slide(path)
    assert (slide.height, slide.width) == upright.shape[:2]
    assert np.abs(slide.read_view(1) - upright).max() < 8


def test_turned_tiled_tiffs_agree_with_the_upright_one(data: Path) -> None:
    shapes = {n: open_slide(data / "large_image" / f"test_orient{n}.tif").view_shape(1) for n in range(1, 9)}
    assert shapes == {n: (180, 120) if n < 5 else (120, 180) for n in range(1, 9)}
    plain, turned = (open_slide(data / "large_image" / f"test_orient{n}.tif").read_view(1) for n in (1, 3))
    assert plain.shape == turned.shape


def test_modes(tmp_path: Path) -> None:
    grey = picture(8, 8)[..., 0]
    Image.fromarray(grey).save(tmp_path / "l.png")
    assert np.array_equal(open_slide(tmp_path / "l.png").read_view(1), np.repeat(grey[..., None], 3, 2))
    Image.fromarray(grey > 60).save(tmp_path / "1.png")
    assert set(np.unique(open_slide(tmp_path / "1.png").read_view(1))) == {0, 255}
    Image.fromarray(picture(8, 8)).quantize(16).save(tmp_path / "p.png")
    assert open_slide(tmp_path / "p.png").read_view(1).shape == (8, 8, 3)
    rgba = np.concatenate([picture(8, 8), np.full((8, 8, 1), 0, np.uint8)], 2)
    rgba[0, 0] = (10, 20, 30, 255)
    rgba[0, 1] = (0, 100, 200, 128)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    view = open_slide(tmp_path / "a.png").read_view(1)
    assert view[0, 0].tolist() == [10, 20, 30] and view[0, 1].tolist() == [127, 177, 227]
    assert (view[1:] == 255).all()


@pytest.mark.parametrize("mode", ["I;16", "CMYK", "F", "I"])
def test_other_modes_are_refused(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.png" if mode == "I;16" else "a.tif")
    Image.new(mode, (8, 8)).save(path)
    with pytest.raises(SlideError, match=r"^a\.(png|tif): .*(8-bit RGB|type)"):
        open_slide(path)


@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_png_of_16_bits_is_refused_and_not_cut_to_8(tmp_path: Path, samples: int) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(imagecodecs.png_encode(np.full((8, 8, samples), 1000, np.uint16)))
    with pytest.raises(SlideError, match=r"^a\.png: pixels of type uint16, and the file does not say"):
        open_slide(path)


def test_cmyk_jpeg_is_refused(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8)).save(tmp_path / "a.jpg")
    with pytest.raises(SlideError, match=r"^a\.jpg: pixels of kind CMYK are not read"):
        open_slide(tmp_path / "a.jpg")


def test_too_large_is_refused_before_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(picture(40, 40)).save(tmp_path / "a.png")
    monkeypatch.setattr(image_reader, "MAX_BYTES", 4 * 1600)
    assert open_slide(tmp_path / "a.png").width == 40
    monkeypatch.setattr(image_reader, "MAX_BYTES", 4 * 1600 - 1)
    with pytest.raises(SlideError, match=r"^a\.png: too large"):
        open_slide(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 700)
    with pytest.raises(SlideError, match=r"^a\.png: too large"):
        open_slide(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "jp2"])
def test_a_damaged_image_is_a_sentence(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(picture(200, 200)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(SlideError, match=rf"^a\.{suffix}: [^\n]+\.$"):
        open_slide(path).read_view(1)

"""Which image and which plane of a TIFF with several is shown: focal planes, channels, time points, series."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from slide_pictures import FAULTS, picture

from ats_cli.errors import SlideError
from ats_cli.slides import Plane, Slide, open_slide


def stack(*shape: int) -> np.ndarray:
    """(..., height, width) uint8, each plane unlike the others."""
    *leading, height, width = shape
    planes = [picture(height, width, seed)[..., 0] for seed in range(int(np.prod(leading)))]
    return np.array(planes).reshape(shape)


def level(slide: Slide, number: int = 0) -> np.ndarray:
    lv = slide.levels[number]
    (region,) = slide.scan_level(number, [(0, 0, lv.width, lv.height)], 2)
    assert not region.damage
    return region.pixels


def grey(plane: np.ndarray) -> np.ndarray:
    return np.repeat(plane[..., None], 3, axis=2)


@pytest.mark.parametrize("options", [{"tile": (32, 32), "compression": "zlib"}, {"rowsperstrip": 5}])
def test_the_middle_focal_plane_and_the_first_time_point(tmp_path: Path, options: dict[str, object]) -> None:
    pixels = stack(2, 5, 50, 70)
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, pixels, photometric="minisblack", metadata={"axes": "TZYX"}, **options)
    slide = open_slide(path)
    assert slide.plane == "t=0 of 2, z=2 of 5" and np.array_equal(level(slide), grey(pixels[0, 2]))
    assert np.array_equal(level(open_slide(path, plane=Plane(z=4, t=1))), grey(pixels[1, 4]))
    with pytest.raises(SlideError, match=r"^a\.ome\.tif: 5 focal planes, .* no z=5"):
        open_slide(path, plane=Plane(z=5))
    with pytest.raises(SlideError, match=r"^a\.ome\.tif: 1 series, .* no series=1"):
        open_slide(path, plane=Plane(series=1))


@pytest.mark.parametrize("options", [{"imagej": True}, {"photometric": "minisblack", "truncate": True}])
def test_stacks_of_imagej_and_those_behind_one_header(tmp_path: Path, options: dict[str, object]) -> None:
    pixels = stack(3, 2, 50, 70)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, metadata={"axes": "ZCYX"}, **options)
    with tifffile.TiffFile(path) as tiff:
        assert len(tiff.pages) == (1 if "truncate" in options else 6)
    with pytest.raises(SlideError, match=r"2 channels that are not red, green and blue.*--plane c=0 to c=1"):
        open_slide(path)
    slide = open_slide(path, plane=Plane(c=1))
    assert slide.plane == "z=1 of 3, c=1 of 2" and np.array_equal(level(slide), grey(pixels[1, 1]))
    assert np.array_equal(level(open_slide(path, plane=Plane(z=2, c=0))), grey(pixels[2, 0]))


@pytest.mark.parametrize("options", [{"tile": (32, 32), "compression": "zlib"}, {"rowsperstrip": 5}])
def test_three_channels_of_eight_bits_are_red_green_and_blue(tmp_path: Path, options: dict[str, object]) -> None:
    pixels = stack(2, 3, 50, 70)
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, pixels, photometric="minisblack", metadata={"axes": "ZCYX"}, **options)
    slide = open_slide(path)
    assert slide.plane == "z=1 of 2" and np.array_equal(level(slide), pixels[1].transpose(1, 2, 0))
    assert np.array_equal(level(open_slide(path, plane=Plane(c=2))), grey(pixels[1, 2]))
    deep = tmp_path / "b.ome.tif"
    tifffile.imwrite(deep, pixels.astype(np.uint16), photometric="minisblack", metadata={"axes": "ZCYX"}, **options)
    # Naming a channel would not help, so that nobody is asked to.
    for plane in (None, Plane(c=0)):
        with pytest.raises(SlideError, match="does not say which values are black and white"):
            open_slide(deep, plane=plane)


def test_every_level_of_a_pyramid_shows_the_same_plane(tmp_path: Path) -> None:
    pixels, half = stack(3, 2, 64, 96), stack(3, 2, 32, 48) // 2
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path) as out:
        options = {"tile": (32, 32), "photometric": "minisblack"}
        out.write(pixels, subifds=1, metadata={"axes": "ZCYX"}, **options)
        out.write(half, subfiletype=1, **options)
    slide = open_slide(path, plane=Plane(z=2, c=1))
    assert [lv.downsample for lv in slide.levels] == [1.0, 2.0]
    assert np.array_equal(level(slide), grey(pixels[2, 1])) and np.array_equal(level(slide, 1), grey(half[2, 1]))


@pytest.mark.parametrize("label", ["label image", "slide 1 macro"])
def test_the_largest_image_and_its_own_microns(tmp_path: Path, label: str) -> None:
    path = tmp_path / "a.ome.tif"
    small, large, side = picture(40, 50), picture(100, 120, 1), picture(100, 120, 2)
    with tifffile.TiffWriter(path) as out:
        for name, pixels, mpp in (("a", small, 0.3), (label, side, 7.0), ("b", large, 0.5)):
            sizes = {"PhysicalSizeX": mpp, "PhysicalSizeY": mpp}
            out.write(pixels, photometric="rgb", metadata={"axes": "YXS", "Name": name, **sizes})
    slide = open_slide(path)
    assert slide.plane == "series=2 of 3" and np.array_equal(level(slide), large)
    assert (slide.mpp, slide.mpp_source) == (0.5, "ome")
    first = open_slide(path, plane=Plane(series=0))
    assert np.array_equal(level(first), small) and first.mpp == 0.3
    with pytest.raises(SlideError, match=r"3 series, counted from 0, so there is no series=3"):
        open_slide(path, plane=Plane(series=3))


@pytest.mark.parametrize("name", ["CD68_macrophages_04.svs", "unlabeled liver", "overviews", "macro", "label 2"])
def test_a_name_like_a_side_pictures_hides_no_larger_image(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.ome.tif"
    large = picture(100, 120, 1)
    with tifffile.TiffWriter(path) as out:
        for called, pixels in ((name, large), ("Image 2", picture(40, 50))):
            out.write(pixels, photometric="rgb", metadata={"axes": "YXS", "Name": called})
    assert np.array_equal(level(open_slide(path)), large)


@pytest.mark.parametrize("name", ["macrophages", "unlabeled"])
def test_a_slide_of_macrophages_is_the_slide(name: str) -> None:
    slide = open_slide(FAULTS / "ome-main-image-named-like-a-side-picture" / f"{name}.ome.tif")
    assert (slide.width, slide.height, slide.mpp) == (1024, 1024, 0.5)


def test_an_aperio_slide_smaller_than_its_macro_is_the_slide(tmp_path: Path) -> None:
    path = tmp_path / "a.svs"
    with tifffile.TiffWriter(path) as out:
        out.write(picture(64, 80), photometric="rgb", tile=(32, 32), description="Aperio |MPP = 0.5", metadata=None)
        out.write(picture(30, 40), photometric="rgb", description="Aperio ", metadata=None)
        out.write(picture(100, 90), photometric="rgb", description="Aperio macro 90x100", metadata=None)
    assert np.array_equal(level(open_slide(path)), picture(64, 80))


def test_images_of_which_nothing_is_said_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as out:
        for seed in range(3):
            out.write(picture(40, 50, seed), photometric="rgb", metadata=None, contiguous=False)
    with pytest.raises(SlideError, match=r"^a\.tif: 3 images of one size, and the file does not say what they are"):
        open_slide(path)


def test_the_label_of_a_slide(data: Path) -> None:
    path = data / "wsic-samples" / "CMU-1-Small-Region.svs"
    with tifffile.TiffFile(path) as tiff:
        assert tiff.series[2].name == "Label"
        label = tiff.series[2].asarray()
    slide = open_slide(path, plane=Plane(series=2))
    assert np.array_equal(level(slide), label)
    assert slide.mpp is None  # the slide's own is not the label's


def test_an_ome_tiff_spread_over_files_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, stack(2, 50, 70), photometric="minisblack", metadata={"axes": "ZYX"})
    with tifffile.TiffFile(path) as tiff:
        xml = tiff.ome_metadata or ""
    whole = xml.index("<TiffData")
    blocks = "".join(
        f'<TiffData IFD="0" FirstZ="{z}" PlaneCount="1"><UUID FileName="{n}.ome.tif">urn:uuid:{n}</UUID></TiffData>'
        for z, n in enumerate("ab")
    )
    tifffile.tiffcomment(path, xml[:whole] + blocks + xml[xml.index("</Pixels>") :])
    with pytest.raises(SlideError, match=r"^a\.ome\.tif: an OME-TIFF spread over several files\. Export it as one"):
        open_slide(path)


def test_real_stacks(data: Path) -> None:
    cells = data / "qupath-cells"
    slide = open_slide(cells / "cells-2z.ome.tif")
    assert slide.plane == "z=1 of 2" and slide.mpp == 0.25
    first = open_slide(cells / "cells-2z.ome.tif", plane=Plane(z=0))
    assert not np.array_equal(level(first), level(slide))
    assert open_slide(cells / "cells-2t.ome.tif").plane == "t=0 of 2"
    with pytest.raises(SlideError, match="2 channels"):
        open_slide(cells / "cells-2c.ome.tif")
    with tifffile.TiffFile(cells / "cells-2c.ome.tif") as tiff:
        theirs = tiff.series[0].asarray()
    assert np.array_equal(level(open_slide(cells / "cells-2c.ome.tif", plane=Plane(c=1))), grey(theirs[1]))


def test_info_says_which_plane_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from ats_cli.app import run

    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, stack(5, 50, 70), photometric="minisblack", metadata={"axes": "ZYX"})
    assert run(["info", str(path)]) == 0
    assert "z=2 of 5 (choose with --plane)" in capsys.readouterr().out
    assert run(["info", str(path), "--plane", "z=4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["plane"] == "z=4 of 5"
    assert run(["info", str(path), "--plane", "depth=4"]) == 2
    assert "not a plane" in capsys.readouterr().err

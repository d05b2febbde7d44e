"""TIFFs of every layout and kind of pixel: strips, planes of colour, turned, palettes, bits, ranges, alpha."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps
from slide_pictures import picture

from ats_cli.errors import SlideError
from ats_cli.slides import Plane, Slide, open_slide
from ats_cli.slides.formats.tiff import tile_store as tiff_store


def written(path: Path, pixels: np.ndarray, **options: object) -> Path:
    tifffile.imwrite(path, pixels, **{"photometric": "rgb", "metadata": None, **options})  # type: ignore[arg-type]
    return path


def level(slide: Slide, number: int = 0) -> np.ndarray:
    lv = slide.levels[number]
    (region,) = slide.scan_level(number, [(0, 0, lv.width, lv.height)], 2)
    assert not region.damage, region.damage
    return region.pixels


LAYOUTS = {
    "strips": {"rowsperstrip": 7},
    "one strip": {"rowsperstrip": 101},
    "tiles": {"tile": (32, 48)},
    "planes in strips": {"rowsperstrip": 7, "planarconfig": "separate"},
    "planes in tiles": {"tile": (32, 48), "planarconfig": "separate"},
}
CODECS: dict[str, dict[str, object]] = {
    "uncompressed": {},
    "lzw": {"compression": "lzw"},
    "lzw predicted": {"compression": "lzw", "predictor": True},
    "zlib": {"compression": "zlib", "predictor": True},
    "deflate": {"compression": "deflate"},
    "zstd": {"compression": "zstd"},
    "packbits": {"compression": "packbits"},
    "lzma": {"compression": "lzma"},
    "jpeg 2000": {"compression": "jpeg2000", "compressionargs": {"level": 0}},
    "webp": {"compression": "webp", "compressionargs": {"level": -1}},
    "jpeg": {"compression": "jpeg", "subsampling": (1, 1), "compressionargs": {"level": 100}},
    "big endian": {"byteorder": ">", "bigtiff": True},
}


@pytest.mark.integration
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_under_every_codec(tmp_path: Path, layout: str, codec: str) -> None:
    pixels = picture(101, 131)
    planes = "planes" in layout
    if planes and codec in ("webp", "jpeg"):
        pytest.skip("not written by tifffile")
    path = written(
        tmp_path / "a.tif", pixels.transpose(2, 0, 1) if planes else pixels, **LAYOUTS[layout], **CODECS[codec]
    )
    slide = open_slide(path)
    assert slide.reader == "tiff" and (slide.width, slide.height) == (131, 101)
    got = level(slide)
    assert np.abs(got.astype(int) - pixels).max() <= (6 if codec == "jpeg" else 0)
    boxes = [(100, 90, 31, 11), (0, 0, 5, 5), (47, 30, 2, 3)]
    for (x, y, w, h), region in zip(boxes, slide.scan_level(0, boxes, 3), strict=True):
        assert np.array_equal(region.pixels, got[y : y + h, x : x + w])


def test_strips_are_read_strip_by_strip(tmp_path: Path) -> None:
    pixels = picture(2000, 300)
    for options in ({"rowsperstrip": 16, "compression": "zlib"}, {"rowsperstrip": 1}, {"rowsperstrip": 2000}):
        slide = open_slide(written(tmp_path / "a.tif", pixels, **options))
        before = slide.bytes_read or 0
        (region,) = slide.scan_level(0, [(10, 1000, 20, 20)], 1)
        assert np.array_equal(region.pixels, pixels[1000:1020, 10:30])
        assert slide.bytes_total is not None and slide.bytes_read is not None
        assert slide.bytes_read - before < slide.bytes_total / 4


def test_a_huge_strip_that_must_be_decoded_whole_goes_to_the_image_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiff_store, "MOST_PIXELS", 5000)
    pixels = picture(100, 120)
    slide = open_slide(written(tmp_path / "a.tif", pixels, rowsperstrip=100, compression="zlib"))
    assert slide.reader == "image" and np.array_equal(slide.read_view(1), pixels)
    with pytest.raises(SlideError, match=r"strips are too large to be read one by one\. Leave out --backend\."):
        open_slide(tmp_path / "a.tif", backend="tiff")
    grey = written(tmp_path / "b.tif", picture(100, 120)[..., 0].astype(np.uint16), photometric="minisblack",
                   rowsperstrip=100, compression="zlib", extratags=[(341, "H", 1, 255, False)])  # fmt: skip
    with pytest.raises(SlideError, match=r"too large to be read one by one\. Convert it to a tiled TIFF"):
        open_slide(grey)


@pytest.mark.integration
@pytest.mark.parametrize("options", [{"tile": (32, 48)}, {"rowsperstrip": 7, "compression": "zlib"}])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_and_mirrored_images_come_upright(tmp_path: Path, orientation: int, options: dict[str, object]) -> None:
    stored = picture(101, 131)
    path = written(tmp_path / "a.tif", stored, extratags=[(274, "H", 1, orientation, True)],
                   resolution=(20000, 10000), resolutionunit="CENTIMETER", **options)  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "a.png")))
    slide = open_slide(path)
    assert slide.reader == "tiff" and np.array_equal(level(slide), upright)
    for box in ((3, 5, 40, 60), (90, 70, 11, 31), (60, 0, 1, 1)):
        (region,) = slide.scan_level(0, [box], 2)
        x, y, w, h = box
        assert np.array_equal(region.pixels, upright[y : y + h, x : x + w])
    across, down = ("0.5", "1") if orientation < 5 else ("1", "0.5")
    with pytest.raises(SlideError, match=rf": {across} microns per pixel across but {down} down"):
        slide.require_mpp()


def test_damage_in_a_turned_image_is_where_it_is_seen(tmp_path: Path) -> None:
    stored = picture(64, 96)
    path = written(tmp_path / "a.tif", stored, tile=(32, 32), compression="zlib",
                   extratags=[(274, "H", 1, 6, True)])  # fmt: skip
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages.first.dataoffsets[0]
    broken = bytearray(path.read_bytes())
    broken[offset : offset + 4] = b"oops"
    path.write_bytes(broken)
    # The stored corner comes to the upper right when turned clockwise.
    view = open_slide(path).scan_view(1)
    assert view.unreadable.shape == (96, 64)
    assert view.unreadable[:32, 32:].all() and view.unreadable.sum() == 32 * 32
    assert np.array_equal(view.pixels[~view.unreadable], np.rot90(stored, -1)[~view.unreadable])


def test_the_pyramid_of_a_turned_slide_is_turned_too(data: Path) -> None:
    for orientation in range(1, 9):
        path = data / "large_image" / f"test_orient{orientation}.tif"
        slide = open_slide(path)
        assert slide.reader == "tiff" and len(slide.levels) == 3
        image = Image.open(path)
        theirs = np.asarray(ImageOps.exif_transpose(image).convert("RGB")).astype(int)
        assert np.abs(level(slide) - theirs).max() <= 2
        for number, lv in enumerate(slide.levels):
            assert (lv.width < lv.height) == (orientation < 5) and level(slide, number).shape == (
                lv.height,
                lv.width,
                3,
            )


def test_palettes_and_bits(tmp_path: Path) -> None:
    image = Image.fromarray(picture(50, 70))
    for bits, kind in ((8, image.quantize(200)), (1, image.convert("1")), (8, image.convert("L"))):
        for compression in (None, "tiff_lzw", "packbits", *(["group4", "group3"] if bits == 1 else [])):
            kind.save(tmp_path / "a.tif", compression=compression)
            slide = open_slide(tmp_path / "a.tif")
            assert slide.reader == "tiff"
            assert np.array_equal(level(slide), np.asarray(kind.convert("RGB"))), (kind.mode, compression)


def test_white_may_be_zero(tmp_path: Path) -> None:
    bilevel = picture(50, 70)[..., 0] > 90
    path = written(tmp_path / "a.tif", bilevel, photometric="miniswhite")
    assert np.array_equal(level(open_slide(path))[..., 0], np.where(bilevel, 0, 255))


@pytest.mark.parametrize("extra", ["unassalpha", "assocalpha"])
def test_alpha_straight_and_premultiplied(tmp_path: Path, extra: str) -> None:
    colour, alpha = picture(40, 60).astype(float), np.linspace(0, 255, 60).round()[None, :, None].repeat(40, 0)
    stored = colour * alpha / 255 if extra == "assocalpha" else colour
    rgba = np.concatenate([stored.round(), alpha], 2).astype(np.uint8)
    on_white = colour * alpha / 255 + 255 - alpha
    for options in ({}, {"rowsperstrip": 9, "compression": "zlib"}):
        slide = open_slide(written(tmp_path / "a.tif", rgba, extrasamples=[extra], **options))
        assert np.abs(level(slide) - on_white).max() < 1.1
    grey = written(tmp_path / "g.tif", rgba[..., [0, 3]], photometric="minisblack", extrasamples=[extra])
    assert np.abs(level(open_slide(grey))[..., 2] - on_white[..., 0]).max() < 1.1


def deep(tmp_path: Path, pixels: np.ndarray, **options: object) -> Slide:
    return open_slide(written(tmp_path / "a.tif", pixels, photometric="minisblack", **options))


def test_a_range_that_the_file_states_is_shown_from_black_to_white(tmp_path: Path) -> None:
    ramp = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    exact = ramp / 4095 * 255
    for options in (
        {"extratags": [(341, "H", 1, 4095, True)]},
        {"bitspersample": 12},
        {"metadata": {"axes": "YX", "SignificantBits": 12}, "ome": True},
    ):
        assert np.abs(level(deep(tmp_path, ramp, **options))[..., 1] - exact).max() <= 0.5, options
    four = np.arange(64, dtype=np.uint8).reshape(8, 8) % 16
    assert np.array_equal(level(deep(tmp_path, four, bitspersample=4))[..., 0], four * 17)
    real = np.linspace(-1, 3, 64, dtype=np.float32).reshape(8, 8)
    stated = [(340, "f", 1, 0.0, True), (341, "f", 1, 2.0, True)]
    assert np.abs(level(deep(tmp_path, real, extratags=stated))[..., 0] - np.clip(real / 2, 0, 1) * 255).max() <= 0.51


@pytest.mark.parametrize("dtype", ["uint16", "int16", "int8", "float32", "float64", "uint32"])
@pytest.mark.parametrize("photometric", ["minisblack", "rgb"])
def test_a_range_is_never_guessed(tmp_path: Path, dtype: str, photometric: str) -> None:
    pixels = picture(40, 60).astype(dtype)
    path = written(tmp_path / "a.tif", pixels if photometric == "rgb" else pixels[..., 0], photometric=photometric)
    with pytest.raises(SlideError, match=rf"^a\.tif: pixels of type {dtype}, and the file does not say"):
        open_slide(path)


def test_colours_that_would_come_out_wrong_are_refused(tmp_path: Path) -> None:
    for options, says in (
        ({"photometric": "separated"}, "colours of kind separated"),
        ({"photometric": "cielab"}, "colours of kind cielab"),
        ({"photometric": "ycbcr", "compression": "lzw"}, "YCbCr colours under lzw"),
        ({"photometric": "ycbcr"}, "YCbCr colours under none"),
    ):
        cmyk = np.zeros((16, 16, 4), np.uint8)
        pixels = cmyk if options["photometric"] == "separated" else cmyk[..., :3]
        with pytest.raises(SlideError, match=rf"^a\.tif: {says}"):
            open_slide(written(tmp_path / "a.tif", pixels, **options))


def test_more_samples_than_a_colour_has(tmp_path: Path) -> None:
    five = np.concatenate([picture(40, 60), picture(40, 60, 1)[..., :2]], 2)
    for separate in (False, True):
        stored = five.transpose(2, 0, 1) if separate else five
        planar = "separate" if separate else "contig"
        path = written(tmp_path / "a.tif", stored, photometric="minisblack", planarconfig=planar, tile=(16, 16))
        with pytest.raises(SlideError, match=r"5 channels that are not red, green and blue.*--plane c=0 to c=4"):
            open_slide(path)
        slide = open_slide(path, plane=Plane(c=3))
        assert slide.plane == "c=3 of 5"
        assert np.array_equal(level(slide), five[..., [3, 3, 3]])
        # Of an RGB image the first three are the colour, and further ones that nothing is said of are left out.
        path = written(tmp_path / "b.tif", stored, planarconfig=planar, extrasamples=["unspecified"] * 2)
        assert np.array_equal(level(open_slide(path)), five[..., :3])
        assert np.array_equal(level(open_slide(path, plane=Plane(c=1))), five[..., [1, 1, 1]])


def test_aperios_jpeg_2000_in_ycbcr_goes_to_openslide(tmp_path: Path) -> None:
    pixels = np.kron(picture(30, 40), np.ones((8, 8, 1), np.uint8))
    ycc = np.asarray(Image.fromarray(pixels).convert("YCbCr"))
    tiles = [
        imagecodecs.jpeg2k_encode(
            np.ascontiguousarray(ycc[y : y + 80, x : x + 80]), level=0, mct=False, codecformat="j2k"
        )
        for y in range(0, 240, 80)
        for x in range(0, 320, 80)
    ]
    description = "Aperio Image Library v11.2.1 \r\n320x240 [0,0 320x240] (80x80) J2K/YUV16 Q=70|AppMag = 20|MPP = 0.5"
    with tifffile.TiffWriter(tmp_path / "a.svs") as out:
        out.write(iter(tiles), shape=(240, 320, 3), dtype=np.uint8, tile=(80, 80), photometric="rgb",
                  compression=33003, description=description, metadata=None)  # fmt: skip
    slide = open_slide(tmp_path / "a.svs")
    assert slide.reader == "openslide" and slide.mpp == 0.5
    assert np.abs(level(slide).astype(int) - pixels).max() <= 3
    with pytest.raises(SlideError, match="read by OpenSlide only"):
        open_slide(tmp_path / "a.svs", backend="tiff")


def test_what_imagej_shows_as_black_and_white(tmp_path: Path) -> None:
    ramp = np.arange(2 * 40 * 50, dtype=np.uint16).reshape(2, 40, 50)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, ramp[0], imagej=True, metadata={"min": 500.0, "max": 1500.0})
    exact = (ramp[0].astype(float) - 500).clip(0, 1000) / 1000 * 255
    assert np.abs(level(open_slide(path))[..., 0] - exact).max() <= 0.51
    ranges = (0.0, 10.0, 2000.0, 3000.0)
    tifffile.imwrite(path, ramp, imagej=True, metadata={"axes": "CYX", "Ranges": ranges, "min": 0.0, "max": 10.0})
    exact = (ramp[1].astype(float) - 2000).clip(0, 1000) / 1000 * 255
    assert np.abs(level(open_slide(path, plane=Plane(c=1)))[..., 0] - exact).max() <= 0.51
    tifffile.imwrite(path, ramp, imagej=True, metadata={"axes": "CYX", "min": 0.0, "max": 10.0})
    with pytest.raises(SlideError, match="does not say which values"):
        open_slide(path, plane=Plane(c=1))


def test_overviews_in_pages_and_masks_that_are_no_levels(tmp_path: Path) -> None:
    # As GDAL lays out a COG: overviews and masks are pages of their own.
    full, half, mask = picture(256, 320), picture(128, 160, 1), np.ones((256, 320), bool)
    options = {"tile": (64, 64), "metadata": None, "compression": "zlib"}
    with tifffile.TiffWriter(tmp_path / "cog.tif") as out:
        out.write(full, photometric="rgb", **options)
        out.write(mask, photometric="mask", subfiletype=4, **options)
        out.write(half, photometric="rgb", subfiletype=1, **options)
        out.write(mask[::2, ::2], photometric="mask", subfiletype=5, **options)
    slide = open_slide(tmp_path / "cog.tif")
    assert [lv.downsample for lv in slide.levels] == [1.0, 2.0]
    assert np.array_equal(level(slide), full) and np.array_equal(level(slide, 1), half)


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 1), (2, 2)])
@pytest.mark.parametrize("layout", [{"tile": (128, 128)}, {"rowsperstrip": 48}])
def test_jpeg_with_any_chroma_is_what_libtiff_makes_of_it(
    tmp_path: Path, subsampling: tuple[int, int], layout: dict[str, object]
) -> None:
    options = {"compression": "jpeg", "subsampling": subsampling, "compressionargs": {"level": 90}, **layout}
    slide = open_slide(written(tmp_path / "a.tif", picture(300, 400), **options))
    with Image.open(tmp_path / "a.tif") as theirs:
        assert slide.reader == "tiff" and np.array_equal(level(slide), np.asarray(theirs.convert("RGB")))


def test_jpeg_that_keeps_red_green_and_blue_as_they_are(tmp_path: Path) -> None:
    pixels = picture(256, 384)
    tiles = [
        imagecodecs.jpeg8_encode(np.ascontiguousarray(pixels[y : y + 128, x : x + 128]), level=95,
                                 colorspace="RGB", outcolorspace="RGB")
        for y in range(0, 256, 128) for x in range(0, 384, 128)
    ]  # fmt: skip
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, iter(tiles), shape=pixels.shape, dtype=np.uint8, tile=(128, 128), photometric="rgb",
                     compression=7, metadata=None)  # fmt: skip
    assert np.abs(level(open_slide(path)).astype(int) - pixels).max() <= 12

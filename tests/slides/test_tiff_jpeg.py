"""JPEG in TIFF of random sizes, tiles and colour layouts, as GDAL and tifffile write it: every view against block means
of GDAL's or imagecodecs' own decoding."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from slide_pictures import FAULTS

from ats_cli.errors import SlideError
from ats_cli.slides import Slide, check_slide, open_slide

rasterio = pytest.importorskip("rasterio")
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def smooth(height: int, width: int, bands: int, seed: int) -> np.ndarray:
    """Like tissue, so that JPEG keeps it, and no two places are alike."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(60, 196, (bands, height // 24 + 2, width // 24 + 2)).astype(np.uint8)
    return np.stack([np.asarray(Image.fromarray(c).resize((width, height), Image.Resampling.BICUBIC)) for c in coarse])


def means(pixels: np.ndarray, side: int) -> np.ndarray:
    """Of squares; those across the edge of what there is of them."""
    rows, cols = (np.arange(0, n, side) for n in pixels.shape[:2])
    total = np.add.reduceat(np.add.reduceat(pixels.astype(float), rows, 0), cols, 1)
    ones = np.ones(pixels.shape[:2])
    return total / np.add.reduceat(np.add.reduceat(ones, rows, 0), cols, 1)[..., None]


def same_at_every_downsample(slide: Slide, truth: np.ndarray) -> None:
    for downsample in (1, 2, 4, 8, 16):
        wanted, got = means(truth, downsample), slide.read_view(downsample, threads=1)
        assert got.shape == wanted.shape, downsample
        off = np.abs(got - wanted)
        # Chroma is stored at half the size, and enlarged by either decoder in its own way.
        assert off.mean() < 1.2 and off.max() < 16, (downsample, off.mean(), off.max())


# Just over, just under and on whole tiles of 16 to 64, where squares of 2, 4 and 8 are cut by the edge.
sizes = st.one_of(
    st.builds(lambda tiles, over: max(16, 16 * tiles + over), st.integers(1, 9), st.integers(-8, 8)),
    st.integers(16, 150),
)
tiles = st.sampled_from([16, 32, 48, 64])
GDAL = {
    "grey": (1, {"PHOTOMETRIC": "MINISBLACK"}),
    "white is zero": (1, {"PHOTOMETRIC": "MINISWHITE"}),
    "three bands": (3, {"PHOTOMETRIC": "MINISBLACK", "INTERLEAVE": "PIXEL"}),
    "rgb": (3, {"PHOTOMETRIC": "RGB", "INTERLEAVE": "PIXEL"}),
    "ycbcr": (3, {"PHOTOMETRIC": "YCBCR", "INTERLEAVE": "PIXEL"}),
    "rgb and near infrared": (4, {"PHOTOMETRIC": "RGB", "INTERLEAVE": "PIXEL", "ALPHA": "UNSPECIFIED"}),
    "rgb band by band": (3, {"PHOTOMETRIC": "RGB", "INTERLEAVE": "BAND"}),
    "three bands by themselves": (3, {"PHOTOMETRIC": "MINISBLACK", "INTERLEAVE": "BAND"}),
    "rgb and near infrared band by band": (4, {"PHOTOMETRIC": "RGB", "INTERLEAVE": "BAND", "ALPHA": "UNSPECIFIED"}),
}


@pytest.mark.integration
@settings(max_examples=60, deadline=None)
@given(sizes, sizes, tiles, tiles, st.sampled_from(sorted(GDAL)), st.booleans(), st.integers(0, 99))
def test_gdals_jpeg_has_gdals_pixels_at_every_downsample(
    height: int, width: int, tile_height: int, tile_width: int, layout: str, striped: bool, seed: int
) -> None:
    bands, options = GDAL[layout]
    blocks = {"blockysize": 16} if striped else {"tiled": True, "blockxsize": tile_width, "blockysize": tile_height}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.tif"
        options = {"compress": "JPEG", "JPEG_QUALITY": 95, **blocks, **options}
        with rasterio.open(
            path, "w", driver="GTiff", width=width, height=height, count=bands, dtype="uint8", **options
        ) as out:
            out.write(smooth(height, width, bands, seed))
        with rasterio.open(path) as file:
            truth = file.read().transpose(1, 2, 0)[..., :3]
        if layout == "white is zero":
            truth = 255 - truth
        if truth.shape[2] == 1:
            truth = truth.repeat(3, axis=2)
        with open_slide(path) as slide:
            same_at_every_downsample(slide, truth)
            assert check_slide(slide, threads=1).sound


@pytest.mark.integration
@settings(max_examples=40, deadline=None)
@given(
    sizes, sizes, tiles, tiles, st.sampled_from(["rgb", "ycbcr", "minisblack"]), st.sampled_from(["marked", "bare"]),
    st.booleans(), st.integers(0, 99),
)  # fmt: skip
def test_what_a_stream_says_of_its_colours_counts_before_the_file(
    height: int,
    width: int,
    tile_height: int,
    tile_width: int,
    label: str,
    stream: str,
    sparse: bool,
    seed: int,
) -> None:
    pixels = smooth(height, width, 3, seed).transpose(1, 2, 0)
    padded = np.pad(pixels, ((0, -height % tile_height), (0, -width % tile_width), (0, 0)), constant_values=9)
    truth = np.full_like(padded, 255)
    streams: list[bytes] = []
    # Without a mark, the file's label says what is inside; a mark of JFIF says YCbCr, whatever the label.
    inside = "YCBCR" if stream == "marked" or label == "ycbcr" else "UNKNOWN"
    for top in range(0, len(padded), tile_height):
        for left in range(0, padded.shape[1], tile_width):
            here = slice(top, top + tile_height), slice(left, left + tile_width)
            if sparse and not streams:
                streams.append(b"")
                continue
            one = np.ascontiguousarray(padded[here])
            if inside == "UNKNOWN":
                encoded = imagecodecs.jpeg8_encode(one, 95, colorspace="UNKNOWN", outcolorspace="UNKNOWN")
                truth[here] = imagecodecs.jpeg8_decode(encoded, colorspace="RGB", outcolorspace="RGB")
            else:
                encoded = imagecodecs.jpeg8_encode(one, 95, colorspace="RGB", outcolorspace="YCBCR", subsampling="444")
                truth[here] = imagecodecs.jpeg8_decode(encoded)
                assert encoded[6:10] == b"JFIF"
                if stream == "bare":
                    encoded = encoded[:2] + encoded[20:]
            streams.append(encoded)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.tif"
        tifffile.imwrite(
            path, iter(streams), shape=(height, width, 3), dtype=np.uint8, tile=(tile_height, tile_width),
            photometric=label, planarconfig="contig", compression="jpeg", metadata=None,
            **({"subsampling": (1, 1)} if label == "ycbcr" else {"compressionargs": {"outcolorspace": label}}),
        )  # fmt: skip
        with open_slide(path) as slide:
            same_at_every_downsample(slide, truth[:height, :width])


@pytest.mark.parametrize("width", [1283, 1290])
def test_the_view_of_a_slide_a_few_pixels_wider_than_its_tiles(width: int) -> None:
    folder = FAULTS / "jpeg-view-scrambled"
    with open_slide(folder / f"w{width}.svs") as slide:
        with tifffile.TiffFile(folder / f"w{width}.svs") as tiff:
            truth = tiff.pages[0].asarray()
        assert truth.shape[1] == width
        assert np.abs(slide.read_view(8) - means(truth, 8)).mean() < 0.5


COLOURS = [196.9, 171.1, 190.8]


@pytest.mark.parametrize(
    "file",
    [
        "jpeg-of-four-samples/rgbn_jpeg_nir.tif",
        "jpeg-of-four-samples/rgb_jpeg_same.tif",
        "jpeg-three-bands-minisblack/rgb_minisblack_jpeg.tif",
        "gdal-jpeg-interleave-band/jpeg_band.tif",
    ],
)
def test_the_same_tissue_has_the_same_colours_in_every_layout(file: str) -> None:
    with open_slide(FAULTS / file) as slide:
        for downsample in (1, 2, 4, 8, 16):
            assert np.allclose(slide.read_view(downsample).mean((0, 1)), COLOURS, atol=1.0), downsample


def tile_file(path: Path, streams: list[bytes], tile: int = 64, **options: object) -> Path:
    """A row of JPEG tiles."""
    shape = (tile, tile * len(streams), 3)
    options = {"photometric": "rgb", "shape": shape, **options}
    tifffile.imwrite(
        path, iter(streams), dtype=np.uint8, tile=(tile, tile), compression="jpeg", metadata=None, **options
    )
    return path


@pytest.mark.parametrize("side", [1, 15, 32, 63])
def test_a_stream_smaller_than_its_tile_is_damage_at_every_downsample(tmp_path: Path, side: int) -> None:
    whole, small = (imagecodecs.jpeg8_encode(smooth(n, n, 3, 1).transpose(1, 2, 0).copy(), 95) for n in (64, side))
    slide = open_slide(tile_file(tmp_path / "a.tif", [whole, small, whole]))
    for downsample in (1, 2, 4, 8):
        view = slide.scan_view(downsample)
        assert view.problem is not None and "a.tif: tile at x 64, y 0 of level 0 is damaged" in view.problem
        assert f"{side} x {side} pixels in place of 64 x 64" in view.problem
        columns = view.unreadable.all(axis=0)
        assert columns.sum() == 64 // downsample and columns[64 // downsample : 128 // downsample].all()
    assert len(check_slide(slide).problems) == 1


def restarts(pixels: np.ndarray) -> bytes:
    """A stream with a restart marker after every row of blocks."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=95, subsampling=0, restart_marker_rows=1)
    return out.getvalue()


@pytest.mark.parametrize(
    ("kind", "samples"),
    [("ends early", n) for n in (1, 2, 3, 4)]
    + [("ends early, marked as ended", n) for n in (1, 3, 4)]  # no decoder of two components knows
    + [(kind, n) for kind in ("restarts out of order", "a restart lost") for n in (1, 3)],
)
def test_what_a_stream_shows_of_its_damage_is_damage(tmp_path: Path, kind: str, samples: int) -> None:
    pixels = np.ascontiguousarray(smooth(64, 64, samples, 3).transpose(1, 2, 0))
    if "restart" in kind:
        stream = restarts(pixels[..., 0] if samples == 1 else pixels)
        marks = [at for at in range(len(stream) - 1) if stream[at] == 0xFF and 0xD0 <= stream[at + 1] <= 0xD7]
        assert len(marks) == 7
        if kind == "a restart lost":
            broken = stream[: marks[2]] + stream[marks[3] :]
        else:
            broken = stream[: marks[2]] + stream[marks[3] : marks[4]] + stream[marks[2] : marks[3]] + stream[marks[4] :]
    else:
        stream = imagecodecs.jpeg8_encode(
            pixels[..., 0].copy() if samples == 1 else pixels, 95, colorspace=None if samples == 1 else "UNKNOWN",
            outcolorspace=None if samples == 1 else "UNKNOWN",
        )  # fmt: skip
        broken = stream[: len(stream) // 2] + (b"\xff\xd9" if "marked" in kind else b"")
    layout = {"photometric": "rgb" if samples > 2 else "minisblack", "shape": (64, 192, samples)}
    if samples in (2, 4):
        layout["extrasamples"] = ["unspecified" if samples == 4 else "assocalpha"]
    if samples == 1:
        layout["shape"] = (64, 192)
    else:
        layout["planarconfig"] = "contig"
    sound = open_slide(tile_file(tmp_path / "sound.tif", [stream] * 3, **layout))
    assert check_slide(sound).sound
    slide = open_slide(tile_file(tmp_path / "broken.tif", [stream, broken, stream], **layout))
    assert [(p.x, p.y) for p in check_slide(slide).problems] == [(64, 0)]
    assert slide.scan_view(8).unreadable.any()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 8))
def test_bytes_left_over_hide_no_missing_half(seed: int, count: int) -> None:
    """A few bytes before the end are harmless, but only where the stream before them is whole."""
    from ats_cli.slides.pixels.jpeg import JpegColours, decode_jpeg

    rng = np.random.default_rng(seed)
    stream = restarts(np.ascontiguousarray(smooth(64, 64, 3, seed % 100).transpose(1, 2, 0)))
    marks = [at for at in range(len(stream) - 1) if stream[at] == 0xFF and 0xD0 <= stream[at + 1] <= 0xD7]
    extra = rng.integers(0, 255, count, dtype=np.uint8).tobytes() + b"\xff\xd9"
    whole = decode_jpeg(stream, None, JpegColours())
    assert np.array_equal(decode_jpeg(stream[:-2] + extra, None, JpegColours()), whole)
    for reduction in (1, 8):
        with pytest.raises(ValueError):
            decode_jpeg(stream[: rng.choice(marks)] + extra, None, JpegColours(), reduction)


def test_colours_that_pillow_would_show_wrongly_are_not_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ats_cli.slides.formats.tiff import tile_store as tiff_store

    monkeypatch.setattr(tiff_store, "MOST_PIXELS", 1000)
    stream = imagecodecs.jpeg8_encode(smooth(64, 64, 3, 1).transpose(1, 2, 0).copy(), 95)
    assert stream[6:10] == b"JFIF"
    with pytest.raises(SlideError, match=r"too large to be read one by one\. Convert it to a tiled TIFF"):
        open_slide(tile_file(tmp_path / "a.tif", [stream], compressionargs={"outcolorspace": "rgb"}))

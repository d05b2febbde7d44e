"""DICOM-WSI: files of a series are one slide, in its right colours; and what is lost or damaged is told."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import openslide
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.sequence import Sequence
from slide_pictures import picture

from ats_cli.errors import SlideError
from ats_cli.slides import Plane, Slide, find_slides, open_slide
from ats_cli.slides.formats.dicom.frames import jpeg_colours

TILE = (32, 48)


def frames_of(pixels: NDArray[Any]) -> list[NDArray[Any]]:
    """The tiles of a picture, along the rows, the last ones filled up."""
    (h, w), (height, width) = TILE, pixels.shape[:2]
    edge = [(0, -height % h), (0, -width % w), *[(0, 0)] * (pixels.ndim - 2)]
    full = np.pad(pixels, edge)
    return [full[y : y + h, x : x + w] for y in range(0, height, h) for x in range(0, width, w)]


def write(
    path: Path,
    pixels: NDArray[Any],
    frames: list[Any] | None = None,
    syntax: str = uid.ExplicitVRLittleEndian,
    table: str = "basic",
    **tags: Any,
) -> Path:
    """A DICOM-WSI instance: `frames` are arrays, or bytes of a compressed syntax; 0.25 microns a pixel."""
    frames = frames_of(pixels) if frames is None else frames
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = uid.VLWholeSlideMicroscopyImageStorage
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = uid.generate_uid()
    ds.SeriesInstanceUID, ds.Modality, ds.ImageType = "1.2.3", "SM", ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    ds.TotalPixelMatrixRows, ds.TotalPixelMatrixColumns = pixels.shape[:2]
    ds.Rows, ds.Columns = TILE
    ds.NumberOfFrames, ds.DimensionOrganizationType = len(frames), "TILED_FULL"
    ds.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    ds.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    if pixels.ndim == 3:
        ds.PlanarConfiguration = 0
    ds.BitsAllocated = ds.BitsStored = 8 * pixels.dtype.itemsize
    ds.HighBit, ds.PixelRepresentation = ds.BitsStored - 1, 0
    measures, shared = Dataset(), Dataset()
    measures.PixelSpacing = [0.00025, 0.00025]
    shared.PixelMeasuresSequence = Sequence([measures])
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    for key, value in tags.items():
        setattr(ds, key, value)
    if not ds.file_meta.TransferSyntaxUID.is_encapsulated:
        ds.PixelData = b"".join(frame.tobytes() for frame in frames)
    elif table == "extended":
        ds.PixelData, ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths = encapsulate_extended(frames)
    else:
        ds.PixelData = encapsulate(frames, has_bot=table == "basic")
    ds["PixelData"].VR = "OB" if ds.BitsAllocated == 8 else "OW"
    pydicom.dcmwrite(path, ds, enforce_file_format=True)
    return path


def place(x: int, y: int, z: float = 0, path: str = "1") -> Dataset:
    """The functional groups of a frame of a sparse image."""
    position, identified, group = Dataset(), Dataset(), Dataset()
    position.ColumnPositionInTotalImagePixelMatrix, position.RowPositionInTotalImagePixelMatrix = x + 1, y + 1
    position.ZOffsetInSlideCoordinateSystem = z
    identified.OpticalPathIdentifier = path
    group.PlanePositionSlideSequence = Sequence([position])
    group.OpticalPathIdentificationSequence = Sequence([identified])
    return group


def level(slide: Slide, number: int = 0) -> NDArray[np.uint8]:
    lv = slide.levels[number]
    ((pixels, damage),) = slide.scan_level(number, [(0, 0, lv.width, lv.height)], 2)
    assert not damage
    return pixels


def regions(ours: Slide, theirs: Slide) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    boxes = [(int(x), int(y), 200, 150) for x, y in np.random.default_rng(0).integers(0, 1900, (20, 2))]
    pairs = zip(*(slide.scan_level(0, boxes, 2) for slide in (ours, theirs)), strict=True)
    return [(a.pixels.astype(int), b.pixels.astype(int)) for a, b in pairs]


def test_the_same_pixels_as_the_svs(data: Path) -> None:
    svs = open_slide(data / "wsic-samples" / "CMU-1-Small-Region.svs", backend="openslide")
    # Labelled YBR_FULL, but Adobe's marker in the JPEG says RGB: which OpenSlide does not open.
    same = open_slide(data / "wsic-samples" / "CMU-1-Small-Region")
    assert same.reader == "dicom" and (same.mpp, same.mpp_source) == (0.499, "dicom pixel spacing")
    for ours, theirs in regions(same, svs):
        assert np.abs(ours - theirs).max() <= 2
    # Labelled RGB, but JFIF inside, thus YCbCr: where OpenSlide is off by 50 to 77. Compressed a second time.
    again = open_slide(data / "jcupitt-dicom-wsi" / "cmu-1-small-region")
    assert len(again.levels) == 12 and [lv.downsample for lv in again.levels] == [2.0**n for n in range(12)]
    for ours, theirs in regions(again, svs):
        assert np.abs(ours - theirs).mean() < 9
        assert (np.abs((ours - theirs).mean(axis=(0, 1))) < 2).all()


def test_the_same_pixels_as_openslide(data: Path) -> None:
    for name in (
        "google-medical-imaging/multi_frame_jpeg_camelyon_challenge_image.dcm",
        "highdicom/sm_image.dcm",
        "openslide-python-fixtures/boxes_0.dcm",
        "panimg/dicom_wsi/full_no_bot/full_no_bot.dcm",
        "panimg/dicom_wsi/full_with_bot/full_with_bot.dcm",
        "panimg/dicom_wsi/sparse_no_bot/sparse_no_bot.dcm",
        "panimg/dicom_wsi/sparse_with_bot/sparse_with_bot.dcm",
    ):
        slide = open_slide(data / name)
        theirs = openslide.OpenSlide(data / name).read_region((0, 0), 0, (slide.width, slide.height))
        assert slide.reader == "dicom" and np.array_equal(level(slide), np.asarray(theirs)[..., :3]), name


def test_the_colour_profile_is_the_one_that_openslide_finds(data: Path) -> None:
    path = data / "highdicom" / "sm_image.dcm"
    theirs = openslide.OpenSlide(path).color_profile
    assert theirs is not None and open_slide(path).color_profile() == theirs.tobytes()


def test_jpeg_ls_with_and_without_a_table_is_what_it_was_made_from(data: Path) -> None:
    control = level(open_slide(data / "highdicom" / "sm_image.dcm"))
    for name in ("sm_image_jpegls.dcm", "sm_image_jpegls_nobot.dcm"):
        assert np.array_equal(level(open_slide(data / "highdicom" / name)), control)


def test_what_is_no_slide_says_so(data: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "empty.dcm").touch()
    label = write(tmp_path / "label.dcm", picture(40, 50), ImageType=["ORIGINAL", "PRIMARY", "LABEL", "NONE"])
    Image.fromarray(picture(9, 9)).save(tmp_path / "a.png")
    for path, says in {
        data / "panimg" / "dicom_wsi" / "non_wsi_dcm" / "1.dcm": "a DICOM of modality CT, not a whole-slide image",
        data / "highdicom" / "sm_image_grayscale.dcm": "pixels of type uint16, and the file does not say",
        tmp_path / "folder": "empty.dcm is no DICOM that can be read",
        label: "without the slide itself",
        tmp_path / "a.png": "not a DICOM file",
    }.items():
        with pytest.raises(SlideError, match=rf"^{path.name}: .*{says}.*\.$"):
            open_slide(path, backend="dicom")


def pyramid(folder: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    folder.mkdir()
    whole, half = picture(200, 301), picture(100, 150, 1)
    write(folder / "b.dcm", whole)
    write(folder / "a.dcm", half, ImageType=["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"])
    write(folder / "c.dcm", picture(60, 60), ImageType=["ORIGINAL", "PRIMARY", "LABEL", "NONE"])
    return whole, half


def test_a_folder_or_any_file_of_it_is_one_slide(tmp_path: Path) -> None:
    whole, half = pyramid(tmp_path / "s")
    for path in (tmp_path / "s", *(tmp_path / "s" / f"{n}.dcm" for n in "abc")):
        slide = open_slide(path)
        assert slide.identity == "1.2.3" and slide.mpp == 0.25
        assert slide.bytes_total == sum(file.stat().st_size for file in (tmp_path / "s").iterdir())
        assert np.array_equal(level(slide), whole) and np.array_equal(level(slide, 1), half)


def test_a_folder_of_several_series_is_several_slides(tmp_path: Path) -> None:
    pyramid(tmp_path / "s")
    assert [source.path.name for source in find_slides([str(tmp_path)])] == ["s"]
    assert len(find_slides([str(tmp_path / "s" / "*.dcm")])) == 1
    write(tmp_path / "s" / "d.dcm", picture(70, 50), SeriesInstanceUID="1.2.4")
    write(tmp_path / "s" / "e.dcm", picture(35, 25), SeriesInstanceUID="1.2.4")
    found = find_slides([str(tmp_path)])
    assert [source.slide_id for source in found] == ["a", "d"]
    assert [len(open_slide(source.path).levels) for source in found] == [2, 2]
    with pytest.raises(SlideError, match=r"^s: 2 DICOM series in one folder\. Give a file"):
        open_slide(tmp_path / "s")


def test_two_files_of_one_level_are_told_apart_by_name_only(tmp_path: Path) -> None:
    one, other = picture(60, 60), picture(60, 60, 1)
    write(tmp_path / "a.dcm", one)
    write(tmp_path / "b.dcm", other)
    assert np.array_equal(level(open_slide(tmp_path / "b.dcm")), other)
    with pytest.raises(SlideError, match=r"two images of one size, a\.dcm and b\.dcm"):
        open_slide(tmp_path)


SYNTAXES = {
    "jpeg": (uid.JPEGBaseline8Bit, lambda f: imagecodecs.jpeg8_encode(f, level=98, subsampling="444"), 12),
    "jpeg-ls": (uid.JPEGLSLossless, imagecodecs.jpegls_encode, 0),
    "lossless jpeg": (uid.JPEGLosslessSV1, imagecodecs.ljpeg_encode, 0),
    "jpeg 2000": (uid.JPEG2000Lossless, lambda f: imagecodecs.jpeg2k_encode(f, codecformat="j2k", reversible=True), 0),
    "rle": (uid.RLELossless, lambda f: pydicom.pixels.encoders.RLELosslessEncoder.encode(f, **RLE), 0),
}
RLE = {
    "rows": 32, "columns": 48, "bits_allocated": 8, "bits_stored": 8, "pixel_representation": 0, "number_of_frames": 1,
    "samples_per_pixel": 3, "photometric_interpretation": "RGB", "planar_configuration": 0,
}  # fmt: skip


@pytest.mark.parametrize("table", ["basic", "none", "extended"])
@pytest.mark.parametrize("codec", SYNTAXES)
def test_compressed_frames_with_each_table_of_offsets(tmp_path: Path, codec: str, table: str) -> None:
    syntax, encode, tolerance = SYNTAXES[codec]
    if codec == "lossless jpeg":
        pixels = picture(70, 100)[..., 0]
    else:
        pixels = np.asarray(Image.fromarray(picture(7, 10)).resize((100, 70), Image.Resampling.BICUBIC))
    frames = [encode(np.ascontiguousarray(frame)) for frame in frames_of(pixels)]
    slide = open_slide(write(tmp_path / "a.dcm", pixels, frames, syntax, table))
    expected = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, 2)
    assert np.abs(level(slide).astype(int) - expected).max() <= tolerance


def test_samples_as_they_are_labelled(tmp_path: Path) -> None:
    rgb = picture(70, 100)
    ycc = np.asarray(Image.fromarray(rgb).convert("YCbCr"))
    planar = [frame.transpose(2, 0, 1) for frame in frames_of(rgb)]
    grey = rgb[..., 0]
    deep = grey.astype(np.uint16) * 16
    shown = np.repeat(grey[..., None], 3, 2)
    made = {
        "ybr": (write(tmp_path / "ybr.dcm", ycc, PhotometricInterpretation="YBR_FULL"), rgb, 3),
        "planar": (write(tmp_path / "planar.dcm", rgb, planar, PlanarConfiguration=1), rgb, 0),
        "big": (write(tmp_path / "implicit.dcm", rgb, syntax=uid.ImplicitVRLittleEndian), rgb, 0),
        "mono2": (write(tmp_path / "mono2.dcm", grey), shown, 0),
        "mono1": (write(tmp_path / "mono1.dcm", grey, PhotometricInterpretation="MONOCHROME1"), 255 - shown, 0),
        "twelve": (write(tmp_path / "twelve.dcm", deep, BitsStored=12, HighBit=11), shown, 1),
        "window": (write(tmp_path / "window.dcm", deep, WindowCenter=2040, WindowWidth=4080), shown, 0),
    }
    for path, expected, tolerance in made.values():
        slide = open_slide(path)
        # All have the same series, so that each is opened by its name.
        assert np.abs(level(slide).astype(int) - expected).max() <= tolerance, path.name


@pytest.mark.parametrize(
    ("tags", "says"),
    [
        ({"PhotometricInterpretation": "PALETTE COLOR", "SamplesPerPixel": 1}, "1 samples of 8 bits as PALETTE COLOR"),
        ({"PhotometricInterpretation": "YBR_FULL_422"}, "YBR_FULL_422 without compression"),
        ({"NumberOfFrames": 2}, "2 frames where its size asks for 9"),
        ({"Rows": 0}, "has no pixels"),
        ({"Rows": 30000, "Columns": 30000, "NumberOfFrames": 1}, "too large to be read one by one"),
    ],
)
def test_what_would_come_out_wrong_is_refused(tmp_path: Path, tags: dict[str, Any], says: str) -> None:
    path = write(tmp_path / "a.dcm", picture(70, 100), **tags)
    with pytest.raises(SlideError, match=rf"^a\.dcm: .*{says}.*\.$"):
        open_slide(path)


def test_focal_planes_and_optical_paths(tmp_path: Path) -> None:
    planes = [picture(70, 100, seed) for seed in range(3)]
    frames = [frame for plane in planes for frame in frames_of(plane)]
    path = write(tmp_path / "z.dcm", planes[0], frames, TotalPixelMatrixFocalPlanes=3)
    slide = open_slide(path)
    assert slide.plane == "z=1 of 3" and np.array_equal(level(slide), planes[1])
    assert np.array_equal(level(open_slide(path, plane=Plane(z=2))), planes[2])
    red = open_slide(path, plane=Plane(c=0))
    assert np.array_equal(level(red), np.repeat(planes[1][..., :1], 3, 2))

    grey = [plane[..., 0] for plane in planes]
    frames = [frame for plane in grey for frame in frames_of(plane)]
    path = write(tmp_path / "c.dcm", grey[0], frames, NumberOfOpticalPaths=3)
    with pytest.raises(SlideError, match=r"--plane c=0 to c=2"):
        open_slide(path)
    assert np.array_equal(level(open_slide(path, plane=Plane(c=1)))[..., 0], grey[1])

    # The same, sparse: the planes by their heights, the paths by their names.
    corners = [(x, y) for y in range(0, 70, 32) for x in range(0, 100, 48)]
    groups = [place(x, y, z) for z in (2.0, 0.0, 1.0) for x, y in corners]
    frames = [frame for plane in planes for frame in frames_of(plane)]
    sparse = {"DimensionOrganizationType": "TILED_SPARSE", "PerFrameFunctionalGroupsSequence": Sequence(groups)}
    path = write(tmp_path / "sparse.dcm", planes[0], frames, **sparse)
    assert np.array_equal(level(open_slide(path)), planes[2])
    assert np.array_equal(level(open_slide(path, plane=Plane(z=2))), planes[0])


def test_frames_that_a_sparse_file_lacks_are_holes(tmp_path: Path) -> None:
    pixels = picture(70, 100)
    corners = [(x, y) for y in range(0, 70, 32) for x in range(0, 100, 48)]
    kept = [0, 4, 8, 3]
    groups = Sequence([place(*corners[i]) for i in kept])
    frames = [frames_of(pixels)[i] for i in kept]
    sparse = {"DimensionOrganizationType": "TILED_SPARSE", "PerFrameFunctionalGroupsSequence": groups}
    slide = open_slide(write(tmp_path / "a.dcm", pixels, frames, **sparse))
    absent = slide.absent(0)
    assert absent is not None and np.flatnonzero(~absent).tolist() == sorted(kept)
    shown = level(slide)
    assert np.array_equal(shown[:32, :48], pixels[:32, :48]) and (shown[:32, 48:] == 255).all()
    off = Sequence([place(x + 1, y) for x, y in corners])
    with pytest.raises(SlideError, match="do not lie on a grid"):
        open_slide(write(tmp_path / "a.dcm", pixels, **sparse | {"PerFrameFunctionalGroupsSequence": off}))


def test_a_concatenation_is_one_level(tmp_path: Path) -> None:
    pixels = picture(70, 100)
    frames = frames_of(pixels)
    for name, start, stop in (("b", 0, 4), ("a", 4, 9)):
        write(
            tmp_path / f"{name}.dcm",
            pixels,
            frames[start:stop],
            ConcatenationUID="1.2.9",
            ConcatenationFrameOffsetNumber=start,
        )
    for path in (tmp_path, tmp_path / "a.dcm"):
        assert np.array_equal(level(open_slide(path)), pixels)
    (tmp_path / "a.dcm").unlink()
    with pytest.raises(SlideError, match="4 frames where its size asks for 9"):
        open_slide(tmp_path)


@pytest.mark.parametrize("table", ["basic", "none", "extended"])
def test_a_file_cut_short_is_damage_in_its_place(tmp_path: Path, table: str) -> None:
    frames = [imagecodecs.jpegls_encode(np.ascontiguousarray(frame)) for frame in frames_of(picture(70, 100))]
    path = write(tmp_path / "a.dcm", picture(70, 100), frames, uid.JPEGLSLossless, table)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - len(frames[-1]) - len(frames[-2]) // 2])
    ((pixels, damage),) = open_slide(path).scan_level(0, [(0, 0, 100, 70)], 2)
    assert [part.box[:2] for part in damage] == [(48, 64), (96, 64)]
    assert all(part.reason.startswith("a.dcm: tile at x ") and "ends too soon" in part.reason for part in damage)
    assert np.array_equal(pixels[:64], picture(70, 100)[:64])
    for size in (200, whole.index(b"\xe0\x7f\x10\x00") - 10):
        path.write_bytes(whole[:size])
        with pytest.raises(SlideError, match=r"^a\.dcm: "):
            open_slide(path)


@pytest.mark.parametrize("codec", ["jpeg", "jpeg-ls", "jpeg 2000"])
def test_a_stream_that_lies_of_its_size_is_not_decoded(tmp_path: Path, codec: str) -> None:
    syntax, encode, _ = SYNTAXES[codec]
    frames = [encode(np.zeros((32 * n, 48, 3), np.uint8)) for n in (1, 2)]
    slide = open_slide(write(tmp_path / "a.dcm", picture(32, 96), frames, syntax))
    ((_, damage),) = slide.scan_level(0, [(0, 0, 96, 32)], 1)
    assert [part.box for part in damage] == [(48, 0, 48, 32)]
    assert "its stream promises 48 x 64 pixels" in damage[0].reason


def test_a_promise_of_a_million_pixels_a_side_allocates_nothing(tmp_path: Path) -> None:
    import tracemalloc

    huge = {"TotalPixelMatrixColumns": 1_000_000, "TotalPixelMatrixRows": 1_000_000}
    path = write(tmp_path / "a.dcm", picture(32, 48), **huge, NumberOfFrames=31250 * 20834)
    tracemalloc.start()
    slide = open_slide(path)
    ((_, damage),) = slide.scan_level(0, [(500_000, 500_000, 10, 10)], 1)
    assert "ends too soon" in damage[0].reason
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()


@pytest.mark.integration
@settings(max_examples=60, deadline=None)
@given(at=st.floats(0, 1), new=st.binary(min_size=1, max_size=8), compressed=st.booleans())
def test_a_damaged_file_ends_in_pixels_or_in_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, at: float, new: bytes, compressed: bool
) -> None:
    folder = tmp_path_factory.mktemp("d")
    frames = [imagecodecs.jpegls_encode(np.ascontiguousarray(frame)) for frame in frames_of(picture(70, 100))]
    syntax = uid.JPEGLSLossless if compressed else uid.ExplicitVRLittleEndian
    path = write(folder / "a.dcm", picture(70, 100), frames if compressed else None, syntax)
    whole = bytearray(path.read_bytes())
    # The header is what can mislead: half of all goes there.
    where = int(at * 1600) if at < 0.5 else int(at * len(whole))
    whole[where : where + len(new)] = new
    path.write_bytes(whole)
    try:
        slide = open_slide(path)
        patches = list(slide.scan_tiles([(0, 0, 40, 40), (60, 40, 40, 30)], 16))
        assert len(patches) == 2
    except SlideError as error:
        assert str(error).startswith("a.dcm: ") and "\n" not in str(error)


def test_what_a_jpeg_says_of_its_colours() -> None:
    def of(image: Image.Image, **options: Any) -> bytes:
        out = io.BytesIO()
        image.save(out, "JPEG", **options)
        return out.getvalue()

    noise = Image.fromarray(picture(32, 32))
    assert jpeg_colours(of(noise)) == "YCBCR"
    assert jpeg_colours(of(noise, keep_rgb=True)) == "RGB"
    bare = imagecodecs.jpeg8_encode(picture(32, 32), colorspace="RGB", outcolorspace="RGB")
    assert jpeg_colours(bare) == "RGB"
    silent = imagecodecs.jpeg8_encode(picture(32, 32), colorspace="YCBCR", outcolorspace="YCBCR", subsampling="444")
    cut = silent[:2] + silent[2 + 2 + int.from_bytes(silent[4:6], "big") :]
    assert jpeg_colours(cut) is None and jpeg_colours(silent) == "YCBCR"
    for broken in (b"", b"\xff\xd8", bare[:20], b"\xff\xd8\xff\xc0\x00\x0b" + bytes(9)):
        jpeg_colours(broken)

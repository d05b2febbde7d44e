"""Three channels of a TIFF: red, green and blue, or three stains of which one must be named."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from slide_pictures import FAULTS, picture

from ats_cli.errors import SlideError
from ats_cli.slides import Plane, open_slide

RED, GREEN, BLUE = -16776961, 16711935, 65535  # OME's signed numbers of red, green, blue and alpha
STAINS = st.sampled_from(["DAPI", "CD3", "CD8", "FITC", "TRITC", "Cy5", "Hoechst 33342", "panCK"])
# Of stains, and of colours: with names, with colours, with both.
stained = st.one_of(
    st.builds(lambda names: {"Name": names}, st.lists(STAINS, min_size=3, max_size=3, unique=True)),
    st.builds(
        lambda names, colours: {"Name": names, "Color": colours},
        st.lists(STAINS, min_size=3, max_size=3, unique=True),
        st.permutations([RED, GREEN, BLUE]).filter(lambda colours: colours != [RED, GREEN, BLUE]),
    ),
    st.builds(
        lambda colours: {"Color": colours},
        st.permutations([RED, GREEN, BLUE]).filter(lambda colours: colours != [RED, GREEN, BLUE]),
    ),
)
coloured = st.sampled_from(
    [
        {},
        {"Name": ["Red", "Green", "Blue"]},
        {"Name": ["R", "G", "B"]},
        {"Name": ["Channel 0", "Channel 1", "Channel 2"]},
        {"Color": [RED, GREEN, BLUE]},
        {"Color": [-1, -1, -1]},
    ]
)
layouts = st.sampled_from(["planes", "samples"])


def write(path: Path, layout: str, channels: dict[str, list[object]]) -> np.ndarray:
    """Three channels of one picture, as three pages or as three samples of one page; its colours."""
    pixels = picture(40, 50)
    if layout == "planes":
        options = {"photometric": "minisblack", "metadata": {"axes": "CYX", "Channel": channels}}
        tifffile.imwrite(path, pixels.transpose(2, 0, 1), **options)
    else:
        tifffile.imwrite(path, pixels, photometric="rgb", metadata={"axes": "YXS"})
        if channels:
            named = "".join(
                f'<Channel ID="Channel:0:{i}" '
                + " ".join(f'{key}="{values[i]}"' for key, values in channels.items())
                + "/>"
                for i in range(3)
            )
            with tifffile.TiffFile(path) as tiff:
                xml = tiff.ome_metadata or ""
            start = xml.index("<Channel")
            tifffile.tiffcomment(path, xml[:start] + named + xml[xml.index("<TiffData") :])
    return pixels


@pytest.mark.integration
@settings(max_examples=40, deadline=None)
@given(layouts, stained)
def test_three_stains_are_refused_by_name_and_each_can_be_shown(layout: str, channels: dict[str, list[object]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.ome.tif"
        pixels = write(path, layout, channels)
        with pytest.raises(SlideError, match=r"^a\.ome\.tif: 3 channels.* --plane c=0 to c=2\.$") as refused:
            open_slide(path)
        assert all(str(name) in str(refused.value) for name in channels.get("Name", []))
        for c in range(3):
            with open_slide(path, plane=Plane(c=c)) as slide:
                assert np.array_equal(slide.read_view(1), pixels[..., [c, c, c]])


@settings(max_examples=20, deadline=None)
@given(layouts, coloured)
def test_red_green_and_blue_are_shown_whatever_holds_them(layout: str, channels: dict[str, list[object]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.ome.tif"
        pixels = write(path, layout, channels)
        with open_slide(path) as slide:
            assert np.array_equal(slide.read_view(1), pixels)


def test_a_slide_of_three_stains() -> None:
    path = FAULTS / "three-fluorescence-channels-as-rgb" / "if_planes_named.ome.tif"
    with pytest.raises(SlideError, match=r"3 channels \(DAPI, CD3, CD8\) that are not red, green and blue"):
        open_slide(path)
    with open_slide(path, plane=Plane(c=1)) as slide:
        assert slide.plane == "c=1 of 3"


def test_colours_that_imagej_gives_to_channels(tmp_path: Path) -> None:
    ramp = np.arange(256, dtype=np.uint8)
    tables = [np.stack([ramp * (i == j) for j in range(3)]).astype(np.uint8) for i in range(3)]
    pixels = picture(40, 50)
    for order, shown in ((tables, True), (tables[::-1], False)):
        tifffile.imwrite(
            tmp_path / "a.tif", pixels.transpose(2, 0, 1), imagej=True,
            metadata={"axes": "CYX", "mode": "composite", "LUTs": order},
        )  # fmt: skip
        if shown:
            assert np.array_equal(open_slide(tmp_path / "a.tif").read_view(1), pixels)
        else:
            with pytest.raises(SlideError, match="3 channels"):
                open_slide(tmp_path / "a.tif")


@pytest.mark.parametrize("samples", [2, 3, 4, 5])
def test_the_first_advice_leads_to_a_picture(tmp_path: Path, samples: int) -> None:
    path = tmp_path / "a.tif"
    pixels = np.zeros((40, 50, samples), np.uint16)
    options = {"photometric": "minisblack", "planarconfig": "contig", "metadata": None}
    tifffile.imwrite(path, pixels, **options)
    with pytest.raises(SlideError, match="does not say which values are black and white"):
        open_slide(path)
    # With a range, one channel can be shown, and the sentence says how.
    tifffile.imwrite(path, pixels, extratags=[(341, "H", samples, (4095,) * samples, True)], **options)
    with pytest.raises(SlideError, match=r"--plane c=0 to"):
        open_slide(path)
    assert open_slide(path, plane=Plane(c=0)).read_view(1).shape == (40, 50, 3)

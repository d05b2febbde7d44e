"""Three channels are red, green and blue only where nothing in the file says otherwise."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from ats_cli.errors import SlideError
from ats_cli.slides import Plane, open_slide
from ats_cli.slides.pixels.channels import are_red_green_blue

RGB = ("FF0000", "00FF00", "0000FF")
MARKERS = st.sampled_from(["DAPI", "CD3", "CD8", "Hoechst", "GFP", "Cy5", "TRITC", "Alexa 488", "H&E 1", "Ki67"])


@pytest.mark.parametrize(
    ("names", "colours", "are"),
    [
        ((), (), True),
        (("", "", ""), ("", "", ""), True),
        (("0", "1", "2"), (), True),
        (("Channel:0:0", "Channel:0:1", "Channel:0:2"), ("FFFFFF",) * 3, True),
        (("Red", "Green", "Blue"), (), True),
        (("red channel", "green channel", "blue channel"), (), True),
        (("RGB", "RGB", "RGB"), (), True),
        (("Band 1", "Band 2", "Band 3"), (), True),
        (("a", "b", "c"), RGB, True),
        (("", "", ""), ("#ff0000", "#00ff00", "#0000ff"), True),
        (("Blue", "Green", "Red"), (), False),
        (("Red", "Green", "Blue"), RGB[::-1], False),
        (("DAPI", "CD3", "CD8"), ("FFFFFF",) * 3, False),
        (("DAPI", "Channel 1", "Channel 2"), (), False),
    ],
)
def test_names_and_colours_that_writers_give(names: tuple[str, ...], colours: tuple[str, ...], are: bool) -> None:
    assert are_red_green_blue(names, colours) is are


@pytest.mark.integration
@settings(max_examples=25, deadline=None)
@given(
    names=st.lists(MARKERS, min_size=3, max_size=3, unique=True), shown=st.permutations(RGB),
    given_colours=st.booleans(), version=st.sampled_from([2, 3]), channel=st.integers(0, 2),
)  # fmt: skip
def test_fluorescence_in_ome_zarr_is_refused_by_its_names_and_shown_by_channel(
    names: list[str], shown: list[str], given_colours: bool, version: int, channel: int
) -> None:
    pixels = np.random.default_rng(0).integers(1, 250, (3, 40, 50), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.zarr"
        group = zarr.create_group(path, zarr_format=version)  # type: ignore[arg-type]
        group.create_array("0", data=pixels, chunks=(1, 32, 32))
        colours: list[dict[str, Any]] = [{"color": colour} if given_colours else {} for colour in shown]
        said = {
            "multiscales": [{"axes": [{"name": axis} for axis in "cyx"], "datasets": [{"path": "0"}]}],
            "omero": {"channels": [{"label": name} | colour for name, colour in zip(names, colours, strict=True)]},
        }
        group.attrs.update(said if version == 2 else {"ome": said})
        with open_slide(path, plane=Plane(c=channel)) as slide:
            assert np.array_equal(slide.read_view(1)[..., 1], pixels[channel])
        if given_colours and tuple(shown) == RGB:
            with open_slide(path) as slide:
                assert np.array_equal(slide.read_view(1), np.moveaxis(pixels, 0, -1))
            return
        listed = ", ".join(names)
        with pytest.raises(SlideError) as refused:
            open_slide(path)
        assert str(refused.value) == (
            f"a.zarr: 3 channels ({listed}) that are not red, green and blue. Name the one to show as grey, "
            "--plane c=0 to c=2."
        )

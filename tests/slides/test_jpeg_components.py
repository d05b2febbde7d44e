"""JPEG tiles with another number of components than their TIFF says are damage, not other colours."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from slide_pictures import picture

from ats_cli.errors import SlideError
from ats_cli.slides import check_slide, open_slide

PHOTOMETRIC = {1: "minisblack", 3: "rgb", 4: "rgb"}
WORDS = r"components|colours|its stream is|color conversion"


@pytest.mark.integration
@given(st.sampled_from([1, 3, 4]), st.integers(1, 4), st.booleans(), st.integers(0, 1))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_stream_of_other_components_is_damage(
    tmp_path: Path, stated: int, held: int, lossless: bool, where: int
) -> None:
    """Two components under RGB ended a view in numpy's words; four were shown as three."""
    if (stated, held) == (3, 1) and not lossless:
        held = 2  # grey among colours is what some scanners write, and is shown as grey
    tiles = [jpeg(stated, lossless), jpeg(stated, lossless)]
    tiles[where] = jpeg(held, lossless)
    shape = (64, 128) if stated == 1 else (64, 128, stated)
    more = {"extrasamples": ["unspecified"]} if stated == 4 else {}
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, iter(tiles), shape=shape, dtype="uint8", tile=(64, 64), photometric=PHOTOMETRIC[stated],
                     planarconfig="contig" if stated > 1 else None, compression="jpeg", **more)  # fmt: skip
    with open_slide(path) as slide:
        assert check_slide(slide).sound == (stated == held)
        if stated != held:
            with pytest.raises(SlideError, match=rf"^a\.tif: tile at x {64 * where}, y 0 .*({WORDS})"):
                slide.read_view(1)


def jpeg(components: int, lossless: bool) -> bytes:
    pixels = np.dstack([picture(64, 64)] * 2)[..., :components]
    samples = np.ascontiguousarray(pixels[..., 0] if components == 1 else pixels)
    return bytes(imagecodecs.jpeg8_encode(samples, lossless=lossless))

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import openslide
import pytest

from ats_cli.errors import SlideError
from ats_cli.slides import open_slide
from ats_cli.slides.formats.openslide_reader import OpenSlideReader

NDPI = "slideio-tutorial/test3-TRITC 2 (560).ndpi"


def test_regions_are_openslides_own_on_every_exact_level(data: Path) -> None:
    path = data / NDPI
    with open_slide(path) as slide, openslide.OpenSlide(path) as theirs:
        assert slide.vendor == "hamamatsu" and slide.bytes_read is None
        for number, lv in enumerate(slide.levels):
            box = (lv.width // 3, lv.height // 2, min(50, lv.width // 2), min(60, lv.height // 2))
            ((got, _),) = slide.scan_level(number, [box], 2)
            corner = (int(box[0] * lv.downsample), int(box[1] * lv.downsample))
            assert np.array_equal(got, np.asarray(theirs.read_region(corner, number, box[2:]).convert("RGB")))


def test_a_large_box_is_put_together_from_pieces(data: Path) -> None:
    with open_slide(data / "wsic-samples" / "CMU-1-Small-Region.svs", backend="openslide") as slide:
        ((whole, _),) = slide.scan_level(0, [(100, 50, 1500, 1300)], 3)
        assert np.array_equal(
            whole[1000:1200, 1000:1200], next(slide.scan_level(0, [(1100, 1050, 200, 200)], 1)).pixels
        )
        assert slide.resident_bytes > 0
    assert slide.resident_bytes == 0


def test_a_broken_handle_is_replaced_once(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_slide(data / NDPI) as slide:
        real, calls = openslide.OpenSlide.read_region, []

        def fails_once(self, *args):  # type: ignore[no-untyped-def]
            calls.append(self)
            if len(calls) == 1:
                raise openslide.OpenSlideError("for a moment")
            return real(self, *args)

        monkeypatch.setattr(openslide.OpenSlide, "read_region", fails_once)
        assert slide.read_view(64).shape == (76, 62, 3)
        assert len(calls) == 2 and calls[0] is not calls[1]


def test_an_unreadable_region_names_slide_and_place(data: Path) -> None:
    slide = open_slide(data / "openslide-python-fixtures" / "unreadable.svs", backend="openslide")
    with pytest.raises(SlideError, match=r"^unreadable\.svs: the region at x 0, y 0 of level 0"):
        slide.read_view(1)


def test_microns_per_pixel_and_where_they_come_from(tmp_path: Path) -> None:
    (tmp_path / "a.slide").touch()

    def mpp(properties: dict[str, str]) -> tuple[tuple[float, float] | None, str | None]:
        handle = SimpleNamespace(properties=properties, level_dimensions=[(9, 9)], level_downsamples=[1.0])
        reader = OpenSlideReader(tmp_path / "a.slide", lambda _: handle, "test")
        return reader.mpp, reader.mpp_source

    assert mpp({"openslide.mpp-x": "0.25", "openslide.mpp-y": "0.26"}) == ((0.25, 0.26), "openslide.mpp-x")
    assert mpp({"openslide.objective-power": "40"}) == ((0.25, 0.25), "objective power")
    assert mpp({"openslide.objective-power": "33"}) == (None, None)
    assert mpp({}) == (None, None)

"""Embedded colour profiles: applied when asked for, the same by every reader, and never otherwise."""

from __future__ import annotations

import functools
import io
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms
from slide_pictures import picture

from ats_cli.errors import AtsError, SlideError
from ats_cli.slides import open_slide


@functools.cache  # a profile states the second of its making
def exchanged_profile() -> bytes:
    """sRGB, but what is called red is green, and the other way round: its colorants have changed places."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    (count,) = struct.unpack(">I", profile[128:132])
    entries = {bytes(profile[132 + 12 * i : 136 + 12 * i]): 132 + 12 * i for i in range(count)}
    red, green = entries[b"rXYZ"], entries[b"gXYZ"]
    profile[red + 4 : red + 12], profile[green + 4 : green + 12] = (
        profile[green + 4 : green + 12],
        profile[red + 4 : red + 12],
    )
    return bytes(profile)


def written(folder: Path, kind: str, profile: bytes | None) -> Path:
    pixels = picture(64, 96)
    path = folder / f"a.{kind}"
    if kind == "png":
        Image.fromarray(pixels).save(path, icc_profile=profile)
        return path
    tags = [] if profile is None else [(34675, 7, len(profile), profile, True)]
    description = "Aperio Image\r\n96x64 [0,0 96x64] (32x32) RAW|MPP = 0.5"
    tifffile.imwrite(path, pixels, photometric="rgb", tile=(32, 32), metadata=None, extratags=tags,
                     description=description)  # fmt: skip
    return path


@pytest.mark.parametrize(("kind", "backend"), [("png", None), ("svs", "tiff"), ("svs", "openslide")])
def test_a_profile_is_applied_when_asked_for(tmp_path: Path, kind: str, backend: str | None) -> None:
    path = written(tmp_path, kind, exchanged_profile())
    stored = open_slide(path, backend=backend)
    assert np.array_equal(stored.read_view(1), picture(64, 96))
    shown = open_slide(path, backend=backend, color_profile="srgb")
    assert shown.reader == stored.reader and shown.width == 96 and shown.mpp == stored.mpp
    exchanged = picture(64, 96)[..., [1, 0, 2]].astype(int)
    assert np.abs(shown.read_view(1) - exchanged).max() <= 1
    (patch,) = shown.read_tiles([(10, 20, 30, 30)], 30)
    assert np.abs(patch - exchanged[20:50, 10:40]).max() <= 1
    # Beyond the edge there is no pixel to convert: the fill stays what it is.
    (outside,) = shown.read_tiles([(-30, 0, 30, 30)], 30, fill=128)
    assert (outside == 128).all()
    if backend != "openslide":  # which hands it over written anew
        assert stored.color_profile() == exchanged_profile()


def test_averages_are_of_converted_pixels(tmp_path: Path) -> None:
    path = written(tmp_path, "svs", exchanged_profile())
    with open_slide(path, color_profile="srgb") as slide:
        whole = slide.read_view(1).astype(float)
        mean = whole.reshape(16, 4, 24, 4, 3).mean((1, 3))
        assert np.abs(slide.read_view(4) - mean).max() <= 0.51


@pytest.mark.parametrize("kind", ["png", "svs"])
def test_without_a_profile_nothing_changes(tmp_path: Path, kind: str) -> None:
    slide = open_slide(written(tmp_path, kind, None), color_profile="srgb")
    assert slide.color_profile() is None and np.array_equal(slide.read_view(1), picture(64, 96))


def test_a_grey_profile(tmp_path: Path) -> None:
    grey = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    grey[16:20] = b"GRAY"
    grey = grey.replace(b"rTRC", b"kTRC", 1)
    Image.fromarray(picture(20, 30)[..., 0]).save(tmp_path / "a.png", icc_profile=bytes(grey))
    view = open_slide(tmp_path / "a.png", color_profile="srgb").read_view(1).astype(int)
    assert np.abs(view - picture(20, 30)[..., :1]).max() <= 1


def test_a_profile_that_cannot_be_applied_is_a_sentence(tmp_path: Path) -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for profile in (b"no profile at all", lab, exchanged_profile()[:200]):
        path = written(tmp_path, "svs", profile)
        assert np.array_equal(open_slide(path).read_view(1), picture(64, 96))
        with pytest.raises(SlideError, match=r"^a\.svs: its colour profile cannot be applied \(.*Leave out"):
            open_slide(path, color_profile="srgb")
    with pytest.raises(AtsError, match="unknown colour profile 'p3'"):
        open_slide(path, color_profile="p3")


@pytest.mark.integration
def test_the_profile_of_a_real_slide_as_openslide_hands_it_over(data: Path) -> None:
    path = data / "histolab" / "tcga-cr-7395-01a-01-ts1.svs"
    ours, theirs = open_slide(path, backend="tiff"), open_slide(path, backend="openslide")
    profile = ours.color_profile()
    assert profile is not None and profile == theirs.color_profile()
    assert ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile))).startswith("sRGB")
    shown = open_slide(path, color_profile="srgb").read_view(8)
    assert np.abs(shown.astype(int) - ours.read_view(8)).max() <= 1


def test_opening_does_not_read_the_profile(tmp_path: Path) -> None:
    small = open_slide(written(tmp_path, "svs", exchanged_profile())).bytes_read or 0
    path = written(tmp_path, "svs", exchanged_profile() + bytes(100_000))
    slide = open_slide(path)
    assert slide.bytes_read is not None and slide.bytes_read < small + 20_000
    slide.color_profile()
    assert slide.bytes_read > small + 100_000


def test_info_and_runs_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from ats_cli.app import run

    path = written(tmp_path, "svs", exchanged_profile())
    assert run(["info", str(path), "--color-profile", "srgb"]) == 0
    assert "sRGB built-in (--color-profile srgb applies it)" in capsys.readouterr().out
    assert run(["info", str(path), "--color-profile", "p3"]) == 2

"""The index of a TIFF: the image and plane to show, and its levels."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree

import numpy as np
import tifffile

from ats_cli.errors import SlideError
from ats_cli.slides.formats.side_picture import main_image
from ats_cli.slides.formats.tiff.color_layout import has_alpha, kind_of, refusal_of_page
from ats_cli.slides.formats.tiff.header_prefetch import NO_IMAGE
from ats_cli.slides.formats.tiff.metadata import (
    TiffFacts,
    channels_of,
    facts,
    number_of,
    ome_pixels,
    orientation,
)
from ats_cli.slides.formats.tiff.tile_store import Shown, Store, level_of, size_of
from ats_cli.slides.pixels.channels import are_red_green_blue
from ats_cli.slides.pixels.sample_kind import PixelKind
from ats_cli.slides.plane import Plane, check, pick, pick_channel, plane_text
from ats_cli.slides.reader import Level, level_downsample

_ICC_PROFILE = 34675


@dataclass(frozen=True)
class TiffIndex:
    """The content of a TIFF's headers.

    plane: as in `Reader`.
    orientation: TIFF's, 1 to 8. Levels and stores are as stored, before rotation.
    by_pillow: whether Pillow shows the same plane and colours.
    profile: (offset, bytes) of the ICC profile.
    whole: why native tiles are not read one by one, as a sentence. Then `levels` is empty, and Pillow may decode it.
    """

    facts: TiffFacts
    plane: str | None
    orientation: int
    by_pillow: bool
    profile: tuple[int, int] | None = None
    whole: str | None = None
    levels: tuple[Level, ...] = ()
    stores: tuple[Store, ...] = ()


def index_of(tiff: tifffile.TiffFile, plane: Plane | None) -> TiffIndex:
    """Return the index of an open TIFF. Raises SlideError if no reader here shows its pixels correctly."""
    series = _series(tiff, plane)
    key = series.keyframe
    if problem := refusal_of_page(key):
        raise SlideError(problem)
    ome = ome_pixels(tiff, series)
    shown = _shown(tiff, series, ome, plane)
    found: list[tuple[Level, Store]] = []
    whole = None
    candidates = list(_levels(tiff, series))
    for reduced in candidates:
        downsample = level_downsample(size_of(key), size_of(reduced.keyframe))
        # Leave out levels whose pixels differ in kind from the first; the next finer level replaces them.
        if downsample is None or (reduced is not series and not _alike(reduced, series)):
            continue
        kind = kind_of(reduced.keyframe, ome, shown.channel, len(shown.pages), shown.channel_of_file)
        level = level_of(tiff, reduced, shown, kind, downsample)
        if not isinstance(level, str):
            found.append(level)
        elif reduced is series:
            whole = level
            break
    by_pillow = shown.pages == [0] and shown.channel is None and key.index == 0 and _plain(key, kind)
    if whole and not by_pillow:
        raise SlideError(f"{whole} Convert it to a tiled TIFF.")
    found = [] if whole else sorted(found, key=lambda pair: pair[0].downsample)
    levels, stores = tuple(level for level, _ in found), tuple(store for _, store in found)
    index = TiffIndex(
        facts(tiff, series, ome), shown.plane, orientation(key), by_pillow, _profile(key), whole, levels, stores
    )
    _forget(candidates)
    return index


def _series(tiff: tifffile.TiffFile, plane: Plane | None) -> tifffile.TiffPageSeries:
    """Return the series that `plane` names, else the slide among labels and macro images."""
    if not tiff.series:
        raise SlideError(NO_IMAGE)
    files = set(re.findall(r'FileName="([^"]*)"', tiff.ome_metadata or "")) if tiff.is_ome else set()
    if len(files) > 1:
        raise SlideError("an OME-TIFF spread over several files. Export it as one file.")
    series = (plane or Plane()).requested.get("series")
    if series is not None:
        return tiff.series[check("series", series, len(tiff.series))]
    if tiff.is_svs and tiff.series[0].name == "Baseline":
        return tiff.series[0]  # Aperio's first directory is the slide, by definition
    names = [series.name or "" for series in tiff.series]
    return tiff.series[main_image(names, [math.prod(size_of(series.keyframe)) for series in tiff.series])]


def _shown(
    tiff: tifffile.TiffFile,
    series: tifffile.TiffPageSeries,
    ome: ElementTree.Element | None,
    plane: Plane | None,
) -> Shown:
    key = series.keyframe
    samples = int(key.samplesperpixel)
    axes, shape = series.get_axes(False).lower(), series.get_shape(False)
    sizes = {axis: n for axis, n in zip(axes, shape, strict=True) if axis not in "yxs" and n > 1}
    # Some writers call the samples of one page channels.
    if "c" in sizes and math.prod(sizes.values()) * math.prod(key.shape) != math.prod(shape):
        del sizes["c"]
    for axis, count in sizes.items():
        if axis not in "zct":
            raise SlideError(
                f"{count} images of one size, and the file does not say what they are. "
                "Export the one you mean by itself."
            )
    index = pick(sizes, plane)
    channels = sizes.get("c", 1) * samples
    eight_bits = key.dtype == np.uint8 and key.bitspersample == 8
    asked_channel = None if plane is None else plane.c
    names, colours = channels_of(tiff, ome)
    red_green_blue = len(names or colours) != 3 or are_red_green_blue(names, colours)
    grey = "c" in sizes or (key.photometric in (0, 1) and samples > 1 and not has_alpha(key))
    if grey or (channels == 3 and not red_green_blue):
        if channels > 1 and asked_channel is None and not eight_bits:
            kind_of(key, ome, 0, 1, 0)  # raises if the file states no range: then naming a channel does not help
        channel = pick_channel(channels, eight_bits and red_green_blue, plane, names)
    else:
        channel = None if asked_channel is None else check("c", asked_channel, samples)
    shown = [0] if "c" not in sizes else [0, 1, 2] if channel is None else [channel // samples]
    numbers = [_page_number(sizes, index | {"c": c}) for c in shown]
    texts = [plane_text({**sizes, "c": channels}, index | ({} if channel is None else {"c": channel}))]
    if len(tiff.series) > 1 and (tiff.is_ome or (plane or Plane()).requested.get("series")):
        texts.append(f"series={number_of(tiff, series)} of {len(tiff.series)}")
    sample = None if channel is None else channel % samples
    return Shown(numbers, sample, channel or 0, ", ".join(filter(None, texts)) or None)


def _page_number(sizes: dict[str, int], index: dict[str, int]) -> int:
    number = 0
    for axis, count in sizes.items():
        number = number * count + index[axis]
    return number


def _levels(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> Iterator[tifffile.TiffPageSeries]:
    """Yield the levels of an image, itself first.

    tifffile finds levels that shrink by a constant factor of at most 4. As in OpenSlide, all tiled directories marked
    as reduced count, SubIFDs included, and all tiled directories of an Aperio slide.
    """
    yield from series.levels
    if tiff.is_ome or series.keyframe.is_subifd or not (series.keyframe.index == 0 and series.keyframe.is_tiled):
        return
    known = {one.keyframe.shape for one in series.levels}
    for page in itertools.chain(tiff.pages, series.keyframe.pages or ()):
        marked = isinstance(page, tifffile.TiffPage) and page.is_tiled and (page.is_reduced or tiff.is_svs)
        if marked and page.shape not in known:
            known.add(page.shape)
            yield tifffile.TiffPageSeries([page], page.shape, page.dtype, page.axes)


def _alike(reduced: tifffile.TiffPageSeries, series: tifffile.TiffPageSeries) -> bool:
    key, first = reduced.keyframe, series.keyframe
    return (
        refusal_of_page(key) is None
        and (key.dtype, key.samplesperpixel) == (first.dtype, first.samplesperpixel)
        and _planes(reduced) == _planes(series)
        and orientation(key) == orientation(first)
    )


def _planes(series: tifffile.TiffPageSeries) -> list[int]:
    """Return the number of planes along each axis that has several."""
    return [count for count in series.get_shape(False)[:-3] if count > 1]


def _plain(key: tifffile.TiffPage, kind: PixelKind) -> bool:
    """Whether Pillow decodes such pixels to the same colours. It ignores the colour markers of JPEG streams."""
    return kind.shown in (None, (0.0, 1.0)) and not (key.photometric == 2 and key.is_jfif)


def _profile(key: tifffile.TiffPage) -> tuple[int, int] | None:
    tag = key.tags.get(_ICC_PROFILE)
    return None if tag is None else (int(tag.valueoffset), int(tag.count))


def _forget(levels: list[tifffile.TiffPageSeries]) -> None:
    """Free the offsets that tifffile holds as Python integers: they take megabytes, and decoders keep their page."""
    for reduced in levels:
        key = reduced.keyframe
        key.tags, key.dataoffsets, key.databytecounts = tifffile.TiffTags(), (), ()

"""The heatmap of a slide: its attention and its view, read once and written as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ats_cli.errors import AtsError
from ats_cli.records import AttentionMap, RegionsUsed
from ats_cli.results.files import refuse_dangling_link
from ats_cli.results.pictures.heatmap import HeatmapOptions, write_heatmap
from ats_cli.slides import SlideSource
from ats_cli.slides.inputs.discovery import safe_name
from ats_cli.slides.opening import open_with
from ats_cli.slides.options import OpenOptions, RegionOptions
from ats_cli.slides.regions.region_files import read_regions

if TYPE_CHECKING:
    from ats_cli.slides.slide import View
    from ats_cli.zoo import LoadedModel

OTHER_PICTURES = (".jpg", ".jpeg", ".tif", ".tiff", ".svg", ".pdf", ".gif", ".webp", ".bmp")


@dataclass(frozen=True)
class SlideHeatmap:
    """What a heatmap shows of a slide.

    view: the slide, each pixel of `view_downsample` level-0 pixels a side; None for the attention alone.
    size: (width, height) in level-0 pixels. mpp, mpp_source: its microns per pixel, and where they are known from.
    regions: those that the attention is over; None for the whole slide.
    """

    attention: AttentionMap
    view: View | None
    view_downsample: float
    size: tuple[int, int]
    mpp: float | None
    mpp_source: str | None
    regions: RegionsUsed | None = None

    @property
    def problem(self) -> str | None:
        """The sentence about a part of the view that could not be read, or None."""
        return None if self.view is None else self.view.problem

    def write(self, picture: Path, options: HeatmapOptions, title: str) -> None:
        """Write a PNG file. OSError if it cannot be written."""
        pixels = None if self.view is None else self.view.pixels
        write_heatmap(picture, pixels, self.view_downsample, self.attention, self.size, self.mpp, options, title)


def slide_heatmap(
    source: SlideSource,
    model: LoadedModel,
    open_options: OpenOptions,
    region_options: RegionOptions = RegionOptions(),
    *,
    max_size: int,
    overlay: bool = True,
    threads: int = 4,
) -> SlideHeatmap:
    """Run the attention network over a slide. Raises SlideError if that is not possible."""
    from ats_cli.inference import attention_map

    with open_with(source.path, open_options, source.mpp) as slide:
        regions = None if source.roi is None else read_regions(source.roi, region_options).on(slide)
        attention = attention_map(slide, model, threads=threads, regions=regions)
        downsample = max(slide.width, slide.height, max_size) / max_size
        view = slide.scan_view(downsample, threads=threads) if overlay else None
        return SlideHeatmap(
            attention,
            view,
            downsample,
            (slide.width, slide.height),
            slide.mpp,
            slide.mpp_source,
            None if regions is None else regions.used,
        )


def picture_paths(sources: Sequence[SlideSource], output: Path) -> list[Path]:
    """Return the path of each slide's picture. AtsError if `output` is not suitable, or two paths would be equal."""
    refuse_dangling_link(output)
    suffix = output.suffix.lower()
    if not output.is_dir():
        if suffix in OTHER_PICTURES:
            raise AtsError(f"{output}: heatmaps are PNG files. Give {output.with_suffix('.png')}, or a folder.")
        if suffix == ".png":
            if len(sources) > 1:
                raise AtsError(f"{output}: {len(sources)} slides do not fit into one picture. Give a folder.")
            return [output]
    slide_of: dict[Path, str] = {}
    for source in sources:
        picture = output / f"{safe_name(source.slide_id.replace('/', '_'))}.png"
        if picture in slide_of:
            raise AtsError(f"{slide_of[picture]} and {source.slide_id} would both be written to {picture}.")
        slide_of[picture] = source.slide_id
    return list(slide_of)

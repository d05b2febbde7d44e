"""The map of a slide that a user asks for: its attention, or the evidence for a class, in one of the formats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ats_cli.errors import AtsError
from ats_cli.records import Need, Prediction, SlidePixels
from ats_cli.results.evidence import answered_class, evidence
from ats_cli.results.maps.map_png import write_map_png
from ats_cli.results.maps.ome_tiff import write_ome_tiff
from ats_cli.results.maps.ome_zarr import write_ome_zarr
from ats_cli.results.maps.rendering import rendering
from ats_cli.results.maps.slide_map import SlideMap, attention_map, evidence_map
from ats_cli.results.pictures.captions import answer_line, tiles_line
from ats_cli.results.pictures.evidence_map import DIVERGING, write_evidence_map
from ats_cli.results.pictures.heatmap import HeatmapOptions, write_heatmap
from ats_cli.results.pictures.slide_frame import SlideFrame

Format = Literal["png", "png-map", "ome-tiff", "ome-zarr"]

SUFFIXES: dict[Format, str] = {"png": ".png", "png-map": ".png", "ome-tiff": ".ome.tiff", "ome-zarr": ".ome.zarr"}
ATTENTION, EVIDENCE = "attention", "evidence"

# Outlines of more tiles hide the slide.
MAX_OUTLINES = 2000

NOTES = {
    ATTENTION: "Colour: where tiles are drawn from. Squares: the tiles that were read. Attention alone does not say "
    "which class a place speaks for, nor that the class is right.",
    EVIDENCE: "Squares: the tiles that were read, each in the colour of its exact share of the logit: red for, blue "
    "against. What was not read has no colour.",
}


@dataclass(frozen=True)
class PictureOptions:
    """What is drawn, and how.

    what: "attention", or "evidence" with `class_name`; the answered class without a name.
    """

    what: Literal["attention", "evidence"] = "attention"
    class_name: str | None = None
    format: Format = "png"
    overlay: bool = True
    heatmap: HeatmapOptions = field(default_factory=HeatmapOptions)

    @property
    def needs(self) -> frozenset[Need]:
        """The pixels of a slide that the picture is made from."""
        of_map = {ATTENTION: frozenset[Need]({"attention"}), EVIDENCE: frozenset[Need]()}[self.what]
        return of_map | ({"view"} if self.overlay and self.format == "png" else set())


def parse_what(text: str) -> tuple[Literal["attention", "evidence"], str | None]:
    """Return what `--what` asks for: "attention", "evidence" or "evidence:CLASS". Raises AtsError for other text."""
    what, colon, name = text.partition(":")
    if what == "attention" and not colon:
        return "attention", None
    if what == "evidence":
        return "evidence", name or None
    raise AtsError(f"--what {text}: not a map. Give attention, evidence, or evidence:CLASS.")


def class_index(prediction: Prediction, name: str | None) -> int:
    """Return the index of a class, of the answered one for None. Raises AtsError for a class that is not there."""
    index = class_index_of(prediction.classes, name)
    return answered_class(prediction) if index is None else index


def class_index_of(classes: Sequence[str], name: str | None) -> int | None:
    """Return the index of a class by its name, None for None. Raises AtsError for a class that is not there."""
    if name is not None and name not in classes:
        raise AtsError(f"evidence:{name}: the model has no such class. Choose from {', '.join(classes)}.")
    return None if name is None else list(classes).index(name)


def write_picture(path: Path, prediction: Prediction, options: PictureOptions) -> None:
    """Write the map of a prediction with the pixels that `options.needs` names.

    Raises AtsError for a class or a colormap that does not exist, and OSError.
    """
    if options.format == "png":
        _write_png(path, prediction, options)
    elif options.format == "png-map":
        slide_map, drawn = _slide_map(prediction, options), options.heatmap
        colors = rendering(slide_map, "log" if drawn.scale == "auto" else drawn.scale, drawn.colormap)
        write_map_png(path, slide_map, colors, drawn.max_size)
    else:
        write: dict[str, Callable[[Path, SlideMap], None]] = {"ome-tiff": write_ome_tiff, "ome-zarr": write_ome_zarr}
        write[options.format](path, _slide_map(prediction, options))


def _write_png(path: Path, prediction: Prediction, options: PictureOptions) -> None:
    pixels, tiles = prediction.pixels or SlidePixels(), prediction.tile_arrays
    provenance = prediction.provenance
    assert tiles is not None
    readable = tiles.readable
    is_attention = options.what == ATTENTION
    frame = SlideFrame(
        size=_size(prediction),
        view=pixels.view if options.overlay else None,
        view_downsample=pixels.view_downsample,
        mpp=provenance.mpp,
        name=prediction.slide_id,
        answer=f"{answer_line(prediction)}, {tiles_line(prediction)}",
        note=NOTES[options.what],
        tiles=tiles.boxes[readable] if not is_attention or readable.sum() <= MAX_OUTLINES else None,
    )
    if is_attention:
        assert pixels.attention is not None
        write_heatmap(path, frame, pixels.attention, options.heatmap)
        return
    index = class_index(prediction, options.class_name)
    values, name = evidence(tiles)[readable, index], prediction.classes[index]
    write_evidence_map(path, frame, values, name, options.heatmap)


def _slide_map(prediction: Prediction, options: PictureOptions) -> SlideMap:
    mpp, size = prediction.provenance.mpp, _size(prediction)
    if options.what == ATTENTION:
        assert prediction.pixels is not None and prediction.pixels.attention is not None
        return attention_map(prediction.pixels.attention, mpp, size)
    index = class_index(prediction, options.class_name)
    assert prediction.tile_arrays is not None and prediction.provenance.pitch is not None
    return evidence_map(
        prediction.tile_arrays, index, prediction.classes[index], prediction.provenance.pitch, mpp, size
    )


def _size(prediction: Prediction) -> tuple[int, int]:
    width, height = prediction.provenance.size or (0, 0)
    return width, height


def default_colormap(what: str) -> str:
    """Return the colormap of a map for which the user names none."""
    return DIVERGING if what == EVIDENCE else HeatmapOptions().colormap

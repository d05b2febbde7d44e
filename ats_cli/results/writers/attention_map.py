"""The attention over a slide's positions, for viewers and programs that lay maps over slides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ats_cli.records import Need, Prediction
from ats_cli.results.maps.ome_tiff import write_ome_tiff
from ats_cli.results.maps.ome_zarr import write_ome_zarr
from ats_cli.results.maps.rendering import rendering
from ats_cli.results.maps.slide_map import SlideMap, attention_map


@dataclass(frozen=True)
class AttentionWriter:
    """One file with the map of attention. `write_map`: writes it in one of the formats."""

    name: str
    summary: str
    option: str
    write_map: Callable[[Path, SlideMap], Any]
    needs: tuple[Need, ...] = ("tiles", "attention")

    def write(self, path: Path, prediction: Prediction) -> None:
        self.write_map(path, map_of(prediction))


def map_of(prediction: Prediction) -> SlideMap:
    """Return the map of attention of a prediction that has it in its pixels."""
    assert prediction.pixels is not None and prediction.pixels.attention is not None
    provenance = prediction.provenance
    width, height = provenance.size or (0, 0)
    return attention_map(prediction.pixels.attention, provenance.mpp, (width, height))


OME_TIFF = AttentionWriter(
    "attention.ome.tiff", "the attention as a pyramid of float32 values", "attention=ome-tiff", write_ome_tiff
)
OME_TIFF_RGB = AttentionWriter(
    "attention-rgb.ome.tiff",
    "the attention in colours, for viewers that show RGB without settings",
    "attention=ome-tiff",
    lambda path, slide_map: write_ome_tiff(path, slide_map, rendering(slide_map, "log")),
)
OME_ZARR = AttentionWriter("attention.ome.zarr", "the attention as OME-Zarr 0.5", "attention=ome-zarr", write_ome_zarr)
OME_ZARR_04 = AttentionWriter(
    "attention-0.4.ome.zarr",
    "the attention as OME-Zarr 0.4, the newest version that QuPath reads",
    "attention=ome-zarr-0.4",
    lambda path, slide_map: write_ome_zarr(path, slide_map, "0.4"),
)

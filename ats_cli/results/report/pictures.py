"""The pictures of the report, as JPEG in data URIs, so that the HTML file needs no other file."""

from __future__ import annotations

from base64 import b64encode
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ats_cli.records import Prediction
from ats_cli.results.pictures.heatmap import HeatmapOptions, draw_heatmap
from ats_cli.results.pictures.slide_frame import SlideFrame
from ats_cli.results.pictures.slide_picture import MAX_OUTLINES

OVERLAY_SIZE, TILE_SIZE = 700, 160  # the longer side of the slide, the most of a tile, in pixels


def overlay_uri(prediction: Prediction) -> str:
    """Return the attention over the slide, with the tiles that were read as outlines, unless there are too many.

    The prediction has tiles, and attention and view in its pixels.
    """
    tiles, pixels, provenance = prediction.tile_arrays, prediction.pixels, prediction.provenance
    assert tiles is not None and pixels is not None and pixels.attention is not None
    width, height = provenance.size or (0, 0)
    boxes = tiles.boxes[tiles.readable]
    frame = SlideFrame(
        (width, height),
        pixels.view,
        pixels.view_downsample,
        provenance.mpp,
        tiles=boxes if len(boxes) <= MAX_OUTLINES else None,
    )
    picture = draw_heatmap(frame, pixels.attention, HeatmapOptions(max_size=OVERLAY_SIZE))
    with Image.open(BytesIO(picture.png())) as png:
        return jpeg_uri(png.convert("RGB"))


def tile_uri(patch: NDArray[np.uint8]) -> str:
    """Return a tile (p, p, 3) of at most TILE_SIZE pixels a side."""
    picture = Image.fromarray(patch)
    picture.thumbnail((TILE_SIZE, TILE_SIZE), Image.Resampling.LANCZOS)
    return jpeg_uri(picture)


def jpeg_uri(picture: Image.Image) -> str:
    """Return a picture as JPEG in a data URI."""
    file = BytesIO()
    picture.save(file, "JPEG", quality=85, optimize=True)
    return f"data:image/jpeg;base64,{b64encode(file.getvalue()).decode()}"

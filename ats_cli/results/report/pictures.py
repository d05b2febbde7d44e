"""The pictures of the report, as JPEG in data URIs, so that the HTML file needs no other file."""

from __future__ import annotations

from base64 import b64encode
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ats_cli.records import Prediction
from ats_cli.results.pictures.heatmap import HeatmapOptions
from ats_cli.results.pictures.slide_picture import PictureOptions, write_picture

OVERLAY_SIZE, TILE_SIZE = 700, 160  # the longer side of the slide, the most of a tile, in pixels


def overlay_uri(prediction: Prediction) -> str:
    """Return the attention over the slide. The prediction has attention and view in its pixels. Raises OSError."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "overlay.png"
        write_picture(file, prediction, PictureOptions(heatmap=HeatmapOptions(max_size=OVERLAY_SIZE)))
        with Image.open(file) as picture:
            return jpeg_uri(picture.convert("RGB"))


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

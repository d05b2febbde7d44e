"""GeoJSON as QuPath 0.5 to 0.8 imports it: the tiles that were read, and the region that was looked at.

QuPath throws at a classification without a colour, drops an id that is not a UUID, colours tiles by their
measurements (annotations it does not), and shows a slide that has bounds cropped to them, so coordinates begin there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from ats_cli.records import DEFAULT_TASK, TilesRead
from ats_cli.registry import TASKS
from ats_cli.results.maps.outlines import Polygon

# Of a colour-blind safe palette (Okabe and Ito, 2008), for the classes in their order.
COLORS = (
    (0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (230, 159, 0), (240, 228, 66),
)  # fmt: skip
REGION_COLOR = (120, 120, 120)

Point = tuple[float, float]


def tile_features(
    slide_id: str, classes: Sequence[str], tiles: TilesRead, task: str = DEFAULT_TASK, origin: Point = (0, 0)
) -> list[dict[str, Any]]:
    """Return a feature for each tile that was read, in the order of the draw.

    Each is classified as the class that it alone is answered with (a tile of a regression is not), and measured:
    attention, weight, draws, own answer, and evidence for each class (its exact share of the logit).
    `origin`: (x, y) in level-0 pixels of the corner of the picture that QuPath shows.
    """
    logits = tiles.terms + tiles.bias
    kind = TASKS[task]
    answers, columns = kind.tile_values(logits), kind.tile_columns(classes)
    probabilities = kind.probabilities(logits)
    evidence = tiles.weights[:, None] * tiles.terms
    features = []
    for i, (x, y, width, height) in enumerate(tiles.boxes.tolist()):
        if not tiles.readable[i]:
            continue
        position = int(tiles.positions[i])
        measurements = {
            "attention": float(tiles.attention[i]),
            "weight": float(tiles.weights[i]),
            "draws": float(tiles.draws[i]),
            **{column: float(value) for column, value in zip(columns, answers[i], strict=True)},
            **{f"evidence_{name}": float(share) for name, share in zip(classes, evidence[i], strict=True)},
        }
        row, col = divmod(position, tiles.grid[1])
        properties = {
            "objectType": "tile",
            "name": f"tile {i + 1}",
            "measurements": {name: number(value) for name, value in measurements.items()},
            "metadata": {"slide": slide_id, "row": str(row), "column": str(col)},
            "isLocked": True,
        }
        if probabilities is not None:
            best = int(probabilities[i].argmax())
            properties["classification"] = {"name": classes[best], "color": list(COLORS[best % len(COLORS)])}
        corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height), (x, y)]
        geometry = {"type": "Polygon", "coordinates": [[_point(corner, origin) for corner in corners]]}
        features.append(_feature(f"{slide_id}/tile/{position}", geometry, properties))
    return features


def region_feature(slide_id: str, polygons: Sequence[Polygon], cell: float, origin: Point = (0, 0)) -> dict[str, Any]:
    """Return the region of all positions as one annotation. `polygons`: in cells of `cell` level-0 pixels a side."""
    coordinates = [
        [[_point((x * cell, y * cell), origin) for x, y in ring] for ring in polygon] for polygon in polygons
    ]
    properties = {
        "objectType": "annotation",
        "name": "region of the positions",
        "classification": {"name": "Region*", "color": list(REGION_COLOR)},
        "metadata": {"slide": slide_id},
        "isLocked": True,
    }
    return _feature(f"{slide_id}/region", {"type": "MultiPolygon", "coordinates": coordinates}, properties)


def feature_collection(features: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the document that QuPath imports."""
    return {"type": "FeatureCollection", "features": list(features)}


def number(value: float) -> float | str:
    """Return a number as QuPath reads it: NaN and infinities as strings, which JSON has no numbers for."""
    if math.isnan(value):
        return "NaN"
    return value if math.isfinite(value) else ("Infinity" if value > 0 else "-Infinity")


def _feature(name: str, geometry: dict[str, Any], properties: dict[str, Any]) -> dict[str, Any]:
    """Return a feature. The same object of the same slide always has the same id."""
    identity = str(uuid5(NAMESPACE_URL, f"ats:{name}"))
    return {"type": "Feature", "id": identity, "geometry": geometry, "properties": properties}


def _point(point: Point, origin: Point) -> list[float]:
    return [round(point[0] - origin[0], 3), round(point[1] - origin[1], 3)]

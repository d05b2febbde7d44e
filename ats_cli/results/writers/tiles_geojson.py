"""tiles.geojson: the tiles that were read and the region of the positions, for QuPath."""

from __future__ import annotations

from pathlib import Path

from ats_cli.records import Need, Prediction
from ats_cli.results.files import json_bytes
from ats_cli.results.maps.outlines import outlines
from ats_cli.results.qupath import feature_collection, region_feature, tile_features


class TilesGeoJson:
    name, summary = "tiles.geojson", "the tiles and the region of the positions, for QuPath"
    option = "geojson"
    needs: tuple[Need, ...] = ("tiles",)

    def write(self, path: Path, prediction: Prediction) -> None:
        tiles, bounds, pitch = prediction.tile_arrays, prediction.provenance.bounds, prediction.provenance.pitch
        assert tiles is not None
        origin = (0.0, 0.0) if bounds is None else (float(bounds[0]), float(bounds[1]))
        features = []
        if tiles.region is not None and pitch is not None:
            features.append(region_feature(prediction.slide_id, outlines(tiles.region), pitch, origin))
        features += tile_features(prediction.slide_id, prediction.classes, tiles, prediction.task, origin)
        path.write_bytes(json_bytes(feature_collection(features), indent=None))


WRITER = TilesGeoJson()

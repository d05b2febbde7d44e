"""Kinds of cases that are known to be read wrongly, until they are mended."""

from __future__ import annotations

import itertools

from agreement.cases import Case

_TIFF = ("tiff", "svs", "ome-tiff", "gdal")


def still_open(case: Case) -> bool:
    by_size = (1.0, *case.downsamples)
    jumps = [b / a for a, b in itertools.pairwise(by_size)]
    return (
        (case.container in _TIFF and case.codec.startswith("jpeg-"))
        or (case.container != "zarr" and case.sparse != "none" and bool(case.downsamples))
        or (case.container == "ome-tiff" and case.channels == "fluorescence")
        or (case.container in ("tiff", "gdal") and any(jump not in (2, 4) for jump in jumps))
        or (case.container in ("tiff", "gdal") and len(set(jumps)) > 1)
    )

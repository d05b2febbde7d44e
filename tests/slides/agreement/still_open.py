"""Kinds of cases that are known to be read wrongly, until they are mended."""

from __future__ import annotations

import itertools

from agreement.cases import Case


def still_open(case: Case) -> bool:
    by_size = (1.0, *case.downsamples)
    jumps = [b / a for a, b in itertools.pairwise(by_size)]
    return (
        (case.container in ("tiff", "gdal") and any(jump not in (2, 4) for jump in jumps))
        or (case.container in ("tiff", "gdal") and len(set(jumps)) > 1)
    )


def still_unnoticed(case: Case, kind: str) -> bool:
    return still_open(case) or (
        kind == "truncated" and case.container in ("tiff", "ome-tiff", "gdal") and bool(case.downsamples)
    )

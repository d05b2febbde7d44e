"""Maps as OME-TIFF and OME-Zarr: valid for the validators of their formats, and each cell where it is on the slide."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import ome_types
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from ome_zarr_models.v04.image import Image as Image04
from ome_zarr_models.v05.image import Image as Image05
from yaozarrs import validate_zarr_store

from ats_cli.results.maps.ome_tiff import write_ome_tiff
from ats_cli.results.maps.ome_zarr import Version, write_ome_zarr
from ats_cli.results.maps.rendering import Scale, rendering
from ats_cli.results.maps.slide_map import SlideMap

Values = np.ndarray


def map_of(values: Values, cell: float = 32.0, mpp: float | None = 0.5, signed: bool = False) -> SlideMap:
    rows, cols = values.shape
    size = (round(cols * cell), round(rows * cell))
    return SlideMap(
        "attention", rows, cols, cell, mpp, size, lambda a, b, c, d: values[a:b, c:d].astype(np.float32), signed=signed
    )


def spots(rows: int, cols: int, seed: int) -> Values:
    """Zero, but for a square of cells."""
    rng = np.random.default_rng(seed)
    values = np.zeros((rows, cols))
    row, col = int(rng.integers(rows)), int(rng.integers(cols))
    values[row : row + 3, col : col + 3] = rng.uniform(1, 5)
    return values


def centre(values: Values) -> tuple[float, float]:
    """(x, y) of the centre of mass, in cells; the centre of cell 0 is 0."""
    rows, cols = np.indices(values.shape)
    return (cols * values).sum() / values.sum(), (rows * values).sum() / values.sum()


def true_centre(values: Values, slide_map: SlideMap) -> tuple[float, float]:
    """(x, y) of the centre of mass in physical units, from the corners of cells in level-0 pixels.

    The corner of the slide's first pixel is half a pixel before the origin.
    """
    x, y = centre(values)
    m = slide_map.mpp or 1.0
    return (x + 0.5) * slide_map.cell * m - m / 2, (y + 0.5) * slide_map.cell * m - m / 2


geometries = st.fixed_dictionaries(
    {
        "rows": st.integers(1, 700), "cols": st.integers(1, 700), "cell": st.floats(1, 500),
        "mpp": st.one_of(st.none(), st.floats(0.05, 20)), "seed": st.integers(0, 99),
    }
)  # fmt: skip


@pytest.mark.integration
@settings(max_examples=12, deadline=None)
@given(geometries)
def test_an_ome_tiff_lies_where_the_slide_is(tmp_path_factory: pytest.TempPathFactory, geometry: dict) -> None:
    values = spots(geometry["rows"], geometry["cols"], geometry["seed"])
    slide_map = map_of(values, geometry["cell"], geometry["mpp"])
    path = tmp_path_factory.mktemp("maps") / "a.ome.tiff"
    write_ome_tiff(path, slide_map)
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_ome
        read = tiff.series[0].asarray()
        sizes = [level.shape for level in tiff.series[0].levels]
        pixels = ome_types.from_xml(tiff.ome_metadata, validate=True).images[0].pixels
    assert np.array_equal(read, values.astype(np.float32))
    for big, small in pairwise(sizes):
        assert small == (-(-big[0] // 2), -(-big[1] // 2))
    assert max(sizes[-1]) <= 256
    unit = "µm" if geometry["mpp"] else "pixel"
    assert pixels.physical_size_x_unit.value == pixels.planes[0].position_x_unit.value == unit
    for at, true, size, position in zip(
        centre(read), true_centre(values, slide_map),
        (pixels.physical_size_x, pixels.physical_size_y),
        (pixels.planes[0].position_x, pixels.planes[0].position_y), strict=True,
    ):  # fmt: skip
        assert position + at * size == pytest.approx(true, abs=0.01 * size)


@pytest.mark.integration
@settings(max_examples=12, deadline=None)
@given(geometries, st.sampled_from(["0.5", "0.4"]))
def test_every_level_of_an_ome_zarr_lies_where_the_slide_is(
    tmp_path_factory: pytest.TempPathFactory, geometry: dict, version: Version
) -> None:
    values = spots(geometry["rows"], geometry["cols"], geometry["seed"])
    slide_map = map_of(values, geometry["cell"], geometry["mpp"])
    path = tmp_path_factory.mktemp("maps") / "a.ome.zarr"
    write_ome_zarr(path, slide_map, version)
    validate_zarr_store(str(path))
    group = zarr.open_group(path, mode="r")
    image = (Image05 if version == "0.5" else Image04).from_zarr(group)
    attributes = image.ome_attributes if version == "0.5" else image.attributes
    (multiscale,) = attributes.multiscales
    assert {axis.unit for axis in multiscale.axes} == {"micrometer" if geometry["mpp"] else None}
    for dataset in multiscale.datasets:
        scale, translation = dataset.coordinateTransformations
        read = np.asarray(group[dataset.path][:]).astype(float)
        if dataset.path == "0":
            assert np.array_equal(read, values.astype(np.float32))
        for axis, (at, true) in enumerate(zip(centre(read), true_centre(values, slide_map), strict=True)):
            s, t = scale.scale[1 - axis], translation.translation[1 - axis]
            # A cell at an odd edge is the mean of fewer, which moves the centre by less than itself.
            assert abs(t + at * s - true) <= (0.01 if dataset.path == "0" else 1.01) * s


@pytest.mark.parametrize("scale", ["linear", "log", "rank"])
def test_the_colours_of_an_ome_tiff_rise_with_the_values(tmp_path: Path, scale: Scale) -> None:
    flat = np.geomspace(1e-3, 50, 16)
    values = flat.reshape(4, 4).repeat(32, 0).repeat(32, 1)
    write_ome_tiff(tmp_path / "a.ome.tiff", map_of(values), rendering(map_of(values), scale, "gray"))
    with tifffile.TiffFile(tmp_path / "a.ome.tiff") as tiff:
        ome_types.from_xml(tiff.ome_metadata, validate=True)
        assert tiff.pages[0].compression == tifffile.COMPRESSION.JPEG
        read = tiff.asarray()
    grey = read[16::32, 16::32].mean(axis=2).ravel()
    assert (np.diff(grey) >= -2).all() and grey[-1] > 250 and grey[0] < 25
    share = {
        "linear": flat / 50, "log": (np.log(flat / 50) / np.log(1000) + 1).clip(0), "rank": np.arange(1, 17) / 16
    }[scale]  # fmt: skip
    # Ranks are read from a histogram: a value that many cells share lies somewhere within its step.
    assert np.abs(grey - 255 * share).max() < (17 if scale == "rank" else 8)


def test_signed_values_diverge_from_white() -> None:
    values = np.array([[-2.0, 0.0, 1.0]])
    red_white_blue = rendering(map_of(values, signed=True)).colors(values.astype(np.float32))[0].astype(int)
    assert red_white_blue[1].min() > 240
    assert red_white_blue[0][2] > red_white_blue[0][0] and red_white_blue[2][0] > red_white_blue[2][2]


@pytest.mark.integration
@pytest.mark.parametrize("form", ["tiff", "rgb", "zarr"])
def test_memory_does_not_grow_with_the_map(tmp_path: Path, form: str) -> None:
    """A map of 16 times as many rows takes as much memory."""
    peaks = []
    for rows in (1000, 16_000):

        def block(row_start: int, row_stop: int, col_start: int, col_stop: int) -> np.ndarray:
            return np.full((row_stop - row_start, col_stop - col_start), 1.0, np.float32)

        slide_map = SlideMap("attention", rows, 600, 32.0, 0.5, (600 * 32, rows * 32), block)
        tracemalloc.start()
        if form == "zarr":
            write_ome_zarr(tmp_path / "a.zarr", slide_map)
        else:
            write_ome_tiff(tmp_path / "a.tiff", slide_map, rendering(slide_map) if form == "rgb" else None)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0] + 2_000_000


def test_what_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    values = np.ones((2000, 10))

    def broken(row_start: int, row_stop: int, col_start: int, col_stop: int) -> np.ndarray:
        if row_stop > 1024:
            raise OSError(28, "No space left on device")
        return values[row_start:row_stop, col_start:col_stop].astype(np.float32)

    whole, torn = map_of(values), SlideMap("attention", 2000, 10, 8.0, None, (80, 16_000), broken)
    for path, write in ((tmp_path / "a.tiff", write_ome_tiff), (tmp_path / "a.zarr", write_ome_zarr)):
        write(path, whole)
        with pytest.raises(OSError, match="No space"):
            write(path, torn)
        assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == []
        assert path.exists()

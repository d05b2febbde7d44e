"""Zarr metadata of any kind, sensible or not: a slide that can be read, or one sentence."""

from __future__ import annotations

import copy
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from slide_pictures import picture

from ats_cli.errors import SlideError
from ats_cli.slides import open_slide

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 70), st.floats(), st.text(max_size=4),
    st.sampled_from([2**31, 2**53, 2**63, 2**64, 10**30, -1, -(2**63), 1e308, "y", "x", "c", "0", "1", "/", "../..",
                     "gzip", "|u1", "<u2", "<f8", "|O", "M8[ns]",
                     "uint8", "float64", "NaN", "bytes", "blosc", "regular"]),
)  # fmt: skip
ANYTHING = st.recursive(
    SCALARS, lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=3), inside, max_size=3)
)


def written(path: Path, version: int) -> Path:
    group = zarr.create_group(path, zarr_format=version)  # type: ignore[arg-type]
    for number in range(2):
        pixels = picture(64, 64)[:: 2**number, :: 2**number]
        group.create_array(str(number), data=pixels, chunks=(32, 32, 3), fill_value=0)
    datasets = [
        {"path": str(n), "coordinateTransformations": [{"type": "scale", "scale": [2.0**n, 2.0**n, 1.0]}]}
        for n in range(2)
    ]
    axes = [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "yx"] + [{"name": "c", "type": "channel"}]
    said = {
        "multiscales": [{"axes": axes, "datasets": datasets, "version": "0.4", "name": "a"}],
        "omero": {"channels": [{"label": c, "color": c, "window": {"start": 0, "end": 255}} for c in "abc"]},
    }
    group.attrs.update(said if version == 2 else {"ome": {"version": "0.5", **said}})
    return path


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where in nested lists and dicts there is something."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, one in inside for place in places(one, (*path, key)))]


def replaced(value: Any, place: tuple[Any, ...], by: Any) -> Any:
    if not place:
        return by
    value = copy.deepcopy(value)
    within = value
    for key in place[:-1]:
        within = within[key]
    within[place[-1]] = by
    return value


def read_or_refused(path: Path) -> None:
    """All that a prediction asks of a slide ends in a result or a sentence."""
    try:
        slide = open_slide(path)
        assert slide.width < 2**31 and slide.height < 2**31
        slide.absence(1)
        list(slide.scan_tiles([(0, 0, 16, 16)], 16))
        if slide.width * slide.height <= 1 << 16:
            slide.scan_view(1)
    except SlideError as error:
        sentence = str(error)
        assert sentence.startswith("a.zarr") and sentence.endswith(".") and "\n" not in sentence
        assert len(sentence) < 500


@pytest.mark.integration
@settings(max_examples=120, deadline=None)
@given(data=st.data(), version=st.sampled_from([2, 3]))
def test_metadata_with_something_else_anywhere_is_a_result_or_a_sentence(data: st.DataObject, version: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder) / "a.zarr", version)
        names = (".zattrs", "0/.zarray", "1/.zarray", ".zgroup") if version == 2 else ("zarr.json", "0/zarr.json")
        file = path / data.draw(st.sampled_from(names))
        said = json.loads(file.read_text())
        for _ in range(data.draw(st.integers(1, 2))):
            said = replaced(said, data.draw(st.sampled_from(places(said))), data.draw(ANYTHING))
        file.write_text(json.dumps(said))
        read_or_refused(path)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("shape", [[2**63, 64, 3], [2**40, 2**40, 3], [64, 2**31, 3], [-1, 64, 3], [64, 64, 2**62]])
def test_a_shape_that_cannot_be_is_a_sentence(tmp_path: Path, version: int, shape: list[int]) -> None:
    path = written(tmp_path / "a.zarr", version)
    file = path / "0" / (".zarray" if version == 2 else "zarr.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"shape": shape}))
    with pytest.raises(SlideError, match=r"^a\.zarr: .*\.$"):
        open_slide(path)


@pytest.mark.parametrize("version", [2, 3])
def test_metadata_nested_very_deeply_is_a_sentence(tmp_path: Path, version: int) -> None:
    for name in (".zattrs", "0/.zarray", ".zgroup") if version == 2 else ("zarr.json", "0/zarr.json"):
        path = written(tmp_path / f"{version}{name.replace('/', '')}" / "a.zarr", version)
        file = path / name
        depth = 100_000
        file.write_text(file.read_text().rstrip()[:-1] + ', "deep": ' + "[" * depth + "]" * depth + "}")
        with pytest.raises(SlideError, match=r"^a\.zarr: .*\.$"):
            open_slide(path)


def test_a_chunk_grid_of_more_chunks_to_a_shard_than_can_be_is_a_sentence(tmp_path: Path) -> None:
    shape = (1 << 20, 1 << 20)
    zarr.create_array(tmp_path / "a.zarr", shape=shape, chunks=(16, 16), shards=shape, dtype="u1", fill_value=0)
    with pytest.raises(SlideError, match=r"^a\.zarr: shards of 1048576 x 1048576 have too many chunks"):
        open_slide(tmp_path / "a.zarr")

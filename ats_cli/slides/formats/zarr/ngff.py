"""Parse a Zarr's metadata: the images, the arrays that are their levels, axes, and microns per pixel.

Reads OME-Zarr (NGFF) 0.1 to 0.5, alone or in the layout of bioformats2raw, and arrays or groups without metadata.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import zarr

from ats_cli.errors import SlideError
from ats_cli.slides.formats.side_picture import main_image
from ats_cli.slides.pixels.channels import are_red_green_blue
from ats_cli.slides.pixels.sample_kind import stated_range
from ats_cli.slides.plane import Plane, check
from ats_cli.slides.reader import level_downsample

_MICRONS = {
    "meter": 1e6, "m": 1e6, "decimeter": 1e5, "centimeter": 1e4, "cm": 1e4, "millimeter": 1e3, "mm": 1e3,
    "micrometer": 1.0, "micron": 1.0, "µm": 1.0, "μm": 1.0, "um": 1.0, "nanometer": 1e-3, "nm": 1e-3,
    "picometer": 1e-6, "pm": 1e-6, "angstrom": 1e-4, "inch": 25400.0, "foot": 304800.0,
}  # fmt: skip


@dataclass(frozen=True)
class NgffImage:
    """One image.

    levels: its arrays with their downsamples, finest first.
    axes: a letter of "tczyx" for each dimension.
    series: the index of this image, and the number of images.
    colours: whether three channels may be red, green and blue.
    channels: their names.
    windows: the values shown as black and white, per channel; None if not stated.
    """

    levels: tuple[tuple[zarr.Array[Any], float], ...]
    axes: str
    mpp: tuple[float, float] | None
    series: tuple[int, int]
    colours: bool
    channels: tuple[str, ...]
    windows: tuple[tuple[float, float] | None, ...]
    vendor: str
    properties: dict[str, str]


def find_image(root: zarr.Array[Any] | zarr.Group, name: str, plane: Plane | None) -> NgffImage:
    """Return the image that `plane` asks for. Raises SlideError if there is none.

    name: what the user calls the Zarr, for advice such as "Give slide.zarr/0".
    """
    requested = plane.series if plane is not None else None
    if isinstance(root, zarr.Array):
        check("series", requested or 0, 1)
        return _plain(name, [root])
    metadata = _ngff(root)
    if "plate" in metadata:
        raise SlideError(f"a plate of many images. Give one of its fields, like {name}/A/1/0.")
    if metadata.get("multiscales"):
        found = [(root, one) for one in metadata["multiscales"]]
    elif "bioformats2raw.layout" in metadata:
        found = [(group, _ngff(group)["multiscales"][0]) for group in _series(root)]
    else:
        check("series", requested or 0, 1)
        return _plain(name, [array for _, array in _by_number(root.arrays())], root)
    number = check("series", requested, len(found)) if requested is not None else _main(found)
    group, multiscale = found[number]
    return _multiscale(group, multiscale, (number, len(found)))


def _ngff(group: zarr.Group) -> dict[str, Any]:
    """Return the group's NGFF metadata: under "ome" since 0.5, at the top level before."""
    attributes = dict(group.attrs)
    within = attributes.get("ome")
    return within if isinstance(within, dict) else attributes


def _by_number(members: Any) -> list[tuple[str, Any]]:
    return sorted(members, key=lambda member: (not member[0].isdigit(), int(member[0]) if member[0].isdigit() else 0))


def _series(root: zarr.Group) -> list[zarr.Group]:
    """Return the images in bioformats2raw's layout: those that its OME group lists, else all numbered groups."""
    groups = dict(_by_number(root.groups()))
    listed = _ngff(groups["OME"]).get("series") if "OME" in groups else None
    found = [groups.get(str(path)) for path in listed or [key for key in groups if key.isdigit()]]
    images = [group for group in found if group is not None and _ngff(group).get("multiscales")]
    if not images or len(images) < len(found):
        raise SlideError("an image that its metadata lists is not there. Copy it again.")
    return images


def _main(found: Sequence[tuple[zarr.Group, Any]]) -> int:
    """Return the index of the image that is the slide, among labels and macro images."""

    def area(number: int) -> int:
        group, multiscale = found[number]
        shape = _array(group, _datasets(multiscale)[0]["path"]).shape
        axes = _axes(multiscale, len(shape))
        return shape[axes.index("y")] * shape[axes.index("x")]

    names = [str(one.get("name", "")) if isinstance(one, dict) else "" for _, one in found]
    return main_image(names, [area(number) for number in range(len(found))])


def _multiscale(group: zarr.Group, metadata: Mapping[str, Any], series: tuple[int, int]) -> NgffImage:
    datasets = _datasets(metadata)
    first = _array(group, datasets[0]["path"])
    axes = _axes(metadata, first.ndim)
    whole = _scale(metadata, first.ndim) or [1.0] * first.ndim
    scales = [_scale(dataset, first.ndim) for dataset in datasets]
    levels = [(first, 1.0)]
    for dataset, scale in zip(datasets[1:], scales[1:], strict=True):
        try:
            array = _array(group, dataset["path"])
        except SlideError:
            continue  # the next finer level replaces it
        downsample = _downsample(axes, (first, scales[0]), (array, scale))
        if downsample is not None and array.ndim == first.ndim and array.dtype == first.dtype:
            levels.append((array, downsample))
    mpp = None
    if scales[0] is not None and isinstance(metadata.get("axes"), list):
        units = [axis.get("unit") if isinstance(axis, dict) else None for axis in metadata["axes"]]
        at = [axes.index(axis) for axis in "xy"]
        x, y = (scales[0][i] * whole[i] * _MICRONS.get(str(units[i]).lower(), 0.0) for i in at)
        mpp = (x, y) if x and y else None
    channels = (_ngff(group).get("omero") or {}).get("channels") or []
    properties = {
        "ngff.version": str(metadata.get("version") or _ngff(group).get("version") or ""),
        "ngff.name": str(metadata.get("name", "")),
        "omero.channels": ", ".join(str(channel.get("label", "")) for channel in channels),
    }
    names = tuple(str(channel.get("label") or "") for channel in channels)
    return NgffImage(
        levels=tuple(sorted(levels, key=lambda level: level[1])),
        axes=axes,
        mpp=mpp,
        series=series,
        colours=are_red_green_blue(names, [str(channel.get("color") or "") for channel in channels]),
        channels=names,
        windows=tuple(_window(channel.get("window")) for channel in channels),
        vendor="ome-zarr",
        properties={key: value for key, value in properties.items() if value},
    )


def _window(metadata: Any) -> tuple[float, float] | None:
    return stated_range(metadata.get("start"), metadata.get("end")) if isinstance(metadata, dict) else None


def _datasets(metadata: Any) -> list[dict[str, Any]]:
    datasets = metadata.get("datasets") if isinstance(metadata, dict) else None
    if not datasets or not all(isinstance(d, dict) and isinstance(d.get("path"), str) for d in datasets):
        raise SlideError("its OME-Zarr metadata names no arrays. Export it again.")
    return list(datasets)


def _array(group: zarr.Group, path: str) -> zarr.Array[Any]:
    try:
        array = group[path]
    except KeyError:
        array = None
    if not isinstance(array, zarr.Array):
        raise SlideError(f"the array {path} that its metadata names is not there. Copy it again.")
    return array


def _axes(metadata: Mapping[str, Any], ndim: int) -> str:
    """Return the letter of each axis by its name, else by its type. Before NGFF 0.3 there were always five axes."""
    axes = metadata.get("axes") or (list("tczyx") if ndim == 5 else None)
    letters = ""
    for axis in axes if isinstance(axes, list) else []:
        one = axis if isinstance(axis, dict) else {"name": axis}
        called = str(one.get("name", "")).lower()
        letters += called if called in set("tczyx") else {"time": "t", "channel": "c"}.get(str(one.get("type")), "?")
    return _sound_axes(letters, ndim)


def _sound_axes(letters: str, ndim: int) -> str:
    if len(letters) != ndim or len(set(letters)) < ndim or not {"x", "y"} <= set(letters) <= set("tczyx"):
        raise SlideError(f"{ndim} axes of which t, c, z, y and x are not told apart. Export it as OME-Zarr.")
    return letters


def _scale(metadata: Mapping[str, Any], ndim: int) -> list[float] | None:
    """Return the first scale of the coordinate transformations; None if there is no valid one."""
    transformations = metadata.get("coordinateTransformations")
    for one in transformations if isinstance(transformations, list) else []:
        if isinstance(one, dict) and one.get("type") == "scale":
            try:
                scale = [float(value) for value in one["scale"]]
            except (KeyError, TypeError, ValueError):
                return None
            return scale if len(scale) == ndim and all(0 < s < math.inf for s in scale) else None
    return None


def _downsample(
    axes: str, first: tuple[zarr.Array[Any], list[float] | None], other: tuple[zarr.Array[Any], list[float] | None]
) -> float | None:
    """Return the downsample of `other`: by its scale if that explains its size, else by the sizes alone."""
    x, y = axes.index("x"), axes.index("y")
    if other[0].ndim != len(axes):
        return None
    size, reduced = ((array.shape[x], array.shape[y]) for array, _ in (first, other))
    if first[1] is not None and other[1] is not None:
        across, down = other[1][x] / first[1][x], other[1][y] / first[1][y]
        slack = (abs(reduced[0] * across - size[0]) / across, abs(reduced[1] * down - size[1]) / down)
        if max(slack) <= 1.5 and across >= 1 and abs(across - down) <= 1e-3 * across:
            return round(across) if abs(across - round(across)) < 1e-6 else across
    return level_downsample(size, reduced)


def _plain(name: str, arrays: Sequence[zarr.Array[Any]], root: zarr.Group | None = None) -> NgffImage:
    """Return the image of arrays without OME metadata: the largest array and its reductions."""
    if not arrays:
        inside = sorted(key for key, _ in root.groups())[:5] if root is not None else []
        advice = f"Give one of the groups in it, like {name}/{inside[0]}." if inside else "Copy it again."
        raise SlideError(f"a Zarr group without an array. {advice}")
    first = max(arrays, key=lambda array: math.prod(array.shape))
    axes = _axes_of_plain(first)
    x, y = axes.index("x"), axes.index("y")
    levels = [(first, 1.0)]
    for array in arrays:
        if array is first or array.ndim != first.ndim or array.dtype != first.dtype:
            continue
        if array.shape == first.shape:
            raise SlideError(
                f"several arrays of one size ({first.basename}, {array.basename}). "
                f"Give one of them, like {name}/{first.basename}."
            )
        downsample = level_downsample((first.shape[x], first.shape[y]), (array.shape[x], array.shape[y]))
        if downsample is not None:
            levels.append((array, downsample))
    finest_first = tuple(sorted(levels, key=lambda level: level[1]))
    return NgffImage(
        finest_first, axes, None, (0, 1), colours=True, channels=(), windows=(), vendor="zarr", properties={}
    )


def _axes_of_plain(array: zarr.Array[Any]) -> str:
    """Return the axes by the array's dimension names (Zarr's or xarray's); else rows, columns and maybe colours."""
    names: Any = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS")
    if names:
        letters = "".join({"s": "c", "channel": "c"}.get(str(n).lower(), str(n).lower()[:2]) for n in names)
        return _sound_axes(letters, array.ndim)
    if array.ndim == 3:
        axes = "yxc" if array.shape[2] in (1, 3, 4) else "cyx" if array.shape[0] in (1, 3, 4) else ""
    else:
        axes = "yx" if array.ndim == 2 else ""
    return _sound_axes(axes, array.ndim)

"""Settings from options, and checks for options that contradict each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ats_cli.errors import AtsError
from ats_cli.records import COLOR_PROFILES
from ats_cli.registry import EXHAUSTIVE, NESTED_SAMPLER

if TYPE_CHECKING:
    from ats_cli.slides import OpenOptions, RegionOptions


def sampling_settings(
    tiles: int | None,
    sampler: str | None,
    adaptive: bool,
    confidence: float | None,
    exhaustive: bool,
    seed: int | None,
) -> dict[str, Any]:
    """Return the given settings of the draw. AtsError if two of them contradict each other."""
    if confidence is not None and not adaptive:
        raise AtsError("--confidence goes with --adaptive. Give both, or neither.")
    if confidence is not None and not 0 < confidence < 1:
        raise AtsError(f"--confidence {confidence:g}: out of range. Give a number between 0 and 1, like 0.95.")
    if adaptive and sampler not in (None, NESTED_SAMPLER):
        raise AtsError(
            f"--adaptive draws in race order ({NESTED_SAMPLER}), not by --sampler {sampler}. Leave one of them out."
        )
    if exhaustive and (adaptive or sampler is not None or tiles is not None):
        raise AtsError("--exhaustive reads every position. Leave out --tiles, --sampler and --adaptive.")
    named = {
        "tiles": tiles,
        "sampler": EXHAUSTIVE if exhaustive else NESTED_SAMPLER if adaptive else sampler,
        "confidence": (confidence or 0.95) if adaptive else None,
        "seed": seed,
    }
    return {name: value for name, value in named.items() if value is not None}


def opening_settings(
    backend: str | None,
    plane: str | None,
    color_profile: str | None,
    roi_class: list[str] | None = None,
    roi_origin: str | None = None,
) -> dict[str, Any]:
    """Return the given settings of opening slides and files of regions."""
    from ats_cli.slides import parse_plane

    named = {
        "backend": backend,
        "plane": str(parse_plane(plane)) if plane is not None else None,
        "color_profile": color_profile,
        "roi_class": sorted(set(roi_class)) if roi_class else None,
        "roi_origin": None if roi_origin == "auto" else roi_origin,
    }
    return {name: value for name, value in named.items() if value is not None}


def open_options(
    backend: str | None, plane: str | None, color_profile: str | None, download: bool = False
) -> OpenOptions:
    """Return the options of opening slides."""
    from ats_cli.slides import OpenOptions, parse_plane

    chosen_plane = None if plane is None else parse_plane(plane)
    return OpenOptions(backend, chosen_plane, color_profile or COLOR_PROFILES[0], download)


def region_options(roi_class: list[str] | None, roi_origin: str | None) -> RegionOptions:
    """Return the options of reading files of regions."""
    from ats_cli.slides import RegionOptions

    return RegionOptions(tuple(sorted(set(roi_class or ()))), roi_origin or "auto")


def outputs_of(**options: bool | str | None) -> frozenset[str]:
    """Return the optional outputs that are given: names of options, with "=" and the value if they have one."""
    given = {name.replace("_", "-"): value for name, value in options.items() if value not in (None, False)}
    return frozenset(name if value is True else f"{name}={value}" for name, value in given.items())


def refuse_together(cluster: str | None, processes: int | None, shard: str | None) -> None:
    """Raise AtsError if options about running contradict each other, or one is not valid."""
    if cluster is not None and processes:
        raise AtsError("--cluster predicts on its workers, --processes on this machine. Leave one of them out.")
    if shard is not None:
        shard_of(shard)


def shard_of(text: str) -> tuple[int, int]:
    """Return (I, N) of "I/N", I from 1 to N.

    >>> shard_of("2/3")
    (2, 3)
    """
    number, slash, parts = text.partition("/")
    if not (slash and number.isdecimal() and parts.isdecimal() and 1 <= int(number) <= int(parts)):
        raise AtsError(f"--shard {text}: not a part I/N. Give 1/8, for example, up to 8/8.")
    return int(number), int(parts)


def budgets_of(text: str) -> list[int]:
    """Return the budgets of --tiles in ascending order. AtsError for anything but numbers above 0."""
    try:
        budgets = sorted({int(part) for part in text.split(",")})
    except ValueError:
        budgets = [0]
    if budgets[0] < 1:
        raise AtsError(f"--tiles {text}: not a list of budgets. Give numbers above 0 with commas, like 5,10,25.")
    return budgets

"""The settings of a run: what the call names, what stands where it names nothing, what contradicts itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ats_cli.records import AtsError
from ats_cli.registry import DEFAULT_SAMPLER, EXHAUSTIVE, NESTED_SAMPLER

if TYPE_CHECKING:
    from ats_cli.inference.draw_options import DrawOptions

# What a run is made with where nothing is said. `tiles`: None for the model's own.
DEFAULTS: dict[str, Any] = {
    "tiles": None,
    "sampler": DEFAULT_SAMPLER,
    "confidence": None,
    "seed": 0,
    "backend": None,
    "plane": None,
    "color_profile": "none",
}


def asked_for(
    tiles: int | None,
    sampler: str | None,
    adaptive: bool,
    confidence: float | None,
    exhaustive: bool,
    seed: int | None,
    backend: str | None,
    plane: str | None,
    color_profile: str | None,
) -> dict[str, Any]:
    """The settings that the call names, as in DEFAULTS. AtsError where two of them contradict each other."""
    from ats_cli.slides import parse_plane

    if confidence is not None and not adaptive:
        raise AtsError("--confidence goes with --adaptive. Give both, or neither.")
    if confidence is not None and not 0 < confidence < 1:
        raise AtsError(f"--confidence {confidence:g}: not a confidence. Give a number between 0 and 1, like 0.95.")
    if adaptive and sampler not in (None, NESTED_SAMPLER):
        raise AtsError(
            f"--adaptive draws in race order ({NESTED_SAMPLER}), not by --sampler {sampler}. Leave one of them out."
        )
    if exhaustive and (adaptive or sampler is not None or tiles is not None):
        raise AtsError("--exhaustive reads every position. Leave out --tiles, --sampler and --adaptive.")
    given = {
        "tiles": tiles,
        "sampler": EXHAUSTIVE if exhaustive else NESTED_SAMPLER if adaptive else sampler,
        "confidence": (confidence or 0.95) if adaptive else None,
        "seed": seed,
        "backend": backend,
        "plane": str(parse_plane(plane)) if plane is not None else None,
        "color_profile": color_profile,
    }
    return {name: value for name, value in given.items() if value is not None}


def open_options_of(settings: Mapping[str, Any], download: bool = False) -> dict[str, Any]:
    """Return the options of `open_slide` in the settings of a run. `download` is no setting: it changes no result."""
    from ats_cli.slides import parse_plane

    plane = settings["plane"]
    return {
        "backend": settings["backend"],
        "plane": parse_plane(plane) if plane else None,
        "color_profile": settings["color_profile"],
        "download": download,
    }


def draw_options_of(settings: Mapping[str, Any], **others: Any) -> DrawOptions:
    """Return the options of the draw in the settings of a run, and `others`, which are no settings."""
    from ats_cli.inference.draw_options import DrawOptions

    exhaustive = settings["sampler"] == EXHAUSTIVE
    return DrawOptions(
        tiles=settings["tiles"],
        sampler=None if exhaustive else settings["sampler"],
        confidence=settings["confidence"],
        exhaustive=exhaustive,
        seed=settings["seed"],
        **others,
    )


def refuse_together(cluster: str | None, processes: int | None, shard: str | None) -> None:
    """AtsError where the ways of running a call contradict each other, or one is not understood."""
    if cluster is not None and processes:
        raise AtsError("--cluster predicts on its workers, --processes on this machine. Leave one of them out.")
    if shard is not None:
        shard_of(shard)


def shard_of(text: str) -> tuple[int, int]:
    """(I, N) of "I/N", I from 1 to N.

    >>> shard_of("2/3")
    (2, 3)
    """
    number, slash, parts = text.partition("/")
    if not (slash and number.isdecimal() and parts.isdecimal() and 1 <= int(number) <= int(parts)):
        raise AtsError(f"--shard {text}: not a part of a whole. Give it like 1/8, up to 8/8.")
    return int(number), int(parts)

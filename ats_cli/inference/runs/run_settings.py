"""The settings of a run: what must stay the same for a run folder to be continued."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ats_cli.inference.draws.options import DrawOptions
from ats_cli.registry import DEFAULT_SAMPLER, EXHAUSTIVE
from ats_cli.slides import parse_plane
from ats_cli.slides.options import OpenOptions, RegionOptions

# Settings that the call does not name. `tiles`: None for the model's own. `roi_origin`: None for "auto".
DEFAULTS: dict[str, Any] = {
    "tiles": None,
    "sampler": DEFAULT_SAMPLER,
    "confidence": None,
    "seed": 0,
    "backend": None,
    "plane": None,
    "color_profile": "none",
    "roi": None,
    "roi_class": None,
    "roi_origin": None,
}


def open_options_of(settings: Mapping[str, Any], download: bool = False) -> OpenOptions:
    """Return the options of `open_slide` in the settings of a run. `download` is no setting: it changes no result."""
    plane = settings["plane"]
    return OpenOptions(settings["backend"], parse_plane(plane) if plane else None, settings["color_profile"], download)


def region_options_of(settings: Mapping[str, Any]) -> RegionOptions:
    """Return how files of regions are read, from the settings of a run."""
    return RegionOptions(tuple(settings["roi_class"] or ()), settings["roi_origin"] or "auto")


def draw_options_of(settings: Mapping[str, Any], **others: Any) -> DrawOptions:
    """Return the options of the draw in the settings of a run, and `others`, which are no settings."""
    exhaustive = settings["sampler"] == EXHAUSTIVE
    return DrawOptions(
        tiles=settings["tiles"],
        sampler=None if exhaustive else settings["sampler"],
        confidence=settings["confidence"],
        exhaustive=exhaustive,
        seed=settings["seed"],
        **others,
    )

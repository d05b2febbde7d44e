"""What a slide is, from its headers, as JSON-ready values: the record of `ats info`."""

from __future__ import annotations

from typing import Any

from ats_cli.records import SCHEMA_VERSION
from ats_cli.slides import Check, Slide, SlideSource
from ats_cli.slides.pixels.color import profile_name


def info_record(source: SlideSource, slide: Slide) -> dict[str, Any]:
    """Return the `--json` line of a slide that could be opened."""
    levels = [
        {
            "width": level.width,
            "height": level.height,
            "downsample": level.downsample,
            "tile_width": level.tile_width,
            "tile_height": level.tile_height,
            "compression": level.compression or None,
        }
        for level in slide.levels
    ]
    # Every reader returns 8-bit RGB.
    return failed_record(source, None) | {
        "reader": slide.reader,
        "vendor": slide.vendor,
        "width": slide.width,
        "height": slide.height,
        "bounds": None if slide.bounds is None else slide.bounds._asdict(),
        "plane": slide.plane,
        "color_profile": profile_name(slide.color_profile()),
        "levels": levels,
        "mpp": slide.mpp,
        "mpp_source": slide.mpp_source,
        "channels": 3,
        "dtype": "uint8",
        "bytes_total": slide.bytes_total,
    }


def failed_record(source: SlideSource, error: str | None) -> dict[str, Any]:
    """Return the `--json` line of a slide of which only the error is known."""
    return {
        "schema_version": SCHEMA_VERSION,
        "slide_id": source.slide_id,
        "path": source.given,
        "status": "ok" if error is None else "failed",
        "error": error,
        "reader": None,
        "vendor": None,
        "width": None,
        "height": None,
        "bounds": None,
        "plane": None,
        "color_profile": None,
        "levels": [],
        "mpp": None,
        "mpp_source": None,
        "channels": None,
        "dtype": None,
        "bytes_total": None,
        "sound": None,
        "problems": [],
        "tiles_checked": None,
        "tiles_total": None,
        "checksums": None,
    }


def check_record(found: Check | None) -> dict[str, Any]:
    """Return what a check adds to the `--json` line: whether the slide is sound, and where it is not."""
    if found is None:
        return {}
    problems = [{"level": p.level, "x": p.x, "y": p.y, "problem": p.sentence} for p in found.problems]
    return {
        "sound": found.sound,
        "problems": problems,
        "tiles_checked": found.tiles,
        "tiles_total": found.tiles_total,
        "checksums": found.checksums,
    }


def unsound(source: SlideSource, found: Check) -> str:
    """Return the sentence about a slide that is not sound."""
    if not found.tiles:
        return found.problems[0].sentence
    return (
        f"{source.path.name}: not sound, {len(found.problems)} of the {found.tiles} native tiles tried cannot be "
        "read. Copy or export it again."
    )

"""Which microns per pixel of a file are accepted."""

from __future__ import annotations

from ats_cli.slides.reader import ACCEPTED_MPP


def mpp_problem(mpp: tuple[float, float] | None) -> str | None:
    """Return why the file's microns per pixel are not accepted, as a sentence; None if they are."""
    advice = "Give --mpp 0.25 or a column mpp in the manifest."
    if mpp is None:
        return f"no microns-per-pixel in the file. {advice}"
    x, y = mpp
    low, high = ACCEPTED_MPP
    if not (low <= x <= high and low <= y <= high):
        return (
            f"the file says {x:g} x {y:g} microns per pixel, which is outside {low:g} to {high:g} "
            f"and not accepted. {advice}"
        )
    if abs(x - y) > 0.1 * min(x, y):
        return f"{x:g} microns per pixel across but {y:g} down, pixels that are not square. {advice}"
    return None

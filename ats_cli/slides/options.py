"""How slides are opened: one object that holds for all slides of a call, checked when it is made."""

from __future__ import annotations

from dataclasses import dataclass

from ats_cli.errors import AtsError
from ats_cli.records import COLOR_PROFILES
from ats_cli.registry import FORMATS
from ats_cli.slides.plane import Plane
from ats_cli.slides.regions.frame import ORIGINS


@dataclass(frozen=True)
class OpenOptions:
    """Options of `open_slide`. Raises AtsError for an unknown backend or colour profile.

    backend: the name of a format in `FORMATS`; None: the file's content decides.
    plane: which plane of a file with several.
    color_profile: "srgb" applies a profile that the file embeds; "none" leaves the values as they are stored.
    download: fetch a URL to a local disk where it cannot be read by byte ranges.
    """

    backend: str | None = None
    plane: Plane | None = None
    color_profile: str = COLOR_PROFILES[0]
    download: bool = False

    def __post_init__(self) -> None:
        if self.backend is not None:
            FORMATS[self.backend]  # raises where there is none, or where it cannot be imported
        if self.color_profile not in COLOR_PROFILES:
            choices = ", ".join(COLOR_PROFILES)
            raise AtsError(f"unknown colour profile {self.color_profile!r}. Choose one of {choices}.")


@dataclass(frozen=True)
class RegionOptions:
    """How files of regions are read. Raises AtsError for an unknown origin.

    classes: only regions of these classes; empty for all.
    origin: where their coordinates begin, one of `ORIGINS`.
    """

    classes: tuple[str, ...] = ()
    origin: str = "auto"

    def __post_init__(self) -> None:
        if self.origin not in ORIGINS:
            raise AtsError(f"unknown origin of regions {self.origin!r}. Choose one of {', '.join(ORIGINS)}.")

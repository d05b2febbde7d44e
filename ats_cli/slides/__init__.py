"""Slides: opening them, reading their pixels, and finding their tissue."""

from ats_cli.slides.check import Check, check_slide
from ats_cli.slides.inputs.discovery import SlideSource, find_slides
from ats_cli.slides.inputs.manifest import Manifest, ManifestRow, read_manifest
from ats_cli.slides.opening import open_slide, open_with
from ats_cli.slides.options import OpenOptions, RegionOptions
from ats_cli.slides.plane import Plane, parse_plane
from ats_cli.slides.reader import Level
from ats_cli.slides.regions.region_files import read_regions
from ats_cli.slides.remote.path import AnyPath, RemotePath, slide_path
from ats_cli.slides.slide import Slide, Unreadable
from ats_cli.slides.tissue import tissue_mask

__all__ = [
    "AnyPath", "Check", "Level", "Manifest", "ManifestRow", "OpenOptions", "Plane", "RegionOptions", "RemotePath",
    "Slide", "SlideSource", "Unreadable", "check_slide", "find_slides", "open_slide", "open_with", "parse_plane",
    "read_manifest", "read_regions", "slide_path", "tissue_mask",
]  # fmt: skip

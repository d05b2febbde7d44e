"""What a slide is, how its pixels come off a disk, and where its tissue lies."""

from ats_cli.slides.opening import open_slide
from ats_cli.slides.reader import Level
from ats_cli.slides.slide import Slide

__all__ = ["Level", "Slide", "open_slide"]

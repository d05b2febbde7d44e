"""What every step of a prediction needs: the slide, the model, and the threads to use."""

from dataclasses import dataclass, field

from ats_cli.errors import SlideError
from ats_cli.inference.compute.forward_pool import ForwardPool, max_parallel_passes
from ats_cli.inference.compute.stopwatch import Stopwatch
from ats_cli.slides import Slide
from ats_cli.slides.regions.slide_regions import SlideRegions
from ats_cli.zoo import LoadedModel


@dataclass(frozen=True)
class PredictionContext:
    """One slide, one model, and the resources for one prediction.

    threads: threads that read, decode and compute.
    regions: where tiles may be drawn; None for the whole slide.
    stopwatch: counts the seconds of each stage.
    """

    slide: Slide
    model: LoadedModel
    threads: int = 4
    regions: SlideRegions | None = None
    stopwatch: Stopwatch = field(default_factory=Stopwatch)

    @property
    def file_name(self) -> str:
        """The slide's file name, with which messages begin."""
        return self.slide.path.name

    def forward_pool(self) -> ForwardPool:
        """Return a pool for forward passes of the model's networks."""
        return ForwardPool(max_parallel_passes(self.model.device, self.threads))

    def not_finite(self) -> SlideError:
        """Return the error for a network that gives NaN or infinity on this slide."""
        return SlideError(
            f"the networks of {self.model.name} give NaN or infinity for this slide. Check the model with "
            "`ats models verify`, or compute with --precision fp32.",
            name=self.file_name,
        )

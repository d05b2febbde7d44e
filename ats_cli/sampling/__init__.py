"""Probability only: draws of positions, weights, standard errors, and when to stop.

numpy float64; no I/O, no torch.
"""

from ats_cli.sampling.betting import Betting, lowest_margins
from ats_cli.sampling.draw import Draw, draw
from ats_cli.sampling.interval import half_width
from ats_cli.sampling.ratio import effective_tiles, mass_lost, ratio_standard_error, ratio_weights
from ats_cli.sampling.sampler import Sampler, StandardError, Stream
from ats_cli.sampling.seeds import slide_rng, slide_seed
from ats_cli.sampling.standard_error import standard_error
from ats_cli.sampling.streams.streamed_race import StreamedRace

__all__ = [
    "Betting",
    "Draw",
    "Sampler",
    "StandardError",
    "Stream",
    "StreamedRace",
    "draw",
    "effective_tiles",
    "half_width",
    "lowest_margins",
    "mass_lost",
    "ratio_standard_error",
    "ratio_weights",
    "slide_rng",
    "slide_seed",
    "standard_error",
]

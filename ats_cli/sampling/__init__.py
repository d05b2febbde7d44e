"""Probability only: draws of positions, weights, standard errors, and when to stop.

numpy float64; no I/O, no torch.
"""

from ats_cli.sampling.betting import Betting, lowest_margins
from ats_cli.sampling.draw import Draw, draw
from ats_cli.sampling.ratio import mass_lost, ratio_standard_error, ratio_weights
from ats_cli.sampling.sampler import Sampler, StandardError, Stream
from ats_cli.sampling.seeds import slide_rng, slide_seed
from ats_cli.sampling.standard_error import standard_error
from ats_cli.sampling.streamed_race import StreamedRace

__all__ = [
    "Betting",
    "Draw",
    "Sampler",
    "StandardError",
    "Stream",
    "StreamedRace",
    "draw",
    "lowest_margins",
    "mass_lost",
    "ratio_standard_error",
    "ratio_weights",
    "slide_rng",
    "slide_seed",
    "standard_error",
]

"""Probability only: which positions to read, and what each of them counts for. numpy float64; no I/O, no torch."""

from ats_cli.sampling.draw import Draw, draw
from ats_cli.sampling.seeds import slide_rng

__all__ = ["Draw", "draw", "slide_rng"]

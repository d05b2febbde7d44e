"""Checks of an installation: what works on this machine, and what to do about what does not."""

from ats_cli.doctor.checks import run_checks
from ats_cli.doctor.finding import Finding

__all__ = ["Finding", "run_checks"]

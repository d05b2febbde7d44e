"""Slides drawn at random, written by independent writers, read here, and compared with an independent decode."""

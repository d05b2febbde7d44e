"""Regions of interest: files of them, their polygons, and where they lie on a slide."""

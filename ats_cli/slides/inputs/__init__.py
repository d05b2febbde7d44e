"""Slides from paths, folders and manifests; regions of interest."""

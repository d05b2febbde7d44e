"""Slides from paths, folders and manifests."""

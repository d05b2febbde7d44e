"""Slide formats, one package or file each, registered in `ats_cli.registry`."""

"""The formats of slides: a package or file each, registered in `ats_cli.registry`."""

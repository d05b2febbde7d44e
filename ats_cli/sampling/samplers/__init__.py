"""The samplers: one file each, registered in `ats_cli.registry`."""

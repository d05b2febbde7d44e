"""The files of one slide in a run folder, one writer per file; `ats_cli.registry.WRITERS` names them."""

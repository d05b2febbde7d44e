"""One file a command: options in, one call into the rooms below, messages out."""

"""Whether a file is the slide that it was: fingerprints, and changes while it is read."""

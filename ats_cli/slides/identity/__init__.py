"""Fingerprints of slides, and detection of files that change while they are read."""

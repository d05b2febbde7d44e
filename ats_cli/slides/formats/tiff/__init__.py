"""TIFF, OME-TIFF and Aperio SVS, by their own tiles or strips."""

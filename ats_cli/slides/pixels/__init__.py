"""From native tiles to regions: decoding, colours, orientation, resampling and missing tiles."""

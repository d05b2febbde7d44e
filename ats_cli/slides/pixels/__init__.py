"""From native tiles to regions: decoding, colours, orientation, resampling, absent tiles."""

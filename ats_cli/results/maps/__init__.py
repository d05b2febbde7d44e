"""Maps of a slide: a value for each position, written in the formats of other programs, block by block."""

"""Which tiles are drawn: options, the plan of a draw, a race that is resumed or truncated."""

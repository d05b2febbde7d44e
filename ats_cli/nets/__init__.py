"""Attention networks, feature networks, the model that joins them, and the differentiable estimate. torch; no I/O."""

"""Attention nets, feature nets, the model that joins them, and the differentiable estimate. torch; no I/O."""

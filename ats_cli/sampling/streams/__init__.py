"""Draws over logits that come in blocks, in memory that does not grow with the positions."""

"""The warm-up before a training: uniform tiles teach the head, and the attention network where evidence lies."""

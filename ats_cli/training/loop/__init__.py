"""The training loop: its state, steps, checkpoints, log, monitor and processes."""

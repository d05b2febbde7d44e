"""What a model learns to answer: one file per task. `ats_cli.registry.TASKS` has them by name."""

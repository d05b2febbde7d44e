"""A ModelSpec as the tables of a model.toml."""

from dataclasses import asdict
from typing import Any

from ats_cli.records import AttentionSpec, FeatureSpec, HeadSpec, ModelSpec, TrainingSpec

NEWER = {
    "attention": (AttentionSpec, ("net", "blocks", "mean", "std", "trunk")),
    "features": (FeatureSpec, ("hidden", "trunk")),
    "head": (HeadSpec, ("gate",)),
    "training": (TrainingSpec, ("ungated_loss",)),
}
"""Keys that earlier files do not have."""


def spec_table(spec: ModelSpec) -> dict[str, Any]:
    """The spec as nested dicts, without newer keys at their defaults, and without tables that are then empty."""
    table = asdict(spec)
    for name, (kind, keys) in NEWER.items():
        for key in keys:
            if table[name][key] == getattr(kind, key):
                del table[name][key]
    return {name: value for name, value in table.items() if value != {}}

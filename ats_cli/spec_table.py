"""A ModelSpec as the tables of a model.toml."""

from dataclasses import asdict
from typing import Any

from ats_cli.records import AttentionSpec, FeatureSpec, ModelSpec


def spec_table(spec: ModelSpec) -> dict[str, Any]:
    """The spec as nested dicts, without newer keys at their defaults: earlier files do not have them."""
    table = asdict(spec)
    newer = (("attention", AttentionSpec, ("net", "blocks", "mean", "std", "trunk")),)
    for name, kind, keys in (*newer, ("features", FeatureSpec, ("hidden", "trunk"))):
        for key in keys:
            if table[name][key] == getattr(kind, key):
                del table[name][key]
    return table

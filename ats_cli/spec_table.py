"""A ModelSpec as the tables of a model.toml."""

from dataclasses import asdict
from typing import Any

from ats_cli.records import AttentionSpec, ModelSpec


def spec_table(spec: ModelSpec) -> dict[str, Any]:
    """The spec as nested dicts, without newer keys at their defaults: earlier files do not have them."""
    table = asdict(spec)
    for key in ("net", "blocks", "mean", "std"):
        if getattr(spec.attention, key) == getattr(AttentionSpec, key):
            del table["attention"][key]
    if not spec.features.hidden:
        del table["features"]["hidden"]
    return table

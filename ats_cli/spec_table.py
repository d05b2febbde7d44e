"""A ModelSpec as the tables of a model.toml."""

from dataclasses import asdict
from typing import Any

from ats_cli.records import AttentionSpec, ModelSpec


def spec_table(spec: ModelSpec) -> dict[str, Any]:
    """The spec as nested dicts, without `attention.net` if that is the default: earlier files do not have it."""
    table = asdict(spec)
    if spec.attention.net == AttentionSpec.net:
        del table["attention"]["net"]
    return table

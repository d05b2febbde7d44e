"""Models for people and for programs: a row a model, or all of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from ats_cli.records import SCHEMA_VERSION, ModelSpec
from ats_cli.results.table import plain_table, text
from ats_cli.spec_table import spec_table

CARD = "README.md"
NO_LICENCE = "none stated"


def model_record(
    name: str, path: Path, spec: ModelSpec, hash_: str, has_weights: bool, is_default: bool
) -> dict[str, Any]:
    """Return the record of a model folder, as JSON-ready values."""
    return {
        "schema_version": SCHEMA_VERSION,
        "name": name,
        "kind": "model" if has_weights else "recipe",
        "default": is_default,
        "folder": str(path),
        "hash": hash_,
        "spec": spec_table(spec),
    }


def print_models(console: Console, records: Sequence[Mapping[str, Any]]) -> None:
    """Print a row a model; the default has a star."""
    table = plain_table()
    for heading in ("", "name", "kind", "classes", "tiles", "licence", "what it is"):
        table.add_column(heading, overflow="fold")
    for record in records:
        spec = record["spec"]
        classes = ", ".join(spec["classes"]) or "any"
        star = "*" if record["default"] else ""
        cells = (star, record["name"], record["kind"], classes, str(spec["tiles"]), spec["licence"] or NO_LICENCE)
        table.add_row(*map(text, cells), text(spec["description"]))
    console.print(table)


def print_model(console: Console, record: Mapping[str, Any]) -> None:
    """Print a model's folder, hash, scales and card."""
    spec = record["spec"]
    unit = "microns per pixel" if spec["unit"] == "um" else "level-0 pixels per pixel"
    trunks = {part: spec[part]["trunk"] for part in ("attention", "features") if "trunk" in spec[part]}
    named = [f"{trunk} of ats ({', '.join(p for p in trunks if trunks[p] == trunk)})" for trunk in {*trunks.values()}]
    facts = {
        "folder": record["folder"],
        "hash": record["hash"],
        "kind": record["kind"] + (", the default" if record["default"] else ""),
        "classes": ", ".join(spec["classes"]) or "those it is trained on",
        "scans": f"at {spec['attention']['scale']:g} {unit}",
        "reads": f"{spec['tiles']} tiles of {spec['features']['patch_size']} pixels a side at "
        f"{spec['features']['scale']:g} {unit}, by {spec['features']['net']}",
        "weights": ", ".join([*named, "its own"]) if record["kind"] == "model" else "none yet",
        "licence": spec["licence"] or NO_LICENCE,
    }
    for name, value in facts.items():
        console.print(text(f"{name:8} {value}"))
    card = Path(record["folder"]) / CARD
    if card.is_file():
        console.print(text("\n" + card.read_text(encoding="utf-8", errors="replace").rstrip()))

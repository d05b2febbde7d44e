"""The templates of the report, and how values become text in them."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from ats_cli.results.table import error_text, megabytes
from ats_cli.text import printable


@cache
def template(name: str) -> Template:
    """Return one of the templates of this package."""
    return _environment().get_template(name)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_text,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(megabytes=megabytes, error=error_text, exact=_exact)
    script = Markup(environment.get_template("sort.js").render())
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment.globals.update(sort_script=script, sort_script_hash=f"sha256-{digest}")
    return environment


def _text(value: Any) -> Any:
    """Return a value as a page shows it: names without control characters, nothing for None.

    Jinja escapes the result for HTML; `Markup` is HTML already.
    """
    if value is None:
        return ""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _exact(value: float | None) -> str:
    """Return a number with all digits, as predictions.csv and tiles.csv have it."""
    return "" if value is None else repr(value)

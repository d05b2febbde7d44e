"""The result of one check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "optional", "failed"]


@dataclass(frozen=True)
class Finding:
    """What one check found.

    area: the group under which it is listed. name: what was checked. status: "optional" for what is not installed
    and is needed for some inputs only. detail: a version, a path, or the error. advice: what to do, "" if nothing.
    """

    area: str
    name: str
    status: Status
    detail: str = ""
    advice: str = ""

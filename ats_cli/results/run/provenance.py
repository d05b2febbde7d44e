"""The computer and the call, for run.json. Credentials in the command line are removed."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ats_cli.errors import without_secrets

LIBRARIES = (
    "numpy", "torch", "torchvision", "timm", "tifffile", "imagecodecs", "openslide-python", "openslide-bin", "pillow",
)  # fmt: skip


def facts(arguments: Sequence[str], device: str) -> dict[str, Any]:
    """Return the call, the device it computes on, and the versions of the libraries."""
    return {
        "ats": _version("ats-cli"),
        "command": shlex.join(["ats", *map(without_secrets, arguments)]),
        "device": device,
        "system": platform.platform(),
        "libraries": {
            "python": platform.python_version(),
            **{name: found for name in LIBRARIES if (found := _version(name)) is not None},
        },
    }


def now() -> str:
    """Return the time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None

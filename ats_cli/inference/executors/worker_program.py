"""Whether a worker of a cluster is the same program as the caller: the same ats, torch and model."""

from __future__ import annotations

import hashlib
import socket
from importlib.metadata import version
from pathlib import Path

import ats_cli
from ats_cli.errors import AtsError
from ats_cli.zoo import ModelFolder
from ats_cli.zoo.folder import read_folder


def versions() -> dict[str, str]:
    """Return the host, the version and the source of ats, and the version of torch, as text that any ats can read.

    "torch" is without the device that a build is for, "2.5.1" of "2.5.1+cpu": the device is an option.
    """
    return {
        "host": socket.gethostname(),
        "ats": ats_cli.__version__,
        "code": _code(),
        "torch": version("torch").partition("+")[0],
    }


def program(model: Path) -> dict[str, str]:
    """Return `versions`, and "model", the hash of the model folder as this process reads it, or "problem"."""
    try:
        return {**versions(), "model": read_folder(model).hash}
    except (AtsError, OSError) as error:
        return {**versions(), "problem": str(error)}


def difference(stated: object, own: dict[str, str], model: ModelFolder) -> str | None:
    """Return how a worker's program differs from that of this process, the end of a sentence; None if it does not.

    stated: what `program` returned there, or the exception that came instead. own: `versions` of this process.
    """
    if not isinstance(stated, dict):
        reason = " ".join(str(stated).split())[:200]
        return f"cannot run ats {own['ats']} ({type(stated).__name__}: {reason})"
    for name, what in (("ats", "ats"), ("torch", "torch")):
        if stated.get(name) != own[name]:
            return f"has {what} {stated.get(name)}, not {own[name]}"
    if stated.get("code") != own["code"]:
        return f"has other code of ats {own['ats']}"
    if "problem" in stated:
        return f"cannot read the model ({stated['problem'].rstrip('.')})"
    if stated.get("model") != model.hash:
        return f"has another model in {model.path} ({stated.get('model')}, not {model.hash})"
    return None


def _code() -> str:
    """Return a hash of the package's source: copies of one version may differ."""
    digest, package = hashlib.sha256(), Path(ats_cli.__file__).parent
    for file in sorted(package.rglob("*.py")):
        digest.update(f"{file.relative_to(package).as_posix()} {file.stat().st_size}\n".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]

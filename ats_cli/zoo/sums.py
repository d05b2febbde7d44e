"""SHA256SUMS, in the format of `sha256sum`, over the files that determine a model's answers."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ats_cli.zoo.folder import SPEC_FILE, WEIGHTS_FILE
from ats_cli.zoo.out_of_distribution import OUT_OF_DISTRIBUTION_FILE

SUMS_FILE = "SHA256SUMS"
SUMMED = (SPEC_FILE, WEIGHTS_FILE, OUT_OF_DISTRIBUTION_FILE)


def write_sums(folder: Path) -> None:
    """Write the checksums of a model folder's files."""
    lines = [f"{_sha256(folder / name)}  {name}\n" for name in SUMMED if (folder / name).is_file()]
    (folder / SUMS_FILE).write_text("".join(lines), encoding="utf-8")


def differing(folder: Path) -> list[str]:
    """Return the names of files that are missing or differ from their checksums; none if a folder has no checksums.

    Weights and model.toml must be listed.
    """
    file = folder / SUMS_FILE
    if not file.is_file():
        return []
    listed = [line.split(maxsplit=1) for line in file.read_text(encoding="utf-8", errors="replace").splitlines()]
    sums = {parts[1].lstrip("*").removeprefix("./"): parts[0].lower() for parts in listed if len(parts) == 2}
    needed = [name for name in SUMMED if name in sums or name in (SPEC_FILE, WEIGHTS_FILE)]
    return [name for name in needed if _sha256(folder / name) != sums.get(name, "not listed")]


def _sha256(path: Path) -> str:
    """Return the digest of a file in hex; empty if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""

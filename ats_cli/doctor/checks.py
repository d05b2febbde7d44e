"""All checks, in the order in which they are listed: versions, devices, codecs, readers, extras, model, folders."""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from tempfile import NamedTemporaryFile, gettempdir

from ats_cli.doctor.codecs import codec_findings
from ats_cli.doctor.finding import Finding
from ats_cli.errors import AtsError

# Extra of the package -> what it is for, and the package by which it is recognised.
EXTRAS = {
    "http": ("slides at https:// through fsspec", "aiohttp"),
    "s3": ("slides at s3://", "s3fs"),
    "gs": ("slides at gs://", "gcsfs"),
    "az": ("slides at az://", "adlfs"),
    "cluster": ("--cluster", "distributed"),
    "tensorboard": ("TensorBoard logs of trainings", "tensorboard"),
}
LITTLE_SPACE = 1 << 30


def run_checks(model: str | None = None, device: str = "auto") -> Iterator[Finding]:
    """Yield the finding of each check. `model` and `device` as in `ats predict`."""
    yield from _versions()
    yield from _devices(device)
    yield from codec_findings()
    yield from _extras()
    yield from _model(model, device)
    yield from _folders()


def _versions() -> Iterator[Finding]:
    yield Finding("Versions", "ats", "ok", _version("ats-cli") or "not installed as a package")
    yield Finding("Versions", "Python", "ok", f"{platform.python_version()}, {platform.platform()}")
    found = {package: _version(package) for package in _requirements()}
    for package in [name for name, installed in found.items() if installed is None]:
        yield Finding("Versions", package, "failed", "not installed", f"Install it: pip install {package}.")
    yield Finding("Versions", "packages", "ok", ", ".join(f"{name} {v}" for name, v in found.items() if v))


def _requirements() -> list[str]:
    """Return the packages that `ats` needs without its extras."""
    try:
        needed = requires("ats-cli") or []
    except PackageNotFoundError:
        return []
    return [re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in needed if "extra ==" not in line]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _devices(device: str) -> Iterator[Finding]:
    """Multiply two matrices on each device that torch finds, and on the one that --device names."""
    import torch

    from ats_cli.inference import resolve_device

    yield Finding("Devices", "cpu", "ok", f"{os.cpu_count()} processors, {torch.get_num_threads()} threads of torch")
    names = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    names += ["mps"] if torch.backends.mps.is_available() else []
    for name in names:
        try:
            torch.ones(64, 64, device=name).mm(torch.ones(64, 64, device=name)).cpu()
        except RuntimeError as error:
            advice = "Compare the version of the driver with that of torch, or use --device cpu."
            yield Finding("Devices", name, "failed", str(error).splitlines()[0], advice)
        else:
            label = torch.cuda.get_device_name(name) if name.startswith("cuda") else "Apple GPU"
            yield Finding("Devices", name, "ok", label)
    if not names:
        yield Finding("Devices", "GPU", "optional", "torch finds none", "Nothing to do: the processor is used.")
    try:
        yield Finding("Devices", f"--device {device}", "ok", f"computes on {resolve_device(device)}")
    except AtsError as error:
        yield Finding("Devices", f"--device {device}", "failed", str(error), "Use --device auto.")


def _extras() -> Iterator[Finding]:
    for extra, (purpose, package) in EXTRAS.items():
        found = _version(package)
        if found is None:
            advice = f"If you need it: pip install 'ats-cli[{extra}]'."
            yield Finding("Extras", extra, "optional", f"not installed: {purpose}", advice)
        else:
            yield Finding("Extras", extra, "ok", f"{purpose}: {package} {found}")


def _model(model: str | None, device: str) -> Iterator[Finding]:
    from ats_cli.inference import resolve_device
    from ats_cli.zoo import find_model, load_model

    try:
        folder = find_model(model)
        loaded = load_model(folder, device=resolve_device(device))
    except AtsError as error:
        yield Finding("Model", model or "default", "failed", str(error), "Name a model: ats models list.")
    else:
        spec = loaded.spec
        yield Finding("Model", folder.path.name, "ok", f"{', '.join(spec.classes)} ({folder.path})")


def _folders() -> Iterator[Finding]:
    """Write a file into each folder that `ats` writes to."""
    from ats_cli.zoo.default import config_file

    folders = {"current folder": Path.cwd(), "temporary files": Path(gettempdir()), "settings": config_file().parent}
    for name, folder in folders.items():
        existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
        try:
            with NamedTemporaryFile(dir=existing):
                pass
            free = shutil.disk_usage(existing).free
        except OSError as error:
            advice = "Change its access rights, or work in another folder."
            yield Finding("Folders", name, "failed", f"{folder}: {error.strerror}", advice)
            continue
        detail = f"{folder}: can be written, {free / 1e9:.1f} GB free"
        if free < LITTLE_SPACE:
            yield Finding("Folders", name, "failed", detail, "Free some space: runs and views of a training need it.")
        else:
            yield Finding("Folders", name, "ok", detail)

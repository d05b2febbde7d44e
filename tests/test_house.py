"""The shape of the house: arrows run one way, and the face is light."""

import ast
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from ats_cli import records
from ats_cli.app import COMMANDS
from ats_cli.commands import options

PACKAGE = Path(records.__file__).parent
HEAVY = (
    "numpy", "torch", "lightning_fabric", "tensorboard", "torchvision", "timm", "zarr", "openslide", "tifffile",
    "imagecodecs", "PIL", "matplotlib",
)  # fmt: skip
ROOMS = ("slides", "sampling", "nets", "zoo", "inference", "training", "results", "commands")

# Which rooms a room may import; `records` everyone.
ALLOWED = {
    "slides": set(),
    "sampling": set(),
    "nets": {"sampling"},
    "zoo": {"nets"},
    "inference": {"results", "zoo", "nets", "slides", "sampling"},
    "training": {"inference", "results", "zoo", "nets", "slides", "sampling"},
    "results": set(),
    "commands": {"inference", "training", "results", "zoo", "nets", "slides", "sampling"},
}


def imports(file: Path) -> set[str]:
    """Full names of the modules that a file imports, wherever in the file; `from a import b` gives a and a.b."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are written in full"
            names.add(node.module or "")
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def rooms_imported(file: Path) -> set[str]:
    parts = (name.split(".") for name in imports(file) if name.startswith("ats_cli."))
    return {part[1] for part in parts} & set(ROOMS)


def packages_imported(file: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(file)}


@pytest.mark.parametrize("room", ROOMS)
def test_arrows_run_one_way(room: str) -> None:
    for file in (PACKAGE / room).rglob("*.py"):
        assert rooms_imported(file) <= ALLOWED[room] | {room}, file


def test_every_room_is_known() -> None:
    assert {p.parent.name for p in PACKAGE.glob("*/__init__.py")} <= set(ROOMS)


def test_only_the_app_imports_commands() -> None:
    for file in PACKAGE.glob("*.py"):
        if file.name != "app.py":
            assert "commands" not in rooms_imported(file), file


@pytest.mark.parametrize(
    ("room", "not_there"),
    [
        ("slides", {"torch", "torchvision", "timm"}),
        ("sampling", {"torch", "torchvision", "timm", "pathlib", "PIL", "io", "os"}),
        ("nets", {"pathlib", "PIL", "io", "os", "tifffile", "openslide", "safetensors"}),
    ],
)
def test_rooms_that_do_without(room: str, not_there: set[str]) -> None:
    for file in (PACKAGE / room).rglob("*.py"):
        assert not packages_imported(file) & not_there, file
        if room != "slides":
            calls = [node.func for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
            assert "open" not in {call.id for call in calls if isinstance(call, ast.Name)}, file


def test_what_only_some_models_need_is_imported_for_them_alone() -> None:
    """Lightning Fabric by training only; timm, torchvision and tensorboard within functions only."""
    for file in PACKAGE.rglob("*.py"):
        assert file.parent.name == "training" or "lightning_fabric" not in packages_imported(file), file
        at_the_top = ast.parse(file.read_text()).body
        text = "\n".join(ast.unparse(node) for node in at_the_top if isinstance(node, ast.Import | ast.ImportFrom))
        assert not any(name in text for name in ("timm", "torchvision", "tensorboard")), file


def test_models_is_data_and_no_package() -> None:
    assert not list((PACKAGE.parent / "models").rglob("*.py"))
    for file in PACKAGE.rglob("*.py"):
        assert "models" not in packages_imported(file), file


@pytest.mark.parametrize("arguments", [[], *([name] for name in COMMANDS)])
def test_help_is_light(arguments: list[str]) -> None:
    code = (
        "import sys; from ats_cli.app import run; "
        f"status = run({[*arguments, '--help']!r}); "
        "print(status, *(m for m in sys.modules if '.' not in m), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    status, *modules = done.stderr.split()
    assert status == "0"
    assert "Usage" in done.stdout
    assert not set(modules) & set(HEAVY)


def test_names_to_choose_from_are_those_of_the_records() -> None:
    assert get_args(options.BackendName) == records.BACKENDS
    assert get_args(options.ColorProfileName) == records.COLOR_PROFILES

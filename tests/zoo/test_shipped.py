"""The shipped models are found from a wheel and from an editable install alike, and neither serves a stale copy."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import ats_cli
from ats_cli.zoo import load_model
from ats_cli.zoo.find import model_names, recipe_names
from ats_cli.zoo.verify import verify

ROOT = Path(__file__).parents[2]
SHIPPED = sorted(path.parent.name for path in (ROOT / "models").glob("*/model.toml"))
LIST = (
    "import ats_cli; from ats_cli.zoo.find import find_recipe, model_names, recipe_names; "
    "print(ats_cli.__file__); print(*recipe_names()); print(*model_names()); "
    "print(find_recipe('digits-small').spec.tiles)"
)


def run(*command: object, **options: object) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def python(code: str, folder: Path, path: Path) -> list[str]:
    """Run code with `path` first on the module path, from `folder`; returns the lines it prints."""
    return run(sys.executable, "-c", code, cwd=folder, env={"PYTHONPATH": str(path), "PATH": ""}).splitlines()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a build needs, so that it can be changed, with one model that has weights."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("ats_cli", "models"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    (copy / "models" / "megapixel-digits" / "weights.safetensors").write_bytes(b"weights")
    return copy


@pytest.fixture(scope="module")
def installed(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(the wheel, the folder it is unpacked into)."""
    pytest.importorskip("hatchling", reason="hatchling is not installed: no wheel can be built without the network")
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=checkout)
    (wheel,) = folder.glob("*.whl")
    target = folder / "site"
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check")
    run(*pip, "--target", target, wheel)
    return wheel, target


@pytest.mark.integration
def test_a_wheel_brings_its_models_and_takes_no_other_folder_for_them(
    installed: tuple[Path, Path], tmp_path: Path
) -> None:
    _, site = installed
    (site / "models" / "theirs").mkdir(parents=True)
    (site / "models" / "theirs" / "model.toml").write_text("[package]\n")
    where, recipes, models, _ = python(LIST, tmp_path, site)
    assert Path(where).is_relative_to(site)
    assert recipes.split() == SHIPPED
    assert "megapixel-digits" in models.split()


@pytest.mark.integration
def test_a_wheel_has_no_package_called_models(installed: tuple[Path, Path]) -> None:
    wheel, _ = installed
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.partition("/")[0] for name in names} == {"ats_cli", f"ats_cli-{ats_cli.__version__}.dist-info"}
    assert {name.split("/")[2] for name in names if name.startswith("ats_cli/_models/")} == set(SHIPPED)


@pytest.mark.integration
def test_an_editable_install_sees_an_edit_of_its_models(checkout: Path, tmp_path: Path) -> None:
    """An editable install is a path to the checkout: a stale copy inside the package must not be preferred."""
    stale = checkout / "ats_cli" / "_models" / "digits-small"
    shutil.copytree(checkout / "models" / "digits-small", stale)
    file = checkout / "models" / "digits-small" / "model.toml"
    file.write_text(re.sub(r"^tiles = \d+$", "tiles = 77", file.read_text(), flags=re.MULTILINE))
    shutil.copytree(checkout / "models" / "digits-small", checkout / "models" / "new")
    where, recipes, _, tiles = python(LIST, tmp_path, checkout)
    assert Path(where).is_relative_to(checkout)
    assert tiles == "77"
    assert "new" in recipes.split()


def test_this_checkout_uses_its_own_models() -> None:
    if not Path(ats_cli.__file__).is_relative_to(ROOT):
        pytest.skip("the tests run against an installed ats, not this checkout's")
    assert recipe_names() == SHIPPED
    assert not (Path(ats_cli.__file__).parent / "_models").exists()


@pytest.mark.parametrize("name", model_names())
def test_shipped_models_are_sound_and_know_what_is_familiar(name: str) -> None:
    assert verify(ROOT / "models" / name) == []
    assert load_model(name).out_of_distribution is not None

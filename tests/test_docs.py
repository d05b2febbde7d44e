"""What the pages tell people to type works as it stands there."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ats_cli.app import run

PROJECT = Path(__file__).parents[1]
PAGES = [PROJECT / "README.md", PROJECT / "CHANGELOG.md", *sorted((PROJECT / "docs").glob("*.md"))]


@pytest.mark.integration
def test_python_on_the_page_about_the_command_line(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, many = re.findall(r"```python\n(.*?)```", (PROJECT / "docs" / "cli.md").read_text(), re.S)
    code = f"{one}\nprint('---')\n{many}"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    of_one, of_many = done.stdout.split("---\n")
    first, *tiles = of_one.splitlines()
    assert first.startswith("7 ("), "examples/digits.tif holds three 7s"
    assert len(tiles) == 10
    good, bad = of_many.splitlines()
    assert bad.startswith("README.md: not a slide")
    monkeypatch.chdir(PROJECT)
    assert run(["predict", "examples/digits.tif", "-m", "megapixel-digits", "-n", "10", "--json"]) == 0
    ours, theirs = ({**json.loads(line), "seconds": None} for line in (good, capfd.readouterr().out))
    assert ours == theirs, "to the last digit"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_the_readme_and_ci_test_by_the_same_command() -> None:
    pattern = re.search(r"grep -m 1 '([^']+)' README.md", (PROJECT / ".ci" / "run").read_text())
    assert pattern
    (command,) = re.findall(f"^.*{pattern[1]}.*$", (PROJECT / "README.md").read_text(), re.M)
    assert command.startswith("python3 -m venv .venv && ")

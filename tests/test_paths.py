"""Paths as users write them: `~`, and paths relative to the folder that a command is called in."""

from __future__ import annotations

import getpass
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.models import ParameterInfo

from ats_cli.app import COMMANDS, run
from ats_cli.errors import AtsError
from ats_cli.paths import user_path
from ats_cli.slides import SlideSource, slide_path
from tests.small import noise, write_model, write_slide


@given(st.text("ab~/. :", min_size=1, max_size=8))
def test_a_path_is_that_of_a_shell(text: str) -> None:
    """Only what begins with ~ is another path than the one written; no test account is called a or b."""
    home = str(Path.home())
    user = text.partition("/")[0]
    if user == "~":
        assert user_path(text) == Path(home + text[1:])
    elif user.startswith("~") and "/" in text:
        with pytest.raises(AtsError, match="is not known here"):
            user_path(text)
    else:
        assert user_path(text) == Path(text)


def test_what_is_called_like_a_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = f"~{getpass.getuser()}"
    assert user_path(f"{name}/a.tif") == Path.home() / "a.tif"
    for folder in ("~", name):
        (tmp_path / folder).mkdir()
    assert user_path("~/a.tif") == Path.home() / "a.tif"
    assert user_path(f"{name}/a.tif") == Path(name) / "a.tif"
    assert user_path("./~/a.tif") == Path("~/a.tif")
    assert slide_path(Path("~/a.tif")) == Path("~/a.tif")
    assert slide_path("https://host/~me/a.tif") != user_path("https://host/~me/a.tif")


def test_every_option_that_takes_a_path_expands_it() -> None:
    found = 0
    for name in COMMANDS:
        command = getattr(import_module(f"ats_cli.commands.{name}"), "command", None)
        if command is None:
            continue
        hints: dict[str, Any] = get_type_hints(command, include_extras=True)
        for option in signature(command).parameters:
            kind, *info = get_args(hints[option]) or (hints[option],)
            if "Path" in str(kind):
                (parameter,) = (one for one in info if isinstance(one, ParameterInfo))
                assert parameter.parser is user_path, (name, option)
                found += 1
    assert found > 10


def test_a_slide_is_the_same_in_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = SlideSource("a", Path("s/a.tif"))
    assert source.path == tmp_path / "s" / "a.tif" and source.given == "s/a.tif"


@pytest.mark.integration
def test_a_table_shows_a_path_as_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Also of a slide that failed; run.json has the whole path, with which the run goes on from another folder."""
    write_slide(tmp_path / "s" / "a.tif", noise(60, 60))
    (tmp_path / "s" / "b.svs").write_bytes(b"nothing")
    write_model(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    assert run(["predict", "s", "-m", "model", "-o", "run", "--quiet"]) == 1
    table = (tmp_path / "run" / "predictions.csv").read_text()
    assert "\na,s/a.tif,ok" in table and "\nb,s/b.svs,failed" in table
    assert f'"path": "{tmp_path}/s/a.tif"' in (tmp_path / "run" / "run.json").read_text()
    monkeypatch.chdir(tmp_path / "s")
    assert run(["predict", "../s", "-m", "../model", "-o", "../run", "--quiet"]) == 1
    capfd.readouterr()
    assert (tmp_path / "run" / "predictions.csv").read_text() == table

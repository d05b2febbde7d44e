"""A sampler is one class and one line in the registry: the page about extending ats has it, and it works."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import noise, write_model, write_slide

from ats_cli.app import run
from ats_cli.registry import SAMPLERS
from ats_cli.sampling import standard_error

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"


@pytest.fixture
def sampler() -> Iterator[Any]:
    section = PAGE.read_text(encoding="utf-8").partition("## Add a sampler")[2].partition("\n## ")[0]
    code = re.findall(r"```python\n(.*?)```", section, re.S)[0]
    names: dict[str, Any] = {}
    exec(compile(code, "independent.py", "exec"), names)
    SAMPLERS.register("independent", names["SAMPLER"])
    yield names["SAMPLER"]
    SAMPLERS.unregister("independent")


class Sequence:
    """A generator whose draws are given."""

    def __init__(self, drawn: tuple[int, ...]) -> None:
        self.drawn = drawn

    def choice(self, size: int, tiles: int, p: Any) -> Any:
        return np.array(self.drawn)


@pytest.mark.parametrize("tiles", [2, 3, 4])
def test_it_is_unbiased_and_so_is_its_variance(sampler: Any, tiles: int) -> None:
    """Over every sample of a small map: the mean estimate, and the mean squared standard error."""
    attention = np.array([0.4, 0.3, 0.2, 0.1])
    values = np.random.default_rng(0).normal(size=(4, 2))
    truth = attention @ values
    mean, variance, squares = np.zeros(2), np.zeros(2), np.zeros(2)
    for drawn in itertools.product(range(4), repeat=tiles):
        one = sampler.draw(attention, (2, 2), tiles, Sequence(drawn))
        estimate, probability = one.weights @ values[one.positions], np.prod(attention[list(drawn)])
        error = standard_error(one, values[one.positions])
        assert error.se is not None and error.kind == "unbiased"
        mean, squares = mean + probability * estimate, squares + probability * (estimate - truth) ** 2
        variance = variance + probability * error.se**2
    np.testing.assert_allclose(mean, truth, atol=1e-12)
    np.testing.assert_allclose(variance, squares, rtol=1e-9)


def test_it_predicts_through_the_command_line(sampler: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model, slide = write_model(tmp_path / "model"), write_slide(tmp_path / "a.tif", noise(120, 160))
    assert run(["predict", str(slide), "-m", str(model), "--sampler", "independent", "--tiles", "9", "--json"]) == 0
    record = json.loads(capfd.readouterr().out)
    assert record["sampler"] == "independent" and record["se_kind"] == "unbiased"
    assert all(0 < error < 1 for error in record["se"].values())


def test_unregistered_it_is_unknown(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["predict", "a.tif", "--sampler", "independent"]) == 2
    assert "unknown sampler 'independent'" in capfd.readouterr().err

"""Slides of every container, drawn at random: what is read is what an independent reader sees."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, note, settings

from agreement.cases import OFFERS, Case, case_from_json, cases
from agreement.compare import disagreements

pytestmark = pytest.mark.integration

SLOW = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


def agrees(case: Case) -> None:
    found = disagreements(case)
    note(f"python -m benchmarks.agreement --case '{case.to_json()}'")
    assert not found, "\n".join(found)


@pytest.mark.parametrize("container", OFFERS)
def test_a_few_slides_of_each_container(container: str) -> None:
    @given(cases(container))
    @settings(max_examples=6, deadline=None, suppress_health_check=SLOW)
    def few(case: Case) -> None:
        agrees(case)

    few()


@pytest.mark.slow
@pytest.mark.parametrize("container", OFFERS)
def test_many_slides_of_each_container(container: str) -> None:
    @given(cases(container))
    @settings(max_examples=200, deadline=None, suppress_health_check=SLOW)
    def many(case: Case) -> None:
        agrees(case)

    many()


def test_a_case_is_its_text() -> None:
    case = Case("svs", 1283, 700, (256, 256), "jpeg-ycbcr", downsamples=(4.0, 16.0), subsampling=(2, 2), restart=7)
    assert case_from_json(case.to_json()) == case

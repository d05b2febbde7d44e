"""`ats info --check` over damage of every kind that a format can show: what was done is found, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, assume, given, note, settings

from agreement.cases import OFFERS, Case
from agreement.checking import unnoticed
from agreement.damage import damaged

pytestmark = pytest.mark.integration

SLOW = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


def finds_damage(container: str, most: int) -> None:
    @given(damaged(container))
    @settings(max_examples=most, deadline=None, suppress_health_check=SLOW)
    def finds(drawn: tuple[Case, str, int]) -> None:
        case, kind, number = drawn
        found = unnoticed(case, kind, number)
        note(f"python -m benchmarks.agreement --damage {kind} --number {number} --case '{case.to_json()}'")
        assume(found is not None)
        assert not found, "\n".join(found or [])

    finds()


@pytest.mark.parametrize("container", OFFERS)
def test_damage_of_a_few_slides_is_found(container: str) -> None:
    finds_damage(container, 5)


@pytest.mark.slow
@pytest.mark.parametrize("container", OFFERS)
def test_damage_of_many_slides_is_found(container: str) -> None:
    finds_damage(container, 200)

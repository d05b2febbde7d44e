"""`ats info --check` over damage of every kind that a format can show: what was done is found, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, assume, given, note, settings
from hypothesis import strategies as st

from agreement.cases import OFFERS, Case, cases
from agreement.checking import unnoticed
from agreement.damage import kinds_of
from agreement.still_open import still_open

SLOW = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


def finds(case: Case, kind: str, number: int) -> None:
    found = unnoticed(case, kind, number)
    note(f"{kind} {number} of {case.to_json()}")
    assume(found is not None)
    assert not found, "\n".join(found or [])


@pytest.mark.parametrize("container", OFFERS)
def test_damage_of_a_few_slides_is_found(container: str) -> None:
    @given(cases(container).filter(lambda case: not still_open(case)), st.data())
    @settings(max_examples=8, deadline=None, suppress_health_check=SLOW)
    def few(case: Case, data: st.DataObject) -> None:
        finds(case, data.draw(st.sampled_from(kinds_of(case))), data.draw(st.integers(0, 999)))

    few()


@pytest.mark.slow
@pytest.mark.parametrize("container", OFFERS)
def test_damage_of_many_slides_is_found(container: str) -> None:
    @given(cases(container).filter(lambda case: not still_open(case)), st.data())
    @settings(max_examples=200, deadline=None, suppress_health_check=SLOW)
    def many(case: Case, data: st.DataObject) -> None:
        finds(case, data.draw(st.sampled_from(kinds_of(case))), data.draw(st.integers(0, 999)))

    many()

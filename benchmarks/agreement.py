"""Slides drawn at random, read here and by independent readers, for as long as one likes.

    python -m benchmarks.agreement --minutes 60 [--seed N] [--container svs]
    python -m benchmarks.agreement --case '{"container": "svs", ...}'

Containers take turns. Prints how many cases of each were tried, and of every disagreement the smallest case that shows
it, with the seconds after which it was found. Status 1 on any.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "slides"))

from agreement.cases import OFFERS, Case, case_from_json, cases
from agreement.compare import disagreements
from hypothesis import HealthCheck, Phase, given, seed, settings

_CASES_A_TURN = 25
_MOST_SHOWN = 3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--container", choices=list(OFFERS), action="append", help="this one alone; may be repeated")
    parser.add_argument("--case", help="try one case, as printed")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.case:
        found = disagreements(case_from_json(arguments.case))
        print("\n".join(found) or "no disagreement")
        return int(bool(found))
    containers, tried, kinds = arguments.container or list(OFFERS), Counter[str](), Counter[str]()
    start, turn = time.monotonic(), 0
    while time.monotonic() - start < 60 * arguments.minutes:
        container = containers[turn % len(containers)]
        shown = _turn(container, 1_000_003 * arguments.seed + turn, tried)
        turn += 1
        if shown is not None:
            case, sentences = shown
            kind = f"{container}: {re.sub(r'[0-9][0-9.]*', '#', sentences[0])[:60]}"
            kinds[kind] += 1
            if kinds[kind] <= _MOST_SHOWN:
                print(f"{time.monotonic() - start:.0f} s: --case '{case.to_json()}'")
                print("\n".join(f"    {sentence}" for sentence in sentences[:4]), flush=True)
    print("\n| container | cases |\n| --- | --- |")
    print("\n".join(f"| {container} | {tried[container]} |" for container in containers))
    print(f"{sum(tried.values())} cases in {(time.monotonic() - start) / 60:.1f} minutes, {sum(kinds.values())} of "
          f"{turn} turns with a disagreement")  # fmt: skip
    print("\n".join(f"{count} x {kind}" for kind, count in kinds.most_common()))
    return int(bool(kinds))


def _turn(container: str, number: int, tried: Counter[str]) -> tuple[Case, list[str]] | None:
    """Some cases of a container; of those that disagree, the smallest that hypothesis finds."""
    smallest: list[tuple[Case, list[str]]] = []

    @seed(number)
    @settings(
        max_examples=_CASES_A_TURN,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases(container))
    def tries(case: Case) -> None:
        tried[container] += 1
        sentences = disagreements(case)
        if sentences:
            smallest[:] = [(case, sentences)]
            raise AssertionError(sentences[0])

    with contextlib.suppress(AssertionError):
        tries()
    return smallest[0] if smallest else None


if __name__ == "__main__":
    sys.exit(main())

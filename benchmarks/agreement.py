"""Slides drawn at random, read here and by independent readers, for as long as one likes.

    python -m benchmarks.agreement --minutes 60 [--seed N] [--container svs]
    python -m benchmarks.agreement --case '{"container": "svs", ...}'

Containers take turns; of three rounds two compare pixels and one damages files and compares what `ats info --check`
finds. Prints how many cases of each were tried, and of every disagreement the smallest case that shows it, with the
seconds after which it was found. Status 1 on any.
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
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "slides"))

from agreement.cases import OFFERS, case_from_json, cases
from agreement.checking import unnoticed
from agreement.compare import disagreements
from agreement.damage import damaged
from hypothesis import HealthCheck, Phase, given, seed, settings

_CASES_A_TURN = 25
_MOST_SHOWN = 3


def main() -> int:
    arguments = _arguments()
    warnings.simplefilter("ignore")
    if arguments.case:
        case = case_from_json(arguments.case)
        found = unnoticed(case, arguments.damage, arguments.number) if arguments.damage else disagreements(case)
        print("\n".join(found or []) or "no disagreement")
        return int(bool(found))
    containers, tried, kinds = arguments.container or list(OFFERS), Counter[tuple[str, str]](), Counter[str]()
    start, turn = time.monotonic(), 0
    while time.monotonic() - start < 60 * arguments.minutes:
        container, modes = containers[turn % len(containers)], ("read", "read", "checked")
        mode = modes[turn // len(containers) % len(modes)]
        found = _turn(container, mode, 1_000_003 * arguments.seed + turn, tried)
        turn += 1
        if found is not None:
            at, command, sentences = found
            kind = f"{container}: {re.sub(r'[0-9][0-9.]*', '#', sentences[0])[:60]}"
            kinds[kind] += 1
            if kinds[kind] <= _MOST_SHOWN:
                print(f"{at - start:.0f} s: {command}")
                print("\n".join(f"    {sentence}" for sentence in sentences[:4]), flush=True)
    print("\n| container | read | damaged and checked |\n| --- | --- | --- |")
    for container in containers:
        print(f"| {container} | {tried[container, 'read']} | {tried[container, 'checked']} |")
    minutes = (time.monotonic() - start) / 60
    print(f"{sum(tried.values())} cases in {minutes:.1f} minutes, {sum(kinds.values())} of {turn} turns disagree")
    print("\n".join(f"{count} x {kind}" for kind, count in kinds.most_common()))
    return int(bool(kinds))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--container", choices=list(OFFERS), action="append", help="this one alone; may be repeated")
    parser.add_argument("--case", help="try one case, as printed")
    parser.add_argument("--damage", help="with --case: damage it in this way, as printed")
    parser.add_argument("--number", type=int, default=0, help="with --damage: where")
    return parser.parse_args()


def _turn(
    container: str, mode: str, number: int, tried: Counter[tuple[str, str]]
) -> tuple[float, str, list[str]] | None:
    """Some cases of a container; of those that disagree when the first was found, the smallest as options, and why."""
    smallest: list[tuple[float, str, list[str]]] = []

    def tries(drawn: Any) -> None:
        tried[container, mode] += 1
        if mode == "read":
            options, sentences = f"--case '{drawn.to_json()}'", disagreements(drawn)
        else:
            case, kind, where = drawn
            options = f"--damage {kind} --number {where} --case '{case.to_json()}'"
            sentences = unnoticed(case, kind, where) or []
        if sentences:
            first = smallest[0][0] if smallest else time.monotonic()
            smallest[:] = [(first, options, sentences)]
            raise AssertionError(sentences[0])

    settled = settings(
        max_examples=_CASES_A_TURN,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    drawn = cases(container) if mode == "read" else damaged(container)
    with contextlib.suppress(AssertionError):
        seed(number)(settled(given(drawn)(tries)))()
    return smallest[0] if smallest else None


if __name__ == "__main__":
    sys.exit(main())

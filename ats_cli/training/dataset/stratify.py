"""Deal groups into parts so that every part has every class."""

import numpy as np
from numpy.typing import NDArray

Members = NDArray[np.bool_]

ATTEMPTS = 30  # deals that are repaired; each begins with another order
CANDIDATES = 40  # groups that a repair tries to move or to exchange


def deal(
    kinds: NDArray[np.int64], members: Members, parts: int, rng: np.random.Generator, fraction: float | None = None
) -> NDArray[np.int64]:
    """The part of each group, (groups,), from 0 to `parts` - 1.

    `kinds`: (groups,), the kind by which groups are dealt: each part gets about its share of each kind, part 0 of two
    parts the share `fraction` if that is given. `members`: (groups, classes) bool, which group is of which class;
    groups are exchanged until every part has every class, if a way is found. See `lacking` for what is then missing.
    """
    best = None
    for _ in range(ATTEMPTS):
        part = _by_kind(kinds, members, parts, rng, fraction)
        _repair(part, members, parts, rng)
        missing = len(lacking(part, members, parts))
        if best is None or missing < best[0]:
            best = missing, part
        if not missing:
            break
    assert best is not None
    return best[1]


def lacking(part: NDArray[np.int64], members: Members, parts: int) -> list[tuple[int, int]]:
    """The parts and classes (part, class) such that no group in the part is of the class."""
    return [(p, int(c)) for p in range(parts) for c in np.flatnonzero(~members[part == p].any(0))]


def _by_kind(
    kinds: NDArray[np.int64], members: Members, parts: int, rng: np.random.Generator, fraction: float | None
) -> NDArray[np.int64]:
    alike = np.unique(members, axis=0, return_inverse=True)[1].reshape(-1)
    part = np.full(len(kinds), parts - 1, np.int64)
    begin = 0
    for kind in np.unique(kinds):
        own = np.flatnonzero(kinds == kind)
        if fraction is not None:
            count = min(max(1, round(fraction * len(own))), len(own) - 1)
            part[rng.choice(own, count, replace=False)] = 0
        else:
            # Each kind continues where the last one ended, so that the parts have the same size; groups of the same
            # classes are dealt one after the other.
            order = rng.permutation(own)
            order = order[np.argsort(alike[order], kind="stable")]
            part[order] = (begin + np.arange(len(own))) % parts
            begin += len(own)
    return part


def _repair(part: NDArray[np.int64], members: Members, parts: int, rng: np.random.Generator) -> None:
    """Exchange groups between parts, or move one, as long as fewer classes are missing after it."""
    counts = np.stack([members[part == p].sum(0) for p in range(parts)])
    while (counts == 0).any():
        to, name = np.argwhere(counts == 0)[0]
        if not _improve(part, members, counts, int(to), int(name), rng):
            return


def _improve(
    part: NDArray[np.int64],
    members: Members,
    counts: NDArray[np.int64],
    to: int,
    name: int,
    rng: np.random.Generator,
) -> bool:
    """Bring a group of class `name` into part `to`, for another of it or for none, if less is missing then.

    `counts`: (parts, classes), how many groups of a part are of a class; updated.
    """
    missing = int((counts == 0).sum())
    there = rng.permutation(np.flatnonzero(part == to))[:CANDIDATES]
    for group in rng.permutation(np.flatnonzero(members[:, name] & (part != to)))[:CANDIDATES]:
        origin = part[group]
        for other in (*there, None):
            after = counts.copy()
            change = members[group].astype(np.int64) - (0 if other is None else members[other])
            after[to] += change
            after[origin] -= change
            if (after == 0).sum() < missing:
                part[group] = to
                if other is not None:
                    part[other] = origin
                counts[:] = after
                return True
    return False

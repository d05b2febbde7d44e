"""What is familiar to a model: the distribution of the slides that it was trained on, in a few numbers a slide.

A slide's traits are compared by their Mahalanobis distance from the training slides' mean, with a covariance that is
shrunk towards the sphere (OAS: Chen, Wiesel, Eldar and Hero 2010), so that it stands on fewer slides than traits. The
limit is a quantile of the distances of slides that had no part in mean and covariance: of the validation slides and,
in turns, of the training slides. A score is a distance by that limit; above 1 a slide is unfamiliar.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ats_cli.records import ModelError

Floats = NDArray[np.float64]

FAMILIARITY_FILE = "familiarity.safetensors"

# The share of own slides that is flagged, were they as many as one likes; the limit of few is their largest distance
# and a tenth more.
SHARE, MARGIN = 0.01, 1.1
# The share of own slides that is flagged at most, however far out they are.
MOST_FLAGGED = 0.04
# Slides below which nothing is said.
FEWEST = 8
# Traits are colours and activations between -1 and 1: a difference below this is none.
LEAST = 0.02
TURNS = 10


@dataclass(frozen=True)
class Familiarity:
    """Mean and spread (T,) of the training slides' traits, the inverse (T, T) of the covariance of the standardised
    ones, and the distance that is the `limit`.

    `slides`, `held`: how many training and validation slides it stands on, read with `tiles` tiles each. `weights`: the
    fingerprint of the weights that it belongs to.
    """

    centre: Floats
    spread: Floats
    inverse: Floats
    limit: float
    slides: int
    held: int
    tiles: int
    weights: str = ""

    @property
    def described(self) -> str:
        """What a score compares with, for people."""
        more = f" and {self.held} validation" if self.held else ""
        return f"{self.slides} training{more} slides"

    def score(self, traits: Floats) -> float | None:
        """How far a slide is from the training slides, 1 being the limit; None of traits that are no numbers."""
        if traits.shape != self.centre.shape or not np.isfinite(traits).all():
            return None
        return float(_distances(traits[None], self.centre, self.spread, self.inverse)[0]) / self.limit


def fit(train: Floats, held: Floats, tiles: int, weights: str) -> Familiarity | None:
    """From the traits of training slides (n, T) and of validation slides (m, T); None of too few to say anything."""
    if len(train) < FEWEST:
        return None
    distances = np.zeros(len(train))
    # At random: slides often come class by class, or in turn.
    turns = np.random.default_rng(0).permutation(len(train)) % TURNS
    for turn in range(min(TURNS, len(train))):
        left_out = turns == turn
        distances[left_out] = _distances(train[left_out], *_shape(train[~left_out]))
    shape = _shape(train)
    limit = _limit(distances)
    if len(held):
        limit = max(limit, _limit(_distances(held, *shape)))
    return Familiarity(*shape, limit, len(train), len(held), tiles, weights)


def write_familiarity(folder: Path, found: Familiarity) -> None:
    """Write the file into a model folder."""
    from safetensors.numpy import save

    facts = {name: getattr(found, name) for name in ("limit", "slides", "held", "tiles", "weights")}
    arrays = {"centre": found.centre, "spread": found.spread, "inverse": found.inverse}
    beside = folder / (FAMILIARITY_FILE + ".part")
    beside.write_bytes(save(arrays, metadata={"familiarity": json.dumps(facts)}))
    beside.replace(folder / FAMILIARITY_FILE)


def read_familiarity(folder: Path, weights: str) -> Familiarity | None:
    """What a model folder has, None if nothing. Raises ModelError where it cannot be read, or is of other weights."""
    from safetensors import safe_open

    file = folder / FAMILIARITY_FILE
    if not file.exists():
        return None
    try:
        with safe_open(file, "numpy") as stream:
            facts = json.loads(stream.metadata()["familiarity"])
            arrays = {name: stream.get_tensor(name) for name in ("centre", "spread", "inverse")}
        found = Familiarity(**arrays, **facts)
        _refuse_nonsense(found)
    except Exception as error:  # of a file that is damaged, its reader raises what it likes
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"{file}: cannot be read ({reason}). Take the model from a good copy, or train it anew."
        ) from error
    if found.weights != weights:
        raise ModelError(f"{file}: is of other weights. Take the model from a good copy, or train it anew.")
    return found


def _refuse_nonsense(found: Familiarity) -> None:
    width = found.centre.size
    shapes = [found.centre.shape, found.spread.shape, found.inverse.shape]
    if not width or shapes != [(width,), (width,), (width, width)]:
        raise ValueError("its arrays do not fit each other")
    numbers = np.concatenate([array.ravel() for array in (found.centre, found.spread, found.inverse)])
    if numbers.dtype != np.float64 or not np.isfinite(numbers).all() or (found.spread <= 0).any():
        raise ValueError("its arrays are no numbers")
    if not 0 < float(found.limit) < np.inf or not all(type(n) is int for n in (found.slides, found.held, found.tiles)):
        raise ValueError("its limit is no number")


def _shape(traits: Floats) -> tuple[Floats, Floats, Floats]:
    """Mean and spread (T,) of traits (n, T), and the inverse of the standardised ones' covariance, shrunk (T, T)."""
    centre, spread = traits.mean(0), np.maximum(traits.std(0), LEAST)
    standardised = (traits - centre) / spread
    n, p = traits.shape
    covariance = standardised.T @ standardised / n
    trace, squared = float(np.trace(covariance)), float(np.square(covariance).sum())
    above, below = (1 - 2 / p) * squared + trace**2, (n + 1 - 2 / p) * (squared - trace**2 / p)
    share = 1.0 if below <= 0 else min(1.0, above / below)
    # Where nothing varies, the sphere is that of the least difference.
    sphere = max(trace / p, 1e-3)
    return centre, spread, np.linalg.inv((1 - share) * covariance + share * sphere * np.eye(p))


def _distances(traits: Floats, centre: Floats, spread: Floats, inverse: Floats) -> Floats:
    """Mahalanobis distance (n,) of traits (n, T), over the root of T."""
    standardised = (traits - centre) / spread
    squared = np.einsum("ni,ij,nj->n", standardised, inverse, standardised)
    return np.asarray(np.sqrt(np.maximum(squared, 0) / traits.shape[1]))


def _limit(distances: Floats) -> float:
    """The distance that a further slide of the same kind exceeds with probability SHARE (a conformal quantile).

    Own slides that are far out among their like (Tukey's outer fence) do not move it, as long as they are no more than
    MOST_FLAGGED.
    """
    ordered = np.sort(distances)
    rank = int(np.ceil((len(ordered) + 1) * (1 - SHARE)))
    limit = ordered[rank - 1] if rank <= len(ordered) else ordered[-1] * MARGIN
    lower, upper = np.quantile(ordered, [0.25, 0.75])
    fence = upper + 3 * (upper - lower)
    return float(max(min(limit, fence), np.quantile(ordered, 1 - MOST_FLAGGED, method="inverted_cdf")))

"""Whether a slide is out of distribution: unlike the slides that a model was trained on.

The embedding of a slide is compared by its Mahalanobis distance from the training slides' mean, with a covariance that
is shrunk towards a multiple of the identity (OAS: Chen, Wiesel, Eldar and Hero 2010), so that fewer slides than
dimensions suffice. The limit is a quantile of the distances of slides that had no part in mean and covariance: of the
validation slides and, by cross-validation, of the training slides. A score is the distance divided by the limit; above
1 a slide is out of distribution.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ats_cli.errors import ModelError

Floats = NDArray[np.float64]

OUT_OF_DISTRIBUTION_FILE = "familiarity.safetensors"

# The share of in-distribution slides above the limit, if there are enough of them; for few slides the limit is their
# largest distance times MARGIN.
SHARE, MARGIN = 0.01, 1.1
# The largest share of in-distribution slides above the limit, however far out they are.
MAX_SHARE = 0.04
MIN_SLIDES = 8  # fewer training slides give no model
# Embeddings are colours and activations between -1 and 1: smaller standard deviations count as this.
MIN_SCALE = 0.02
FOLDS = 10


@dataclass(frozen=True)
class OutOfDistribution:
    """The distribution of the training slides' embeddings.

    mean, scale: (T,) mean and standard deviation of the embeddings.
    inverse_covariance: (T, T) of the standardised embeddings.
    limit: the distance above which a slide is out of distribution.
    training_slides, validation_slides: how many slides it was fitted to, each read with `tiles` tiles.
    weights: the fingerprint of the weights that it belongs to.
    """

    mean: Floats
    scale: Floats
    inverse_covariance: Floats
    limit: float
    training_slides: int
    validation_slides: int
    tiles: int
    weights: str = ""

    @property
    def reference_slides(self) -> str:
        """What a score compares with, for people."""
        validation = f" and {self.validation_slides} validation" if self.validation_slides else ""
        return f"{self.training_slides} training{validation} slides"

    def score(self, embedding: Floats) -> float | None:
        """Return the distance of a slide from the training slides, divided by the limit; None if it is not finite."""
        if embedding.shape != self.mean.shape or not np.isfinite(embedding).all():
            return None
        return float(_distances(embedding[None], self.mean, self.scale, self.inverse_covariance)[0]) / self.limit


# The names of its fields in the file: arrays, then metadata.
_ARRAYS = {"mean": "centre", "scale": "spread", "inverse_covariance": "inverse"}
_METADATA = {
    "limit": "limit", "training_slides": "slides", "validation_slides": "held", "tiles": "tiles", "weights": "weights",
}  # fmt: skip


def fit(training: Floats, validation: Floats, tiles: int, weights: str) -> OutOfDistribution | None:
    """Fit to the embeddings of training slides (n, T) and of validation slides (m, T); None for too few slides."""
    if len(training) < MIN_SLIDES:
        return None
    distances = np.zeros(len(training))
    # In random order: slides are often ordered by class.
    folds = np.random.default_rng(0).permutation(len(training)) % FOLDS
    for fold in range(min(FOLDS, len(training))):
        left_out = folds == fold
        distances[left_out] = _distances(training[left_out], *_distribution(training[~left_out]))
    distribution = _distribution(training)
    limit = _limit(distances)
    if len(validation):
        limit = max(limit, _limit(_distances(validation, *distribution)))
    return OutOfDistribution(*distribution, limit, len(training), len(validation), tiles, weights)


def write_out_of_distribution(folder: Path, fitted: OutOfDistribution) -> None:
    """Write the file into a model folder."""
    from safetensors.numpy import save

    metadata = {key: getattr(fitted, name) for name, key in _METADATA.items()}
    arrays = {key: getattr(fitted, name) for name, key in _ARRAYS.items()}
    part = folder / (OUT_OF_DISTRIBUTION_FILE + ".part")
    part.write_bytes(save(arrays, metadata={"familiarity": json.dumps(metadata)}))
    part.replace(folder / OUT_OF_DISTRIBUTION_FILE)


def read_out_of_distribution(folder: Path, weights: str) -> OutOfDistribution | None:
    """Return that of a model folder, or None. Raises ModelError if it cannot be read, or belongs to other weights."""
    from safetensors import safe_open

    file = folder / OUT_OF_DISTRIBUTION_FILE
    if not file.exists():
        return None
    try:
        with safe_open(file, "numpy") as stream:
            metadata = json.loads(stream.metadata()["familiarity"])
            arrays = {name: stream.get_tensor(key) for name, key in _ARRAYS.items()}
        names = {key: name for name, key in _METADATA.items()}
        fitted = OutOfDistribution(**arrays, **{names[key]: value for key, value in metadata.items()})
        _refuse_nonsense(fitted)
    except Exception as error:  # the reader of a damaged file raises errors of many types
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"{file}: cannot be read ({reason}). Take the model from a good copy, or train again."
        ) from error
    if fitted.weights != weights:
        raise ModelError(f"{file}: belongs to other weights. Take the model from a good copy, or train again.")
    return fitted


def _refuse_nonsense(fitted: OutOfDistribution) -> None:
    width = fitted.mean.size
    arrays = (fitted.mean, fitted.scale, fitted.inverse_covariance)
    if not width or [array.shape for array in arrays] != [(width,), (width,), (width, width)]:
        raise ValueError("its arrays do not fit each other")
    numbers = np.concatenate([array.ravel() for array in arrays])
    if numbers.dtype != np.float64 or not np.isfinite(numbers).all() or (fitted.scale <= 0).any():
        raise ValueError("its arrays are not finite float64")
    counts = (fitted.training_slides, fitted.validation_slides, fitted.tiles)
    if not 0 < float(fitted.limit) < np.inf or not all(type(count) is int for count in counts):
        raise ValueError("its limit or counts are not valid")


def _distribution(embeddings: Floats) -> tuple[Floats, Floats, Floats]:
    """Return mean and scale (T,) of embeddings (n, T), and the inverse of their shrunk covariance (T, T)."""
    mean, scale = embeddings.mean(0), np.maximum(embeddings.std(0), MIN_SCALE)
    standardised = (embeddings - mean) / scale
    n, p = embeddings.shape
    covariance = standardised.T @ standardised / n
    trace, squared = float(np.trace(covariance)), float(np.square(covariance).sum())
    numerator, denominator = (1 - 2 / p) * squared + trace**2, (n + 1 - 2 / p) * (squared - trace**2 / p)
    shrinkage = 1.0 if denominator <= 0 else min(1.0, numerator / denominator)
    # If nothing varies, the variance is that of MIN_SCALE or less.
    variance = max(trace / p, 1e-3)
    return mean, scale, np.linalg.inv((1 - shrinkage) * covariance + shrinkage * variance * np.eye(p))


def _distances(embeddings: Floats, mean: Floats, scale: Floats, inverse_covariance: Floats) -> Floats:
    """Return the Mahalanobis distances (n,) of embeddings (n, T), divided by the square root of T."""
    standardised = (embeddings - mean) / scale
    squared = np.einsum("ni,ij,nj->n", standardised, inverse_covariance, standardised)
    return np.asarray(np.sqrt(np.maximum(squared, 0) / embeddings.shape[1]))


def _limit(distances: Floats) -> float:
    """Return the distance that another slide of the same kind exceeds with probability SHARE (a conformal quantile).

    Outliers beyond Tukey's outer fence do not raise it, as long as they are no more than MAX_SHARE.
    """
    ordered = np.sort(distances)
    rank = int(np.ceil((len(ordered) + 1) * (1 - SHARE)))
    limit = ordered[rank - 1] if rank <= len(ordered) else ordered[-1] * MARGIN
    lower, upper = np.quantile(ordered, [0.25, 0.75])
    fence = upper + 3 * (upper - lower)
    return float(max(min(limit, fence), np.quantile(ordered, 1 - MAX_SHARE, method="inverted_cdf")))

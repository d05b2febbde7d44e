"""A digest of what stored numbers were computed with: with other weights or places they are not used again."""

import hashlib

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


def digest_of(*arrays: Tensor | NDArray[np.float64]) -> str:
    """The SHA-256 of the values of arrays, 32 hex digits."""
    digest = hashlib.sha256()
    for array in arrays:
        values = array.detach().cpu().contiguous().numpy() if isinstance(array, Tensor) else array
        digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()[:32]

"""The random generator of a slide, from the run's seed and the slide's name."""

import hashlib

import numpy as np


def slide_seed(seed: int, name: str) -> int:
    """Return 128 bits that depend on `seed` and the slide's file name only.

    A slide gets the same draw alone or in a batch, from any folder, in any order. Python's own `hash` is salted per
    process, so it cannot be used.
    """
    digest = hashlib.blake2b(f"{seed}\0{name}".encode(errors="surrogatepass"), digest_size=16).digest()
    return int.from_bytes(digest, "little")


def slide_rng(seed: int, name: str) -> np.random.Generator:
    """Return the generator with the seed `slide_seed`."""
    return np.random.Generator(np.random.PCG64(slide_seed(seed, name)))

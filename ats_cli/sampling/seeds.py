"""One generator a slide, from the run's seed and the slide's name."""

import hashlib

import numpy as np


def slide_seed(seed: int, name: str) -> int:
    """128 bits fixed by `seed` and the slide's file name alone.

    A slide gives the same draw alone or in a batch, from whatever folder, in whatever order. Python's own `hash`
    is salted per process and would not do.
    """
    digest = hashlib.blake2b(f"{seed}\0{name}".encode(errors="surrogatepass"), digest_size=16).digest()
    return int.from_bytes(digest, "little")


def slide_rng(seed: int, name: str) -> np.random.Generator:
    """The generator of `slide_seed`."""
    return np.random.Generator(np.random.PCG64(slide_seed(seed, name)))

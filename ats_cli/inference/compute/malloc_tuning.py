"""Tuning of malloc for a process that only predicts: freed memory is retained between forward passes."""

import ctypes
import sys

# From glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8


def tune_malloc() -> None:
    """Make malloc retain freed memory for the next forward pass. Does nothing if the C library is not glibc.

    By default the kernel maps each large array, zeroes its pages and unmaps it, which takes a third of the attention
    network's time. All threads use one arena, because memory retained in one arena is not available to the others.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_ARENA_MAX, 1)):
            mallopt(option, value)

"""The heap of a process that does nothing but predict: kept between forward passes, in one piece."""

import ctypes
import sys

# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8


def keep_heap() -> None:
    """Have freed memory kept for the next forward pass. Where the C library is not glibc, nothing changes.

    Otherwise each large array is mapped by the kernel, zeroed page by page and given back, which takes a third of the
    attention net's time. One heap for all threads, since what one keeps the others cannot use.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_ARENA_MAX, 1)):
            mallopt(option, value)

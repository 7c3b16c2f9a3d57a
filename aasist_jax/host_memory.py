"""Keep freed memory in the process, for computing on a CPU."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8
_TOP_PAD = 256 * 2**20


def keep_freed_memory() -> bool:
    """Tell glibc's malloc to reuse large blocks instead of returning them to the kernel; False where it is not glibc.

    XLA's CPU backend allocates and frees its temporaries in every step. By default each of those blocks is mapped
    anew, and zeroing its pages costs as much time as the arithmetic. Call it before the first computation.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    # No block is mapped on its own, all threads share one heap, and it is never trimmed.
    settings = ((_M_MMAP_MAX, 0), (_M_ARENA_MAX, 1), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, _TOP_PAD))
    accepted = [mallopt(name, value) for name, value in settings]
    return all(accepted)


def return_freed_memory() -> bool:
    """Give freed memory back to the kernel; False where malloc is not glibc's.

    Now and then, in a long run of `keep_freed_memory`: a small block that stays in the midst of a large hole keeps that
    hole from being used again, and with time there are many holes.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        return bool(ctypes.CDLL(None).malloc_trim(0))
    except (OSError, AttributeError):
        return False

"""Keep freed memory in the process, in huge pages, for computing on a CPU."""

import ctypes
import mmap
import os
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8
_TOP_PAD = 256 * 2**20
_HUGE_PAGE = 2 * 2**20


def keep_freed_memory() -> bool:
    """Tell glibc's malloc to reuse large blocks instead of returning them to the kernel; False where it is not glibc.

    XLA's CPU backend allocates and frees its temporaries in every step, gigabytes in one block. By default such a block
    is mapped anew, and zeroing its pages costs as much time as the arithmetic. Huge pages, where Linux grants them to
    who asks, are cheaper still to come by and to look up. Call it before the first computation.
    """
    libc = _libc()
    if libc is None:
        return False
    # No block is mapped on its own, all threads share one heap, and it is never trimmed.
    settings = ((_M_MMAP_MAX, 0), (_M_ARENA_MAX, 1), (_M_TRIM_THRESHOLD, -1), (_M_TOP_PAD, _TOP_PAD))
    accepted = [libc.mallopt(name, value) for name, value in settings]
    _ask_for_huge_pages(libc, os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)
    return all(accepted)


def return_freed_memory() -> bool:
    """Give freed memory back to the kernel; False where malloc is not glibc's.

    Now and then, in a long run of `keep_freed_memory`: a small block that stays in the midst of a large hole keeps that
    hole from being used again, and with time there are many holes.
    """
    libc = _libc()
    return libc is not None and bool(libc.malloc_trim(0))


def _ask_for_huge_pages(libc: ctypes.CDLL, size: int) -> None:
    """Let the heap grow by `size`, untouched and so without taking memory, and ask for huge pages there."""
    libc.malloc.restype = ctypes.c_void_p
    block = libc.malloc(ctypes.c_size_t(size))
    if not block:  # not as much address space is allowed: all works without
        return
    begin = -(-block // _HUGE_PAGE) * _HUGE_PAGE
    end = (block + size) // _HUGE_PAGE * _HUGE_PAGE
    libc.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(max(end - begin, 0)), mmap.MADV_HUGEPAGE)
    libc.free(ctypes.c_void_p(block))


def _libc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "mallopt") else None

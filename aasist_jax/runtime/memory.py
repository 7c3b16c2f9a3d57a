"""Settings of the memory allocator for computing on a CPU: reuse freed memory, and use huge pages."""

import ctypes
import mmap
import os
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8
_TOP_PAD = 256 * 2**20
_HUGE_PAGE = 2 * 2**20


def keep_freed_memory() -> bool:
    """Make glibc's malloc reuse large blocks instead of returning them to the kernel; False if it is not glibc.

    XLA's CPU backend allocates and frees its temporaries in every step, gigabytes in one block. By default such a block
    is mapped again each time, and zeroing its pages takes as much time as the arithmetic. Huge pages, if Linux grants
    them on request, make allocation and address translation cheaper still. Call this before the first computation.
    """
    libc = _libc()
    if libc is None:
        return False
    # Never map a block separately, use one heap for all threads, and never trim it.
    settings = ((_M_MMAP_MAX, 0), (_M_ARENA_MAX, 1), (_M_TRIM_THRESHOLD, -1), (_M_TOP_PAD, _TOP_PAD))
    accepted = [libc.mallopt(name, value) for name, value in settings]
    _ask_for_huge_pages(libc, os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)
    return all(accepted)


def return_freed_memory() -> bool:
    """Return freed memory to the kernel; False if malloc is not glibc's.

    Call this from time to time in a long run with `keep_freed_memory`. Small blocks that stay allocated fragment the
    heap, so that large free regions cannot be reused.
    """
    libc = _libc()
    return libc is not None and bool(libc.malloc_trim(0))


def _ask_for_huge_pages(libc: ctypes.CDLL, size: int) -> None:
    """Grow the heap by `size` without touching it, which takes no memory yet, and request huge pages there."""
    libc.malloc.restype = ctypes.c_void_p
    block = libc.malloc(ctypes.c_size_t(size))
    if not block:  # address space is limited; huge pages are optional
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

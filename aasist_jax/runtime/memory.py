"""Settings of the memory allocator for computing on a CPU: reuse freed memory, and use huge pages."""

import contextlib
import ctypes
import functools
import mmap
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8
_TOP_PAD = 256 * 2**20
_HUGE_PAGE = 2 * 2**20
_ROOM_FOR_SMALL_BLOCKS = 2**30


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
    _make_room_for_small_blocks(libc)
    return all(accepted)


def return_freed_memory() -> bool:
    """Return freed memory to the kernel; False if malloc is not glibc's.

    Call this from time to time in a long run with `keep_freed_memory`. Small blocks that stay allocated fragment the
    heap, so that large free regions cannot be reused.
    """
    libc = _libc()
    return libc is not None and bool(libc.malloc_trim(0))


def return_unused_memory() -> bool:
    """Return freed memory to the kernel, as `return_freed_memory`, if much of the machine's memory lies unused.

    Much is what exceeds an eighth of it and the room for small blocks.

    Returns:
        Whether anything was returned. False if malloc is not glibc's, or older than 2.33.
    """
    libc = _libc()
    if libc is None or not hasattr(libc, "mallinfo2"):
        return False
    page = os.sysconf("SC_PAGE_SIZE")
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * page
    unused = resident - libc.mallinfo2().used
    if unused <= _ROOM_FOR_SMALL_BLOCKS + os.sysconf("SC_PHYS_PAGES") * page // 8:
        return False
    returned = bool(libc.malloc_trim(0))
    _ask_for_huge_pages(libc, unused)
    return returned


@contextlib.contextmanager
def unused_memory_returned(every: float = 0.25) -> Iterator[None]:
    """Call `return_unused_memory` from time to time in a long run with `keep_freed_memory`.

    JAX frees the temporaries of a step slightly after its results are there. If the next step allocates its own before
    that, they lie elsewhere, and what the first one used stays empty: the run would take twice the memory it needs.

    Args:
        every: seconds between two looks. They need not come at a certain moment of a step, because temporaries take
            memory only as they are written.
    """
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(every):
            return_unused_memory()

    watcher = threading.Thread(target=watch, name="unused memory", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


class _MallocInfo(ctypes.Structure):
    """`struct mallinfo2` of glibc, in bytes; `uordblks` is called used here."""

    _fields_ = [
        *((name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks")),
        *((name, ctypes.c_size_t) for name in ("used", "fordblks", "keepcost")),
    ]


def _ask_for_huge_pages(libc: ctypes.CDLL, size: int) -> None:
    """Grow the heap by `size` without touching it, which takes no memory yet, and request huge pages there."""
    block = libc.malloc(ctypes.c_size_t(size))
    if not block:  # address space is limited; huge pages are optional
        return
    begin = -(-block // _HUGE_PAGE) * _HUGE_PAGE
    end = (block + size) // _HUGE_PAGE * _HUGE_PAGE
    libc.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(max(end - begin, 0)), mmap.MADV_HUGEPAGE)
    libc.free(block)


def _make_room_for_small_blocks(libc: ctypes.CDLL) -> None:
    """Leave a hole below the top of the heap, which takes no memory until it is used.

    malloc takes the smallest free region that is large enough, and the top last. So whatever is allocated while a step
    computes goes into the hole and not above the step's temporaries, which return to the top when they are freed, where
    the next step finds them. Without the hole one small block at the wrong place costs as much as a whole step.
    """
    hole = libc.malloc(ctypes.c_size_t(_ROOM_FOR_SMALL_BLOCKS))
    if hole:
        libc.malloc(ctypes.c_size_t(_HUGE_PAGE))  # kept: it divides the hole from the top
        libc.free(hole)


@functools.cache
def _libc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        return None
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    if hasattr(libc, "mallinfo2"):
        libc.mallinfo2.restype = _MallocInfo
    return libc

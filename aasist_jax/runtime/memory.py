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


def unused_memory() -> int:
    """Bytes of the heap that are free and still take memory; 0 if malloc is not that of glibc 2.33 or newer."""
    libc = _libc()
    if libc is None or not hasattr(libc, "mallinfo2"):
        return 0
    heap = libc.mallinfo2()
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    anonymous = next((1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon:")), 0)
    # What is anonymous and lies outside the heap, such as the stacks of threads, counts as well; it is little.
    return max(0, min(heap.free, anonymous - heap.used - heap.mapped))


@contextlib.contextmanager
def unused_memory_returned(every: float = 0.25) -> Iterator[None]:
    """Return freed memory to the kernel while it is much, in a long run with `keep_freed_memory`.

    JAX frees the temporaries of a step slightly after its results are there. If the next step allocates its own before
    that, they lie elsewhere, and what the first one used stays empty: the run would take twice the memory it needs.
    Much is more than an eighth of the memory that the process may have, beside the room for small blocks. Between two
    steps there is as much for a moment, which the next step uses again; so two looks in a row must find it.

    Args:
        every: seconds between two looks. Temporaries take memory only as they are written, so a look in time is enough.
    """
    limit = _ROOM_FOR_SMALL_BLOCKS + memory_limit() // 8
    ended = threading.Event()

    def watch() -> None:
        looks = 0
        while not ended.wait(every):
            unused = unused_memory()
            looks = looks + 1 if unused > limit else 0
            if looks == 2 and (libc := _libc()) is not None:
                libc.malloc_trim(0)
                if unused_memory() > limit:  # it is not malloc that holds it, so another time would be in vain, too
                    return
                _ask_for_huge_pages(libc, unused)
                looks = 0

    watcher = threading.Thread(target=watch, name="unused memory", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def memory_limit() -> int:
    """Bytes of memory that the process may have: those of the machine, or of its control group where that is less."""
    limit = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):  # no such group, or "max"
            limit = min(limit, int(Path(file).read_text()))
    return limit


class _MallocInfo(ctypes.Structure):
    """`struct mallinfo2` of glibc, in bytes; here `hblkhd` is called mapped, `uordblks` used and `fordblks` free."""

    _fields_ = [
        *((name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "mapped", "usmblks", "fsmblks")),
        *((name, ctypes.c_size_t) for name in ("used", "free", "keepcost")),
    ]


def _ask_for_huge_pages(libc: ctypes.CDLL, size: int) -> None:
    """Ask for huge pages where the next block of `size` bytes will lie, without touching it, which takes no memory."""
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

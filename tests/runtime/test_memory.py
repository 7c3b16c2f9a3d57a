"""Memory that a step frees is there for the next one, and what lies unused goes back to the kernel."""

import re
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, mmap, os, sys, time
from aasist_jax.runtime import memory

MB = 2**20
memory._ROOM_FOR_SMALL_BLOCKS = 200 * MB
if not memory.keep_freed_memory() or not hasattr(ctypes.CDLL(None), "mallinfo2"):
    sys.exit("no glibc 2.33")
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // MB

def allocate(megabytes):
    block = libc.malloc(megabytes * MB)
    libc.memset(block, 1, megabytes * MB)
    return block

# A step of 400 MB. 20 MB are allocated while it computes, and 1 MB when it has ended, that stay.
begin, places = resident(), []
for _ in range(5):
    step = allocate(400)
    allocate(20)
    places.append(step)
    libc.free(step)
    allocate(1)
print("places", len(set(places)), "grown", resident() - begin)

# Two steps overlapped: what the first one used is empty. A file in memory is not unused memory.
first, second, above = allocate(400), allocate(400), allocate(2)
shared = mmap.mmap(-1, 600 * MB)
for _ in range(600):
    shared.write(bytes(MB))
libc.free(first)
before = resident()
memory._ROOM_FOR_SMALL_BLOCKS = 0
print("unused", memory.unused_memory() // MB)
for limit in (500, 100):
    memory.memory_limit = lambda: 8 * limit * MB
    with memory.unused_memory_returned(every=0.01):
        time.sleep(1)
    print("returned", before - resident())
"""


def test_steps_share_their_memory_and_unused_memory_is_returned() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    if "no glibc" in done.stderr:
        pytest.skip("malloc is not that of glibc 2.33 or newer")
    assert done.returncode == 0, done.stderr
    numbers = [[int(number) for number in re.findall(r"-?\d+", line)] for line in done.stdout.splitlines()]
    (places, grown), (unused,), (little,), (much,) = numbers
    assert places == 1
    assert 480 <= grown <= 600, "the step's 400 MB once, and 105 MB that stay"
    assert 390 <= unused <= 500
    assert little <= 5
    assert much >= 390

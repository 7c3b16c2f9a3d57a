"""Reads a recording as scoring its first window does, in a process of its own; `python -m ... PATH` prints JSON."""

import json
import sys
import time
from pathlib import Path

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.audio.load import inspect_audio, load_start
from tests.audio.mutations import peak_mib

path = Path(sys.argv[1])
info = inspect_audio(path)
before, start = peak_mib(), time.process_time()
wave, length = load_start(path, 64_600)
result = {
    "seconds": length / SAMPLE_RATE,
    "mebibytes": round(path.stat().st_size / 2**20, 1),
    "values_per_byte": round(info.frames * info.channels / path.stat().st_size, 1),
    "cpu_seconds": round(time.process_time() - start, 1),
    "mib_before": before,
    "peak_mib": peak_mib(),
}
print(json.dumps(result))

"""Score recordings with an exported program, by JAX alone: `python score_stablehlo.py MODEL.zip FILE...`."""

import json
import sys
import zipfile

import jax
import numpy as np
import soundfile
import soxr

with zipfile.ZipFile(sys.argv[1]) as archive:
    facts = json.loads(archive.read("facts.json"))
    program = jax.jit(jax.export.deserialize(bytearray(archive.read("model.stablehlo"))).call)
for file in sys.argv[2:]:
    samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)
    if rate != facts["sample_rate"]:
        mono = soxr.resample(mono, rate, facts["sample_rate"], "HQ")
    wave = mono[: facts["window"]]  # the first window
    if wave.size < facts.get("shortest", 1):
        sys.exit(f"{file}: {wave.size} samples; the model takes at least {facts['shortest']}")
    if facts.get("fill") == "zeros":  # a model of clips of any length: zeros follow a shorter clip
        padded = np.pad(wave, (0, facts["window"] - wave.size))
        logits = program(padded[None], np.array([wave.size], np.int32))
    else:  # a shorter clip is repeated
        logits = program(np.resize(wave, (1, facts["window"])))
    print(f"{logits[0, facts['bonafide_index']]:+.6f} {file}")  # higher is more human

"""Score recordings with an exported model, without JAX: `python score_onnx.py MODEL.onnx FILE...`."""

import sys

import numpy as np
import onnxruntime
import soundfile
import soxr

session = onnxruntime.InferenceSession(sys.argv[1])
facts = session.get_modelmeta().custom_metadata_map
for file in sys.argv[2:]:
    samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)
    if rate != int(facts["sample_rate"]):
        mono = soxr.resample(mono, rate, int(facts["sample_rate"]), "HQ")
    wave = mono[: int(facts["window"])]  # the first window
    if wave.size < int(facts.get("shortest", 1)):
        sys.exit(f"{file}: {wave.size} samples; the model takes at least {facts['shortest']}")
    if facts.get("fill") == "zeros":  # a model of clips of any length: zeros follow a shorter clip
        padded = np.pad(wave, (0, int(facts["window"]) - wave.size))
        inputs = {"wave": padded[None], "length": np.array([wave.size], np.int32)}
    else:  # a shorter clip is repeated
        inputs = {"wave": np.resize(wave, (1, int(facts["window"])))}
    (logits,) = session.run(["logits"], inputs)
    print(f"{logits[0, int(facts['bonafide_index'])]:+.6f} {file}")  # higher is more human

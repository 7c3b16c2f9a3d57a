"""Score recordings with an exported model, without JAX: `python score_onnx.py MODEL.onnx FILE...` (16 kHz)."""

import sys

import numpy as np
import onnxruntime
import soundfile

session = onnxruntime.InferenceSession(sys.argv[1])
facts = session.get_modelmeta().custom_metadata_map
for file in sys.argv[2:]:
    samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
    if rate != int(facts["sample_rate"]):
        sys.exit(f"{file}: {rate} Hz; resample it to {facts['sample_rate']} Hz")
    wave = np.resize(samples.mean(axis=1), (1, int(facts["window"])))  # the first window; a shorter clip is repeated
    (logits,) = session.run(["logits"], {"wave": wave})
    print(f"{logits[0, int(facts['bonafide_index'])]:+.6f} {file}")  # higher is more human

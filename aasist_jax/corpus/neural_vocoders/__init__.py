"""Neural vocoders for copy synthesis: from the mel spectrogram of a recording back to a wave.

A vocoder is a function `(wave, rng) -> wave`, both at 16 kHz, float64, of the same length. It takes part in the large
corpus when `COPIES` of `corpus/large/making.py` and `SYSTEMS` of `corpus/large/systems.py` name it.
"""

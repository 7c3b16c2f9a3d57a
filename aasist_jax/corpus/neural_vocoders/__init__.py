"""Neural vocoders for copy synthesis: from the mel spectrogram of a recording back to a wave.

HiFi-GAN's weights are from a package; the vocoders of `kinds.KINDS` are trained here, on human clips. A vocoder takes
part in the large corpus when `SYSTEMS` of `corpus/large/systems.py` names it.
"""

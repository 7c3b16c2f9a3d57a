"""What kinds of augmentation, and the corpora that we build, both do to sound: levels, noise, codecs, rooms, filters.

A wave is mono at 16 kHz, float64 in about [-1, 1] unless a function says otherwise.
"""

import numpy as np
from jaxtyping import Float

Wave = Float[np.ndarray, "samples"]
OtherWave = Float[np.ndarray, "_samples"]
"""A wave; waves in one call may have different lengths."""

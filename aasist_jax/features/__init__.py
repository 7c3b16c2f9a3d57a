"""Front-ends: feature extraction from waveforms, without I/O."""

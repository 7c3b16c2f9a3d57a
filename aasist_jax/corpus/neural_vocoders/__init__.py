"""Neural vocoders for copy synthesis: from the mel spectrogram of a recording back to a wave."""

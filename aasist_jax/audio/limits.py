"""How much of a recording is read. What a header states and what is then decoded are both held to these limits."""

import math
from dataclasses import dataclass

from aasist_jax.errors import AudioError

SAMPLE_RATE = 16_000
"""Samples per second of everything the models hear."""


@dataclass(frozen=True)
class Limits:
    """Limits on one recording; each holds independently. A header that states more is refused before any decoding.

    `values_per_byte` is against decompression bombs: 7,200 s of digital silence are a FLAC of 363 KB, which is within
    every other limit. Its ratio is 317, and above 500 with more channels. Speech stays far below: FLAC at about 1, MP3
    and AAC at their lowest rates below 30, Opus at 6 kbit/s at 64 a channel. Pauses hardly raise the ratio, since the
    speech between them takes most of the bytes: a FLAC that is 90 % digital silence is at about 10. A recording of up
    to `free_values` is harmless at any ratio, so some silent minutes are decoded, and found to be silent.

    Attributes:
        encoded_bytes: size of the file.
        decoded_values: frames times channels; the default holds 4 hours of stereo at 74 kHz.
        seconds: duration.
        channels: channels.
        min_rate: lowest sample rate, in Hz.
        max_rate: highest sample rate, in Hz.
        output_samples: length once resampled to 16 kHz, which is what a whole recording takes of memory, 4 bytes each.
        values_per_byte: decoded values per byte of the file, where there are more values than `free_values`.
        free_values: up to this many decoded values, `values_per_byte` does not apply.
    """

    encoded_bytes: int = 1 << 32
    decoded_values: int = 1 << 31
    seconds: float = 4 * 3600.0
    channels: int = 32
    min_rate: int = 4_000
    max_rate: int = 384_000
    output_samples: int = 1 << 28
    values_per_byte: float = 256.0
    free_values: int = 1 << 26

    def check_size(self, name: str, encoded_bytes: int) -> None:
        """Raise an AudioError where the file is empty or too large."""
        if encoded_bytes == 0:
            raise AudioError(f"{name}: the file is empty")
        if encoded_bytes > self.encoded_bytes:
            raise AudioError(f"{name}: {encoded_bytes} bytes, over the limit of {self.encoded_bytes}; split it")

    def check_format(self, name: str, sample_rate: int, channels: int) -> None:
        """Raise an AudioError where the sample rate or the count of channels is outside the limits."""
        if not self.min_rate <= sample_rate <= self.max_rate:
            raise AudioError(
                f"{name}: {sample_rate} Hz; sample rates from {self.min_rate} to {self.max_rate} Hz are read"
            )
        if not 1 <= channels <= self.channels:
            raise AudioError(f"{name}: {channels} channels; 1 to {self.channels} are read")

    def check_length(self, name: str, frames: int, sample_rate: int, channels: int, encoded_bytes: int) -> None:
        """Raise an AudioError where `frames`, stated or decoded so far, break a limit."""
        values = frames * channels
        if frames > self.seconds * sample_rate:
            raise AudioError(f"{name}: longer than the limit of {self.seconds:g} s; split it")
        if values > self.decoded_values:
            raise AudioError(f"{name}: over the limit of {self.decoded_values} decoded values; split or down-mix it")
        if math.ceil(frames * SAMPLE_RATE / sample_rate) > self.output_samples:
            raise AudioError(f"{name}: over the limit of {self.output_samples} samples at {SAMPLE_RATE} Hz; split it")
        if values > self.free_values and values > self.values_per_byte * encoded_bytes:
            raise AudioError(
                f"{name}: over {self.values_per_byte:g} decoded values per byte, as in a decompression bomb or in "
                "hours of digital silence; cut the silence, or split it"
            )


DEFAULT_LIMITS = Limits()

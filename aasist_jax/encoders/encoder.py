"""A pretrained encoder, compiled: from waves to its hidden states."""

import functools
import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.audio.load import as_samples
from aasist_jax.encoders.readers import PretrainedEncoder, read_encoder
from aasist_jax.errors import AudioError
from aasist_jax.models.ssl.encoders import EncoderConfig, kind_of

HiddenStates = tuple[Float[np.ndarray, "batch steps width"], ...]


class Encoder:
    """A pretrained encoder.

    ```python
    encoder = Encoder.from_pretrained("distill_mos")
    states = encoder.hidden_states(waves)  # float32 (batch, samples) at 16 kHz
    states[-1].mean(axis=1)  # one vector for each wave
    ```

    Float32 matrix products use full float32 precision on every backend (no TF32). Waves in float64 are computed in
    float64 where JAX's 64-bit types are enabled, as by `with jax.enable_x64(True):`.

    Attributes:
        config: the sizes of the encoder; `config.width`, `config.hidden_states`, `config.steps(samples)`.
        encoder_id: the stem of the file of weights and twelve hex digits of its SHA-256.
    """

    def __init__(self, pretrained: PretrainedEncoder) -> None:
        """Take the content of a file, as `read_encoder` gives it."""
        source = pretrained.source
        self.config: EncoderConfig = pretrained.config
        self.encoder_id = f"{source.name.rpartition('.')[0] or source.name}-{source.sha256[:12]}"
        self._variables = pretrained.variables
        self._programs: dict[Any, Callable[..., Any]] = {}

    @classmethod
    def from_pretrained(cls, path_or_name: str | os.PathLike[str]) -> "Encoder":
        """Read an encoder from a file or a folder, or by name (`distill_mos`). Nothing is downloaded.

        Raises:
            WeightsError: see `read_encoder`.
        """
        return cls(read_encoder(path_or_name))

    def hidden_states(self, waves: Any, lengths: Any = None) -> HiddenStates:
        """Compute all hidden states.

        Args:
            waves: (batch, samples) at 16 kHz, full scale 1, float32 or float64; any length that the encoder takes.
                They are computed at this length, and padded to no other.
            lengths: integers (batch,), the valid samples of each wave where shorter ones are filled up with zeros; the
                steps beyond `config.steps(length)` of a wave mean nothing. None: every sample is valid.

        Returns:
            The sum with the positions, the output of every layer, and the last norm if there is one, each
            (batch, steps, width), in the type of the waves (see above).

        Raises:
            AudioError: another shape or type, NaN or infinity, too few or too many samples, lengths that do not fit.
        """
        waves = self._checked(as_samples(waves, "waves"))
        valid = None if lengths is None else self._checked_lengths(np.asarray(lengths), waves)
        dtype = jnp.float64 if waves.dtype == np.float64 and jax.config.read("jax_enable_x64") else jnp.float32
        with jax.default_matmul_precision("highest"):
            states = self._compiled(dtype)(waves.astype(dtype), valid)
        return tuple(np.asarray(state) for state in states)

    def _compiled(self, dtype: Any) -> Callable[..., Any]:
        """The encoder in a type, float32 or float64; made once for each."""
        if dtype not in self._programs:
            module = kind_of(self.config).build(self.config, dtype=dtype)
            floats = jax.tree.map(lambda x: x.astype(dtype) if x.dtype.kind == "f" else x, self._variables)
            variables = jax.device_put(floats)
            # As arguments: as constants of the program they would be compiled into it, each length anew.
            self._programs[dtype] = functools.partial(jax.jit(module.apply), variables)
        return self._programs[dtype]

    def _checked(self, waves: np.ndarray) -> Float[np.ndarray, "batch samples"]:
        if waves.ndim != 2 or waves.dtype not in (np.float32, np.float64):
            raise AudioError(
                f"waves: expected float32 or float64 of shape (batch, samples), got {waves.dtype} {waves.shape}"
            )
        shortest, longest = self.config.shortest, self.config.longest
        if not shortest <= waves.shape[1] <= longest:
            raise AudioError(
                f"waves: {waves.shape[1]} samples; this encoder takes {shortest} to {longest} "
                f"({longest / SAMPLE_RATE:.2f} s at {SAMPLE_RATE} Hz): cut longer recordings into pieces"
            )
        if not np.isfinite(waves).all():
            raise AudioError("waves: NaN or infinite samples; repair or leave out the recording")
        return waves

    def _checked_lengths(self, lengths: np.ndarray, waves: np.ndarray) -> Int[np.ndarray, " batch"]:
        if not kind_of(self.config).any_length:
            raise AudioError("lengths: this encoder takes waves of one length; compute each at its own")
        if lengths.shape != waves.shape[:1] or lengths.dtype.kind not in "iu":
            raise AudioError(
                f"lengths: expected integers of shape ({len(waves)},), got {lengths.dtype} {lengths.shape}"
            )
        if len(lengths) and not self.config.shortest <= lengths.min() <= lengths.max() <= waves.shape[1]:
            raise AudioError(f"lengths: expected {self.config.shortest} to {waves.shape[1]}, got {lengths.tolist()}")
        return lengths.astype(np.int32)

"""A network with its weights, compiled: from windows of samples to logits and embeddings."""

import functools
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, Int32

from aasist_jax.audio.load import as_samples
from aasist_jax.detection.cutting import Cut
from aasist_jax.errors import AudioError, ConfigError, WeightsError
from aasist_jax.models.family import FrameGeometry, Window, family_of
from aasist_jax.models.network import Outputs, build_network, class_logits, read_out_function
from aasist_jax.models.variables import split_variables
from aasist_jax.weights.folder import Weights, as_float32

GROUP = 8
"""Windows that are in hand at once."""

ReadOut = Float32[np.ndarray, "batch values"]
"""Of each window: the logits (spoof, bona fide), then the embedding."""


class Model:
    """A model with its weights.

    Float32 matrix products use full float32 precision on every backend (no TF32), so that scores agree with the
    reference implementation to 2e-5.
    """

    def __init__(self, weights: Weights, *, dtype: Any = jnp.float32) -> None:
        """Compile weights from `load_weights`; `dtype` is the compute dtype (float32 or bfloat16)."""
        self.weights = weights
        self.family = family_of(weights.config)
        self.network = network = build_network(weights.config, dtype=dtype)
        self.variables = variables = jax.device_put(jax.tree.map(as_float32, weights.variables))
        params, state = split_variables(variables)
        # Each shape of a batch may be rounded its own way. With one shape, a window has one score to the bit, on every
        # way to a verdict.
        self._rows = 1 if jax.default_backend() == "cpu" else GROUP
        read, index = read_out_function(weights.config, network), self.family.bonafide_index

        self._read_out = jax.jit(lambda waves, lengths=None: read(variables, waves, lengths))
        self._encode = jax.jit(lambda pieces, valid: network.encode(params, state, pieces, valid))
        self._encode_windows = jax.jit(lambda waves: network.encode(params, state, waves))
        self._read_frames = jax.jit(lambda frames: _ordered(network.classify(params, state, frames)[0], index))
        self._classify = jax.jit(lambda frames: class_logits(network.classify(params, state, frames)[0].logits, index))

    @property
    def window_rule(self) -> Window:
        """The input window of the network."""
        return self.family.window(self.weights.config)

    @property
    def window(self) -> int:
        """Length of a window in samples at 16 kHz."""
        return self.window_rule.samples

    @functools.cached_property
    def features(self) -> int:
        """Length of an embedding."""
        waves = jax.ShapeDtypeStruct((self._rows, self.window), np.float32)
        lengths = () if self.window_rule.fixed else (jax.ShapeDtypeStruct((self._rows,), np.int32),)
        with jax.default_matmul_precision("highest"):
            _, embedding = jax.eval_shape(self._read_out, waves, *lengths)
        return int(embedding.shape[1])

    @property
    def frame_geometry(self) -> FrameGeometry | None:
        """Which samples the encoder's frames cover; None for a family without frames."""
        geometry = self.family.frame_geometry
        return None if geometry is None else geometry(self.weights.config)

    def encode(
        self, wave: Float32[np.ndarray, "batch samples"], valid: Int32[np.ndarray, "batch 2"]
    ) -> Float32[np.ndarray, "batch f frames c"]:
        """Encode pieces of recordings; `valid` is the (start, end) of the valid samples (see `FrameNetwork`).

        Raises:
            ConfigError: the network has no frames.
        """
        if self.frame_geometry is None:
            raise ConfigError(f"{self.family.name}: its encoder has no frames; score whole windows with `logits`")
        with jax.default_matmul_precision("highest"):
            return np.asarray(self._encode(wave, valid), np.float32)

    def classify(self, frames: Float32[np.ndarray, "batch f frames c"]) -> Float32[np.ndarray, "batch 2"]:
        """Compute the logits of windows from the frames that `encode` returned.

        Raises:
            AudioError: the logits are not finite.
        """
        with jax.default_matmul_precision("highest"):
            return self.finite(np.asarray(self._classify(frames)), "the audio")

    def logits(self, waves: Any, lengths: Any = None) -> Float32[np.ndarray, "batch 2"]:
        """Score waveforms at 16 kHz, full scale 1.

        Args:
            waves: float32 (batch, samples), of any length that the model accepts.
            lengths: integers (batch,), the valid samples of each waveform, for a model without fixed windows; None:
                every sample is valid.

        Returns:
            (batch, 2), index 0 spoof, index 1 bona fide.

        Raises:
            AudioError: wrong shape or type, too few samples, NaN or infinite samples, or lengths that do not fit.
        """
        waves = as_samples(waves, "waves")
        if waves.ndim != 2 or waves.dtype != np.float32:
            raise AudioError(
                f"waves: expected float32 of shape (batch, samples), got {waves.dtype} of shape {waves.shape}"
            )
        shortest = self.window_rule.shortest
        if waves.shape[1] < shortest:
            raise AudioError(f"waves: {waves.shape[1]} samples; the model takes at least {shortest}")
        if not np.isfinite(waves).all():
            raise AudioError("waves: NaN or infinite samples; mend the audio before scoring it")
        return self._finite_read_out(waves, self._lengths(waves, lengths), "waves")[:, :2]

    def _lengths(self, waves: np.ndarray, lengths: Any) -> Int32[np.ndarray, " batch"] | None:
        rule, (rows, samples) = self.window_rule, waves.shape
        if rule.fixed:
            if lengths is not None:
                raise AudioError(f"lengths: {self.family.name} has fixed windows and takes none; fill every waveform")
            return None
        # A model of any length always gets lengths, so that the same waveform has the same logits on every way to here.
        found = np.full(rows, samples, np.int32) if lengths is None else np.asarray(lengths)
        if found.shape != (rows,) or found.dtype.kind not in "iu":
            raise AudioError(f"lengths: expected {rows} integers, got {found.dtype} of shape {found.shape}")
        if rows and not rule.shortest <= found.min() <= found.max() <= samples:
            raise AudioError(f"lengths: expected {rule.shortest} to {samples}, got {found.min()} to {found.max()}")
        return found.astype(np.int32)

    def _finite_read_out(
        self, waves: Float32[np.ndarray, "batch samples"], lengths: Int32[np.ndarray, " batch"] | None, name: str
    ) -> ReadOut:
        found = []
        for start in range(0, len(waves), GROUP):
            rows = slice(start, start + GROUP)
            found.append(self.batch_read_out(waves[rows], None if lengths is None else lengths[rows]))
        return self.finite(np.concatenate(found), name) if found else np.empty((0, 2), np.float32)

    def finite(self, values: ReadOut, name: str) -> ReadOut:
        """Return the values of windows if their logits are finite.

        Raises:
            AudioError: they are not, and the audio is at fault.
            WeightsError: the weights are at fault.
        """
        if np.isfinite(values[:, :2]).all():
            return values
        self.check_weights(self.weights.weights_id)
        raise AudioError(f"{name}: too loud for the model, whose output is not finite; scale it to [-1, 1]")

    def check_weights(self, name: str) -> None:
        """Score a window of noise at full scale, which also compiles what every score needs.

        Args:
            name: of the weights in the message.

        Raises:
            WeightsError: the logits are not finite, so that no recording can be scored.
        """
        noise = np.random.default_rng(0).uniform(-1, 1, (1, self.window)).astype(np.float32)
        if not np.isfinite(self.batch_logits(noise, self._lengths(noise, None))).all():
            raise WeightsError(
                f"{name}: these weights give no finite score for noise at full scale; they are damaged, or not those "
                "of this configuration"
            )

    def fill(
        self, wave: Float32[np.ndarray, " samples"]
    ) -> tuple[Float32[np.ndarray, " window"], Int32[np.ndarray, ""] | None]:
        """Make a window from the start of a wave, and return it with its length (see `Window.first`)."""
        window, length = self.window_rule.first(wave)
        return window, None if length is None else np.asarray(length, np.int32)

    def start_logits(self, wave: Float32[np.ndarray, " samples"]) -> Float32[np.ndarray, "2"]:
        """Score the start of a wave of any length, as one window."""
        window, length = self.fill(wave)
        logits: np.ndarray = self.logits(window[np.newaxis], None if length is None else length[np.newaxis])[0]
        return logits

    def read_out(self, cuts: Iterable[Cut], name: str) -> ReadOut:
        """Logits and embeddings of windows that are heard, in order.

        Raises:
            AudioError: the logits are not finite.
        """
        heard = [(cut.wave, cut.length) for cut in cuts if cut.wave is not None]
        if not heard:
            return np.empty((0, 2), np.float32)
        waves = np.stack([wave for wave, _ in heard])
        lengths = None if self.window_rule.fixed else np.array([length for _, length in heard], np.int32)
        return self._finite_read_out(waves, lengths, name)

    def batch_read_out(
        self, waves: Float32[np.ndarray, "batch samples"], lengths: Int32[np.ndarray, " batch"] | None = None
    ) -> ReadOut:
        """Run the model on a few windows, at most `GROUP`, without checks.

        The values of a window depend neither on the others nor on how many there are.
        """
        if len(waves) == GROUP and lengths is None and self._groups_round_alike:
            return self._group_read_out(waves)
        return self._rows_read_out(waves, lengths)

    @functools.cached_property
    def _groups_round_alike(self) -> bool:
        """Whether `_group_read_out` gives the bits of one row at a time, as our own convolutions do and XLA's may not.

        It is found out with noise, once: the order of a sum, which makes the difference, does not depend on the values.
        """
        if self._rows > 1 or self.frame_geometry is None:
            return False
        noise = np.random.default_rng(0).uniform(-1, 1, (GROUP, self.window)).astype(np.float32)
        rows = [0, GROUP // 2, GROUP - 1]
        return np.array_equal(self._group_read_out(noise)[rows], self._rows_read_out(noise[rows], None))

    def _group_read_out(self, waves: Float32[np.ndarray, "batch samples"]) -> ReadOut:
        """Encode a group at once, and read out each row by itself."""
        with jax.default_matmul_precision("highest"):
            frames = np.asarray(self._encode_windows(waves))
            return _joined([self._read_frames(frames[row : row + 1]) for row in range(len(waves))])

    def _rows_read_out(
        self, waves: Float32[np.ndarray, "batch samples"], lengths: Int32[np.ndarray, " batch"] | None
    ) -> ReadOut:
        count, size = len(waves), self._rows
        missing = -count % size
        waves = np.pad(waves, ((0, missing), (0, 0)))
        # The rows that fill up the last batch get the full length, because a length must not be 0.
        if lengths is not None:
            lengths = np.pad(lengths, (0, missing), constant_values=waves.shape[1])
        with jax.default_matmul_precision("highest"):
            # All are begun before the first is waited for.
            begun = [
                self._read_out(waves[at : at + size], None if lengths is None else lengths[at : at + size])
                for at in range(0, count, size)
            ]
        return _joined(begun)[:count]

    def batch_logits(
        self, waves: Float32[np.ndarray, "batch samples"], lengths: Int32[np.ndarray, " batch"] | None = None
    ) -> Float32[np.ndarray, "batch 2"]:
        """The logits of `batch_read_out`."""
        return self.batch_read_out(waves, lengths)[:, :2]


def _ordered(outputs: Outputs, bonafide_index: int | None) -> tuple[jax.Array, jax.Array]:
    return class_logits(outputs.logits, bonafide_index), outputs.embedding


def _joined(read_outs: Iterable[tuple[jax.Array, jax.Array]]) -> ReadOut:
    found = [np.concatenate([np.asarray(logits), np.asarray(embedding)], axis=1) for logits, embedding in read_outs]
    return np.concatenate(found).astype(np.float32, copy=False)

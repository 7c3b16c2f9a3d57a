from pathlib import Path

import numpy as np
import pytest

from aasist_jax.augmentation.sound.levels import speech_level
from aasist_jax.corpus.neural_vocoders.kinds import KINDS
from aasist_jax.corpus.neural_vocoders.trained import CONFIG, MODEL, check_trained, copy_by, is_trained, train_vocoder
from aasist_jax.corpus.neural_vocoders.training import CHECKPOINT, TrainingSettings
from aasist_jax.errors import DataError
from tests.corpus.made_vocoders import SMALL, write_vocoder
from tests.corpus.made_voices import speech_like

pytestmark = pytest.mark.usefixtures("quickly_compiled")

SPEECH = [speech_like(0.5, seed) for seed in range(2)]


def test_every_kind_has_small_sizes_here() -> None:
    assert set(SMALL) == set(KINDS)


@pytest.mark.parametrize("kind", SMALL)
def test_a_trained_vocoder_copies(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / kind
    assert not is_trained(folder)
    train_vocoder(kind, TrainingSettings(steps=2, batch=2, frames=8), SPEECH, folder, config=SMALL[kind])
    assert is_trained(folder)
    assert {path.name for path in folder.iterdir()} == {CONFIG, MODEL}
    wave = speech_like(1.01, 5)
    made = copy_by(folder, wave, np.random.default_rng(0))
    assert made.shape == wave.shape
    assert made.dtype == np.float64
    np.testing.assert_array_equal(made, copy_by(folder, wave, np.random.default_rng(0)))
    # The vocoder sees every recording at one level; so, twice as loud, it is the same copy twice as loud.
    np.testing.assert_allclose(copy_by(folder, 2 * wave, np.random.default_rng(0)), 2 * made, atol=1e-4)
    assert np.all(np.isfinite(copy_by(folder, np.zeros(100), np.random.default_rng(0))))
    other = copy_by(folder, wave, np.random.default_rng(1))
    assert np.array_equal(other, made) == (kind != "diffusion")


def test_a_longer_training_learns_the_spectrum(tmp_path: Path) -> None:
    settings = TrainingSettings(steps=120, batch=2, frames=8, learning_rate=5e-3)
    train_vocoder("vocos", settings, SPEECH, tmp_path, config=SMALL["vocos"])
    made = copy_by(tmp_path, SPEECH[0], np.random.default_rng(0))
    assert speech_level(made) == pytest.approx(speech_level(SPEECH[0]), abs=3)


def test_damaged_folders_are_errors(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match="no trained vocoder there"):
        copy_by(tmp_path / "none", SPEECH[0], rng)
    folder = tmp_path / "vocos"
    train_vocoder("vocos", TrainingSettings(steps=1, batch=1, frames=8), SPEECH, folder, config=SMALL["vocos"])
    whole = (folder / CONFIG).read_text()
    for text, message in (("{", "damaged"), (whole.replace("vocos", "hal"), "kind 'hal': not known here")):
        (folder / CONFIG).write_text(text)
        with pytest.raises(DataError, match=message):
            copy_by(folder, SPEECH[0], rng)
    (folder / CONFIG).write_text(whole.replace('"blocks": 1', '"blocks": 2'))
    with pytest.raises(DataError, match=r"the tensors of model\.safetensors are not those of config\.json"):
        copy_by(folder, SPEECH[0], rng)


def test_an_unfinished_vocoder_is_not_taken_for_a_trained_one(tmp_path: Path) -> None:
    (tmp_path / MODEL).touch()
    (tmp_path / CHECKPOINT).touch()
    assert not is_trained(tmp_path)


def test_what_is_not_finite_is_an_error(tmp_path: Path) -> None:
    write_vocoder(tmp_path / "whole", "vocos")
    check_trained(tmp_path / "whole")
    write_vocoder(tmp_path / "broken", "vocos", np.nan)
    with pytest.raises(DataError, match=r"model\.safetensors: .* is not finite"):
        check_trained(tmp_path / "broken")
    write_vocoder(tmp_path / "wild", "vocos", 1e38)
    check_trained(tmp_path / "wild")
    with pytest.raises(DataError, match="wild: what the vocoder makes is not finite"):
        copy_by(tmp_path / "wild", SPEECH[0], np.random.default_rng(0))

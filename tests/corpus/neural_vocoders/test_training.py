from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from aasist_jax.corpus.neural_vocoders import training
from aasist_jax.corpus.neural_vocoders.diffusion import band_levels
from aasist_jax.corpus.neural_vocoders.kinds import KINDS
from aasist_jax.corpus.neural_vocoders.pqmf import analyse
from aasist_jax.corpus.neural_vocoders.spectra import log_mel
from aasist_jax.corpus.neural_vocoders.training import (
    CHECKPOINT,
    Report,
    TrainingSettings,
    _identity,
    _optimizers,
    at_level,
    crops,
    train,
)
from aasist_jax.errors import DataError
from tests.corpus.made_vocoders import SMALL as SIZES
from tests.corpus.made_voices import speech_like

pytestmark = pytest.mark.usefixtures("quickly_compiled")

SMALL: dict[str, nn.Module] = {kind: KINDS[kind].network(config) for kind, config in SIZES.items()}
SPEECH = [at_level(speech_like(seconds, seed))[0].astype(np.float32) for seed, seconds in enumerate((0.6, 0.05))]
SETTINGS = TrainingSettings(steps=6, batch=2, frames=8)


def losses_of(vocoder: nn.Module, settings: TrainingSettings, folder: Path) -> tuple[Any, list[Report]]:
    reports: list[Report] = []
    return train(vocoder, settings, SPEECH, folder, reports.append), reports


@pytest.mark.parametrize("kind", SMALL)
def test_a_network_makes_as_many_samples_as_frames_have(kind: str) -> None:
    vocoder = SMALL[kind]
    rngs = {"params": jax.random.key(0), "noise": jax.random.key(1)}
    waves = jax.random.normal(jax.random.key(2), (2, 8 * 256)) / 10
    parameters = vocoder.init(rngs, waves, method="loss")
    made = vocoder.apply(parameters, log_mel(waves), rngs={"noise": jax.random.key(3)})
    assert isinstance(made, jax.Array)
    assert made.shape == waves.shape
    assert np.all(np.isfinite(made))


@pytest.mark.parametrize(("kind", "steps", "share"), [("vocos", 40, 0.8), ("multiband_gan", 40, 0.9)])
def test_the_loss_falls(kind: str, steps: int, share: float, tmp_path: Path) -> None:
    _, reports = losses_of(SMALL[kind], TrainingSettings(steps=steps, batch=2, frames=8, learning_rate=5e-3), tmp_path)
    reconstruction = [report.losses["reconstruction"] for report in reports]
    assert np.mean(reconstruction[-5:]) < share * np.mean(reconstruction[:5])
    assert [(report.done, report.steps) for report in reports] == [(n + 1, steps) for n in range(steps)]


def test_the_velocity_is_learnt(tmp_path: Path) -> None:
    """Better, on the same crops and the same noise, than by a network that hardly moves."""
    losses = {}
    for rate in (1e-9, 3e-3):
        settings = TrainingSettings(steps=300, batch=4, frames=8, learning_rate=rate)
        _, reports = losses_of(SMALL["diffusion"], settings, tmp_path / f"{rate}")
        losses[rate] = np.array([report.losses["reconstruction"] for report in reports[-100:]])
    gain = losses[1e-9] - losses[3e-3]
    assert np.mean(gain > 0) > 0.7
    assert np.mean(gain) > 3 * np.std(gain) / np.sqrt(gain.size)


def test_bands_are_brought_to_one_level() -> None:
    """By the spectrogram alone, whatever the level of the wave."""
    noise = np.random.default_rng(0).standard_normal((1, 128 * 256))
    waves = jnp.asarray(np.concatenate([0.03 * noise, 0.3 * noise]), jnp.float32)
    levelled = np.std(analyse(waves, 8) / band_levels(log_mel(waves)), axis=1)
    np.testing.assert_allclose(levelled, 1.0, atol=0.25)
    np.testing.assert_allclose(levelled[0], levelled[1], rtol=0.01)


class Killed(Exception):
    pass


def test_a_killed_run_goes_on_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of what is trained without a discriminator, and of what is trained with one."""
    settings = TrainingSettings(steps=6, batch=2, frames=8, adversarial_from=0.5)
    whole, reports = losses_of(SMALL["vocos"], settings, tmp_path / "whole")
    assert [set(report.losses) for report in reports[2:4]] == [
        {"reconstruction"},
        {"reconstruction", "scores", "features", "discriminator"},
    ]
    monkeypatch.setattr(training, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)

    def kill(report: Report) -> None:
        if report.done in stops:
            stops.remove(report.done)
            raise Killed

    stops = {2, 5}
    for _ in range(2):
        with pytest.raises(Killed):
            train(SMALL["vocos"], settings, SPEECH, tmp_path / "killed", kill)
    resumed, left = losses_of(SMALL["vocos"], settings, tmp_path / "killed")
    # The checkpoint before the step at which it was killed.
    assert [report.done for report in left] == [5, 6]
    jax.tree.map(np.testing.assert_array_equal, whole, resumed)


def test_a_run_of_other_settings_or_speech_is_not_gone_on_with(tmp_path: Path) -> None:
    train(SMALL["vocos"], SETTINGS, SPEECH, tmp_path)
    for settings, speech in ((TrainingSettings(steps=7, batch=2, frames=8), SPEECH), (SETTINGS, SPEECH[:1])):
        with pytest.raises(DataError, match=r"training\.safetensors: of another run"):
            train(SMALL["vocos"], settings, speech, tmp_path)
    save_file({"step": np.zeros(1)}, tmp_path / CHECKPOINT, {"run": _identity(SMALL["vocos"], SETTINGS, SPEECH)})
    with pytest.raises(DataError, match=r"training\.safetensors: of another run"):
        train(SMALL["vocos"], SETTINGS, SPEECH, tmp_path)
    (tmp_path / CHECKPOINT).write_bytes(b"half")
    with pytest.raises(DataError, match=r"training\.safetensors: damaged"):
        train(SMALL["vocos"], SETTINGS, SPEECH, tmp_path)
    with pytest.raises(DataError, match="no speech"):
        train(SMALL["vocos"], SETTINGS, [], tmp_path)


@pytest.mark.parametrize(
    ("speech", "rate", "message"),
    [
        ([np.full(8000, np.nan, np.float32)], 1e-3, "step 1: the loss is not finite"),
        (SPEECH, float("inf"), "step 1: a parameter is not finite"),
    ],
)
def test_what_is_not_finite_is_not_kept(speech: list[Any], rate: float, message: str, tmp_path: Path) -> None:
    settings = TrainingSettings(steps=1, batch=1, frames=8, learning_rate=rate)
    with pytest.raises(DataError, match=message):
        train(SMALL["vocos"], settings, speech, tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_a_killed_run_was_writing_is_removed(tmp_path: Path) -> None:
    (tmp_path / f".{CHECKPOINT}.999999999.writing").touch()
    train(SMALL["vocos"], TrainingSettings(steps=1, batch=1, frames=8), SPEECH, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT]


def test_the_rate_of_a_discriminator_falls_over_its_own_steps() -> None:
    settings = TrainingSettings(steps=40, adversarial_from=0.75)
    parameter = jnp.ones(1)
    sizes = []
    for optimizer in _optimizers(settings):
        state, changes = optimizer.init(parameter), []
        for _ in range(40):
            change, state = optimizer.update(jnp.ones(1), state, parameter)
            changes.append(abs(float(change[0])))
        sizes.append(changes)
    of_vocoder, of_judge = sizes
    assert of_vocoder[9] > 0.8 * max(of_vocoder)
    assert of_judge[9] < 0.1 * max(of_judge)
    assert max(of_judge) == pytest.approx(max(of_vocoder), rel=0.05)


def test_a_batch_follows_from_the_seed_and_its_number() -> None:
    first, again = (crops(SPEECH, SETTINGS, 3) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert first.shape == (2, 8 * 256)
    assert np.any(first != crops(SPEECH, SETTINGS, 4))
    assert np.any(first != crops(SPEECH, TrainingSettings(steps=6, batch=2, frames=8, seed=1), 3))
    # A clip shorter than a crop is filled with silence.
    (short,) = crops(SPEECH[1:], TrainingSettings(steps=1, batch=1, frames=8), 0)
    assert np.all(short[SPEECH[1].size :] == 0)
    gain = np.abs(short).max() / np.abs(SPEECH[1]).max()
    assert 0.5 < gain < 2

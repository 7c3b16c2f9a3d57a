"""The contract that every kind keeps, and chains of them."""

import pickle
import sys
import types

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import aasist_jax.augmentation as augmentation
from aasist_jax.augmentation import (
    Augmentation,
    Changed,
    Clips,
    OneOf,
    apply,
    augment,
    check_range,
    find_kind,
    kind_names,
    least_share,
    prepare,
)
from aasist_jax.augmentation.clipping import Clipping
from aasist_jax.augmentation.level import Level
from aasist_jax.augmentation.noise import Noise
from aasist_jax.augmentation.sound import Wave
from aasist_jax.augmentation.speed import Speed
from aasist_jax.augmentation.tempo import Tempo
from aasist_jax.errors import AudioError, ConfigError
from tests.augmentation.waves import CONTENTS, OTHERS, SPEECH, made
from tests.conftest import extra

CHANGES_LENGTH = {"silence", "speed", "tempo"}
LENGTHS = st.one_of(st.integers(1, 2000), st.sampled_from([1, 2, 3, 319, 320, 16_000, 64_600]), st.integers(1, 100_000))


def examples_of(name: str) -> tuple[Augmentation, ...]:
    examples = find_kind(name).examples()
    if name == "reverberation":
        extra("pyroomacoustics", "augmentation")
    if name == "codec":
        extra("G722", "augmentation")
    return examples


def check(name: str, number: int, samples: int, content: str, seed: int) -> None:
    examples = examples_of(name)
    step = examples[number % len(examples)]
    wave = made(content, samples, seed)
    before = wave.copy()
    changed = apply(step, wave, np.random.default_rng(seed), OTHERS)
    np.testing.assert_array_equal(wave, before)
    assert changed.wave.dtype == np.float32
    assert changed.wave.ndim == 1
    assert changed.wave.flags.writeable
    assert np.isfinite(changed.wave).all()
    assert np.abs(changed.wave).max(initial=0) <= max(1.0, np.abs(wave).max()) * (1 + 1e-6)
    if name in CHANGES_LENGTH:
        # What trimming leaves is what it finds; all others say how little there may be.
        least = 0 if name == "silence" else int(samples * step.least_share()) - 1
        assert max(least, 1) <= changed.wave.size
    else:
        assert changed.wave.size == samples
    again = apply(step, wave, np.random.default_rng(seed), OTHERS)
    np.testing.assert_array_equal(changed.wave, again.wave)
    assert changed.drawn == again.drawn


FORMS = {"deadline": None, "derandomize": True, "suppress_health_check": [HealthCheck.too_slow]}


@pytest.mark.parametrize("name", kind_names())
@settings(max_examples=12, **FORMS)
@given(st.integers(0, 9), LENGTHS, st.sampled_from(CONTENTS), st.integers(0, 2**32 - 1))
def test_any_wave_comes_back_sound(name: str, number: int, samples: int, content: str, seed: int) -> None:
    check(name, number, min(samples, 8000) if name == "codec" else samples, content, seed)


@pytest.mark.slow
@pytest.mark.parametrize("name", kind_names())
@settings(max_examples=400, **FORMS)
@given(st.integers(0, 9), LENGTHS, st.sampled_from(CONTENTS), st.integers(0, 2**32 - 1))
def test_very_many_waves_come_back_sound(name: str, number: int, samples: int, content: str, seed: int) -> None:
    check(name, number, samples, content, seed)


@pytest.mark.parametrize("name", kind_names())
@pytest.mark.parametrize("samples", [1, 321])
@pytest.mark.parametrize("content", CONTENTS)
def test_every_example_takes_short_waves(name: str, samples: int, content: str) -> None:
    for number in range(len(examples_of(name))):
        check(name, number, samples, content, 0)


@pytest.mark.parametrize("name", kind_names())
def test_no_samples_are_left_alone(name: str) -> None:
    for step in find_kind(name).examples():
        assert apply(step, np.zeros(0, np.float32), np.random.default_rng(0)).wave.size == 0


@pytest.mark.parametrize("name", kind_names())
def test_every_kind_changes_speech_and_is_carried_to_another_process(name: str) -> None:
    for step in examples_of(name):
        carried = pickle.loads(pickle.dumps(step))
        assert carried == step
        rng = np.random.default_rng(3)
        changed = carried(SPEECH, rng) if step != Noise(source="babble") else apply(step, SPEECH, rng, OTHERS).wave
        if changed.size == SPEECH.size and name != "silence":
            assert np.abs(changed - SPEECH).max() > 1e-4, step


def test_a_chain_applies_each_step_with_its_probability() -> None:
    chain = (Level(probability=0.25, gain=(-6.0, -6.0)), Clipping(), Level(probability=0.0))
    rng = np.random.default_rng(0)
    done = [[kind for kind, _ in augment(SPEECH[:100], chain, rng)[1]] for _ in range(500)]
    assert {tuple(kinds) for kinds in done} == {("level", "clipping"), ("clipping",)}
    assert sum(len(kinds) == 2 for kinds in done) / 500 == pytest.approx(0.25, abs=0.05)
    wave, drawn = augment(SPEECH, (Level(gain=(-20.0, -20.0)),), rng)
    assert drawn == [("level", {"gain_db": -20.0, "sign": 1})]
    np.testing.assert_allclose(wave, 0.1 * SPEECH, rtol=1e-6)
    assert augment(SPEECH, (), rng)[0] is SPEECH


def test_one_of_several_is_drawn_by_weight() -> None:
    step = OneOf((Level(probability=0.1), Clipping(probability=0.3), Noise(probability=0.0)), probability=0.5)
    rng = np.random.default_rng(0)
    done = [tuple(kind for kind, _ in augment(SPEECH[:100], (step,), rng)[1]) for _ in range(600)]
    for kinds, share in (((), 0.5), (("level",), 0.125), (("clipping",), 0.375)):
        assert done.count(kinds) / 600 == pytest.approx(share, abs=0.05)
    assert len(set(done)) == 3
    with pytest.raises(ValueError, match="one at least has a probability above 0"):
        OneOf((Level(probability=0.0),))


def test_the_least_share_is_that_of_the_shortest_way_through_a_chain() -> None:
    fast = Speed(factor=(0.9, 1.25))
    assert least_share((fast, OneOf((Level(), Tempo(factor=(1.0, 2.0)))))) == pytest.approx(0.4)
    assert least_share((Speed(factor=(0.5, 0.5)), Level())) == 1.0
    assert least_share(()) == 1.0


def test_what_exceeds_full_scale_is_scaled_down() -> None:
    loud = apply(Level(gain=(40.0, 40.0)), SPEECH, np.random.default_rng(0)).wave
    assert np.abs(loud).max() == pytest.approx(1.0)
    np.testing.assert_allclose(loud * np.abs(SPEECH).max(), SPEECH, atol=1e-6)
    # A wave that was louder than full scale may stay so.
    assert np.abs(apply(Level(gain=(0.0, 0.0)), 3 * loud, np.random.default_rng(0)).wave).max() == pytest.approx(3.0)


@pytest.fixture
def new_kind(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A module in the place of a kind's file."""
    module = types.ModuleType("aasist_jax.augmentation.level")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def test_a_file_must_set_a_kind_of_its_name(new_kind: types.ModuleType) -> None:
    for value in (None, 3, Clipping, Augmentation):
        new_kind.AUGMENTATION = value
        with pytest.raises(ConfigError, match=r"^augmentation/level\.py: sets no AUGMENTATION, .* tag='level'$"):
            find_kind("level")


class Broken(Augmentation, frozen=True, kw_only=True, tag="broken"):
    def change(self, wave: Wave, rng: np.random.Generator, clips: Clips) -> Changed:
        return Changed(wave / 0, {})


def test_samples_that_are_not_finite_are_told() -> None:
    with np.errstate(all="ignore"), pytest.raises(AudioError, match="'broken': gives samples that are not finite"):
        Broken()(SPEECH, np.random.default_rng(0))
    with pytest.raises(TypeError, match="abstract method 'change'"):
        Augmentation()


def test_unknown_kinds_and_ranges() -> None:
    with pytest.raises(ConfigError, match=r"^there is no augmentation 'nois'; did you mean 'noise'\?$"):
        find_kind("nois")
    assert "sound" not in kind_names()
    for pair in ((2.0, 1.0), (-1.0, 0.5), (0.5, 11.0)):
        with pytest.raises(ValueError, match=r"^x: expected two numbers, the lower one first, from 0 to 10 s, got \["):
            check_range("x", pair, 0, 10, "s")
    check_range("x", (0.0, 10.0), 0, 10)


def test_what_kinds_need_is_checked_in_all_of_a_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Level, "prepare", lambda self: [f"level {self.probability}"])
    chain = (Level(), OneOf((Level(probability=0.5), Clipping())))
    assert prepare(chain) == ["level 1.0", "level 0.5"]
    assert augmentation.kind_of(chain[0]) == "level"

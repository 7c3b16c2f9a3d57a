import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy import signal

from tests.conftest import extra

extra("hibari", "quickstart")

from aasist_jax.corpus.game_speech import QUEEN
from aasist_jax.corpus.large import making
from aasist_jax.corpus.large.making import COPIES, GroupMaker, recorded, within_band_of
from aasist_jax.corpus.large.media import through
from aasist_jax.corpus.large.plan import Group, LargeClip
from aasist_jax.corpus.large.systems import SYSTEMS
from aasist_jax.corpus.neural_vocoders.kinds import KINDS
from aasist_jax.errors import DataError
from tests.corpus.made_games import RATE as GAME_RATE
from tests.corpus.made_games import make_queen, mp3, vowel
from tests.corpus.made_voices import speech_like

HUMAN = LargeClip(
    utterance="LC_T_1000000",
    split="train",
    attack="-",
    speaker="queen_joe",
    language="en",
    source="flight-of-the-amazon-queen",
    seconds=2.6,
    channel="noise",
    material=(f"{QUEEN}#JOE00011.SB", f"{QUEEN}#JOE00021.SB"),
    medium="mp3-11k",
)


def made(number: int, attack: str, **changes: object) -> LargeClip:
    fields = {
        "utterance": f"LC_T_100000{number}",
        "attack": attack,
        "origin": HUMAN.utterance,
        "material": (),
    } | changes
    return dataclasses.replace(HUMAN, **fields)


GROUP = Group(
    HUMAN,
    (
        made(1, "psola"),
        made(2, "griffin", channel="noise+opus"),
        made(3, "hibari", voice="heart", material=("Good morning.",), channel="clean"),
    ),
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("root")
    make_queen(folder / QUEEN, {f"JOE000{n}1.SB": mp3(vowel(1.7, 100 + 10 * n)) for n in (1, 2)})
    return folder


def maker(root: Path, output: Path, seed: int = 0) -> GroupMaker:
    return GroupMaker(root, os.environ, output, seed, {system.name: system.engine for system in SYSTEMS})


@pytest.fixture(scope="module")
def corpus(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("corpus")
    maker(root, output).make(GROUP)
    return output


def contents(output: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in output.rglob("*.flac")}


def test_all_clips_of_a_group_are_made_alike(corpus: Path) -> None:
    waves = {}
    for clip in (GROUP.human, *GROUP.made):
        path = corpus / "ASVspoof2019_LA_train" / "flac" / f"{clip.utterance}.flac"
        wave, rate = soundfile.read(path)
        assert (rate, soundfile.info(path).subtype) == (16_000, "PCM_16")
        assert wave.size == pytest.approx(2.6 * rate, abs=4)
        assert 0.02 < wave.std() < 0.2
        spectrum = np.abs(np.fft.rfft(wave)) ** 2
        hertz = np.fft.rfftfreq(wave.size, 1 / rate)
        # The band of the medium: above it there is only the noise of the channel.
        assert spectrum[hertz > GAME_RATE / 2 + 100].sum() < 2e-3 * spectrum.sum()
        waves[clip.attack] = wave
    assert set(waves) == {"-", "psola", "griffin", "hibari"}
    assert all(abs(np.corrcoef(waves["-"], waves[name])[0, 1]) < 0.9 for name in set(waves) - {"-"})


def test_copies_pass_the_medium_too(tmp_path: Path) -> None:
    hiss = 0.003 * np.random.default_rng(0).standard_normal(48_000)
    soundfile.write(tmp_path / "a.wav", speech_like(3.0, 0) + hiss, 16_000)
    powers = {}
    for medium in ("wide", "8k"):
        human = dataclasses.replace(HUMAN, medium=medium, channel="clean", material=("a.wav",))
        copy = made(1, "psola", medium=medium, channel="clean")
        maker(tmp_path, tmp_path / medium).make(Group(human, (copy,)))
        for path in (tmp_path / medium).rglob("*.flac"):
            wave, rate = soundfile.read(path)
            hertz = np.fft.rfftfreq(wave.size, 1 / rate)
            powers[medium, path.name] = (np.abs(np.fft.rfft(wave)) ** 2)[(hertz > 4200) & (hertz < 6500)].sum()
    for clip in (HUMAN, GROUP.made[0]):
        # What is left is the noise of the channel.
        assert powers["8k", f"{clip.utterance}.flac"] < 0.2 * powers["wide", f"{clip.utterance}.flac"]


def test_every_clip_is_coded_twice(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A human clip and a copy by their source and the medium, and text-to-speech by the medium both times."""
    codings: list[str] = []

    def counted(wave: np.ndarray, medium: str) -> np.ndarray:
        codings.append(medium)
        return through(wave, medium)

    monkeypatch.setattr(making, "through", counted)
    for clip, here in ((HUMAN, 1), (GROUP.made[0], 1), (GROUP.made[2], 2)):
        codings.clear()
        # After the first turn the human clip is there already.
        others = () if clip is HUMAN else (clip,)
        maker(root, tmp_path).make(Group(HUMAN, others))
        assert codings == ["mp3-11k"] * here, clip.attack


def test_the_first_coding_begins_at_random_and_keeps_the_place() -> None:
    wave = speech_like(1.0, 0)
    for medium in ("mp3-11k", "gsm-8k", "8bit-11k"):
        first, second = (recorded(wave, medium, np.random.default_rng(seed)) for seed in (0, 1))
        assert first.size == second.size == wave.size
        assert not np.allclose(first, second, atol=1e-4)
        correlation = signal.correlate(first, wave, mode="same")
        assert abs(int(np.argmax(correlation)) - wave.size // 2) <= 2
    np.testing.assert_array_equal(recorded(wave, "wide", np.random.default_rng(0)), wave)


def test_what_is_missing_is_made_again_with_the_same_bytes(corpus: Path, root: Path) -> None:
    before = contents(corpus)
    victim = corpus / "ASVspoof2019_LA_train" / "flac" / "LC_T_1000001.flac"
    kept = victim.with_name("LC_T_1000002.flac").stat().st_mtime_ns
    victim.unlink()
    maker(root, corpus).make(GROUP)
    assert contents(corpus) == before
    assert victim.with_name("LC_T_1000002.flac").stat().st_mtime_ns == kept


def test_a_clip_follows_from_its_seed_and_its_name_alone(corpus: Path, root: Path, tmp_path: Path) -> None:
    alone = dataclasses.replace(GROUP, made=GROUP.made[:1])
    maker(root, tmp_path / "alone").make(alone)
    assert contents(tmp_path / "alone").items() <= contents(corpus).items()
    maker(root, tmp_path / "other", seed=1).make(alone)
    other = contents(tmp_path / "other")
    assert all(other[name] != contents(corpus)[name] for name in other)


def test_silence_in_a_package_is_an_error_that_names_it(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(48_000), 16_000)
    silent = Group(dataclasses.replace(HUMAN, material=("a.wav",), medium="wide"), ())
    with pytest.raises(DataError, match=r"a\.wav: there is nothing to hear"):
        maker(tmp_path, tmp_path / "out").make(silent)


def test_every_system_has_something_that_makes_it() -> None:
    engines = {"espeak", "flite", "festival", "hibari", "piper"}
    for system in SYSTEMS:
        assert system.name in {*COPIES, *KINDS} if system.copies else system.engine in engines


def test_the_band_of_a_narrow_reference_is_taken_on_and_that_of_a_wide_one_is_not() -> None:
    rng = np.random.default_rng(0)
    white = 0.1 * rng.standard_normal(32_000)
    narrow = signal.sosfiltfilt(signal.butter(10, 4000, fs=16_000, output="sos"), white)
    cut = np.abs(np.fft.rfft(within_band_of(white, narrow))) ** 2
    hertz = np.fft.rfftfreq(32_000, 1 / 16_000)
    assert cut[hertz > 5500].mean() < 1e-3 * cut[hertz < 3500].mean()
    np.testing.assert_array_equal(within_band_of(narrow, white), narrow)

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasist_jax.augmentation import apply
from aasist_jax.augmentation.reverberation import Reverberation, from_largest, places, room_response
from aasist_jax.augmentation.sound.levels import speech_level
from aasist_jax.augmentation.sound.responses import decaying_response
from aasist_jax.config import parse_augmentation
from aasist_jax.errors import AudioError, ConfigError
from tests.augmentation.waves import SPEECH
from tests.conftest import extra

RATE = 16_000
SPEECH_64 = SPEECH.astype(float)


def decay_time(response: np.ndarray) -> float:
    """RT60 from Schroeder's integral between 5 and 25 dB below the start."""
    decay = 10 * np.log10(np.cumsum(response[::-1] ** 2)[::-1] / np.sum(response**2))
    crossed = [int(np.argmax(decay < level)) for level in (-5, -25)]
    return 3 * (crossed[1] - crossed[0]) / RATE


def test_rooms_decay_as_they_say() -> None:
    """Sabine's formula is for diffuse sound, which that of a rectangular room is only roughly."""
    extra("pyroomacoustics", "augmentation")
    settings, ratios = Reverberation(rt60=(0.25, 0.6), size=(4.0, 6.0), distance=(1.0, 2.0)), []
    for number in range(8):
        response, rt60 = room_response(settings, number)
        assert 0.25 <= rt60 <= 0.6
        assert not response.flags.writeable
        ratios.append(decay_time(response) / rt60)
    assert 0.8 < np.median(ratios) < 1.3
    assert min(ratios) > 0.4


def test_a_room_starts_with_the_direct_sound_also_where_a_reflection_is_louder() -> None:
    """The direct sound at 1 m has the amplitude 1, between two samples of which it reaches 2/pi at least."""
    extra("pyroomacoustics", "augmentation")
    settings = Reverberation(size=(2.0, 4.0), rt60=(0.8, 1.0), distance=(2.0, 3.0))
    responses = [room_response(settings, number)[0] for number in range(24)]
    louder = [np.argmax(np.abs(response)) for response in responses]
    assert max(louder) > 0
    distances = [1 / np.abs(response[:2]).max() for response in responses]
    assert min(distances) > 1.5
    assert max(distances) < 3.0 * np.pi / 2 * 1.1


@pytest.mark.parametrize(
    ("room", "distance", "kept"),
    [
        ((3.0, 3.0, 2.4), 0.5, True),
        ((3.0, 3.0, 2.4), 3.0, True),
        ((10.0, 3.0, 4.0), 9.0, True),
        ((3, 3, 2.4), 4.0, False),
    ],
)
def test_a_distance_is_kept_where_the_room_has_space_for_it(
    room: tuple[float, ...], distance: float, kept: bool
) -> None:
    size, rng = np.array(room), np.random.default_rng(0)
    for _ in range(200):
        source, microphone = places(size, distance, rng)
        for place in (source, microphone):
            assert (place >= 0.5 - 1e-12).all()
            assert (place <= size - 0.5 + 1e-12).all()
        expected = distance if kept else np.linalg.norm(size - 1)
        assert np.linalg.norm(source - microphone) == pytest.approx(expected)


def test_a_silent_impulse_response_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "dead.wav", np.zeros(800), RATE)
    with pytest.raises(AudioError, match=r"dead\.wav: an impulse response of zeros alone .*; remove the file$"):
        Reverberation(source="files", folder=str(tmp_path)).prepare()


def test_the_rooms_are_as_many_as_are_kept() -> None:
    parse_augmentation([{"kind": "reverberation", "rooms": 1024}], "chain", "chain")
    for rooms in (0, 1025, 10**30):
        with pytest.raises(ConfigError, match=r"^chain: chain\[0\]\.rooms: expected"):
            parse_augmentation([{"kind": "reverberation", "rooms": rooms}], "chain", "chain")


def test_a_room_is_the_same_in_every_process_whatever_its_threads() -> None:
    acoustics = extra("pyroomacoustics", "augmentation")
    settings, before = Reverberation(), acoustics.constants.get("num_threads")
    first, _ = room_response(settings, 3)
    room_response.cache_clear()
    acoustics.constants.set("num_threads", before + 3)
    try:
        again, _ = room_response(settings, 3)
        assert acoustics.constants.get("num_threads") == before + 3
    finally:
        acoustics.constants.set("num_threads", before)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, room_response(settings, 4)[0])


@pytest.mark.parametrize("source", ["rooms", "decay", "files"])
def test_the_direct_sound_stays_and_so_does_the_level(source: str, tmp_path: Path) -> None:
    if source == "rooms":
        extra("pyroomacoustics", "augmentation")
    soundfile.write(
        tmp_path / "hall.flac", np.pad(decaying_response(0.3, np.random.default_rng(0)), (777, 0)) / 2, RATE
    )
    folder = str(tmp_path) if source == "files" else ""
    step = Reverberation(source=source, folder=folder, direct_to_reverberant=(3.0, 3.0), distance=(0.5, 0.8))
    wave, drawn = apply(step, SPEECH, np.random.default_rng(1))
    assert speech_level(wave.astype(float)) == pytest.approx(speech_level(SPEECH_64), abs=1e-3)
    lags = np.fft.irfft(np.fft.rfft(wave, 2 * wave.size) * np.conj(np.fft.rfft(SPEECH, 2 * wave.size)))
    assert abs((int(lags.argmax()) + wave.size) % (2 * wave.size) - wave.size) <= 1
    assert drawn.keys() == {"rooms": {"room", "rt60_s"}, "files": {"file"}}.get(
        source, {"rt60_s", "direct_to_reverberant_db"}
    )


def test_the_direct_to_reverberant_ratio_is_that_drawn() -> None:
    response = decaying_response(0.4, np.random.default_rng(0), 6.0)
    assert -10 * np.log10(np.sum(response[1:] ** 2)) == pytest.approx(6.0)
    assert from_largest(np.array([0.1, -0.9, 0.2])).tolist() == [-0.9, 0.2]


def test_without_the_package_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyroomacoustics", None)
    with pytest.raises(AudioError, match=r"rooms need pyroomacoustics; run `pip install 'aasist-jax\[augmentation\]'`"):
        Reverberation().prepare()
    Reverberation(source="decay").prepare()


@pytest.mark.parametrize("settings", [{"source": "files"}, {"rt60": (0.0, 1.0)}, {"size": (9.0, 3.0)}])
def test_settings_that_make_no_sense(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"^(folder|rt60|size): expected"):
        Reverberation(**settings)

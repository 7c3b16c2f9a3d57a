"""Each limit on its own: just inside, just outside, claimed by a header and found while decoding; known bombs."""

import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aasist_jax.audio import load as audio
from aasist_jax.audio.limits import Limits
from aasist_jax.audio.load import inspect_audio, iter_audio, load_audio, load_start
from aasist_jax.audio.source import AudioStream
from aasist_jax.errors import AudioError
from tests.audio.catalogue import flac_claiming
from tests.audio.recordings import encoded, m4a, silent, voice

STEREO = encoded(voice(2.0, 8_000, 2), 8_000)
"""16,000 frames in two channels at 8 kHz: 32,000 values, 64,044 bytes, 32,000 samples at 16 kHz."""

# The largest limit that refuses the file above, the smallest that reads it, and what is said.
BORDERS = [
    ({"encoded_bytes": 64_043}, {"encoded_bytes": 64_044}, "64044 bytes, over the limit of 64043"),
    ({"decoded_values": 31_999}, {"decoded_values": 32_000}, "over the limit of 31999 decoded values"),
    ({"seconds": 1.9999}, {"seconds": 2.0}, "longer than the limit of 1.9999 s"),
    ({"channels": 1}, {"channels": 2}, "2 channels; 1 to 1 are read"),
    ({"min_rate": 8_001}, {"min_rate": 8_000}, "8000 Hz; sample rates from 8001"),
    ({"max_rate": 7_999}, {"max_rate": 8_000}, "8000 Hz; sample rates from 4000 to 7999"),
    ({"output_samples": 31_999}, {"output_samples": 32_000}, "over the limit of 31999 samples at 16000 Hz"),
    (
        {"values_per_byte": 0.4996, "free_values": 31_999},
        {"values_per_byte": 0.4997, "free_values": 31_999},
        "over 0.4996 decoded values per byte",
    ),
    (
        {"values_per_byte": 0.1, "free_values": 31_999},
        {"values_per_byte": 0.1, "free_values": 32_000},
        "over 0.1 decoded values per byte",
    ),
]
LENGTHS = [
    border for border in BORDERS if border[0].keys() & {"decoded_values", "seconds", "output_samples", "free_values"}
]


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """Two hours of digital silence."""
    return silent(7200)


def through(monkeypatch: pytest.MonkeyPatch, change: Callable[[AudioStream], AudioStream]) -> None:
    """Have every recording that libsndfile opens pass through `change`."""
    opener = audio.open_sound_file

    @contextmanager
    def changed(raw: Any, name: str) -> Iterator[AudioStream]:
        with opener(raw, name) as stream:
            yield change(stream)

    monkeypatch.setattr(audio, "open_sound_file", changed)


def never_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def untouched() -> Iterator[np.ndarray]:
        raise AssertionError("decoded what the header alone forbids")
        yield

    through(monkeypatch, lambda stream: replace(stream, blocks=untouched()))


def decoded_before(blocks: Iterator[np.ndarray], error: str) -> int:
    """How many samples come before this error."""
    sizes: list[int] = []
    with pytest.raises(AudioError, match=error):
        sizes.extend(block.size for block in blocks)
    return sum(sizes)


def refused(data: bytes, match: str, limits: Limits) -> None:
    for read in (load_audio, inspect_audio, lambda source, limits: load_start(source, 1, limits=limits)):
        with pytest.raises(AudioError, match=match) as caught:
            read(io.BytesIO(data), limits=limits)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("outside", "inside", "message"), BORDERS)
def test_each_limit_just_outside_is_refused_unread(
    outside: dict[str, float], inside: dict[str, float], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    never_decoded(monkeypatch)
    refused(STEREO, message, Limits(**outside))


@pytest.mark.parametrize(("outside", "inside", "message"), BORDERS)
def test_each_limit_just_inside_is_read(outside: dict[str, float], inside: dict[str, float], message: str) -> None:
    assert load_audio(io.BytesIO(STEREO), limits=Limits(**inside)).size == 32_000


@pytest.mark.parametrize(("outside", "inside", "message"), LENGTHS)
def test_what_the_header_hides_is_refused_while_decoding(
    outside: dict[str, float], inside: dict[str, float], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred times the recording, under a header that states nothing: no more is decoded than it takes to see."""
    taken = 0

    def endless(stream: AudioStream) -> Iterator[np.ndarray]:
        nonlocal taken
        for block in list(stream.blocks) * 100:
            for start in range(0, len(block), 1000):
                taken += 1000
                yield block[start : start + 1000]

    through(monkeypatch, lambda stream: replace(stream, frames=0, blocks=endless(stream)))
    # 16,000 frames are one too many for these.
    with pytest.raises(AudioError, match=message):
        load_audio(io.BytesIO(STEREO), limits=Limits(**outside))
    assert taken == 16_000


def test_limits_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Limits().seconds = 1e9


def test_the_known_bomb_is_refused_unread(bomb: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    assert 360_000 < len(bomb) < 370_000
    never_decoded(monkeypatch)
    refused(bomb, "over 256 decoded values per byte", Limits())


@pytest.mark.parametrize(("seconds", "rate", "channels"), [(200, 48_000, 8), (30, 384_000, 8), (120, 192_000, 4)])
def test_bombs_of_many_channels_are_refused_unread(
    seconds: int, rate: int, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = silent(seconds, rate, channels)
    assert len(bomb) < 400_000
    never_decoded(monkeypatch)
    refused(bomb, "decoded values per byte", Limits())


def test_a_claim_of_all_the_samples_a_flac_can_state_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    data = flac_claiming((1 << 36) - 1, encoded(voice(2.0), kind="flac"))
    assert 50_000 < len(data) < 70_000
    never_decoded(monkeypatch)
    refused(data, "longer than the limit of 14400 s", Limits())


def test_a_bomb_that_hides_its_length_is_not_decoded_in_full(bomb: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    through(monkeypatch, lambda stream: replace(stream, frames=0))
    decoded = decoded_before(iter_audio(io.BytesIO(bomb)), "decoded values per byte")
    assert Limits().free_values < decoded <= 256 * len(bomb)
    assert decoded < 0.82 * 7200 * 16_000


@pytest.mark.parametrize(("kind", "pause"), [("flac", 50), ("flac", 10), ("mp3", 50), ("opus", 50), ("ogg", 50)])
def test_speech_with_long_pauses_passes_whatever_its_length(kind: str, pause: int) -> None:
    """A minute, of which 83 or 17 % are digital silence, under limits that make it as long as a podcast."""
    minute = voice(60.0)
    for start in range(0, 60, 60 if pause == 50 else 20):
        minute[start * 16_000 : (start + pause) * 16_000 if pause == 50 else (start + 3) * 16_000] = 0
    data = encoded(minute, kind=kind)
    assert load_audio(io.BytesIO(data), limits=Limits(free_values=0)).size == 960_000


def test_ten_silent_minutes_are_read_and_not_taken_for_a_bomb() -> None:
    data = silent(600)
    assert 600 * 16_000 / len(data) > Limits().values_per_byte
    assert load_start(io.BytesIO(data), 100)[1] == 600 * 16_000


def test_a_refusal_takes_no_time(bomb: bytes, tmp_path: Path) -> None:
    (tmp_path / "bomb.flac").write_bytes(bomb)
    start = time.process_time()
    with pytest.raises(AudioError):
        load_audio(tmp_path / "bomb.flac")
    assert time.process_time() - start < 0.1


@pytest.mark.usefixtures("ffmpeg")
def test_bare_aac_states_no_length_and_is_held_to_the_limits_while_decoding() -> None:
    # A loud start makes the estimate too low.
    samples = np.concatenate([voice(1.0), np.zeros((960_000, 1))])
    data = m4a(samples, kind="adts")
    assert inspect_audio(io.BytesIO(data)).seconds < 40
    assert load_audio(io.BytesIO(data)).size >= samples.size
    blocks = iter_audio(io.BytesIO(data), limits=Limits(seconds=40.0))
    assert 16 * 16_000 < decoded_before(blocks, "longer than the limit of 40 s") <= 40 * 16_000

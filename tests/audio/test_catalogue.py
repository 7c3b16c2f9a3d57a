"""The bad-audio catalogue: each case as a file and as a stream, judged in time, by one line or a status."""

import io
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aasist_jax.audio.load import load_audio
from aasist_jax.detection.detector import Detector
from aasist_jax.errors import AudioError
from tests.audio.catalogue import CASES, M4A_CASES, Case, fragmented, moved_index
from tests.audio.recordings import encoded, m4a, ogg_pages, voice
from tests.models import toy

SECONDS = 5


@pytest.fixture(scope="module")
def detector() -> Iterator[Detector]:
    with toy.registered():
        yield Detector(toy.toy_weights())


def judge(detector: Detector, case: Case, path: Path) -> None:
    path.write_bytes(case.build())
    for source in (path, io.BytesIO(path.read_bytes())):
        start = time.process_time()
        if case.status is None:
            with pytest.raises(AudioError, match=case.error) as caught:
                detector.score(source, published=True)
            assert "\n" not in str(caught.value)
            assert str(caught.value).startswith("audio stream" if isinstance(source, io.BytesIO) else str(path))
        else:
            result = detector.score(source, published=True)
            assert result.status == case.status
            assert (result.score is None) == (case.status in ("silent", "constant"))
        assert time.process_time() - start < SECONDS


def test_there_are_sixty_cases_and_no_two_alike() -> None:
    names = [case.name for case in CASES + M4A_CASES]
    assert len(CASES) >= 60
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_audio(detector: Detector, case: Case, tmp_path: Path) -> None:
    judge(detector, case, tmp_path / "case.audio")


@pytest.mark.parametrize("case", M4A_CASES, ids=lambda case: case.name)
@pytest.mark.usefixtures("ffmpeg")
def test_bad_aac(detector: Detector, case: Case, tmp_path: Path) -> None:
    judge(detector, case, tmp_path / "case.audio")


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3", "ogg", "opus"])
def test_a_file_cut_anywhere_is_not_read_in_part(kind: str) -> None:
    data = encoded(voice(2.0), kind=kind)
    cut_anywhere(data, {sum(map(len, ogg_pages(data)[:count])) for count in range(20)})


@pytest.mark.usefixtures("ffmpeg")
def test_an_m4a_cut_anywhere_is_not_read_in_part() -> None:
    for data in (m4a(voice(2.0)), moved_index(m4a(voice(2.0))), fragmented()):
        cut_anywhere(data, set())


def cut_anywhere(data: bytes, undetectable: set[int]) -> None:
    """Cut at forty places; only a hundredth may be lost unseen: the last frame of an MP3, tags at the end."""
    whole = load_audio(io.BytesIO(data)).size
    refused = 0
    for end in random.Random(0).sample(sorted(set(range(1, len(data))) - undetectable), 40):
        try:
            assert load_audio(io.BytesIO(data[:end])).size >= 0.99 * whole
        except AudioError:
            refused += 1
    assert refused >= 38

"""The bad-audio catalogue: each case as a file and as a stream, judged in time, by one line or a status."""

import io
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aasist_jax import Detector
from aasist_jax.errors import AudioError
from tests import toy
from tests.audio.catalogue import CASES, M4A_CASES, Case
from tests.conftest import extra

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
                detector.score(source)
            assert "\n" not in str(caught.value)
            assert str(caught.value).startswith("audio stream" if isinstance(source, io.BytesIO) else str(path))
        else:
            result = detector.score(source)
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
def test_bad_aac(detector: Detector, case: Case, tmp_path: Path) -> None:
    extra("av", "m4a")
    judge(detector, case, tmp_path / "case.audio")

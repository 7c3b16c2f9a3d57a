"""Fixtures for tests of audio that FFmpeg decodes."""

import pytest

from aasist_jax.audio.ffmpeg_process import PROGRAM_VARIABLE
from tests.audio.recordings import ffmpeg_programs


@pytest.fixture(params=ffmpeg_programs())
def ffmpeg(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have one of the FFmpegs that there are decode; gives its path."""
    monkeypatch.setenv(PROGRAM_VARIABLE, request.param)
    return str(request.param)

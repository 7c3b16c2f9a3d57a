from pathlib import Path

import pytest
import soundfile

from tests.conftest import Command
from tests.corpus.made_voices import speech_like

pytestmark = pytest.mark.usefixtures("quickly_compiled")


def test_a_vocoder_is_trained(tmp_path: Path, command: Command) -> None:
    (tmp_path / "speech").mkdir()
    soundfile.write(tmp_path / "speech" / "a.wav", speech_like(1.0, 0), 16_000)
    arguments = ("--data", tmp_path / "speech", "--output", tmp_path / "made", "--steps", 1, "--batch", 1)
    code, _, told = command("train-vocoder", "vocos", *arguments)
    assert code == 0, told
    assert "1 recordings of" in told
    assert "vocos, 1 steps" in told
    assert {path.name for path in (tmp_path / "made").iterdir()} == {"config.json", "model.safetensors"}
    code, _, told = command("train-vocoder", "vocos", *arguments)
    assert code != 0
    assert "holds a trained vocoder; give another folder" in told


def test_an_unknown_kind_is_named(tmp_path: Path, command: Command) -> None:
    code, _, told = command("train-vocoder", "vocoz", "--data", tmp_path, "--output", tmp_path / "made")
    assert code != 0
    assert "KIND 'vocoz': did you mean 'vocos'?" in told

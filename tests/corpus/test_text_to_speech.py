import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.conftest import extra

extra("hibari", "quickstart")

from aasist_jax.corpus import text_to_speech
from aasist_jax.corpus.text_to_speech import piper_ids, speak
from aasist_jax.errors import DataError


def test_piper_ids_put_a_blank_after_every_phoneme_and_skip_unknown_ones() -> None:
    table = {"_": [0], "^": [1], "$": [2], "a": [7], "b": [8, 9]}
    assert piper_ids("a?b", table) == [1, 0, 7, 0, 8, 9, 0, 2]


def test_a_neural_voice_speaks_and_repeats_itself_with_the_seed() -> None:
    first, again = (speak("hibari", "heart", ["Good morning."], os.environ, Path(), 5) for _ in range(2))
    (wave,) = first
    assert 0.4 * 16000 < wave.size < 3 * 16000
    assert np.sqrt(np.mean(wave**2)) > 0.01
    np.testing.assert_array_equal(wave, again[0])


def test_an_unknown_system_is_an_error() -> None:
    with pytest.raises(DataError, match="hal: no such speech synthesis system"):
        speak("hal", "9000", ["Good morning."], os.environ, Path(), 0)


def test_festival_is_told_where_a_czech_voice_lies_and_gets_its_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts: list[bytes] = []

    def run(arguments: list[str], env: object) -> None:
        scripts.append(Path(arguments[-1]).read_bytes())
        soundfile.write(Path(arguments[-1]).with_name("0.wav"), np.full(1600, 0.1), 16_000)

    monkeypatch.setattr(text_to_speech, "run_program", run)
    speak("festival", "czech_ph", ["Žlutá liška."], os.environ, tmp_path, 0)
    speak("festival", "kal_diphone", ["A naïve cat."], os.environ, tmp_path, 0)
    place = tmp_path / "usr/share/festival/voices/czech/czech_ph/group/ph.group"
    assert f'(defvar czech-ph-unisyn-index "{place}")\n(voice_czech_ph)\n'.encode() in scripts[0]
    assert "Žlutá liška.".encode("iso-8859-2") in scripts[0]
    assert b"A nave cat." in scripts[1]
    assert b"defvar" not in scripts[1]

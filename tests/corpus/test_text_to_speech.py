import os
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import extra

extra("hibari", "quickstart")

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

"""Makes single clips: recording, copy or speech synthesis, then the channel. Finished steps are not repeated."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from jaxtyping import Float

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.corpus.channel import join, pass_through, take_on
from aasist_jax.corpus.plan import Clip
from aasist_jax.corpus.speech import load_recording
from aasist_jax.corpus.steps import Workshop
from aasist_jax.corpus.text_to_speech import speak
from aasist_jax.corpus.vocoders import COPY_SYNTHESIS
from aasist_jax.data.layouts.asvspoof2019 import clip_path
from aasist_jax.runtime.files import replacing


@dataclass(frozen=True)
class Maker(Workshop):
    """Makes clips; `work/` in the folder of the corpus holds unfinished ones (float32, before the channel).

    Attributes:
        clips: all clips by name.
    """

    clips: Mapping[str, Clip]

    def human(self, clip: Clip) -> None:
        """Concatenate recordings and cut them to length."""
        if not self._raw(clip).exists():
            pieces = [load_recording(self.root / path).astype(np.float64) for path in clip.material]
            self._keep(clip, join(pieces, round(clip.seconds * SAMPLE_RATE)))

    def copy(self, clip: Clip) -> None:
        """Resynthesise the unfinished clip of the original with a vocoder."""
        if not self._raw(clip).exists():
            self._keep(clip, COPY_SYNTHESIS[clip.attack](self._origin(clip), self._rng(clip, 1)))

    def speech(self, clip: Clip) -> None:
        """Synthesise speech, concatenate it like recordings, and match it to the original."""
        if not self._raw(clip).exists():
            pieces = speak(clip.attack, clip.voice, clip.material, self.env, self.root, clip.seed)
            wave = join(pieces, round(clip.seconds * SAMPLE_RATE))
            self._keep(clip, take_on(wave, self._origin(clip), self._rng(clip, 1)))

    def finish(self, clip: Clip) -> None:
        """Apply the channel and write the clip to the corpus."""
        path = clip_path(self.output, clip.split, clip.utterance)
        if not path.exists():
            wave = pass_through(_read(self._raw(clip)), clip.channel, self._rng(clip, 2))
            _store(path, wave, "FLAC", "PCM_16")

    def _origin(self, clip: Clip) -> Float[np.ndarray, "samples"]:
        return _read(self._raw(self.clips[clip.origin]))

    def _raw(self, clip: Clip) -> Path:
        return self.output / "work" / f"{clip.utterance}.wav"

    def _rng(self, clip: Clip, step: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, clip.seed, step])

    def _keep(self, clip: Clip, wave: Float[np.ndarray, "samples"]) -> None:
        _store(self._raw(clip), wave, "WAV", "FLOAT")


def _read(path: Path) -> Float[np.ndarray, "samples"]:
    wave, _ = soundfile.read(path, dtype="float64")
    return wave


def _store(path: Path, wave: Float[np.ndarray, "samples"], container: str, subtype: str) -> None:
    """Write a clip atomically, and create its folder if needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as scratch:
        soundfile.write(scratch, wave, SAMPLE_RATE, format=container, subtype=subtype)

"""Makes the clips of one group: the human clip, its copies, and the speech that takes on its sound."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from scipy import signal

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.augmentation.sound import OtherWave, Wave
from aasist_jax.corpus.analysis_synthesis import channel_vocoder, psola, sinusoidal
from aasist_jax.corpus.channel import (
    BAND,
    add_noise,
    frequencies,
    join,
    long_term_spectrum,
    pass_through,
    take_on,
)
from aasist_jax.corpus.large.human import human_wave
from aasist_jax.corpus.large.media import through
from aasist_jax.corpus.large.plan import Group, LargeClip
from aasist_jax.corpus.large.vocoders import FOLDER as VOCODERS
from aasist_jax.corpus.neural_vocoders.hifigan import hifigan
from aasist_jax.corpus.neural_vocoders.kinds import KINDS
from aasist_jax.corpus.neural_vocoders.trained import copy_by
from aasist_jax.corpus.steps import Workshop
from aasist_jax.corpus.text_to_speech import speak
from aasist_jax.corpus.vocoders import griffin_lim, lpc, world, world_coded
from aasist_jax.data.layouts.asvspoof2019 import clip_path
from aasist_jax.runtime.files import replacing

COPIES: Mapping[str, Callable[[Wave, np.random.Generator], OtherWave]] = {
    "world": world,
    "griffin": griffin_lim,
    "lpc": lpc,
    "psola": psola,
    "hifigan_lj": hifigan,
    "sinusoidal": sinusoidal,
    "worldmcep": world_coded,
    "channel_vocoder": channel_vocoder,
}
"""What copies a recording, by the name of the system; a wave at 16 kHz to one of the same length.

The vocoders that are trained for a corpus (`neural_vocoders.kinds.KINDS`) copy as well.
"""

_DEEPEST = 30.0
_LATEST_FRAME = 1680
"""Samples at 16 kHz: as long as two frames of MP3 at 11 kHz, or five of GSM at 8 kHz."""

_COVER = (34.0, 48.0)
"""How far below the speech the noise of a clean clip is, in dB. Some recordings have pauses without any sound, which no
system makes."""


@dataclass(frozen=True)
class GroupMaker(Workshop):
    """Makes groups of clips.

    Attributes:
        engines: the engine of each text-to-speech system.
    """

    engines: Mapping[str, str]

    def make(self, group: Group) -> None:
        """Make what is missing of a group. Each file follows from the seed and its clip alone.

        Raises:
            DataError: a recording or a system fails.
            AudioError: a recording cannot be decoded.
        """
        missing = [clip for clip in (group.human, *group.made) if not self.path(clip).exists()]
        if not missing:
            return
        raw = human_wave(self.root, group.human)
        for clip in missing:
            wave = raw if clip.attack == "-" else self._synthetic(clip, raw)
            finished = self._finished(wave, clip)
            path = self.path(clip)
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as scratch:
                soundfile.write(scratch, finished, SAMPLE_RATE, format="FLAC", subtype="PCM_16")

    def path(self, clip: LargeClip) -> Path:
        """The file of a clip."""
        return clip_path(self.output, clip.split, clip.utterance)

    def _synthetic(self, clip: LargeClip, raw: OtherWave) -> OtherWave:
        rng = self._rng(clip, 1)
        if clip.attack in COPIES:
            return COPIES[clip.attack](raw, rng)
        if clip.attack in KINDS:
            return copy_by(self.output / VOCODERS / clip.attack, raw, rng)
        pieces = speak(self.engines[clip.attack], clip.voice, clip.material, self.env, self.root, clip.seed)
        spoken = join(pieces, raw.size)
        # The speech may be shorter than the human clip: then it is said again.
        while spoken.size < raw.size:
            spoken = np.concatenate([spoken, spoken])[: raw.size]
        taken = take_on(within_band_of(spoken, raw), raw, rng, deepest=_DEEPEST)
        return recorded(taken, clip.medium, self._rng(clip, 3))

    def _finished(self, wave: Wave, clip: LargeClip) -> OtherWave:
        """After the medium, the noise that covers how silent the pauses were, and the channel; alike for all clips."""
        rng = self._rng(clip, 2)
        heard = through(wave, clip.medium)
        if clip.channel == "clean":
            heard = add_noise(heard, rng.uniform(*_COVER), rng)
        return pass_through(heard, clip.channel, rng)

    def _rng(self, clip: LargeClip, step: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, clip.seed, step])


def recorded(wave: Wave, medium: str, rng: np.random.Generator) -> OtherWave:
    """Text-to-speech as if it had been published in a medium, as human recordings were before they came here.

    Human clips and copies bring the coding of their source with them, and the medium then codes every clip once more.
    Without this, text-to-speech would be coded once and all else twice. The first frame of the coding begins at random,
    since a second coding on the same frames would change next to nothing, and those of a source lie anywhere.
    """
    start = int(rng.integers(_LATEST_FRAME))
    return through(np.pad(wave, (start, 0)), medium)[start:]


def within_band_of(wave: Wave, reference: OtherWave) -> Wave:
    """Cut off what lies above the band of a reference: where it last comes within 40 dB of its peak.

    The filters of `take_on` are too smooth for the edge that a codec or a low sampling rate leaves.
    """
    spectrum = long_term_spectrum(reference)
    edge = float(frequencies()[spectrum > spectrum.max() * 1e-4].max())
    if edge >= BAND[1]:
        return wave
    return signal.sosfiltfilt(signal.butter(8, edge, fs=SAMPLE_RATE, output="sos"), wave)

"""Additive noise: white, pink or brown, babble of other clips of the data, or files of one's own."""

from typing import Literal

import numpy as np

from aasist_jax.augmentation import Augmentation, Changed, Clips, Range, check_range, one, uniform
from aasist_jax.augmentation.sound import OtherWave, Wave
from aasist_jax.augmentation.sound.files import check_sound_files, load_sound, looped, sound_files
from aasist_jax.augmentation.sound.levels import level_of
from aasist_jax.augmentation.sound.noises import coloured_noise
from aasist_jax.errors import AudioError

SLOPES = {"white": 0.0, "pink": 1.0, "brown": 2.0}


class Noise(Augmentation, frozen=True, kw_only=True, tag="noise"):
    """Noise at a drawn ratio to the level of the speech; there is none in a wave of digital silence.

    Attributes:
        source: what the noise is. Babble is made of bona fide clips of the same split, files lie in `folder`.
        folder: audio files, in folders of any depth; each is looped where it is too short.
        snr: level of the speech above that of the noise, in dB.
        voices: of babble, how many speak at once.
    """

    source: Literal["white", "pink", "brown", "babble", "files"] = "pink"
    folder: str = ""
    snr: Range = (5.0, 30.0)
    voices: tuple[int, int] = (3, 7)

    def __post_init__(self) -> None:
        """Check what the types cannot express."""
        check_range("snr", self.snr, -40, 120, "dB")
        check_range("voices", self.voices, 1, 64)
        if (self.source == "files") != bool(self.folder):
            raise ValueError('folder: expected one where source is "files", and none elsewhere')

    def change(self, wave: Wave, rng: np.random.Generator, clips: Clips) -> Changed:
        """Add the noise."""
        snr, drawn = uniform(rng, self.snr), dict[str, str | float | int]()
        if self.source in SLOPES:
            noise = coloured_noise(wave.size, rng, SLOPES[self.source])
        elif self.source == "babble":
            drawn["voices"] = int(rng.integers(self.voices[0], self.voices[1] + 1))
            noise = babble(clips, int(drawn["voices"]), wave.size, rng)
        else:
            path = one(rng, sound_files(self.folder))
            drawn["file"] = path.name
            sound = load_sound(path)
            noise = looped(sound, int(rng.integers(sound.size)), wave.size)
        return Changed(add_noise(wave, noise, snr), {"snr_db": snr, **drawn})

    def takes_other_clips(self) -> bool:
        """Babble does."""
        return self.source == "babble"

    def prepare(self) -> list[str]:
        """Check the files."""
        return check_sound_files(self.folder) if self.folder else []

    @classmethod
    def examples(cls) -> tuple[Augmentation, ...]:
        """Every source that needs no files."""
        return tuple(cls(source=source) for source in ("white", "pink", "brown", "babble"))


def babble(clips: Clips, voices: int, samples: int, rng: np.random.Generator) -> OtherWave:
    """The sum of other clips, all at the same level, each from a random start.

    Raises:
        AudioError: there are no other clips.
    """
    if not len(clips):
        raise AudioError("augmentation 'noise': babble is made of other bona fide clips, and there are none; add some")
    total = np.zeros(samples)
    for _ in range(voices):
        clip = np.asarray(clips[int(rng.integers(len(clips)))], np.float64)
        level = level_of(clip)
        if level > -100:
            total += looped(clip, int(rng.integers(clip.size)), samples) * 10 ** (-level / 20)
    return total


def add_noise(wave: Wave, noise: Wave, snr: float) -> Wave:
    """Add noise whose mean power lies `snr` dB below the level of the wave's speech; none where it is silent."""
    power = float(np.mean(noise**2))
    if power < 1e-20:
        return wave
    return wave + noise * (10 ** ((level_of(wave) - snr) / 20) / np.sqrt(power))


AUGMENTATION = Noise

"""Reverberation: rooms by the image-source method, decaying noise, or measured impulse responses from files."""

import functools
import threading
from typing import Annotated, Any, Literal

import numpy as np
from jaxtyping import Float
from msgspec import Meta

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.augmentation import Augmentation, Changed, Clips, Range, check_range, one, uniform
from aasist_jax.augmentation.sound import OtherWave, Wave
from aasist_jax.augmentation.sound.files import check_sound_files, load_sound, sound_files
from aasist_jax.augmentation.sound.responses import decaying_response, reverberate
from aasist_jax.errors import AudioError

MAX_ORDER = 40
"""Reflections on one path, at most; later ones are missing from very long or very small rooms."""

WALL = 0.5
"""Least distance of the source and of the microphone to a wall, in metres."""

LONGEST = 2 * SAMPLE_RATE
"""Samples of an impulse response that are used."""

MOST_ROOMS = 1024
"""Rooms, at most: as many as a process keeps."""

TRIES = 20
"""Draws of the source and the direction, before the diagonal of the room is taken."""

_ROOM = threading.Lock()


Place = Float[np.ndarray, "3"]


class Reverberation(Augmentation, frozen=True, kw_only=True, tag="reverberation"):
    """A room; the direct sound stays where it was, and the level of the speech is kept.

    Attributes:
        source: `rooms` are rectangular ones by the image-source method (Allen and Berkley, 1979), computed by
            pyroomacoustics; `decay` is exponentially decaying noise; `files` are impulse responses in `folder`.
        folder: audio files with one impulse response each.
        rt60: seconds in which the sound falls by 60 dB; the walls of a room absorb accordingly, by Sabine's formula.
        size: length and width of a room, in metres.
        height: of a room, in metres.
        distance: of the source from the microphone, in metres. It is shortened only in a room whose diagonal, without
            the space that is kept to the walls, is shorter than the distance drawn.
        rooms: how many different rooms there are, 1024 at most. Each is computed once in a process.
        direct_to_reverberant: of decaying noise, in dB.
    """

    source: Literal["rooms", "decay", "files"] = "rooms"
    folder: str = ""
    rt60: Range = (0.2, 0.8)
    size: Range = (3.0, 10.0)
    height: Range = (2.4, 4.0)
    distance: Range = (0.5, 4.0)
    rooms: Annotated[int, Meta(ge=1, le=MOST_ROOMS)] = 64
    direct_to_reverberant: Range = (-5.0, 15.0)

    def __post_init__(self) -> None:
        """Check what the types cannot express."""
        check_range("rt60", self.rt60, 0.05, 2, "s")
        check_range("size", self.size, 2, 50, "m")
        check_range("height", self.height, 2, 20, "m")
        check_range("distance", self.distance, 0.1, 50, "m")
        check_range("direct_to_reverberant", self.direct_to_reverberant, -40, 60, "dB")
        if (self.source == "files") != bool(self.folder):
            raise ValueError('folder: expected one where source is "files", and none elsewhere')

    def change(self, wave: Wave, rng: np.random.Generator, clips: Clips) -> Changed:
        """Convolve with the response."""
        if self.source == "rooms":
            number = int(rng.integers(self.rooms))
            response, rt60 = room_response(self, number)
            return Changed(reverberate(wave, response), {"room": number, "rt60_s": rt60})
        if self.source == "decay":
            rt60, ratio = uniform(rng, self.rt60), uniform(rng, self.direct_to_reverberant)
            drawn = {"rt60_s": rt60, "direct_to_reverberant_db": ratio}
            return Changed(reverberate(wave, decaying_response(rt60, rng, ratio)), drawn)
        path = one(rng, sound_files(self.folder))
        return Changed(reverberate(wave, from_largest(load_sound(path))), {"file": path.name})

    def prepare(self) -> list[str]:
        """Check that pyroomacoustics or the files are there, and that no file is silent."""
        if self.source == "rooms":
            _pyroomacoustics()
        if not self.folder:
            return []
        lines = check_sound_files(self.folder)
        for path in sound_files(self.folder):
            if not load_sound(path).any():
                raise AudioError(f"{path}: an impulse response of zeros alone makes clips silent; remove the file")
        return lines

    @classmethod
    def examples(cls) -> tuple[Augmentation, ...]:
        """Every source that needs no files."""
        return cls(), cls(source="decay")


@functools.lru_cache(MOST_ROOMS)
def room_response(settings: Reverberation, number: int) -> tuple[OtherWave, float]:
    """The impulse response of a room from the direct sound on, and its RT60; both follow from the number.

    Raises:
        AudioError: pyroomacoustics is not installed.
    """
    acoustics = _pyroomacoustics()
    rng = np.random.default_rng(number)
    room = np.array([uniform(rng, settings.size), uniform(rng, settings.size), uniform(rng, settings.height)])
    # Sabine's formula has no solution where even walls that absorb all would leave a longer decay.
    volume, surface = room.prod(), 2 * (room[0] * room[1] + room[0] * room[2] + room[1] * room[2])
    rt60 = max(uniform(rng, settings.rt60), 0.161 * volume / (0.99 * surface))
    absorption, order = acoustics.inverse_sabine(rt60, room)
    shoebox = acoustics.ShoeBox(
        room, fs=SAMPLE_RATE, materials=acoustics.Material(absorption), max_order=min(order, MAX_ORDER)
    )
    source, microphone = places(room, uniform(rng, settings.distance), rng)
    shoebox.add_source(source)
    shoebox.add_microphone(microphone)
    # More threads would add up the reflections in another order, and give other last bits. Their number is a setting of
    # the whole process, so that one decoding thread must wait for another.
    with _ROOM:
        threads = acoustics.constants.get("num_threads")
        acoustics.constants.set("num_threads", 1)
        try:
            shoebox.compute_rir()
        finally:
            acoustics.constants.set("num_threads", threads)
    # The direct sound is not always the largest value: reflections that arrive together may exceed it.
    arrival = np.linalg.norm(source - microphone) / shoebox.c * SAMPLE_RATE
    start = round(arrival) + acoustics.constants.get("frac_delay_length") // 2
    response = np.array(shoebox.rir[0][0][start : start + LONGEST], np.float64)
    response.flags.writeable = False
    return response, float(rt60)


def from_largest(response: OtherWave) -> OtherWave:
    """An impulse response from its largest value on, which is taken for the direct sound; at most 2 s."""
    start = int(np.abs(response).argmax())
    return response[start : start + LONGEST].copy()


def places(room: Place, distance: float, rng: np.random.Generator) -> tuple[Place, Place]:
    """Source and microphone, at a distance from one another and from the walls.

    Both are drawn anew until they are within the room, and after `TRIES` draws put on its diagonal, the source into a
    corner. The distance is shorter only where the diagonal is.

    Args:
        room: length, width and height, in metres.
        distance: in metres.
        rng: random numbers of the places.
    """
    wall = np.minimum(WALL, room / 4)
    for _ in range(TRIES):
        source, direction = rng.uniform(wall, room - wall), rng.standard_normal(3)
        microphone = source + distance * direction / np.linalg.norm(direction)
        if np.all((wall <= microphone) & (microphone <= room - wall)):
            return source, microphone
    mirrored = rng.random(3) < 0.5
    corner, opposite = np.where(mirrored, room - wall, wall), np.where(mirrored, wall, room - wall)
    share = min(1.0, distance / float(np.linalg.norm(opposite - corner)))
    return corner, corner + share * (opposite - corner)


def _pyroomacoustics() -> Any:
    try:
        import pyroomacoustics
    except ImportError:
        raise AudioError(
            "augmentation 'reverberation': rooms need pyroomacoustics; run `pip install 'aasist-jax[augmentation]'`, "
            'or set "source" to "decay"'
        ) from None
    return pyroomacoustics


AUGMENTATION = Reverberation

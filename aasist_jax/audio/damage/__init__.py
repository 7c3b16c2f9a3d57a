"""Whether a recording that can be decoded is damaged, by the checks that its own format carries.

Decoders conceal a lost or broken frame, and the samples do not show it. FLAC, Ogg and MP3 have checksums and counts
that do. They are read in pieces, in bounded memory.
"""

import io
from collections.abc import Callable

import soundfile

from aasist_jax.audio.damage.flac import find_flac_damage
from aasist_jax.audio.damage.mp3 import find_mp3_damage
from aasist_jax.audio.damage.ogg import find_ogg_damage
from aasist_jax.audio.ffmpeg import find_container
from aasist_jax.audio.source import AudioSource, BinaryFile, open_source, source_name
from aasist_jax.errors import AudioError

CHECKS: dict[str, Callable[[BinaryFile], str | None]] = {
    "FLAC": find_flac_damage,
    "OGG": find_ogg_damage,
    "MP3": find_mp3_damage,
}
"""By libsndfile's name of the format."""


def find_damage(source: AudioSource) -> str | None:
    """Say what is wrong with a recording that was decoded without an error.

    WAV and AIFF carry no checks, and what FFmpeg decodes is refused at its first error: of these it says nothing.

    Args:
        source: as in `aasist_jax.audio.load.load_audio`.

    Returns:
        What is wrong, as the end of a sentence; None for an intact recording, or where the format has no checks.

    Raises:
        AudioError: it cannot be opened.
    """
    name = source_name(source)
    try:
        with open_source(source, name) as raw:
            if find_container(raw) is not None:
                return None
            check = CHECKS.get(_format(raw))
            raw.seek(0)
            return None if check is None else check(raw)
    except (OSError, TypeError, ValueError, MemoryError) as error:
        raise AudioError(f"{name}: cannot be read ({error})") from error


def _format(raw: BinaryFile) -> str:
    """The format by libsndfile's name; nothing where it does not open the file."""
    raw.seek(0)
    try:
        with soundfile.SoundFile(raw.fileno() if isinstance(raw, io.FileIO) else raw, closefd=False) as file:
            return str(file.format)
    except soundfile.LibsndfileError:
        return ""

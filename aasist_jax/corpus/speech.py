"""Human speech: the recordings of each voice in the packages, and how to read them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from jaxtyping import Float32

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.audio.load import load_audio, to_mono_16k
from aasist_jax.corpus.game_speech import load_line
from aasist_jax.errors import DataError

_G722_BYTES_PER_SECOND = 8000


@dataclass(frozen=True)
class Voice:
    """A speaker and the location of the recordings.

    `pattern` is a glob below the unpacked root. `shortest` is in seconds; shorter recordings, which are single letters,
    digits and exclamations, are not used.
    """

    name: str
    split: str
    language: str
    package: str
    pattern: str
    shortest: float = 1.0


def _asterisk(name: str, split: str, language: str, folder: str) -> Voice:
    return Voice(
        name,
        split,
        language,
        f"asterisk-core-sounds-{language}-g722",
        f"usr/share/asterisk/sounds/{folder}/*.g722",
        shortest=2.0,
    )


def _tuxpaint(split: str, language: str) -> Voice:
    pattern = f"usr/share/tuxpaint/stamps/**/*_desc_{language}.ogg"
    return Voice(f"tuxpaint_{language}", split, language, "tuxpaint-stamps-default", pattern)


def _fillets(actor: str) -> Voice:
    pattern = f"usr/share/games/fillets-ng/sound/*/cs/*-{actor}-*.ogg"
    return Voice(f"fillets_{actor}", "train", "cs", "fillets-ng-data-cs", pattern, shortest=1.5)


# June is an eval speaker of the reference corpus: what is trained on this small corpus is not to be scored on that one.
# The actress of the Czech dialogues and the Russian speaker of Asterisk are reserved (reserved.py).
# One actress speaks English and Spanish in Asterisk: one speaker. Whole languages belong to one split, since
# a volunteer may have recorded for several projects. Tux Paint's Spanish is clipped; its Lithuanian, Dutch
# and Malayalam recordings are too short and few.
VOICES: tuple[Voice, ...] = (
    _asterisk("allison", "train", "en", "en_US_f_Allison"),
    _asterisk("allison", "train", "es", "es_MX_f_Allison"),
    _asterisk("june", "train", "fr", "fr_CA_f_June"),
    _fillets("m"),
    _tuxpaint("train", "bg"),
    _tuxpaint("train", "ca"),
    _tuxpaint("train", "fr"),
    _asterisk("carlo", "dev", "it", "it_IT_m_Carlo"),
    _tuxpaint("dev", "da"),
    _tuxpaint("dev", "el"),
    _tuxpaint("eval", "be"),
    _tuxpaint("eval", "ro"),
    _tuxpaint("eval", "ru"),
)

# Sound effects, not speech.
_NO_SPEECH = ("beep", "tt-monkeys", "ascending", "descending")


def recordings(root: Path, voice: Voice) -> list[tuple[str, float]]:
    """The recordings of a voice that are long enough: path below `root` and seconds by the header, sorted.

    Raises:
        DataError: There are none, so the content of the package must have changed.
    """
    found = []
    for path in sorted(root.glob(voice.pattern)):
        if path.name.startswith(_NO_SPEECH):
            continue
        seconds = recorded_seconds(path)
        if seconds >= voice.shortest:
            found.append((path.relative_to(root).as_posix(), seconds))
    if not found:
        raise DataError(f"{voice.package}: no recordings at {root / voice.pattern}; remove that folder and build again")
    return found


def recorded_seconds(path: Path) -> float:
    """The length of a recording by its header (raw G.722: by its size), without decoding it."""
    if path.suffix == ".g722":
        return path.stat().st_size / _G722_BYTES_PER_SECOND
    return float(soundfile.info(path).duration)


def load_recording(path: Path) -> Float32[np.ndarray, "samples"]:
    """Decode a recording to mono at 16 kHz; raw G.722 (64 kbit/s), a line of a game, or any format of libsndfile.

    Args:
        path: of the file, for a line of a game (`game_speech`) with `#` and the name of the line after it.

    Raises:
        AudioError: The recording cannot be decoded.
        DataError: The line of a game cannot be decoded.
    """
    file, hash_sign, line = path.name.partition("#")
    if hash_sign:
        return to_mono_16k(*load_line(path.with_name(file), line))
    if path.suffix == ".gsm":
        samples, rate = soundfile.read(path, samplerate=8000, channels=1, format="RAW", subtype="GSM610")
        return to_mono_16k(samples, rate)
    if path.suffix == ".g722":
        # Imported here because the rest of this module must work without the extra `quickstart`.
        import G722

        samples = G722.G722(SAMPLE_RATE, 8 * _G722_BYTES_PER_SECOND).decode(path.read_bytes())
        return np.asarray(samples, np.float32) / np.float32(32768)
    return load_audio(path)

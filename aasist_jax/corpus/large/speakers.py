"""The human speakers of the large corpus, and their recordings in the packages."""

import dataclasses
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import soundfile

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.corpus.game_speech import QUEEN, RATE, SKY, lines_of
from aasist_jax.corpus.speech import Voice, recorded_seconds
from aasist_jax.errors import DataError

_EFFECTS = ("beep", "tt-monkeys", "ascending", "descending", "tt-weasels")
_SOUNDS = "usr/share/asterisk/sounds"


@dataclass(frozen=True)
class Speaker(Voice):
    """Who speaks, in which split, and where the recordings are.

    Of a game, `pattern` is the large file, `#`, and the character. Names in the reference corpus are the same.

    Attributes:
        several: whether several people speak under this name, so that recordings may not be joined to one clip.
    """

    several: bool = False


@dataclass(frozen=True)
class Recording:
    """A recording, its length, and the medium that it has been through, one of `media.MEDIA`."""

    path: str
    seconds: float
    medium: str


def _tux(split: str, language: str) -> Speaker:
    pattern = f"usr/share/tuxpaint/stamps/**/*_desc_{language}.ogg"
    return Speaker(f"tux_{language}", split, language, "tuxpaint-stamps-default", pattern, shortest=0.8)


def _klettres(split: str, language: str) -> Speaker:
    pattern = f"usr/share/klettres/{language}/*/*.ogg"
    return Speaker(f"klet_{language}", split, language.partition("_")[0], "klettres-data", pattern, shortest=0.4)


def _ktuberling(split: str, language: str) -> Speaker:
    pattern = f"usr/share/ktuberling/sounds/{language}/*.*"
    return Speaker(f"ktub_{language}", split, language, "ktuberling-data", pattern, shortest=0.5)


def _fillets(split: str, language: str, actor: str) -> Speaker:
    pattern = f"usr/share/games/fillets-ng/sound/*/{language}/*-{actor}-*.ogg"
    return Speaker(f"fil_{language}_{actor}", split, language, f"fillets-ng-data-{language}", pattern, shortest=1.2)


def _asterisk(name: str, split: str, language: str, package: str, pattern: str) -> Speaker:
    return Speaker(name, split, language, f"asterisk-{package}", f"{_SOUNDS}/{pattern}", shortest=1.2)


def _queen(character: str) -> Speaker:
    return Speaker(f"queen_{character}", "train", "en", "flight-of-the-amazon-queen", f"{QUEEN}#{character}")


_QUEEN_CHARACTERS = (
    *("and", "ape", "bob", "bud", "chef", "chief", "death", "faye", "frank", "henry", "ian", "jim", "joe", "john"),
    *("klunk", "laris", "lola", "lou", "man", "naomi", "oracle", "prin", "sec", "showeram", "sparky", "tam"),
    *("wedge", "witch", "zombie"),
)

# The volunteers of a language are in one split, since one may have recorded for several projects; so are all characters
# of a game, since one actor may play several. One actress speaks English and Spanish in Asterisk, under one name.
# Who speaks in Beneath a Steel Sky is not known.
SPEAKERS: tuple[Speaker, ...] = (
    *(_queen(character) for character in _QUEEN_CHARACTERS),
    dataclasses.replace(_queen("scenes"), shortest=2.8, several=True),
    _asterisk("ast_allison", "train", "en", "core-sounds-en-g722", "en_US_f_Allison/*.g722"),
    _asterisk("ast_allison", "train", "es", "core-sounds-es-g722", "es_MX_f_Allison/*.g722"),
    _fillets("train", "cs", "m"),
    _tux("train", "bg"),
    _tux("train", "ca"),
    _tux("train", "fr"),
    *(_klettres("train", language) for language in ("cs", "en", "es", "fr", "pt_BR")),
    *(_ktuberling("train", language) for language in ("ca", "en", "fr")),
    _fillets("dev", "nl", "v"),
    *(_klettres("dev", language) for language in ("hu", "lt", "ml", "nl")),
    _ktuberling("dev", "lt"),
    _asterisk("ast_es_CO", "dev", "es", "prompt-es-co", "es/*.gsm"),
    _asterisk("ast_it_menardi", "eval", "it", "prompt-it-menardi-wav", "it_IT_f_Menardi/*.wav"),
    _asterisk("ast_fr_armelle", "eval", "fr", "prompt-fr-armelle", "fr/*.gsm"),
    Speaker("sky", "eval", "en", "beneath-a-steel-sky", f"{SKY}#", shortest=2.8, several=True),
)


@cache
def recordings(root: Path, speaker: Speaker) -> tuple[Recording, ...]:
    """The recordings that are long enough, sorted by path.

    Raises:
        DataError: there are none, so the content of the package must have changed.
    """
    file, hash_sign, character = speaker.pattern.partition("#")
    found = _lines(root, file, character) if hash_sign else _files(root, speaker.pattern)
    chosen = tuple(recording for recording in found if recording.seconds >= speaker.shortest)
    if not chosen:
        raise DataError(
            f"{speaker.package}: no recordings at {root / speaker.pattern}; remove that folder and build again"
        )
    return chosen


def _lines(root: Path, file: str, character: str) -> list[Recording]:
    path = root / file
    if not path.is_file():
        return []
    medium = "mp3-11k" if file == QUEEN else "8bit-11k"
    lines = lines_of(path).items()
    return [Recording(f"{file}#{name}", line.seconds, medium) for name, line in lines if line.character == character]


def _files(root: Path, pattern: str) -> list[Recording]:
    found = []
    for path in sorted(root.glob(pattern)):
        # Some names have no file behind them, and some files no sound in them.
        if path.name.startswith(_EFFECTS) or not path.is_file() or path.stat().st_size < 100:
            continue
        found.append(Recording(path.relative_to(root).as_posix(), *_seconds_and_medium(path)))
    return found


def _seconds_and_medium(path: Path) -> tuple[float, str]:
    if path.suffix == ".g722":
        return recorded_seconds(path), "wide"
    info = soundfile.info(path)
    if path.suffix == ".gsm":
        return info.duration, "gsm-8k"
    if info.samplerate >= SAMPLE_RATE:
        return info.duration, "wide"
    return info.duration, "11k" if info.samplerate >= RATE else "8k"

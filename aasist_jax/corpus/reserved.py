"""What no corpus of ours may hold, because final checks are made of it: voices, systems, and voices of a test set.

This is the one list. A test compares every plan with it.
"""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from types import MappingProxyType

RESERVED_RECORDINGS: tuple[str, ...] = (
    "usr/share/games/fillets-ng/sound/*/cs/*-v-*",
    "usr/share/festival/voices/russian/*",
    "usr/share/asterisk/sounds/ru*",
    "usr/share/ktuberling/sounds/gl/*",
    "usr/share/ktuberling/sounds/ru/*",
    "usr/share/ktuberling/sounds/sl/*",
    "usr/share/klettres/ru/*",
    "usr/share/klettres/ar/*",
    "usr/share/klettres/en_GB/*",
)
"""Patterns of the paths of human recordings, below the root of the unpacked packages."""

RESERVED_SYSTEMS: tuple[str, ...] = (
    "*kokoro*",
    "*hifigan_universal*",
    "*ona?hts*",
    "*conver[st]*",
    "vc_*",
    "*_vc",
    "*_vc_*",
    "*clunits_ru*",
    "*msu_ru*",
    "*festvox?ru*",
    "*rubberband*",
)
"""Patterns of the names of systems and of their voices: Kokoro in any form, HiFi-GAN's universal generator, the Catalan
HTS voice, voice conversion (by WORLD or MLSA, whose copies are free), rubberband, and the voice built from the Russian
recordings.

hibari's voices are distilled from Kokoro's, as its package says. The list of what may be used names hibari all the
same, so the large corpus trains on it. The consequence: for a detector trained with it, Kokoro is not a wholly unseen
system, and figures on Kokoro have to say so; `--exclude-systems hibari` builds a corpus without it.
"""

_VOLUNTEERS: Mapping[str, str] = MappingProxyType(
    {
        "klet": "usr/share/klettres/{language}/*",
        "ktub": "usr/share/ktuberling/sounds/{language}/*",
        "tux": "usr/share/tuxpaint/stamps/*_desc_{language}.*",
    }
)


def _recordings_of(speaker: str) -> str:
    """The pattern of the recordings of a volunteer."""
    source, _, language = speaker.partition("_")
    return _VOLUNTEERS[source].format(language=language)


TEST_SPEAKERS: frozenset[str] = frozenset(
    {
        *("ast_it", "klet_da", "klet_de", "klet_it", "ktub_da", "ktub_de", "ktub_el", "tux_da", "tux_el"),
        *("ast_fr", "fil_nl_m", "klet_he", "klet_nb", "klet_uk", "ktub_nn", "ktub_uk", "ktub_wa"),
        *("tux_be", "tux_ro", "tux_ru"),
    }
)
"""Speakers of the dev and eval splits of the reference corpus, by source and language: on them detectors are tested.

What is built to be trained on (the large corpus) holds none of them. The small one, which is for trying things out,
does, one in its training part (June, `ast_fr`): nothing trained on it may be scored on the reference corpus.
"""

TEST_RECORDINGS: Mapping[str, str] = MappingProxyType(
    {
        "ast_fr": "usr/share/asterisk/sounds/fr_CA_f_June/*",
        "ast_it": "usr/share/asterisk/sounds/it_IT_m_Carlo/*",
        "fil_nl_m": "usr/share/games/fillets-ng/sound/*/nl/*-m-*",
    }
    | {name: _recordings_of(name) for name in sorted(TEST_SPEAKERS) if not name.startswith(("ast_", "fil_"))}
)
"""Patterns of the paths of their recordings, below the root, by speaker; whatever a plan calls the speaker."""


def reserved_recordings(paths: Iterable[str]) -> list[str]:
    """Those of the paths, below the root, that are reserved."""
    return [path for path in paths if any(fnmatchcase(path, pattern) for pattern in RESERVED_RECORDINGS)]


def recordings_of_test_speakers(paths: Iterable[str]) -> list[str]:
    """Those of the paths, below the root, that are of speakers on whom detectors are tested."""
    return [path for path in paths if any(fnmatchcase(path, pattern) for pattern in TEST_RECORDINGS.values())]


def reserved_systems(names: Iterable[str]) -> list[str]:
    """Those of the names of systems and voices that are reserved."""
    return [name for name in names if any(fnmatchcase(name.lower(), pattern) for pattern in RESERVED_SYSTEMS)]

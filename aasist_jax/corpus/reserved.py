"""What no corpus of ours may hold, because final checks are made of it: voices, systems, and voices of a test set.

This is the one list. A test compares every plan with it.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase

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
    "*ona_hts*",
    "*conversion*",
    "*rubberband*",
)
"""Patterns of the names of systems and of their voices: Kokoro in any form, HiFi-GAN's universal generator, the Catalan
HTS voice, voice conversion (by WORLD or MLSA), rubberband."""

TEST_SPEAKERS: frozenset[str] = frozenset(
    {
        *("ast_it", "klet_da", "klet_de", "klet_it", "ktub_da", "ktub_de", "ktub_el", "tux_da", "tux_el"),
        *("ast_fr", "fil_nl_m", "klet_he", "klet_nb", "klet_uk", "ktub_nn", "ktub_uk", "ktub_wa"),
        *("tux_be", "tux_ro", "tux_ru"),
    }
)
"""Speakers of the dev and eval splits of the reference corpus, by source and language: on them detectors are tested.

What is built to be trained on (the large corpus) holds none of them; the small one, which trains nothing that is tested
on the reference corpus, may.
"""


def reserved_recordings(paths: Iterable[str]) -> list[str]:
    """Those of the paths, below the root, that are reserved."""
    return [path for path in paths if any(fnmatchcase(path, pattern) for pattern in RESERVED_RECORDINGS)]


def reserved_systems(names: Iterable[str]) -> list[str]:
    """Those of the names of systems and voices that are reserved."""
    return [name for name in names if any(fnmatchcase(name.lower(), pattern) for pattern in RESERVED_SYSTEMS)]

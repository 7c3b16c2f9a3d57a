"""The README of a large corpus: what is in it, and under which licences."""

from collections.abc import Sequence

from aasist_jax.corpus.large.speakers import SPEAKERS
from aasist_jax.corpus.large.systems import System

LICENCES = {
    "asterisk-core-sounds-en-g722": "CC-BY-SA-3.0",
    "asterisk-core-sounds-es-g722": "CC-BY-SA-3.0",
    "asterisk-prompt-es-co": "GPL-2+",
    "asterisk-prompt-fr-armelle": "GPL-2+",
    "asterisk-prompt-it-menardi-wav": "CC-BY-SA-3.0",
    "beneath-a-steel-sky": "its own: copies and changed versions with notice, no fee",
    "fillets-ng-data-cs": "GPL-2+",
    "fillets-ng-data-nl": "GPL-2+",
    "flight-of-the-amazon-queen": "its own: copies and changed versions with notice, no fee",
    "klettres-data": "GPL-2+",
    "ktuberling-data": "GPL-2+",
    "tuxpaint-stamps-default": "GPL-2+",
}
"""The licence of each package of recordings, in short; the packages' own files are in `licences/`."""


def readme(systems: Sequence[System]) -> str:
    """The text, for a corpus of these systems."""
    speakers = [
        f"| {package} | {licence} | {', '.join(_named(package))} |" for package, licence in sorted(LICENCES.items())
    ]
    made = [
        f"| {system.name} | {system.family} | {system.group} | {', '.join(system.splits)} | {system.licence} |"
        for system in systems
    ]
    return _TEXT.format(speakers="\n".join(speakers), systems="\n".join(made))


def _named(package: str) -> list[str]:
    """The speakers of a package with their splits, each once."""
    return list(dict.fromkeys(f"{one.name} ({one.split})" for one in SPEAKERS if one.package == package))


_TEXT = """# A large corpus of human and synthetic speech

Built on this machine by `aasist-jax build-corpus --size large` from free packages; aasist_jax itself ships no audio.
It is laid out like ASVspoof 2019 LA: `ASVspoof2019_LA_cm_protocols/`, `ASVspoof2019_LA_{{train,dev,eval}}/flac/`
(16 kHz, mono, 16 bit). `metadata.csv` says more of each clip, `SHA256SUMS` has the sum of every file. The clips are
changed versions of the recordings: cut, joined, filtered, coded, and in part synthesised anew.

No speaker and no voice of a system is in two splits. Some systems are in eval alone, and some in dev that train lacks.

## Human speech

The recordings keep the licences of their packages; whoever passes this folder on has to follow them. `licences/` has
the packages' own copyright files.

| package | licence | speakers (split) |
|---|---|---|
{speakers}

A character of a game is a speaker here, though an actor may have played several; all of a game are in one split. Who
speaks is not known for `sky` and `queen_scenes`, of which every clip is a single line.

## Systems

| name | family | group | splits | licence |
|---|---|---|---|---|
{systems}

Texts for text-to-speech are descriptions of Tux Paint's stamps (GPL-2+). Copies are of human clips of the same split,
with their words, voice and medium; text-to-speech took on the long-term spectrum and the room tone of one, and its
medium.
"""

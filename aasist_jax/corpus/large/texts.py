"""The texts for text-to-speech: descriptions of Tux Paint's stamps, which volunteers of the corpus read as well."""

import re
import zlib
from collections.abc import Iterable
from pathlib import Path

from aasist_jax.corpus.plan import SPLITS
from aasist_jax.errors import DataError

PACKAGE = "tuxpaint-stamps-default"
_FILES = "usr/share/tuxpaint/stamps/**/*.txt"
_SHARES = (("train", 7), ("dev", 1), ("eval", 2))
_ENGLISH = "en"

Texts = dict[str, dict[str, tuple[str, ...]]]
"""Texts by split and language."""


def read_texts(root: Path, languages: Iterable[str]) -> Texts:
    """The texts of each split in each language, sorted; a stamp's texts are all in one split, whatever the language.

    Raises:
        DataError: there are none for a language, so the content of the package must have changed.
    """
    wanted = sorted(set(languages))
    found: dict[str, dict[str, set[str]]] = {split: {language: set() for language in wanted} for split in SPLITS}
    for path in sorted(root.glob(_FILES)):
        english, *others = path.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
        texts = {_ENGLISH: english}
        for line in others:
            language, equals, text = line.partition(".utf8=")
            if equals:
                texts[language] = text
        split = _split_of(english)
        for language in (one for one in wanted if one in texts):
            text = texts[language].strip()
            if usable(text):
                found[split][language].add(text)
    for language in wanted:
        # Two stamps may have the same text in one language and not in another.
        found["dev"][language] -= found["train"][language]
        found["eval"][language] -= found["train"][language] | found["dev"][language]
        if not all(found[split][language] for split in SPLITS):
            raise DataError(
                f"{PACKAGE}: no texts in {language!r} at {root / _FILES}; remove that folder and build again"
            )
    return {split: {language: tuple(sorted(texts)) for language, texts in found[split].items()} for split in SPLITS}


def usable(text: str) -> bool:
    """Whether it is speech as it stands: 8 to 120 letters, spaces and common marks, no digits and no replaced ones."""
    return 8 <= len(text) <= 120 and re.fullmatch(r"[^\W\d_][^\d_\"\\()<>\[\]{}�/=+*#$%&«»“”„‘|:;]+", text) is not None


def _split_of(english: str) -> str:
    number = zlib.crc32(english.encode()) % sum(share for _, share in _SHARES)
    for split, share in _SHARES:
        if number < share:
            return split
        number -= share
    raise AssertionError("the shares are exhausted")

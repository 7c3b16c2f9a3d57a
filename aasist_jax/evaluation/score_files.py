"""Score files, key files and ASV score files of the ASVspoof challenges.

Scores and keys are joined by utterance id, never by line order.

Score layouts, one trial a line: ASVspoof 2019 `utterance attack key score`; ASVspoof 2021 `utterance score`;
ASVspoof 5 `filename<TAB>cm-score` under a header of those words.

Key layouts: the countermeasure protocols of ASVspoof 2019, 2021 (`trial_metadata.txt` of LA, PA and DF) and 5; a
score file of the 2019 layout; any table (tabs, commas or spaces) with a header that names an utterance and
a key column.

Layouts of verification scores: ASVspoof 2019 `group key score`; ASVspoof 5 (track 2) tables of scores and of keys
under a header.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Shaped

from aasist_jax.errors import ScoreFileError
from aasist_jax.runtime.files import write_text

ScoreLayout = Literal["2019", "2021", "asvspoof5"]

ASVSPOOF5_HEADER = ("filename", "cm-score")
UTTERANCE_NAMES = ("utterance", "filename", "file", "utt", "flac_file_name")
KEY_NAMES = ("key", "label", "cm-label", "class")
KEYS = {"bonafide": True, "spoof": False}
KEY_LAYOUTS = {
    4: ("utterance", "attack", "key", ""),
    5: ("speaker", "utterance", "environment", "attack", "key"),
    8: ("speaker", "utterance", "codec", "transmission", "attack", "key", "trim", "subset"),
    10: ("speaker", "utterance", "gender", "codec", "codec_quality", "", "", "attack", "key", ""),
    12: (
        *("speaker", "utterance", "asv_room", "asv_microphone", "distance_to_asv", "attacker_room"),
        *("attacker_microphone", "replay_device", "attacker_to_speaker", "key", "trim", "subset"),
    ),
    13: (
        *("speaker", "utterance", "codec", "source", "attack", "key", "trim", "subset"),
        *("vocoder", "task", "team", "gender_pair", "language"),
    ),
}
"""Columns of the layouts without a header, by their number; a column without a name is left out."""

VERIFICATION_KEYS = ("target", "nontarget", "spoof")
SASV_SCORE, SASV_KEY = "sasv-score", "asv-label"


@dataclass(frozen=True)
class Keys:
    """The truth about trials, in the order of a file.

    Attributes:
        source: What messages call them, such as the file's path.
        utterances: Utterance ids, each once.
        is_bonafide: True for bona fide speech, False for a spoof.
        columns: What else the file says, column by column, as text.
    """

    source: str
    utterances: Shaped[np.ndarray, "trials"]
    is_bonafide: Bool[np.ndarray, "trials"]
    columns: Mapping[str, Shaped[np.ndarray, "trials"]]

    def where(self, column: str, value: str) -> "Keys":
        """The trials whose `column` says `value`.

        Raises:
            ScoreFileError: There is no such column, or no such trial.
        """
        if column not in self.columns:
            raise ScoreFileError(f"{self.source} has no column {column!r}; it has: {', '.join(self.columns) or 'none'}")
        chosen = self.columns[column] == value
        if not chosen.any():
            there = ", ".join(np.unique(self.columns[column])[:10])
            raise ScoreFileError(f"{self.source}: no trial has {column} {value!r}; there are: {there}")
        columns = {name: values[chosen] for name, values in self.columns.items()}
        return Keys(f"{self.source} where {column}={value}", self.utterances[chosen], self.is_bonafide[chosen], columns)


@dataclass(frozen=True)
class Scores:
    """The scores of a file, in its order.

    Attributes:
        source: What messages call them, such as the file's path.
        utterances: Utterance ids, each once.
        scores: Finite; higher means bona fide.
        keys: The keys that a file of the 2019 layout holds beside the scores.
    """

    source: str
    utterances: Shaped[np.ndarray, "scored"]
    scores: Float[np.ndarray, "scored"]
    keys: Keys | None = None


@dataclass(frozen=True)
class Trials:
    """Scored trials with their keys, in the order of the keys.

    Attributes:
        utterances: Utterance ids.
        scores: Higher means bona fide.
        is_bonafide: True for bona fide speech, False for a spoof.
        columns: What else the keys say, column by column, as text.
        warnings: What a reader should know before trusting the figures; one line each.
    """

    utterances: Shaped[np.ndarray, "trials"]
    scores: Float[np.ndarray, "trials"]
    is_bonafide: Bool[np.ndarray, "trials"]
    columns: Mapping[str, Shaped[np.ndarray, "trials"]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def bonafide(self) -> Float[np.ndarray, "bonafide"]:
        """Scores of the bona fide trials."""
        return self.scores[self.is_bonafide]

    @property
    def spoof(self) -> Float[np.ndarray, "spoof"]:
        """Scores of the spoofs."""
        return self.scores[~self.is_bonafide]


@dataclass(frozen=True)
class VerificationScores:
    """Scores of a speaker verification system, spoofing-aware or not, by class of trial."""

    target: Float[np.ndarray, "target"]
    nontarget: Float[np.ndarray, "nontarget"]
    spoof: Float[np.ndarray, "asv_spoof"]


def read_scores(path: Path) -> Scores:
    """Read a score file of any of the three layouts.

    Raises:
        ScoreFileError: The file cannot be read, a line is not of its layout, an utterance comes twice, or a
            score is not a finite number.
    """
    rows = list(_rows(path))
    if not rows:
        raise ScoreFileError(f"{path} is empty; it should hold one score a line")
    if tuple(word.lower() for word in rows[0][1]) == ASVSPOOF5_HEADER:
        del rows[0]
        width = 2
    else:
        width = len(rows[0][1])
    if width not in (2, 4):
        raise ScoreFileError(
            f"{path}:{rows[0][0]}: {width} columns; a score file has `utterance score`, `utterance attack key "
            "score`, or the header `filename cm-score`"
        )
    _check_width(path, rows, width)
    utterances = np.array([row[0] for _, row in rows], dtype=str)
    _check_unique(path, utterances)
    numbers = _numbers(path, [(line, row[-1]) for line, row in rows])
    return Scores(str(path), utterances, numbers, read_keys(path) if width == 4 else None)


def write_scores(path: Path, trials: Scores | Trials, layout: ScoreLayout) -> None:
    """Write scores in one of the three layouts; every score reads back as the same float64.

    Raises:
        ScoreFileError: The 2019 layout is asked for without keys.
    """
    numbers = [repr(float(score)) for score in trials.scores]
    if layout == "2019":
        if not isinstance(trials, Trials):
            raise ScoreFileError("the 2019 layout holds attack and key; give the keys, or write the 2021 layout")
        attacks = trials.columns.get("attack", np.full(trials.utterances.size, "-"))
        keys = np.where(trials.is_bonafide, "bonafide", "spoof")
        rows: Iterable[Sequence[str]] = zip(trials.utterances, attacks, keys, numbers, strict=True)
    else:
        rows = zip(trials.utterances, numbers, strict=True)
    separator = "\t" if layout == "asvspoof5" else " "
    lines = [separator.join(row) + "\n" for row in rows]
    if layout == "asvspoof5":
        lines.insert(0, separator.join(ASVSPOOF5_HEADER) + "\n")
    write_text(path, "".join(lines))


def read_keys(path: Path) -> Keys:
    """Read a key file: a challenge's protocol, a score file of the 2019 layout, or a table with a header.

    Raises:
        ScoreFileError: The file cannot be read or is of no known layout, a line does not fit it, an utterance
            comes twice, or a key is neither `bonafide` nor `spoof`.
    """
    rows = list(_rows(path))
    if not rows:
        raise ScoreFileError(f"{path} is empty; it should hold one trial a line")
    header = [word.strip().lower() for word in rows[0][1]]
    utterance = next((name for name in UTTERANCE_NAMES if name in header), None)
    key = next((name for name in KEY_NAMES if name in header), None)
    if utterance and key:
        del rows[0]
        names = ["utterance" if n == utterance else "key" if n == key else n for n in header]
    elif len(header) in KEY_LAYOUTS:
        names = list(KEY_LAYOUTS[len(header)])
    else:
        known = ", ".join(str(width) for width in KEY_LAYOUTS)
        raise ScoreFileError(
            f"{path}:{rows[0][0]}: {len(header)} columns and no header with an utterance and a key column; key "
            f"files without a header have {known} columns"
        )
    _check_width(path, rows, len(names))
    if not rows:
        raise ScoreFileError(f"{path} holds a header and no trial")
    columns = zip(*(row for _, row in rows), strict=True)
    table = {name: np.array(column, dtype=str) for name, column in zip(names, columns, strict=True) if name}
    unknown = [(line, row[names.index("key")]) for line, row in rows if row[names.index("key")] not in KEYS]
    if unknown:
        raise ScoreFileError(
            f"{path}: {len(unknown)} keys are neither bonafide nor spoof, first "
            + ", ".join(f"{word!r} on line {line}" for line, word in unknown[:3])
        )
    utterances, keys = table.pop("utterance"), table.pop("key")
    _check_unique(path, utterances)
    return Keys(str(path), utterances, keys == "bonafide", table)


def in_order(scores: Scores, utterances: Shaped[np.ndarray, "trials"], source: str) -> Float[np.ndarray, "trials"]:
    """The scores of these utterances, in their order. `source` is where the utterances are from, for messages.

    Raises:
        ScoreFileError: An utterance has no score.
    """
    place = {utterance: index for index, utterance in enumerate(scores.utterances.tolist())}
    places = np.array([place.get(utterance, -1) for utterance in utterances.tolist()], dtype=np.int64)
    if np.any(places < 0):
        missing = utterances[places < 0]
        raise ScoreFileError(
            f"{scores.source}: no score for {missing.size} of {places.size} trials of {source}, first "
            f"{_first(missing)}; score them, or keep to the trials of one kind (--where COLUMN=VALUE)"
        )
    return scores.scores[places]


def join(scores: Scores, keys: Keys) -> Trials:
    """The scores of the keys' trials, in the keys' order. Scores without a key are left out, with a warning.

    Raises:
        ScoreFileError: A trial has no score, a class has no trial, the score file's own keys contradict the keys,
            or the scores are decisions: fewer than three differ.
    """
    joined = in_order(scores, keys.utterances, keys.source)
    if scores.keys is not None:
        own = dict(zip(scores.keys.utterances.tolist(), scores.keys.is_bonafide.tolist(), strict=True))
        contrary = keys.is_bonafide != np.array([own[utterance] for utterance in keys.utterances.tolist()])
        if contrary.any():
            raise ScoreFileError(
                f"{scores.source} and {keys.source} call {contrary.sum()} trials by different keys, first "
                f"{_first(keys.utterances[contrary])}"
            )
    for name, there in (("bonafide", keys.is_bonafide.any()), ("spoof", not keys.is_bonafide.all())):
        if not there:
            raise ScoreFileError(f"{keys.source}: no {name} trial; both classes are needed")
    different = np.unique(joined)
    if different.size < 3:
        raise ScoreFileError(
            f"{scores.source}: only {different.size} different scores ({_first(different)}); these are decisions, "
            "and error rates need soft scores: write the detector's raw output"
        )
    warnings = []
    if extra := scores.utterances.size - joined.size:
        unused = np.setdiff1d(scores.utterances, keys.utterances)
        warnings.append(
            f"{scores.source}: {extra} scores have no key in {keys.source} and are left out, first {_first(unused)}"
        )
    return Trials(keys.utterances, joined, keys.is_bonafide, keys.columns, tuple(warnings))


def read_asv_scores(path: Path) -> VerificationScores:
    """Read verification scores, one trial a line: `group key score`, key target, nontarget or spoof.

    Raises:
        ScoreFileError: The file cannot be read, a line is not of that layout, a score is not a finite number,
            or a class has no trial.
    """
    rows = list(_rows(path))
    _check_width(path, rows, 3)
    scores = _numbers(path, [(line, row[2]) for line, row in rows])
    return _by_verification_key(path, [(line, row[1]) for line, row in rows], scores)


def read_sasv_scores(path: Path, keys: Path) -> VerificationScores:
    """Read scores and keys of spoofing-aware verification in the layouts of ASVspoof 5, track 2.

    Both are tables under a header: the scores with the columns `filename` and `sasv-score`, the keys with `filename`
    and `asv-label` (target, nontarget or spoof). They are joined by the file name, and by the claimed speaker where
    both have a column `spk`. Scores without a key are left out.

    Raises:
        ScoreFileError: A file cannot be read, has not those columns, or holds a trial twice; a trial has no score, or
            one that is not a finite number; a class has no trial.
    """
    score_lines, scored = _verification_table(path, SASV_SCORE)
    key_lines, keyed = _verification_table(keys, SASV_KEY)
    naming = [name for name in ("spk", "filename") if name in scored and name in keyed]
    numbers = _numbers(path, list(zip(score_lines, scored[SASV_SCORE], strict=True)))
    scores = Scores(str(path), _trial_names(path, scored, naming), numbers)
    joined = in_order(scores, _trial_names(keys, keyed, naming), str(keys))
    return _by_verification_key(keys, list(zip(key_lines, keyed[SASV_KEY], strict=True)), joined)


def _verification_table(path: Path, column: str) -> tuple[list[int], dict[str, list[str]]]:
    """Line numbers, and the columns by their names; `filename` and `column` must be among them."""
    rows = list(_rows(path))
    header = [word.lower() for word in rows[0][1]] if rows else []
    if missing := [name for name in ("filename", column) if name not in header]:
        raise ScoreFileError(f"{path}: no column {' and no '.join(missing)} in its first line, which names the columns")
    del rows[0]
    _check_width(path, rows, len(header))
    columns = {name: [row[header.index(name)] for _, row in rows] for name in header}
    return [line for line, _ in rows], columns


def _trial_names(path: Path, columns: dict[str, list[str]], naming: Sequence[str]) -> Shaped[np.ndarray, "trials"]:
    names = np.array([" ".join(words) for words in zip(*(columns[name] for name in naming), strict=True)], dtype=str)
    _check_unique(path, names)
    return names


def _by_verification_key(
    path: Path, keys: Sequence[tuple[int, str]], scores: Float[np.ndarray, "trials"]
) -> VerificationScores:
    words = np.array([word for _, word in keys], dtype=str)
    unknown = np.flatnonzero(~np.isin(words, VERIFICATION_KEYS))
    if unknown.size:
        line, word = keys[unknown[0]]
        raise ScoreFileError(f"{path}:{line}: key {word!r} is none of {', '.join(VERIFICATION_KEYS)}")
    for key in VERIFICATION_KEYS:
        if not np.any(words == key):
            raise ScoreFileError(f"{path}: no {key} trial; all of {', '.join(VERIFICATION_KEYS)} are needed")
    return VerificationScores(*(scores[words == key] for key in VERIFICATION_KEYS))


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and columns of every line that is not blank."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise ScoreFileError(f"cannot read {path}: {reason}") from error
    first = text.partition("\n")[0]
    separator = next((mark for mark in "\t," if mark in first), None)
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield number, [word.strip() for word in line.split(separator)]


def _check_width(path: Path, rows: Sequence[tuple[int, list[str]]], width: int) -> None:
    for line, row in rows:
        if len(row) != width:
            raise ScoreFileError(f"{path}:{line}: {len(row)} columns, not the {width} of this layout")


def _check_unique(path: Path, utterances: np.ndarray) -> None:
    names, counts = np.unique(utterances, return_counts=True)
    twice = names[counts > 1]
    if twice.size:
        raise ScoreFileError(
            f"{path}: {twice.size} utterances come more than once, first {_first(twice)}; keep one line for each"
        )


def _numbers(path: Path, words: Sequence[tuple[int, str]]) -> np.ndarray:
    numbers = np.empty(len(words))
    unusable = []
    for index, (line, word) in enumerate(words):
        try:
            numbers[index] = float(word)
        except ValueError:
            numbers[index] = np.nan
        if not np.isfinite(numbers[index]):
            unusable.append(f"{word!r} on line {line}")
    if unusable:
        raise ScoreFileError(
            f"{path}: {len(unusable)} scores are not finite numbers, first {', '.join(unusable[:3])}; score "
            "those trials again"
        )
    return numbers


def _first(things: np.ndarray) -> str:
    return ", ".join(str(thing) for thing in things[:3])

"""Score files and key files of countermeasures, in the layouts of the ASVspoof challenges.

Scores and keys are joined by utterance id, never by line order.

Score layouts, one trial per line: ASVspoof 2019 `utterance attack key score`; ASVspoof 2021 `utterance score`;
ASVspoof 5 `filename<TAB>cm-score` with a header of these names.

Key layouts: the countermeasure protocols of ASVspoof 2019, 2021 (`trial_metadata.txt` of LA, PA and DF) and 5; a score
file in the 2019 layout; any table (separated by tabs, commas or spaces) with a header that names an utterance and a key
column.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Shaped

from aasist_jax.errors import ScoreFileError
from aasist_jax.evaluation.text_table import check_unique, check_width, first_few, parse_scores, read_rows
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
"""Columns of the layouts without a header, by number of columns; columns with an empty name are ignored."""


@dataclass(frozen=True)
class Keys:
    """The true classes of trials, in the order of a file.

    Attributes:
        source: Name for messages, such as the path of the file.
        utterances: Utterance ids, without duplicates.
        is_bonafide: True for bona fide speech, False for a spoof.
        columns: The other columns of the file by name, as text.
    """

    source: str
    utterances: Shaped[np.ndarray, "trials"]
    is_bonafide: Bool[np.ndarray, "trials"]
    columns: Mapping[str, Shaped[np.ndarray, "trials"]]

    def where(self, column: str, value: str) -> "Keys":
        """The trials whose `column` has the value `value`.

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
        source: Name for messages, such as the path of the file.
        utterances: Utterance ids, without duplicates.
        scores: Finite scores; higher means bona fide.
        keys: The keys that a file in the 2019 layout also contains.
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
        scores: Scores; higher means bona fide.
        is_bonafide: True for bona fide speech, False for a spoof.
        columns: The other columns of the keys by name, as text.
        warnings: Warnings that concern the metrics, one line each.
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


def read_scores(path: Path) -> Scores:
    """Read a score file of any of the three layouts.

    Raises:
        ScoreFileError: The file cannot be read, a line does not fit the layout, an utterance is duplicated, or a score
            is not a finite number.
    """
    rows = list(read_rows(path))
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
    check_width(path, rows, width)
    utterances = np.array([row[0] for _, row in rows], dtype=str)
    check_unique(path, utterances)
    numbers = parse_scores(path, [(line, row[-1]) for line, row in rows])
    return Scores(str(path), utterances, numbers, read_keys(path) if width == 4 else None)


def write_scores(path: Path, trials: Scores | Trials, layout: ScoreLayout) -> None:
    """Write scores in one of the three layouts; every score is read back as the same float64.

    Raises:
        ScoreFileError: The 2019 layout is requested, but there are no keys.
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
        ScoreFileError: The file cannot be read or has an unknown layout, a line does not fit the layout, an utterance
            is duplicated, or a key is neither `bonafide` nor `spoof`.
    """
    rows = list(read_rows(path))
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
    check_width(path, rows, len(names))
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
    check_unique(path, utterances)
    return Keys(str(path), utterances, keys == "bonafide", table)


def in_order(scores: Scores, utterances: Shaped[np.ndarray, "trials"], source: str) -> Float[np.ndarray, "trials"]:
    """The scores of the given utterances, in their order; `source` names the file of the utterances in messages.

    Raises:
        ScoreFileError: An utterance has no score.
    """
    place = {utterance: index for index, utterance in enumerate(scores.utterances.tolist())}
    places = np.array([place.get(utterance, -1) for utterance in utterances.tolist()], dtype=np.int64)
    if np.any(places < 0):
        missing = utterances[places < 0]
        raise ScoreFileError(
            f"{scores.source}: no score for {missing.size} of {places.size} trials of {source}, first "
            f"{first_few(missing)}; score them, or keep to the trials of one kind (--where COLUMN=VALUE)"
        )
    return scores.scores[places]


def join(scores: Scores, keys: Keys) -> Trials:
    """Join scores and keys, in the order of the keys. Scores without a key are left out, with a warning.

    Raises:
        ScoreFileError: A trial has no score, a class has no trial, the keys in the score file contradict the given
            keys, or there are fewer than three different scores, so that they are decisions.
    """
    joined = in_order(scores, keys.utterances, keys.source)
    if scores.keys is not None:
        own = dict(zip(scores.keys.utterances.tolist(), scores.keys.is_bonafide.tolist(), strict=True))
        contrary = keys.is_bonafide != np.array([own[utterance] for utterance in keys.utterances.tolist()])
        if contrary.any():
            raise ScoreFileError(
                f"{scores.source} and {keys.source} call {contrary.sum()} trials by different keys, first "
                f"{first_few(keys.utterances[contrary])}"
            )
    for name, there in (("bonafide", keys.is_bonafide.any()), ("spoof", not keys.is_bonafide.all())):
        if not there:
            raise ScoreFileError(f"{keys.source}: no {name} trial; both classes are needed")
    different = np.unique(joined)
    if different.size < 3:
        raise ScoreFileError(
            f"{scores.source}: only {different.size} different scores ({first_few(different)}); these are decisions, "
            "and error rates need soft scores: write the detector's raw output"
        )
    warnings = []
    if extra := scores.utterances.size - joined.size:
        unused = np.setdiff1d(scores.utterances, keys.utterances)
        warnings.append(
            f"{scores.source}: {extra} scores have no key in {keys.source} and are left out, first {first_few(unused)}"
        )
    return Trials(keys.utterances, joined, keys.is_bonafide, keys.columns, tuple(warnings))

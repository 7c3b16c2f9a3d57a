"""Score files and key files of countermeasures, as the ASVspoof challenges and the tools of the field write them.

Scores and keys are joined by utterance id, never by line order; see `utterance_names`.

Score files, one trial per line: ASVspoof 2019 `utterance attack key score`; ASVspoof 2021 `utterance score`;
`utterance score key` and `utterance key score`; any table with a header, such as ASVspoof 5's `filename<TAB>cm-score`;
and what the command `score` writes, as CSV, JSON or JSON lines.

Key files: the countermeasure protocols of ASVspoof 2019, 2021 (`trial_metadata.txt` of LA, PA and DF) and 5; a score
file that holds keys; `utterance key`; any table (separated by tabs, semicolons, commas or spaces) with a header that
names an utterance and a key column.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int64, Shaped

from aasist_jax.data.table_words import SPLIT_COLUMNS, first_column, label_meanings
from aasist_jax.errors import ScoreFileError
from aasist_jax.evaluation.score_table import (
    UTTERANCE_COLUMNS,
    headerless_keys,
    is_ours,
    key_column,
    read_score_table,
    renamed,
    told_empty,
)
from aasist_jax.evaluation.text_table import (
    Rows,
    check_unique,
    check_width,
    first_few,
    header_of,
    parse_scores,
    read_rows,
)
from aasist_jax.evaluation.utterance_names import find_utterances
from aasist_jax.runtime.files import write_text

ScoreLayout = Literal["2019", "2021", "asvspoof5"]

ASVSPOOF5_HEADER = ("filename", "cm-score")
OFFICIAL_SUBSET = "eval"
SUBSETS_2021 = {"progress", "eval", "hidden"}
"""Values of the column `subset` in the keys of ASVspoof 2021; the official figures are those of eval alone."""

ANY = "*"
"""The value of a condition that keeps every trial."""

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
        left_out: Utterances of the file that are left out because they were not asked for.
        notes: What was concluded about the file and its user should know, one line each.
    """

    source: str
    utterances: Shaped[np.ndarray, "trials"]
    is_bonafide: Bool[np.ndarray, "trials"]
    columns: Mapping[str, Shaped[np.ndarray, "trials"]]
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def where(self, column: str, value: str) -> "Keys":
        """The trials whose `column` has the value `value`; with the value `*`, all.

        Raises:
            ScoreFileError: There is no such column, or no such trial.
        """
        if column not in self.columns and column in SPLIT_COLUMNS:
            column = first_column(tuple(self.columns), SPLIT_COLUMNS) or column
        if column not in self.columns:
            raise ScoreFileError(f"{self.source} has no column {column!r}; it has: {', '.join(self.columns) or 'none'}")
        if value == ANY:
            return self
        chosen = self.columns[column] == value
        if not chosen.any():
            there = ", ".join(np.unique(self.columns[column])[:10])
            raise ScoreFileError(f"{self.source}: no trial has {column} {value!r}; there are: {there}")
        return Keys(
            f"{self.source} where {column}={value}",
            self.utterances[chosen],
            self.is_bonafide[chosen],
            {name: values[chosen] for name, values in self.columns.items()},
            (*self.left_out, *self.utterances[~chosen].tolist()),
            self.notes,
        )

    def official(self) -> "Keys":
        """The trials of the official figures: of the keys of ASVspoof 2021, the subset eval; of others, all."""
        there = set(np.unique(self.columns.get("subset", np.empty(0, dtype=str))).tolist())
        if OFFICIAL_SUBSET not in there or len(there) < 2 or not there <= SUBSETS_2021:
            return self
        chosen = self.where("subset", OFFICIAL_SUBSET)
        note = (
            f"{self.source}: the {chosen.utterances.size:,} of {self.utterances.size:,} trials of subset=eval, as in "
            f"the official figures; --where 'subset={ANY}' takes all"
        )
        return replace(chosen, notes=(*chosen.notes, note))


@dataclass(frozen=True)
class Scores:
    """The scores of a file, in its order.

    Attributes:
        source: Name for messages, such as the path of the file.
        utterances: Utterance ids, without duplicates.
        scores: Finite scores; higher means bona fide.
        keys: The keys that the file also contains, as in the 2019 layout.
        notes: What was concluded about the file and its user should know, one line each.
        why_no_keys: Why keys of the file cannot be used; "" if there is no more to say than that there are none.
        keys_in_header: Name of the column that the keys come from, if a header names it. It may as well hold another
            program's decisions, so other keys that are given count alone.
    """

    source: str
    utterances: Shaped[np.ndarray, "scored"]
    scores: Float[np.ndarray, "scored"]
    keys: Keys | None = None
    notes: tuple[str, ...] = ()
    why_no_keys: str = ""
    keys_in_header: str = ""


@dataclass(frozen=True)
class Trials:
    """Scored trials with their keys, in the order of the keys.

    Attributes:
        utterances: Utterance ids.
        scores: Scores; higher means bona fide.
        is_bonafide: True for bona fide speech, False for a spoof.
        columns: The other columns of the keys by name, as text.
        warnings: Warnings that concern the metrics, one line each.
        notes: How utterances were found, where the files name them differently; one line each.
    """

    utterances: Shaped[np.ndarray, "trials"]
    scores: Float[np.ndarray, "trials"]
    is_bonafide: Bool[np.ndarray, "trials"]
    columns: Mapping[str, Shaped[np.ndarray, "trials"]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def bonafide(self) -> Float[np.ndarray, "bonafide"]:
        """Scores of the bona fide trials."""
        return self.scores[self.is_bonafide]

    @property
    def spoof(self) -> Float[np.ndarray, "spoof"]:
        """Scores of the spoofs."""
        return self.scores[~self.is_bonafide]


def read_scores(path: Path, name: str = "", bonafide_is: str = "") -> Scores:
    """Read a score file of any layout.

    Args:
        path: The file.
        name: The column of the scores, see `read_score_table`.
        bonafide_is: Which of its numeric labels means bona fide, such as "1"; "" if that is not known.

    Raises:
        ScoreFileError: The file cannot be read, a line does not fit the layout, it is not clear which column is the
            score, an utterance is duplicated, or a score is not a finite number.
    """
    table = read_score_table(path, name)
    rows, notes = table.rows, []
    at_utterance, at_score = table.names.index("utterance"), table.names.index("score")
    if table.is_ours and (empty := [row for row in rows if not row[1][at_score]]):
        rows = [row for row in rows if row[1][at_score]]
        notes.append(told_empty(path, empty, at_utterance))
        if not rows:
            raise ScoreFileError(f"{path}: no recording has a score (--name {name or 'score'})")
    utterances = np.array([row[at_utterance] for _, row in rows], dtype=str)
    check_unique(path, utterances)
    numbers = parse_scores(path, [(line, row[at_score]) for line, row in rows])
    keys, why = (
        None,
        f"{path}: its labels are verdicts and not keys; give the keys with --keys" if table.is_ours else "",
    )
    if "key" in table.names:
        names = ["" if name == "score" else name for name in table.names]
        try:
            keys, why = _keys(path, rows, names, table.label_column, bonafide_is)
        except ScoreFileError as error:
            if not table.label_column:
                raise
            # Other words in a column of that name are another program's; the keys may yet be given.
            keys, why = None, f"{error}; give the keys with --keys"
    return Scores(str(path), utterances, numbers, keys, tuple(notes), why, table.label_column)


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


def read_keys(path: Path, bonafide_is: str = "") -> Keys:
    """Read a key file: a challenge's protocol, a score file that holds keys, or a table with a header.

    Args:
        path: The file.
        bonafide_is: Which of two numeric labels means bona fide, such as "1"; "" if that is not known.

    Raises:
        ScoreFileError: The file cannot be read or has an unknown layout, a line does not fit the layout, an utterance
            is duplicated, a key is no word for either class, or keys are numbers and nothing says what they mean.
    """
    rows = list(read_rows(path))
    if not rows:
        raise ScoreFileError(f"{path} is empty; it should hold one trial a line")
    header = header_of(rows, UTTERANCE_COLUMNS)
    label_column = ""
    if header is not None:
        line = rows.pop(0)[0]
        check_width(path, rows, len(header))
        if not rows:
            raise ScoreFileError(f"{path} holds a header and no trial")
        if is_ours(header):
            raise ScoreFileError(f"{path}: holds scores and verdicts, not keys; give it as --scores")
        label_column = key_column(rows, header) or ""
        if not label_column:
            raise ScoreFileError(f"{path}:{line}: no column of keys, such as key or label, in: {', '.join(header)}")
        names = renamed(header, label_column)
    elif len(rows[0][1]) in KEY_LAYOUTS:
        names = list(KEY_LAYOUTS[len(rows[0][1])])
        check_width(path, rows, len(names))
    elif (found := headerless_keys(path, rows)) is not None:
        names = found
    else:
        known = ", ".join(str(width) for width in KEY_LAYOUTS)
        raise ScoreFileError(
            f"{path}:{rows[0][0]}: {len(rows[0][1])} columns and no header with an utterance and a key column; key "
            f"files without a header have {known} columns"
        )
    keys, why = _keys(path, rows, names, label_column, bonafide_is)
    if keys is None:
        raise ScoreFileError(why)
    return keys


def _keys(path: Path, rows: Rows, names: Sequence[str], label_column: str, bonafide_is: str) -> tuple[Keys | None, str]:
    """The keys of a table, or None and the reason why its labels mean nothing yet."""
    columns = zip(*(row for _, row in rows), strict=True)
    table = {name: np.array(column, dtype=str) for name, column in zip(names, columns, strict=True) if name}
    utterances, words = table.pop("utterance"), table.pop("key").tolist()
    meanings = label_meanings(words, label_column, bonafide_is)
    if meanings.problem:
        return None, f"{path}: {meanings.problem}; say it with --bonafide-is, as in --bonafide-is 1"
    labels = [meanings.labels.get(word.lower()) for word in words]
    if unknown := [(rows[at][0], words[at]) for at, label in enumerate(labels) if label is None]:
        raise ScoreFileError(
            f"{path}: {len(unknown)} keys are neither bonafide nor spoof, first "
            + ", ".join(f"{word!r} on line {line}" for line, word in unknown[:3])
        )
    check_unique(path, utterances)
    notes = (f"{path}: {meanings.note}",) if meanings.note else ()
    return Keys(str(path), utterances, np.array(labels) == "bonafide", table, notes=notes), ""


def in_order(scores: Scores, utterances: Shaped[np.ndarray, "trials"], source: str) -> Float[np.ndarray, "trials"]:
    """The scores of the given utterances, in their order; `source` names the file of the utterances in messages.

    Raises:
        ScoreFileError: An utterance has no score.
    """
    return scores.scores[_places(scores, utterances, source)[0]]


def _places(
    scores: Scores, utterances: Shaped[np.ndarray, "trials"], source: str
) -> tuple[Int64[np.ndarray, "trials"], tuple[str, ...]]:
    """The place of each utterance among the scores, and what to say about how they were found."""
    found = find_utterances(utterances.tolist(), scores.utterances.tolist())
    if not found.all_found:
        missing = utterances[found.places < 0]
        several = utterances[found.places == -2]
        if several.size:
            way_out = f"{first_few(several[:1])} can be several of them: their names differ in folders alone"
        else:
            way_out = "score them, or keep to the trials of one kind (--where COLUMN=VALUE)"
        raise ScoreFileError(
            f"{scores.source}: no score for {missing.size} of {utterances.size} trials of {source}, first "
            f"{first_few(missing)}; {way_out}"
        )
    if found.example is None:
        return found.places, ()
    there, wanted = found.example
    return found.places, (f"{scores.source}: names are joined without folders and suffixes: {there} is {wanted}",)


def join(scores: Scores, keys: Keys) -> Trials:
    """Join scores and keys, in the order of the keys. Scores without a key are left out, with a warning.

    Raises:
        ScoreFileError: A trial has no score, a class has no trial, the keys in the score file contradict the given
            keys, or there are fewer than three different scores, so that they are decisions.
    """
    places, notes = _places(scores, keys.utterances, keys.source)
    joined = scores.scores[places]
    if scores.keys is not None and not scores.keys_in_header:
        # The keys of a score file stand in the order of its scores, unless some are left out.
        own = dict(zip(scores.keys.utterances.tolist(), scores.keys.is_bonafide.tolist(), strict=True))
        contrary = keys.is_bonafide != np.array([own[name] for name in scores.utterances[places].tolist()])
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
    unused = np.delete(scores.utterances, places)
    if unused.size and keys.left_out:
        unused = unused[find_utterances(unused.tolist(), keys.left_out).places == -1]
    if unused.size:
        warnings.append(
            f"{scores.source}: {unused.size} scores have no key in {keys.source} and are left out, first "
            f"{first_few(np.unique(unused))}"
        )
    return Trials(keys.utterances, joined, keys.is_bonafide, keys.columns, tuple(warnings), notes)

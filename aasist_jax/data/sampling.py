"""Which clips an epoch of training uses: draws in which kinds of clips are equally frequent, and pairs with copies."""

import hashlib
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from aasist_jax.data.utterances import Utterance
from aasist_jax.errors import DataError

logger = logging.getLogger(__name__)

_KINDS: dict[str, tuple[Callable[[Utterance], str], Collection[str]]] = {
    "system": (lambda clip: clip.attack, ("-", "unknown")),
    "speaker": (lambda clip: clip.speaker, ("-",)),
}
"""What can be balanced within a class: the name of a clip's group, and the names that say nothing."""


@dataclass(frozen=True)
class Draw:
    """A random draw for every epoch, which depends on the seed and the number of the epoch alone.

    The units are laid out on a line, those of a group side by side, each as long as its share; equidistant points with
    a random offset choose among them (systematic sampling). So in every epoch each unit, and each group, occurs as
    often as its share asks for, rounded down or up.

    Attributes:
        seed: 0 or more.
        count: number of rows of an epoch.
        units: what is drawn: each holds one row of positions or several, which take turns. A row is one clip, or an
            original and a copy of it.
        shares: the share of each unit; their sum is 1.
        groups: the innermost group of each unit, numbered so that the groups of a larger one follow one another.
    """

    seed: int
    count: int
    units: Sequence[Int[np.ndarray, "_ width"]]
    shares: Float[np.ndarray, " units"]
    groups: Int[np.ndarray, " units"]

    @property
    def is_of_pairs(self) -> bool:
        """Whether a row is an original and its copy."""
        return self.units[0].shape[1] == 2

    def epoch(self, number: int) -> Int[np.ndarray, "count width"]:
        """The rows of an epoch, which counts from 0, in the order in which they are used."""
        rng = np.random.default_rng([self.seed, number])
        line = rng.permutation(len(self.units))
        line = line[np.argsort(self.groups[line], kind="stable")]
        ends = np.cumsum(self.shares[line])
        points = (rng.random() + np.arange(self.count)) / self.count * ends[-1]
        drawn = line[np.minimum(np.searchsorted(ends, points, side="right"), len(line) - 1)]
        rows, times = [], dict.fromkeys(drawn.tolist(), 0)
        for unit in drawn.tolist():
            choices = self.units[unit]
            rows.append(choices[(number + times[unit]) % len(choices)])
            times[unit] += 1
        return np.stack(rows)[rng.permutation(self.count)]

    def mark(self) -> str:
        """A hash of what can be drawn."""
        return hashlib.sha256(b"\n".join(unit.tobytes() for unit in self.units)).hexdigest()


def make_draw(
    utterances: Sequence[Utterance], *, balance: Collection[str], pairs: bool, batch_size: int, seed: int
) -> Draw | None:
    """The draw for these training clips; None where an epoch shall simply use every clip once.

    Args:
        utterances: the clips.
        balance: what is equally frequent: `class`; `system`, the attacks among the spoofed clips; `speaker`, within a
            class, or within a system if these are balanced too. Shares of what is not named stay as in the data.
        pairs: whether rows are a bona fide clip and one of its copies. Its copies take turns, one after the other; of
            originals, each is equally frequent within its group.
        batch_size: an epoch fills as many batches as the clips would, each used once.
        seed: 0 or more.

    Raises:
        DataError: no clip says what shall be balanced, or there are no pairs.
    """
    if not balance and not pairs:
        return None
    kinds = [name for name in _KINDS if name in balance]
    for name in kinds:
        group, unknown = _KINDS[name]
        if all(group(clip) in unknown for clip in utterances):
            raise DataError(f"train_config.balance: no training clip has a known {name}; leave {name!r} out")
    epoch = len(utterances) // batch_size * batch_size
    rows = _pairs(utterances) if pairs else np.arange(len(utterances))[:, None]
    # The last clip of a row is the copy, which has a system; a copy has the speaker of its original.
    paths = [_groups(utterances[row[-1]], kinds) for row in rows]
    units: dict[tuple[str, ...], list[np.ndarray]] = {}
    for row, path in zip(rows, paths, strict=True):
        units.setdefault((*path, f"{row[0]:09d}"), []).append(row)
    keys = sorted(units)
    shares = equal_shares(keys)
    if "class" not in balance:
        for label in {key[0] for key in keys}:
            chosen = np.array([key[0] == label for key in keys])
            shares[chosen] *= sum(path[0] == label for path in paths) / len(paths) / shares[chosen].sum()
    numbers = {path: number for number, path in enumerate(sorted(set(paths)))}
    groups = np.array([numbers[key[:-1]] for key in keys])
    mixed = [np.random.default_rng([seed, number]).permutation(np.stack(units[key])) for number, key in enumerate(keys)]
    return Draw(seed, epoch // (2 if pairs else 1), mixed, shares, groups)


def equal_shares(paths: Sequence[tuple[str, ...]]) -> Float[np.ndarray, " paths"]:
    """The share of each leaf of a tree in which every branch is shared equally by those that leave it."""
    branches: dict[tuple[str, ...], set[str]] = {}
    for path in paths:
        for depth in range(len(path)):
            branches.setdefault(path[:depth], set()).add(path[depth])
    return np.array([np.prod([1 / len(branches[path[:depth]]) for depth in range(len(path))]) for path in paths])


def _groups(clip: Utterance, kinds: Sequence[str]) -> tuple[str, ...]:
    return (clip.label, *(_KINDS[name][0](clip) for name in kinds))


def _pairs(utterances: Sequence[Utterance]) -> Int[np.ndarray, "pairs 2"]:
    """The positions of every copy's original and of the copy.

    Raises:
        DataError: there are none.
    """
    originals = {clip.utterance: i for i, clip in enumerate(utterances) if clip.label == "bonafide"}
    pairs = [(originals[clip.copy_of], i) for i, clip in enumerate(utterances) if clip.copy_of in originals]
    if not pairs:
        raise DataError(
            "train_config.pairs: the data set names no bona fide original of any training clip; a corpus of "
            "aasist-jax build-corpus does in metadata.csv, and a table in a column copy_of"
        )
    alone = len(utterances) - len({position for pair in pairs for position in pair})
    if alone:
        logger.warning(
            "train_config.pairs: %d of %d training clips are in no pair and not used", alone, len(utterances)
        )
    return np.array(pairs)

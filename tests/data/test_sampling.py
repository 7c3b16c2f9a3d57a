"""What an epoch consists of: exact shares of classes, systems and speakers, and copies that take turns."""

import logging
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aasist_jax.data.sampling import Draw, equal_shares, make_draw
from aasist_jax.data.utterances import Utterance, make_utterance
from aasist_jax.errors import DataError


def clip(name: str, attack: str = "-", speaker: str = "-", copy_of: str = "") -> Utterance:
    label = "bonafide" if attack == "-" else "spoof"
    return make_utterance(name, Path(name), label, attack, speaker, f"list:{name}", copy_of)  # type: ignore[arg-type]


CLIPS = [
    *[clip(f"h{i}", speaker="ann" if i < 3 else "bob") for i in range(12)],
    *[clip(f"a{i}", "A", "ann", f"h{i}") for i in range(3)],
    *[clip(f"b{i}", "B", "bob" if i % 2 else "ann", f"h{i % 12}") for i in range(45)],
]
"""12 bona fide clips, 3 of system A, 45 of system B."""


def draw(clips: list[Utterance] = CLIPS, **options: Any) -> Draw:
    made = make_draw(clips, **({"balance": (), "pairs": False, "batch_size": 8, "seed": 3} | options))
    assert made is not None
    return made


def count(drawn: Draw, kind: Any, epoch: int = 0) -> Counter[Any]:
    return Counter(kind(CLIPS[row[-1]]) for row in drawn.epoch(epoch))


def test_nothing_to_draw() -> None:
    assert make_draw(CLIPS, balance=(), pairs=False, batch_size=8, seed=0) is None


@pytest.mark.parametrize("epoch", [0, 1, 7])
def test_every_epoch_has_equal_shares(epoch: int) -> None:
    """56 rows, as many as the 60 clips fill batches of 8."""
    assert count(draw(balance=("class",)), lambda clip: clip.label, epoch) == {"bonafide": 28, "spoof": 28}
    both = draw(balance=("system", "class"))
    assert count(both, lambda clip: clip.attack, epoch) == {"-": 28, "A": 14, "B": 14}
    groups = count(draw(balance=("class", "system", "speaker")), lambda clip: (clip.attack, clip.speaker), epoch)
    assert groups == {("-", "ann"): 14, ("-", "bob"): 14, ("A", "ann"): 14, ("B", "ann"): 7, ("B", "bob"): 7}


def test_a_class_that_is_not_balanced_keeps_its_share() -> None:
    found = count(draw(balance=("system",), batch_size=60), lambda clip: clip.attack)
    assert found == {"-": 12, "A": 24, "B": 24}
    found = count(draw(balance=("speaker",), batch_size=60), lambda clip: (clip.label, clip.speaker))
    assert found == {("bonafide", "ann"): 6, ("bonafide", "bob"): 6, ("spoof", "ann"): 24, ("spoof", "bob"): 24}


def test_within_a_group_each_clip_is_as_frequent_rounded_down_or_up() -> None:
    drawn = draw(balance=("class",))
    each = [count(drawn, lambda clip: clip.utterance, epoch) for epoch in range(40)]
    for found in each:
        assert {found[f"h{i}"] for i in range(12)} <= {2, 3}
        assert {found[f"b{i}"] for i in range(45)} <= {0, 1}
    total = sum(each, Counter())
    assert {name[0] for name in total} == set("hab")
    assert len(total) == 60  # no clip is left out for ever
    expected = {"h": 40 * 28 / 12, "b": 40 * 28 / 48}
    for name, times in total.items():
        if name[0] in expected:
            assert abs(times - expected[name[0]]) < 12


def test_shares_against_a_plain_count() -> None:
    paths = [("x", "1"), ("x", "2"), ("x", "3"), ("y", "1")]
    np.testing.assert_allclose(equal_shares(paths), [1 / 6, 1 / 6, 1 / 6, 1 / 2])


def test_an_epoch_follows_from_the_seed_and_its_number() -> None:
    one, other = draw(balance=("class",)), draw(balance=("class",))
    np.testing.assert_array_equal(one.epoch(5), other.epoch(5))
    assert one.epoch(5).tolist() != one.epoch(6).tolist()
    assert one.epoch(5).tolist() != draw(balance=("class",), seed=4).epoch(5).tolist()


def test_pairs_are_of_an_original_and_its_copies_in_turn() -> None:
    drawn = draw(pairs=True, batch_size=24)
    assert drawn.is_of_pairs
    assert drawn.count == 24  # 48 clips
    made_of = {clip.utterance: [] for clip in CLIPS if clip.label == "bonafide"}
    for epoch in range(4):
        found = {}
        for original, copy in drawn.epoch(epoch):
            assert CLIPS[copy].copy_of == CLIPS[original].utterance
            found.setdefault(CLIPS[original].utterance, []).append(CLIPS[copy].utterance)
        assert {len(copies) for copies in found.values()} == {2}  # each of 12 originals, twice
        for name, copies in found.items():
            assert len(set(copies)) == 2
            made_of[name].append(frozenset(copies))
    # h11 has three copies, h0 five: the first of the two in one epoch is not among those of the next, until all were.
    assert len(set(made_of["h0"])) == 4
    assert len(set(made_of["h11"][:3])) == 3
    assert made_of["h11"][3] == made_of["h11"][0]


def test_pairs_with_balanced_systems() -> None:
    drawn = draw(pairs=True, balance=("system",), batch_size=20)
    assert count(drawn, lambda clip: clip.attack) == {"A": 15, "B": 15}


def test_clips_in_no_pair_are_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        drawn = draw([*CLIPS, clip("alone"), clip("orphan", "A", copy_of="gone")], pairs=True)
    assert "2 of 62 training clips are in no pair" in caplog.text
    assert {position for epoch in range(9) for row in drawn.epoch(epoch) for position in row} <= set(range(60))


def test_what_the_data_does_not_say_is_refused() -> None:
    strangers = [clip("h"), clip("s", "unknown")]
    for name in ("system", "speaker"):
        with pytest.raises(DataError, match=f"no training clip has a known {name}; leave '{name}' out"):
            draw(strangers, balance=(name,), batch_size=2)
    with pytest.raises(DataError, match=r"names no bona fide original of any training clip; .* in a column copy_of"):
        draw(strangers, pairs=True, batch_size=2)


def test_the_mark_tells_other_pairs() -> None:
    swapped = [clip(c.utterance, c.attack, c.speaker, "h5" if c.copy_of == "h4" else c.copy_of) for c in CLIPS]
    assert draw(pairs=True).mark() == draw(pairs=True).mark() != draw(swapped, pairs=True).mark()

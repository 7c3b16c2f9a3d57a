import pytest

from aasist_jax.evaluation.turn_shares import CALLS, shares_by_label, turn_seconds, turn_shares

SEGMENTS = [(0.0, 4.0, "bonafide"), (4.0, 6.0, "unsure"), (6.0, 9.0, "spoof"), (9.0, 10.0, "unjudged")]


def test_a_turn_is_shared_among_the_segments_that_it_meets() -> None:
    assert turn_seconds((3.0, 8.0, "spoof"), SEGMENTS) == {
        "human": 1.0,
        "unsure": 2.0,
        "synthetic": 2.0,
        "unheard": 0.0,
    }
    (shares,) = turn_shares([(3.0, 8.0, "spoof")], SEGMENTS)
    assert shares == {"human": 0.2, "unsure": 0.4, "synthetic": 0.4, "unheard": 0.0}


def test_the_order_of_segments_is_no_matter_and_what_none_covers_is_unheard() -> None:
    turn = (8.0, 16.0, "bonafide")
    expected = {"human": 0.0, "unsure": 0.0, "synthetic": 0.125, "unheard": 0.875}
    assert turn_shares([turn, turn], SEGMENTS[::-1]) == [expected, expected]
    assert turn_shares([turn], []) == [dict.fromkeys(CALLS, 0.0) | {"unheard": 1.0}]


def test_overlapping_turns_are_each_judged_whole() -> None:
    first, second = turn_shares([(0.0, 4.0, "a"), (2.0, 6.0, "b")], SEGMENTS)
    assert first["human"] == 1.0
    assert (second["human"], second["unsure"]) == (0.5, 0.5)


def test_labels_are_summed_by_time_over_recordings() -> None:
    one = ([(0.0, 1.0, "spoof"), (1.0, 2.0, "bonafide")], [(0.0, 2.0, "synthetic")])
    other = ([(0.0, 3.0, "spoof")], [(0.0, 3.0, "human")])
    assert shares_by_label([one, other]) == {
        "bonafide": {"human": 0.0, "unsure": 0.0, "synthetic": 1.0, "unheard": 0.0},
        "spoof": {"human": 0.75, "unsure": 0.0, "synthetic": 0.25, "unheard": 0.0},
    }


def test_an_empty_turn_has_no_shares() -> None:
    assert turn_shares([(1.0, 1.0, "spoof")], SEGMENTS) == [dict.fromkeys(CALLS, 0.0)]


@pytest.mark.parametrize(
    ("turn", "segments", "complaint"),
    [
        ((2.0, 1.0, "spoof"), [], "a turn from 2 to 1 s ends before it starts"),
        ((0.0, 1.0, "spoof"), [(2.0, 1.0, "human")], "a segment from 2 to 1 s ends before it starts"),
        ((0.0, 1.0, "s"), [(0.0, 2.0, "human"), (1.0, 3.0, "human")], "from 1 s begins before the last ends, at 2 s"),
        ((0.0, 1.0, "s"), [(0.0, 1.0, "maybe")], "label 'maybe' of a segment is not one of human, unsure"),
    ],
)
def test_what_makes_no_sense_is_told(turn: tuple, segments: list, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        turn_seconds(turn, segments)

"""Score and key files as the challenges lay them out, and what is said of files that are not right."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aasist_jax.errors import ScoreFileError
from aasist_jax.evaluation.score_files import (
    Keys,
    Scores,
    Trials,
    join,
    read_keys,
    read_scores,
    write_scores,
)

KEYS_2019 = "s1 u1 - - bonafide\ns1 u2 - A07 spoof\ns2 u3 - A08 spoof\ns2 u4 - - bonafide\n"


def keys_of(*is_bonafide):
    names = np.array([f"u{index + 1}" for index in range(len(is_bonafide))])
    return Keys("keys", names, np.array(is_bonafide), {})


@pytest.mark.parametrize(
    "text",
    [
        "u2 A07 spoof -1.5\nu1 - bonafide 2.25\n",
        "u2 -1.5\n\nu1 2.25\n",
        "filename\tcm-score\nu2\t-1.5\nu1\t2.25\n",
        "u2\t-1.5\r\nu1\t2.25\r\n",
    ],
)
def test_every_score_layout_is_read(write, text):
    scores = read_scores(write(text))
    assert dict(zip(scores.utterances, scores.scores, strict=True)) == {"u1": 2.25, "u2": -1.5}


@pytest.mark.parametrize("layout", ["2019", "2021", "asvspoof5"])
@given(numbers=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=8))
def test_what_is_written_reads_back_to_the_last_bit(tmp_path_factory, layout, numbers):
    names = np.array([f"u{index}" for index in range(len(numbers))])
    is_bonafide = np.arange(len(numbers)) % 2 == 0
    attack = np.where(is_bonafide, "-", "A07")
    path = tmp_path_factory.mktemp("scores") / "out.txt"
    write_scores(path, Trials(names, np.array(numbers), is_bonafide, {"attack": attack}), layout)
    back = read_scores(path)
    assert back.utterances.tolist() == names.tolist()
    assert back.scores.tolist() == numbers
    if layout == "2019":
        keys = read_keys(path)
        assert keys.is_bonafide.tolist() == is_bonafide.tolist()
        assert keys.columns["attack"].tolist() == attack.tolist()


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        (KEYS_2019, {"speaker": "s2", "attack": "A08"}),
        (
            "s1 u1 alaw ita_tx - bonafide notrim eval\ns2 u3 g722 loc_tx A08 spoof notrim progress\n",
            {"codec": "g722", "transmission": "loc_tx", "attack": "A08", "subset": "progress"},
        ),
        (
            "s1 u1 nocodec asvspoof bonafide bonafide notrim eval bonafide - - - -\n"
            "s2 u3 mp3m4a vcc2020 Task1-team12 spoof notrim progress neural_vocoder_autoregressive Task1 team12 FF E\n",
            {"codec": "mp3m4a", "vocoder": "neural_vocoder_autoregressive", "language": "E"},
        ),
        (
            "s1 u1 R1 M1 D1 - - - - bonafide notrim eval\ns2 u3 R3 M3 d4 r1 m2 s4 c3 spoof notrim hidden\n",
            {"asv_room": "R3", "attacker_microphone": "m2", "replay_device": "s4", "attacker_to_speaker": "c3"},
        ),
        ("s1 u1 F - - - AC1 - bonafide -\ns2 u3 M C01 2 - AC2 A08 spoof -\n", {"codec": "C01", "attack": "A08"}),
        ("filename,label,language\nu1,bonafide,de\nu3,spoof,fr\n", {"language": "fr"}),
        ("utterance\tkey\tduration\nu1\tbonafide\t2.5\nu3\tspoof\t3\n", {"duration": "3"}),
    ],
)
def test_every_key_layout_is_read(write, text, columns):
    keys = read_keys(write(text))
    at = keys.utterances.tolist().index("u3")
    assert not keys.is_bonafide[at]
    assert keys.is_bonafide[0]
    assert {name: keys.columns[name][at] for name in columns} == columns


def test_scores_join_keys_by_utterance_and_never_by_line(write):
    scores = read_scores(write("u4 4\nu3 3\nu2 2\nu1 1\n", "scores.txt"))
    trials = join(scores, read_keys(write(KEYS_2019)))
    assert trials.utterances.tolist() == ["u1", "u2", "u3", "u4"]
    assert trials.bonafide.tolist() == [1, 4]
    assert trials.spoof.tolist() == [2, 3]
    assert trials.warnings == ()


def test_trials_can_be_kept_to_one_kind(write):
    keys = read_keys(write(KEYS_2019))
    assert keys.where("speaker", "s2").utterances.tolist() == ["u3", "u4"]
    with pytest.raises(ScoreFileError, match=r"no column 'codec'; it has: speaker, environment, attack"):
        keys.where("codec", "alaw")
    with pytest.raises(ScoreFileError, match=r"no trial has attack 'A99'; there are: -, A07, A08"):
        keys.where("attack", "A99")


def test_extra_scores_are_left_out_with_a_warning():
    scores = Scores("mine.txt", np.array(["u1", "x9", "u2", "u3"]), np.arange(4.0))
    trials = join(scores, keys_of(True, False, False))
    assert trials.scores.tolist() == [0, 2, 3]
    assert trials.warnings == ("mine.txt: 1 scores have no key in keys and are left out, first x9",)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is empty"),
        ("u1 1\nu2 2\nu1 3\nu2 9\n", r"2 utterances come more than once, first u1, u2"),
        ("u1 1\nu2 nan\nu3 inf\nu4 x\n", r"3 scores are not finite numbers, first 'nan' on line 2, 'inf' on line 3"),
        ("u1 1\nu2\n", r":2: 1 columns, not the 2"),
        ("u1 1 2\n", r":1: 3 columns; a score file has"),
        ("u1 A07 fake 1\n", r"1 keys are neither bonafide nor spoof, first 'fake' on line 1"),
        ("filename\tcm-score\nu1\t1\nu2 2\n", r":3: 1 columns, not the 2"),
    ],
)
def test_a_bad_score_file_is_refused_by_line(write, text, complaint):
    with pytest.raises(ScoreFileError, match=complaint):
        read_scores(write(text))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is empty"),
        ("a b\n", r":1: 2 columns and no header"),
        ("s u1 - - genuine\ns u2 - - bonafide\n", r"1 keys are neither .* first 'genuine' on line 1"),
        ("s u1 - - bonafide\ns u1 - A1 spoof\n", r"1 utterances come more than once, first u1"),
        ("filename,label\n", "holds a header and no trial"),
    ],
)
def test_a_bad_key_file_is_refused(write, text, complaint):
    with pytest.raises(ScoreFileError, match=complaint):
        read_keys(write(text))


def test_a_missing_or_binary_file_is_refused(tmp_path):
    with pytest.raises(ScoreFileError, match=r"cannot read .*none.txt: No such file"):
        read_scores(tmp_path / "none.txt")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x9d")
    with pytest.raises(ScoreFileError, match="not a text file"):
        read_scores(tmp_path / "binary")


@pytest.mark.parametrize(
    ("names", "numbers", "keys", "complaint"),
    [
        (["u1"], [1.0], keys_of(True, False, False), r"no score for 2 of 3 trials of keys, first u2, u3;"),
        (["u1", "u2", "u3"], [1.0, 0.0, 1.0], keys_of(True, False, False), r"only 2 different scores \(0.0, 1.0\)"),
        (["u1", "u2", "u3"], [1.0, 2.0, 3.0], keys_of(True, True, True), "no spoof trial"),
        (["u1", "u2", "u3"], [1.0, 2.0, 3.0], keys_of(False, False, False), "no bonafide trial"),
    ],
)
def test_scores_that_do_not_suit_the_keys_are_refused(names, numbers, keys, complaint):
    with pytest.raises(ScoreFileError, match=complaint):
        join(Scores("mine.txt", np.array(names), np.array(numbers)), keys)


def test_keys_inside_the_score_file_must_agree(write):
    scores = read_scores(write("u1 - bonafide 1\nu2 A1 spoof 2\nu3 - bonafide 3\n"))
    with pytest.raises(ScoreFileError, match="call 1 trials by different keys, first u3"):
        join(scores, keys_of(True, False, False))


@pytest.mark.reference
def test_the_real_score_file_and_protocol_join(reference):
    scores = read_scores(reference / "scores" / "RawGAT-ST-mul.eval.txt")
    keys = read_keys(reference / "asvspoof2019_la" / "ASVspoof2019.LA.cm.eval.trl.txt")
    trials = join(scores, keys)
    assert (trials.bonafide.size, trials.spoof.size) == (7355, 63882)
    assert np.unique(trials.columns["speaker"]).size == 67

"""Score and key files as the challenges lay them out, and what is said of files that are not right."""

from dataclasses import replace

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


@pytest.mark.parametrize("word", ["bonafide", "Bona-Fide", "genuine", "real", "HUMAN"])
@pytest.mark.parametrize("other", ["spoof", "fake", "Synthetic", "deepfake"])
def test_the_words_for_both_classes_are_understood(write, word, other):
    for text in (f"file;label\nu1;{word}\nu2;{other}\n", f"u1 {word}\nu2 {other}\n"):
        assert read_keys(write(text)).is_bonafide.tolist() == [True, False]


@pytest.mark.parametrize(
    "text",
    [
        "\ufefffile;speaker;label\nu1;ann;bona-fide\nu2;bob;spoof\n",
        "filename\tclass\tfold\nu1\thuman\t1\nu2\tsynthetic\t2\n",
        "file,target,subset\nu1,real,eval\nu2,fake,eval\n",
        'utterance,spk_id,Label\n"u1",ann,genuine\nu2,"b, b",fake\n',
        '[{"path": "u1", "label": "human"}, {"path": "u2", "label": "fake"}]',
        '{"path": "u1", "label": "human"}\n{"path": "u2", "label": "fake"}\n',
    ],
)
def test_tables_of_keys_with_the_usual_names(write, text):
    keys = read_keys(write(text))
    assert (keys.utterances.tolist(), keys.is_bonafide.tolist()) == (["u1", "u2"], [True, False])
    assert set(keys.columns) <= {"speaker", "fold", "subset"}


NUMBERED = {
    "LA_E_1.flac -0.084 1\nLA_E_2.flac -3.5 0\nLA_E_3.flac 1 0\n": "",
    "LA_E_1 1 -0.084\nLA_E_2 0 -3.5\nLA_E_3 0 1\n": "",
    "LA_E_1 - 1 -0.084\nLA_E_2 A07 0 -3.5\nLA_E_3 A07 0 1\n": "",
    "file;score;label\nLA_E_1;-0.084;1\nLA_E_2;-3.5;0\nLA_E_3;1;0\n": "",
    "file,score,is_real\nLA_E_1,-0.084,1\nLA_E_2,-3.5,0\nLA_E_3,1,0\n": "bonafide",
    "file,score,is_fake\nLA_E_1,-0.084,0\nLA_E_2,-3.5,1\nLA_E_3,1,1\n": "spoof",
}


@pytest.mark.parametrize("text", NUMBERED)
def test_what_one_means_is_asked_for_or_said_and_never_guessed(write, text):
    path, said = write(text), NUMBERED[text]
    scores = read_scores(path)
    assert scores.scores.tolist() == [-0.084, -3.5, 1]
    if said:
        assert scores.keys.is_bonafide.tolist() == [True, False, False]
        assert f"1 means {said}, by the name of the column" in scores.keys.notes[0]
        return
    assert scores.keys is None
    assert "the labels are 0 and 1, and nothing says which means bona fide; say it with --bonafide-is" in (
        scores.why_no_keys
    )
    with pytest.raises(ScoreFileError, match="--bonafide-is 1"):
        read_keys(path)
    for told, is_bonafide in (("1", [True, False, False]), ("0", [False, True, True])):
        assert read_scores(path, bonafide_is=told).keys.is_bonafide.tolist() == is_bonafide
        assert read_keys(path, told).is_bonafide.tolist() == is_bonafide
    with pytest.raises(ScoreFileError, match="'7' shall mean bona fide, but the labels are 0, 1"):
        read_keys(path, "7")


def test_words_are_not_turned_round(write):
    path = write("u1 real\nu2 fake\n")
    assert read_keys(path, "1").is_bonafide.tolist() == [True, False]
    with pytest.raises(ScoreFileError, match="'fake' shall mean bona fide, but there is the word 'fake'"):
        read_keys(path, "fake")


@pytest.mark.parametrize(
    ("names", "there"),
    [
        (("LA_E_1", "LA_E_2"), ("LA_E_1.flac", "LA_E_2.flac")),
        (("LA_E_1.flac", "LA_E_2.WAV"), ("LA_E_1", "LA_E_2")),
        (("a/1.wav", "b/1.wav"), ("/data/a/1.flac", "/data/b/1.flac")),
        (("id.7", "id.8"), ("x\\\\id.7.wav", "x\\\\id.8.wav")),
    ],
)
def test_names_are_joined_without_suffix_and_folders_and_it_is_said(names, there):
    keys = Keys("keys", np.array([*names, "u3"]), np.array([True, False, False]), {})
    trials = join(Scores("mine.txt", np.array(["other", "u3", *there]), np.arange(4.0)), keys)
    assert trials.scores.tolist() == [2, 3, 1]
    (note,) = trials.notes
    assert note == f"mine.txt: names are joined without folders and suffixes: {there[0]} is {names[0]}"
    assert "1 scores have no key in keys and are left out, first other" in trials.warnings[0]


def test_names_that_differ_in_folders_alone_are_not_guessed():
    keys = Keys("keys", np.array(["1", "2", "3"]), np.array([True, False, False]), {})
    scores = Scores("mine.txt", np.array(["a/1.wav", "b/1.wav", "2.wav", "3.wav"]), np.arange(4.0))
    with pytest.raises(ScoreFileError, match="first 1; 1 can be several of them: their names differ in folders alone"):
        join(scores, keys)
    twice = Keys("keys", np.array(["a/2", "b/2", "3"]), np.array([True, False, False]), {})
    with pytest.raises(ScoreFileError, match="no score for 2 of 3"):
        join(scores, twice)


def test_the_column_of_the_scores_can_be_named(write):
    path = write("file,score,other,label\nu1,1,7,real\nu2,2,8,fake\n")
    assert read_scores(path).scores.tolist() == [1, 2]
    named = read_scores(path, "Other")
    assert named.scores.tolist() == [7, 8]
    assert named.keys.is_bonafide.tolist() == [True, False]
    with pytest.raises(ScoreFileError, match=r"no column 'othr' for --name; did you mean 'other'\?"):
        read_scores(path, "othr")
    path = write("u1 -3 1.5\nu2 -4 2.5\n")
    assert read_scores(path, "3").scores.tolist() == [1.5, 2.5]
    for wrong, complaint in (("llr", "no header that names a column 'llr'"), ("4", "one of the columns 2 to 3")):
        with pytest.raises(ScoreFileError, match=complaint):
            read_scores(path, wrong)
    with pytest.raises(ScoreFileError, match="p_spoof: this rises with spoofs"):
        read_scores(write("file,score,p_spoof\nu1,1,0.5\n"), "p_spoof")


def test_a_name_with_a_comma_does_not_make_a_csv(write):
    text = "with,_comma - bonafide 1.5\nu2 A07 spoof -1\n"
    scores = read_scores(write(text))
    assert scores.utterances.tolist() == ["with,_comma", "u2"]
    assert scores.keys.is_bonafide.tolist() == [True, False]


def test_the_official_subset_is_the_default_where_there_is_one(write):
    line = "s {} alaw ita_tx {} notrim {}\n"
    kinds = [("u1", "- bonafide", "eval"), ("u2", "A08 spoof", "eval"), ("u3", "A08 spoof", "progress")]
    text = "".join(line.format(*kind) for kind in kinds)
    keys = read_keys(write(text)).official()
    assert keys.utterances.tolist() == ["u1", "u2"]
    (note,) = keys.notes
    assert "the 2 of 3 trials of subset=eval, as in the official figures; --where 'subset=*' takes all" in note
    names, is_bonafide = np.append(keys.utterances, "u0"), np.append(keys.is_bonafide, False)
    keys = replace(keys, utterances=names, is_bonafide=is_bonafide, columns={})
    trials = join(Scores("mine.txt", np.array(["u0", "u1", "u2", "u3", "u4"]), np.arange(5.0)), keys)
    assert trials.warnings == (f"mine.txt: 1 scores have no key in {keys.source} and are left out, first u4",)
    for other in (text.replace("progress", "dev"), text.replace("progress", "eval"), KEYS_2019):
        keys = read_keys(write(other))
        assert keys.official() is keys


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
        ("u1 a b\n", r":1: 3 columns; a score file has"),
        ("u1 A07 robot 1\n", r"1 keys are neither bonafide nor spoof, first 'robot' on line 1"),
        ("u1,x,2.5\n", r":1: 3 columns; .*or say which column is the score with --name 2"),
        ("file,x,y\nu1,2,3\n", r"no column score or cm-score; say .* with --name; columns of numbers are: x, y"),
        ("file,score\n", "holds a header and no score"),
        ('file,score\n"u1,2\n', r":\d: not CSV"),
        ("{file}\n", ":1: not JSON"),
        ("[" * 100_000, ":1: not JSON"),
        ('["u1", 1]', ":1: not an object with a name and a score"),
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
        ("s u1 - - robot\ns u2 - - bonafide\n", r"1 keys are neither .* first 'robot' on line 1"),
        ("file;speaker\nu1;ann\n", r":1: no column of keys, such as key or label, in: file, speaker"),
        ("file,label,status,model_id\nu1,spoof,ok,x\n", "holds scores and verdicts, not keys"),
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

"""Score files of speaker verification, and what is said of files that are not right."""

import pytest

from aasist_jax.errors import ScoreFileError
from aasist_jax.evaluation.verification_scores import read_asv_scores, read_sasv_scores


def test_asv_scores_are_read_by_class(write):
    asv = read_asv_scores(write("bonafide target 1\nbonafide nontarget -1\nA07 spoof 0.5\nA08 spoof 0.25\n"))
    assert (asv.target.tolist(), asv.nontarget.tolist(), asv.spoof.tolist()) == ([1], [-1], [0.5, 0.25])
    with pytest.raises(ScoreFileError, match="no nontarget trial"):
        read_asv_scores(write("bonafide target 1\nA07 spoof 2\n"))
    with pytest.raises(ScoreFileError, match=r":2: key 'fake' is none of"):
        read_asv_scores(write("bonafide target 1\nA07 fake 2\n"))


SASV_SCORES = "spk\tfilename\tcm-score\tasv-score\tsasv-score\ns1\tu1\t-\t-\t3\ns2\tu1\t-\t-\t1\ns1\tu2\t-\t-\t2\n"
SASV_KEYS = (
    "spk\tfilename\tcm-label\tasv-label\ns1\tu2\tspoof\tspoof\ns2\tu1\tbonafide\tnontarget\ns1\tu1\tbonafide\ttarget\n"
)


def test_spoofing_aware_scores_join_their_keys_by_speaker_and_file(write):
    keys = write(SASV_KEYS, "keys.tsv")
    sasv = read_sasv_scores(write(SASV_SCORES), keys)
    assert (sasv.target.tolist(), sasv.nontarget.tolist(), sasv.spoof.tolist()) == ([3], [1], [2])
    with pytest.raises(ScoreFileError, match=r"no score for 1 of 3 trials of .*keys.tsv, first s1 u2;"):
        read_sasv_scores(write(SASV_SCORES.replace("s1\tu2", "s1\tu9")), keys)
    with pytest.raises(ScoreFileError, match=r"1 utterances come more than once, first s1 u1"):
        read_sasv_scores(write(SASV_SCORES.replace("s2", "s1")), keys)
    with pytest.raises(ScoreFileError, match="no column sasv-score"):
        read_sasv_scores(write("filename\tcm-score\nu1\t1\n"), keys)
    with pytest.raises(ScoreFileError, match=r":2: key 'fake' is none of"):
        read_sasv_scores(write(SASV_SCORES), write(SASV_KEYS.replace("spoof\tspoof", "spoof\tfake"), "k.tsv"))


def test_spoofing_aware_scores_join_by_file_where_one_table_has_no_speaker(write):
    def without_speaker(table):
        return "".join(line.partition("\t")[2] for line in table.splitlines(keepends=True))

    scores, keys = (table.replace("s2\tu1", "s2\tu3") for table in (SASV_SCORES, SASV_KEYS))
    for own_scores, own_keys in [(without_speaker(scores), keys), (scores, without_speaker(keys))]:
        sasv = read_sasv_scores(write(own_scores, "s.tsv"), write(own_keys, "k.tsv"))
        assert (sasv.target.tolist(), sasv.nontarget.tolist(), sasv.spoof.tolist()) == ([3], [1], [2])
    with pytest.raises(ScoreFileError, match=r"k.tsv: 1 utterances come more than once, first u1"):
        read_sasv_scores(write(without_speaker(scores), "s.tsv"), write(SASV_KEYS, "k.tsv"))

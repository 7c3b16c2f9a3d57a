import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasist_jax.corpus.game_speech import QUEEN, SKY
from aasist_jax.corpus.large.readme import LICENCES
from aasist_jax.corpus.large.speakers import SPEAKERS, Recording, Speaker, recordings
from aasist_jax.corpus.plan import SPLITS
from aasist_jax.corpus.reserved import TEST_SPEAKERS
from aasist_jax.errors import DataError
from tests.conftest import CORPUS, needs_corpus
from tests.corpus.made_games import dialogue, make_queen, make_sky, mp3, vowel


def test_no_speaker_is_in_two_splits_and_train_has_enough() -> None:
    where = defaultdict(set)
    for speaker in SPEAKERS:
        where[speaker.name].add(speaker.split)
    assert all(len(splits) == 1 for splits in where.values())
    assert {split for splits in where.values() for split in splits} == set(SPLITS)
    assert sum(splits == {"train"} for splits in where.values()) >= 25


def test_volunteers_of_a_language_and_all_of_a_game_are_in_one_split() -> None:
    where = defaultdict(set)
    for speaker in SPEAKERS:
        volunteer = speaker.name.split("_")[0] in ("tux", "klet", "ktub")
        where[speaker.language if volunteer else speaker.package].add(speaker.split)
    assert all(len(splits) == 1 for splits in where.values())


def test_the_licence_of_every_package_is_known() -> None:
    assert set(LICENCES) == {speaker.package for speaker in SPEAKERS}


@needs_corpus
def test_the_speakers_kept_out_are_those_of_the_reference_corpus() -> None:
    with (CORPUS / "metadata.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["label"] == "bonafide"]
    assert {row["speaker"] for row in rows if row["split"] != "train"} == TEST_SPEAKERS
    assert {row["speaker"] for row in rows if row["split"] == "train"} & TEST_SPEAKERS == set()


def test_files_are_found_with_their_medium(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    for name, seconds, rate in (
        ("x.ogg", 1.5, 22_050),
        ("y.wav", 2.0, 8_000),
        ("z.wav", 0.5, 8_000),
        ("beep.wav", 3, 8_000),
    ):
        soundfile.write(folder / name, 0.1 * np.ones(round(seconds * rate)), rate)
    soundfile.write(folder / "g.gsm", 0.1 * np.ones(16_000), 8_000, format="RAW", subtype="GSM610")
    (folder / "gone.wav").symlink_to(folder / "nowhere.wav")
    (folder / "empty.wav").touch()
    found = recordings(tmp_path, Speaker("v", "train", "en", "p", "a/*/*.*"))
    assert found == (
        Recording("a/b/g.gsm", found[0].seconds, "gsm-8k"),
        Recording("a/b/x.ogg", 1.5, "wide"),
        Recording("a/b/y.wav", 2.0, "8k"),
    )
    assert found[0].seconds == pytest.approx(2.0, abs=0.05)


def test_lines_of_games_are_found_by_character(tmp_path: Path) -> None:
    sound = mp3(vowel(1.5, 120))
    make_queen(tmp_path / QUEEN, {"FAYE4.DOG": dialogue(7), "070006P1.SB": sound, "JOE00011.SB": sound})
    make_sky(tmp_path / SKY, {50_007: bytes(range(256)) * 130}, {})
    of = {speaker.name: speaker for speaker in SPEAKERS}
    (line,) = recordings(tmp_path, of["queen_faye"])
    assert (line.path, line.medium) == (f"{QUEEN}#070006P1.SB", "mp3-11k")
    assert recordings(tmp_path, of["sky"]) == (Recording(f"{SKY}#50007", 33280 / 11025, "8bit-11k"),)
    with pytest.raises(DataError, match=r"flight-of-the-amazon-queen: no recordings"):
        recordings(tmp_path, of["queen_bob"])
    with pytest.raises(DataError, match=r"beneath-a-steel-sky: no recordings"):
        recordings(tmp_path / "elsewhere", of["sky"])

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasist_jax.corpus.build import build_corpus
from aasist_jax.corpus.cues import cue_error_rates
from aasist_jax.corpus.layout import (
    protocol_lines,
    read_metadata,
    write_metadata,
    write_protocols,
)
from aasist_jax.corpus.plan import Clip, ClipCounts
from aasist_jax.data.layouts.asvspoof2019 import clip_path, protocol_path
from aasist_jax.errors import DataError


def clip(number: int, split: str, attack: str = "-") -> Clip:
    return Clip(f"QS_{split[0].upper()}_{number}", split, attack, "anna", "en", "a-package", 3.0, "clean", ())


def test_protocol_lines_are_those_of_asvspoof() -> None:
    assert protocol_lines([clip(2, "dev"), clip(1, "dev", "world")]) == [
        "anna QS_D_1 - world spoof",
        "anna QS_D_2 - - bonafide",
    ]


def test_protocols_and_metadata_on_disk(tmp_path: Path) -> None:
    clips = [clip(1, "train"), clip(2, "train", "world"), clip(3, "dev"), clip(4, "eval", "piper")]
    for one in clips:
        path = clip_path(tmp_path, one.split, one.utterance)
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.zeros(48000), 16000)
    write_protocols(tmp_path, clips)
    write_metadata(tmp_path, clips, seen={"world"})
    folder = tmp_path / "ASVspoof2019_LA_cm_protocols"
    assert {path.name: len(path.read_text().splitlines()) for path in folder.iterdir()} == {
        "ASVspoof2019.LA.cm.train.trn.txt": 2,
        "ASVspoof2019.LA.cm.dev.trl.txt": 1,
        "ASVspoof2019.LA.cm.eval.trl.txt": 1,
    }
    rows = {row["utterance"]: row for row in read_metadata(tmp_path)}
    assert [rows[name]["attack_seen_in_training"] for name in ("QS_T_1", "QS_T_2", "QS_E_4")] == ["0", "1", "0"]
    assert rows["QS_E_4"]["label"] == "spoof"
    assert rows["QS_D_3"]["seconds"] == "3.0000"


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(DataError, match="is not empty and holds no corpus"):
        build_corpus(tmp_path, downloads=tmp_path / "downloads")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("marker", ['{"format": 1, "seed": 7}', "[]", "not json"])
def test_a_corpus_of_other_settings_is_left_alone(tmp_path: Path, marker: str) -> None:
    (tmp_path / "corpus.json").write_text(marker)
    with pytest.raises(DataError, match="holds a corpus of other settings"):
        build_corpus(tmp_path, downloads=tmp_path / "downloads")
    assert (tmp_path / "corpus.json").read_text() == marker


def test_too_few_clips_for_the_attacks_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="eval: at least 16 clips"):
        build_corpus(tmp_path / "new", downloads=tmp_path / "downloads", counts=ClipCounts(20, 20, 15))
    assert not (tmp_path / "new").exists()


def test_no_apt_is_said_before_anything_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DataError, match=r"apt-get is not on the PATH.*aasist-jax download"):
        build_corpus(tmp_path / "new", downloads=tmp_path / "downloads")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_real_corpus(tmp_path: Path) -> None:
    """From the network: packages, synthesis, channel; then a second start, and one after damage."""
    counts = ClipCounts(24, 12, 32)
    output, downloads = tmp_path / "corpus", tmp_path / "downloads"
    stages: list[str] = []
    summary = build_corpus(
        output, downloads=downloads, counts=counts, progress=lambda stage, done, total: stages.append(stage)
    )
    assert set(stages) >= {"download", "unpack", "human speech", "world", "piper", "channel"}
    assert (summary.bonafide, summary.spoof) == ({"train": 12, "dev": 6, "eval": 16},) * 2
    for split, count in (("train", 24), ("dev", 12), ("eval", 32)):
        lines = [line.split() for line in protocol_path(output, split).read_text().splitlines()]
        assert len(lines) == count
        for _, utterance, _, attack, key in lines:
            wave, rate = soundfile.read(clip_path(output, split, utterance))
            info = soundfile.info(clip_path(output, split, utterance))
            assert (rate, info.channels, info.subtype) == (16000, 1, "PCM_16")
            assert 2.5 <= info.duration <= 4.5
            assert (key == "bonafide") == (attack == "-")
            assert 0.02 < np.sqrt(np.mean(wave**2)) < 0.2
    rates = cue_error_rates(output)
    assert rates["copy"]["duration"] > 0.3
    assert rates["speech"]["offset"] > 0.3
    assert "CC-BY-SA" in (output / "README.md").read_text()
    assert len(list((output / "licences").iterdir())) > 8
    assert json.loads((output / "corpus.json").read_text())["complete"] is True
    assert summary.human.is_file()
    assert summary.synthetic.is_file()

    again = build_corpus(output, downloads=tmp_path / "nowhere", counts=counts)
    assert again.reused
    assert not (tmp_path / "nowhere").exists()

    before = {path.name: path.read_bytes() for path in output.glob("*/flac/*.flac")}
    victims = sorted(output.glob("ASVspoof2019_LA_eval/flac/*.flac"))[:10]
    for victim in victims:
        victim.unlink()
    shutil.rmtree(output / "examples")
    assert not build_corpus(output, downloads=downloads, counts=counts).reused
    after = {path.name: path.read_bytes() for path in output.glob("*/flac/*.flac")}
    assert Counter(name for name in before if before[name] != after.get(name)) == Counter()

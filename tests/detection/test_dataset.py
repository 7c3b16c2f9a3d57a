"""Scoring a data set into a file, interrupted and gone on with."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasist_jax.data.pipeline import ClipSource
from aasist_jax.data.splits import Split
from aasist_jax.data.utterances import Utterance
from aasist_jax.detection.dataset import score_dataset
from aasist_jax.detection.detector import Detector
from aasist_jax.detection.resumable_rows import opened_to_append
from aasist_jax.errors import ScoreFileError
from aasist_jax.evaluation.score_files import read_scores
from tests.models.toy import toy_weights

pytestmark = pytest.mark.usefixtures("toy_family")


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    folder = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(0)
    clips = []
    for i in range(21):
        path = folder / f"C{i:02d}.flac"
        soundfile.write(path, rng.uniform(-0.5, 0.5, 3000 + 300 * i), 16_000, subtype="PCM_16")
        label = "bonafide" if i % 3 else "spoof"
        clips.append(Utterance(f"C{i:02d}", path, label, "-" if i % 3 else "A01", "-", f"list:{i + 1}"))
    return Split("eval", ClipSource(clips), "data 1")


def test_every_clip_gets_the_detectors_score(split: Split, tmp_path: Path) -> None:
    detector, seen = Detector(toy_weights()), []
    path = score_dataset(detector, split, tmp_path / "s.txt", progress=lambda done, total: seen.append((done, total)))
    scores = read_scores(path)
    assert scores.utterances.tolist() == [clip.utterance for clip in split.utterances]
    expected = [detector.score(clip.path, published=True).score for clip in split.utterances]
    np.testing.assert_array_equal(scores.scores, expected)
    assert seen[0] == (0, 21)
    assert seen[-1] == (21, 21)


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 20, 21])
def test_rows_already_written_are_kept(split: Split, tmp_path: Path, kept: int) -> None:
    detector = Detector(toy_weights())
    path = score_dataset(detector, split, tmp_path / "s.txt", progress=lambda done, total: None)
    whole = path.read_text()
    rows = whole.splitlines(keepends=True)
    # A mark in the last kept row shows that it is not scored again; the next row was cut off halfway.
    marked = "".join(rows[: max(kept - 1, 0)]) + (rows[kept - 1].rsplit(" ", 1)[0] + " 77.5\n" if kept else "")
    path.write_text(marked + (rows[kept][:9] if kept < 21 else ""))
    begun = []
    score_dataset(detector, split, path, progress=lambda done, total: begun.append(done))
    assert begun[0] == kept
    assert path.read_text().startswith(marked)
    after = read_scores(path)
    assert after.utterances.tolist() == [clip.utterance for clip in split.utterances]
    np.testing.assert_allclose(after.scores[kept:], read_scores_of(rows)[kept:], rtol=1e-5, atol=1e-6)


def read_scores_of(rows: list[str]) -> np.ndarray:
    return np.array([float(row.split()[-1]) for row in rows])


def test_another_models_scores_are_not_gone_on_with(split: Split, tmp_path: Path) -> None:
    path = tmp_path / "s.txt"
    score_dataset(Detector(toy_weights()), split, path, progress=lambda done, total: None)
    before = path.read_text()
    other = Split("eval", split.source, "data 2")
    with pytest.raises(ScoreFileError, match=r"its scores are of another data set; move it away or give --output$"):
        score_dataset(Detector(toy_weights()), other, path, progress=lambda done, total: None)
    assert path.read_text() == before


@pytest.mark.parametrize("damage", [None, "", '{"weights_id": "to', "\xff", "[]"])
def test_a_damaged_identity_is_one_line_and_touches_nothing(split: Split, tmp_path: Path, damage: str | None) -> None:
    path = score_dataset(Detector(toy_weights()), split, tmp_path / "s.txt", progress=lambda done, total: None)
    identity = tmp_path / "s.txt.identity.json"
    path.write_text(path.read_text() + "half a r")
    before = path.read_text()
    if damage is None:
        identity.unlink()
    else:
        identity.write_text(damage, encoding="latin-1")
    fault = (
        "another model and data set"
        if damage == "[]"
        else r"s.txt.identity.json, .* is missing or damaged; move it away"
    )
    with pytest.raises(ScoreFileError, match=rf"s.txt: .*{fault}.*--output$"):
        score_dataset(Detector(toy_weights()), split, path, progress=lambda done, total: None)
    assert path.read_text() == before


def test_going_on_replaces_no_file(split: Split, tmp_path: Path) -> None:
    path = score_dataset(Detector(toy_weights()), split, tmp_path / "s.txt", progress=lambda done, total: None)
    whole = path.read_bytes()
    files = (path, tmp_path / "s.txt.identity.json")
    before = [file.stat().st_ino for file in files], files[1].stat().st_mtime_ns
    score_dataset(Detector(toy_weights()), split, path, progress=lambda done, total: None)
    assert ([file.stat().st_ino for file in files], files[1].stat().st_mtime_ns) == before
    assert path.read_bytes() == whole
    # A row may be cut in the midst of a character.
    os.truncate(path, whole.index(b"\n") + 1)
    with path.open("ab") as file:
        file.write(b"C01 \xc3")
    score_dataset(Detector(toy_weights()), split, path, progress=lambda done, total: None)
    assert path.stat().st_ino == before[0][0]
    assert path.read_bytes().count(b"\n") == 21
    assert b"\xc3" not in path.read_bytes()
    assert sorted(tmp_path.iterdir()) == sorted(files)


def test_two_processes_do_not_write_the_same_scores(split: Split, tmp_path: Path) -> None:
    with (
        opened_to_append(tmp_path / "s.txt"),
        pytest.raises(ScoreFileError, match=r"s.txt: another process is writing it; wait for it, or name another"),
    ):
        score_dataset(Detector(toy_weights()), split, tmp_path / "s.txt", progress=lambda done, total: None)

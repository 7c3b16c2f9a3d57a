"""Scores a whole data set into a file. An interrupted run can be resumed: rows already written are kept."""

from collections.abc import Callable, Iterator
from pathlib import Path

from aasist_jax.data.pipeline import eval_dataset
from aasist_jax.data.splits import Split
from aasist_jax.data.utterances import Utterance
from aasist_jax.detection.detector import Detector, FusedDetector
from aasist_jax.detection.model import GROUP
from aasist_jax.detection.resumable_rows import as_written, opened_to_append, take_up_rows
from aasist_jax.errors import ScoreFileError


def score_dataset(
    detector: Detector, split: Split, path: Path, *, workers: int = 0, progress: Callable[[int, int], None]
) -> Path:
    """Score every clip by the official rule and write `utterance attack key score`, in the order of the split.

    The rule is the raw bona fide logit of the first window; of a fusion, the log-likelihood ratio by those of its
    members.

    Rows are appended as they are computed. After an interruption, the same call continues after the last complete row.
    `PATH.identity.json` records which model and data the rows belong to.

    Args:
        detector: the model.
        split: the clips.
        path: the score file.
        workers: decoding processes.
        progress: called with the number of clips done and their total.

    Raises:
        AudioError: a fusion cannot read a clip.
        WeightsError: a fusion has not been fitted.
        ScoreFileError: the existing file holds scores of another model or data set, or other rows, or its identity
            file is missing; or another process is writing it.
    """
    fused = detector if isinstance(detector, FusedDetector) else None
    # The scores of one network are raw: no calibration has a part in them.
    identity = {"weights_id": detector.weights_id if fused is None else fused.model_id, "data": split.fingerprint}
    with opened_to_append(path) as file:
        rows = take_up_rows(
            file,
            path,
            identity,
            lambda path: _rows_there(path, [clip.utterance for clip in split.utterances]),
            way_out="move it away or give --output",
            names={"weights_id": "model", "data": "data set"},
        )
        done = rows or 0
        total = len(split.utterances)
        progress(done, total)
        if done == total:
            return path
        batches = _scores(detector, split, done, workers) if fused is None else _fused_scores(fused, split, done)
        for scored in batches:
            for clip, score in scored:
                file.write(f"{clip.utterance} {clip.attack} {clip.label} {score!r}\n")
            file.flush()
            done += len(scored)
            progress(done, total)
    return path


def _scores(detector: Detector, split: Split, start: int, workers: int) -> Iterator[list[tuple[Utterance, float]]]:
    """The clips from `start` on with their scores, in batches."""
    batches = eval_dataset(split.source, window=detector.window_rule, batch_size=GROUP, start=start, workers=workers)
    for batch in batches:
        scores = detector.logits(batch["wave"], batch.get("length"))[batch["valid"], 1]
        clips = [split.utterances[index] for index in batch["index"][: len(scores)]]
        yield list(zip(clips, scores.tolist(), strict=True))


def _fused_scores(detector: FusedDetector, split: Split, start: int) -> Iterator[list[tuple[Utterance, float]]]:
    """The same by a fusion, whose members have windows of their own: clip by clip."""
    for clip in split.utterances[start:]:
        yield [(clip, detector.start_llr(clip.path))]


def _rows_there(path: Path, utterances: list[str]) -> tuple[int, int]:
    """Count the complete rows, and the bytes up to the end of the last one."""
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    rows = data[:whole].split(b"\n")[:-1]
    expected = [as_written(utterance).encode() for utterance in utterances[: len(rows)]]
    if [row.split(b" ", 1)[0] for row in rows] != expected:
        raise ScoreFileError(f"{path}: its rows are not the first clips of the split; move it away to start again")
    return len(rows), whole

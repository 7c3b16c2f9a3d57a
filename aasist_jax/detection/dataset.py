"""Score a whole data set into a file, restartable: rows already written are kept."""

import json
from collections.abc import Callable
from pathlib import Path

from aasist_jax.data.pipeline import eval_dataset
from aasist_jax.detection.detector import BATCH_SIZE, Detector
from aasist_jax.errors import ScoreFileError
from aasist_jax.training.datasets import Split


def score_dataset(
    detector: Detector, split: Split, path: Path, *, workers: int = 0, progress: Callable[[int, int], None]
) -> Path:
    """Score every clip by the official rule and write `utterance attack key score`, in the order of the split.

    Rows are appended as they come. An interrupted call goes on behind the last whole row, for which
    `PATH.identity.json` says which model and data the rows belong to.

    Args:
        detector: the model.
        split: the clips.
        path: the score file.
        workers: decoding processes.
        progress: told the clips done and their total.

    Raises:
        ScoreFileError: the file there holds another model's or another data set's scores.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    identity = {"model_id": detector.weights.model_id, "data": split.fingerprint}
    identity_path = path.with_name(path.name + ".identity.json")
    done = _rows_there(path, identity_path, identity, [clip.utterance for clip in split.utterances])
    identity_path.write_text(json.dumps(identity) + "\n", encoding="utf-8")

    total = len(split.utterances)
    progress(done, total)
    if done == total:
        return path
    batches = eval_dataset(split.source, samples=detector.window, batch_size=BATCH_SIZE, start=done, workers=workers)
    with path.open("a", encoding="utf-8") as file:
        for batch in batches:
            scores = detector.logits(batch["wave"])[batch["valid"], 1]
            for index, score in zip(batch["index"], scores, strict=False):
                clip = split.utterances[index]
                file.write(f"{clip.utterance} {clip.attack} {clip.label} {float(score)!r}\n")
            file.flush()
            done += len(scores)
            progress(done, total)
    return path


def _rows_there(path: Path, identity_path: Path, identity: dict[str, str], utterances: list[str]) -> int:
    """Count the rows to keep, having cut off a row that was only half written."""
    if not path.exists():
        return 0
    before = json.loads(identity_path.read_text(encoding="utf-8")) if identity_path.exists() else None
    if before != identity:
        raise ScoreFileError(f"{path}: holds the scores of another model or data set; move it away or give --output")
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    rows = whole.splitlines()
    if [row.split(" ", 1)[0] for row in rows] != utterances[: len(rows)]:
        raise ScoreFileError(f"{path}: its rows are not the first clips of the split; move it away to start again")
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    return len(rows)

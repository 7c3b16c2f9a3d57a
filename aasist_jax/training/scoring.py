"""Scores a split with the model in training, on every device of every host."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from aasist_jax.data.pipeline import eval_dataset
from aasist_jax.data.splits import Split
from aasist_jax.evaluation.score_files import Trials
from aasist_jax.models.family import Window
from aasist_jax.models.network import Network, score_function
from aasist_jax.training.parallel import gather_hosts, parallel_map, split_over_devices

ScoreFunction = Callable[[Any, Any], Any]


def make_score_function(config: Any, network: Network) -> ScoreFunction:
    """Make the function that returns scores (devices, clips): the raw logit of bona fide."""
    score = score_function(config, network)
    return parallel_map(lambda variables, batch: score(variables, batch["wave"], batch.get("length"))[:, 1])


def score_split(
    score: ScoreFunction,
    variables: Any,
    split: Split,
    *,
    window: Window,
    batch_size: int,
    workers: int,
    progress: Callable[[int, int], None],
    should_stop: Callable[[], bool],
) -> Trials | None:
    """Score every clip of a split by the official rule: its first window.

    Args:
        score: the function from `make_score_function`.
        variables: variables of the network.
        split: the clips.
        window: the input window of the network.
        batch_size: size of the global batch.
        workers: number of decoding processes.
        progress: called with the number of clips done and their total.
        should_stop: called before every batch; ends the scoring when it returns True.

    Returns:
        The trials in the order of the split, or None if `should_stop` ended the scoring.
    """
    batches = eval_dataset(
        split.source,
        window=window,
        batch_size=batch_size,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        workers=workers,
    )
    total, scores = len(split.utterances), []
    for batch in batches:
        if should_stop():
            return None
        inputs = {name: batch[name] for name in ("wave", "length") if name in batch}
        own_scores = np.asarray(score(variables, split_over_devices(inputs))).reshape(-1)
        scores.append(gather_hosts(own_scores))
        progress(min(len(scores) * batch_size, total), total)
    return as_trials(split, np.concatenate(scores)[:total].astype(np.float64))


def as_trials(split: Split, scores: Float[np.ndarray, " clips"]) -> Trials:
    """Combine scores, in the order of the split, with the labels, attacks and speakers of its clips."""
    clips = split.utterances
    return Trials(
        utterances=np.array([clip.utterance for clip in clips]),
        scores=scores,
        is_bonafide=np.array([clip.label == "bonafide" for clip in clips]),
        columns={
            "attack": np.array([clip.attack for clip in clips]),
            "speaker": np.array([clip.speaker for clip in clips]),
        },
    )

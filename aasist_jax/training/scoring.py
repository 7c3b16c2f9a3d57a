"""Score a split with the model as it is trained, on every device of every host."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from aasist_jax.data.pipeline import eval_dataset
from aasist_jax.data.splits import Split
from aasist_jax.evaluation.score_files import Trials
from aasist_jax.models.family import Network, Window, score_function
from aasist_jax.training.parallel import gather_hosts, parallel_map, split_over_devices

ScoreFunction = Callable[[Any, Any], Any]


def make_score_function(config: Any, network: Network) -> ScoreFunction:
    """Make the function that gives (devices, clips) scores: the raw logit of bona fide."""
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
    """Score every clip of a split by the official rule, its first window.

    Args:
        score: from `make_score_function`.
        variables: of the network.
        split: the clips.
        window: what the network takes of a clip.
        batch_size: of the global batch.
        workers: decoding processes.
        progress: told the clips done and their total.
        should_stop: asked before every batch.

    Returns:
        The trials in the order of the split, or None where `should_stop` said so.
    """
    batches = eval_dataset(
        split.source,
        samples=window.samples,
        fill=window.fill,
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
        part = np.asarray(score(variables, split_over_devices(inputs))).reshape(-1)
        scores.append(gather_hosts(part))
        progress(min(len(scores) * batch_size, total), total)
    return as_trials(split, np.concatenate(scores)[:total].astype(np.float64))


def as_trials(split: Split, scores: Float[np.ndarray, " clips"]) -> Trials:
    """Join scores, in the order of the split, with what is known of its clips."""
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

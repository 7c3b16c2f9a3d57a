"""Leaves systems out of training and keeps them for the selection: dev then shows what an unseen system will do."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from aasist_jax.config.experiment import TrainConfig
from aasist_jax.data.labels import attack_names
from aasist_jax.data.utterances import Utterance
from aasist_jax.errors import DataError


def without_held_out(
    options: TrainConfig, clips: Mapping[str, list[Utterance]]
) -> tuple[dict[str, list[Utterance]], tuple[str, ...]]:
    """Take the held-out systems out of train, and the other systems out of dev.

    Bona fide clips stay in both, and what is in other splits stays as it is.

    Args:
        options: `held_out_systems` names the systems; or `folds` deals those that both train and dev have, in the
            order of their names, to folds in turn, and `fold` is held out.
        clips: the clips by split, train and dev among them.

    Returns:
        The clips by split, and the names of the systems that are held out; none if nothing is asked for.

    Raises:
        DataError: dev lacks such a system, there are fewer systems than folds, or nothing is left to train on.
    """
    train, dev = (attack_names(clips[name]) for name in ("train", "dev"))
    if options.folds:
        common = sorted({*train} & {*dev})
        if len(common) < options.folds:
            raise DataError(
                f"train_config.folds: train and dev have {len(common)} systems in common, {_listed(common)}; "
                f"{options.folds} folds need as many"
            )
        held_out = tuple(common[options.fold :: options.folds])
    else:
        held_out = options.held_out_systems
    if not held_out:
        return dict(clips), ()
    for name in held_out:
        if name not in dev:
            close = get_close_matches(name, dev, n=1)
            hint = f"did you mean {close[0]!r}? There are" if close else "there are"
            raise DataError(f"train_config.held_out_systems: dev has no system {name!r}; {hint} {_listed(dev)}")
    left = [clip for clip in clips["train"] if clip.attack not in held_out]
    if all(clip.label == "bonafide" for clip in left):
        raise DataError(
            "train_config.held_out_systems: no synthetic clip is left to train on; hold fewer systems out of "
            + _listed(train)
        )
    selected = [clip for clip in clips["dev"] if clip.label == "bonafide" or clip.attack in held_out]
    return {**clips, "train": left, "dev": selected}, held_out


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"

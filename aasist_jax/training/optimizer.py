"""The published optimizer: PyTorch's Adam with L2 regularisation in the gradient, and a learning-rate schedule."""

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any

import optax
from flax.traverse_util import flatten_dict, unflatten_dict

from aasist_jax.config import OptimConfig
from aasist_jax.errors import TrainingError
from aasist_jax.models.family import family_of

ADAM_EPSILON = 1e-8


def learning_rate(config: OptimConfig, total_steps: int) -> optax.Schedule:
    """The learning rate by step: a half cosine from `base_lr` at step 0 to `lr_min` at `total_steps`, or constant."""
    if config.scheduler == "constant":
        return optax.constant_schedule(config.base_lr)
    return optax.cosine_decay_schedule(config.base_lr, total_steps, alpha=config.lr_min / config.base_lr)


def make_optimizer(
    config: OptimConfig, total_steps: int, params: Any, is_frozen: Callable[[str], bool]
) -> optax.GradientTransformation:
    """Build the optimizer for `params`. Parameters for whose path `is_frozen` is true get no update and no decay.

    As in PyTorch's Adam, weight decay is added to the gradient before Adam's moments; AdamW adds it afterwards.
    Patterns of `rates` are checked by `check_rates`.
    """
    adam = optax.chain(
        optax.add_decayed_weights(config.weight_decay),
        optax.scale_by_adam(*config.betas, eps=ADAM_EPSILON),
        optax.scale_by_learning_rate(learning_rate(config, total_steps)),
    )
    flat = flatten_dict(params, sep="/")
    kinds = {"trained": adam, "frozen": optax.set_to_zero()}
    kinds |= {f"rate {i}": optax.chain(adam, optax.scale(factor)) for i, (_, factor) in enumerate(config.rates)}

    def kind_of(path: str) -> str:
        rates = (f"rate {i}" for i, (pattern, _) in enumerate(config.rates) if fnmatchcase(path, pattern))
        return "frozen" if is_frozen(path) else next(rates, "trained")

    labels = unflatten_dict({path: kind_of(path) for path in flat}, sep="/")
    return optax.partition(kinds, labels)


def check_rates(config: OptimConfig, params: Any) -> None:
    """Check that every pattern of `rates` matches a parameter, trained or not.

    Raises:
        TrainingError: one matches nothing.
    """
    _check_patterns("rates", [pattern for pattern, _ in config.rates], list(flatten_dict(params, sep="/")))


def never_trained(config: Any) -> Callable[[str], bool]:
    """Make the function that says whether the family of a `model_config` never trains the parameter at a path."""
    trains = family_of(config).trains
    return lambda path: not trains(config, path)


def frozen_by(patterns: Sequence[str], params: Any) -> set[str]:
    """Find the parameter paths that match any of the patterns (`encoder/*`, `*/bias`).

    Raises:
        TrainingError: a pattern matches nothing, or all parameters are frozen.
    """
    paths = list(flatten_dict(params, sep="/"))
    _check_patterns("freeze", patterns, paths)
    frozen = {path for path in paths if any(fnmatchcase(path, pattern) for pattern in patterns)}
    if len(frozen) == len(paths):
        raise TrainingError("freeze: the patterns match every parameter; nothing is left to train")
    return frozen


def _check_patterns(key: str, patterns: Sequence[str], paths: Sequence[str]) -> None:
    for pattern in patterns:
        if not any(fnmatchcase(path, pattern) for path in paths):
            raise TrainingError(f"{key}: {pattern!r} matches no parameter; names are such as {paths[0]!r}")

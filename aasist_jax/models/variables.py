"""The variables of a network in their two forms: parameters and state apart, and one tree that holds both."""

from collections.abc import Mapping
from typing import Any

Params = Any
ModelState = dict[str, Any]
Variables = dict[str, Any]
"""`{"params": params, **model_state}`."""

RESERVED_KINDS = ("params", "step", "opt_state", "ema")
"""Names in weights folders and checkpoints, which therefore no kind of model state may have."""


def join_variables(params: Params, model_state: ModelState) -> Variables:
    """Join parameters and state into one tree, as they are stored.

    Raises:
        ValueError: a kind of state has a name of `RESERVED_KINDS` and would overwrite what is stored under it.
    """
    for kind in RESERVED_KINDS:
        if kind in model_state:
            raise ValueError(f"model_state: a family cannot call a kind of state {kind!r}; that name is taken in files")
    return {"params": params, **model_state}


def take_part(variables: Mapping[str, Any], part: str) -> tuple[Variables, Variables]:
    """Take the variables under the name of a part out of the others; `put_part` is the inverse.

    Returns:
        The variables of the part, under its name as before, and all others; neither has an empty kind.
    """
    own = {kind: {part: tree[part]} for kind, tree in variables.items() if part in tree}
    others = {kind: {name: tree[name] for name in tree if name != part} for kind, tree in variables.items()}
    return own, {kind: tree for kind, tree in others.items() if tree}


def put_part(own: Mapping[str, Any], others: Mapping[str, Any]) -> Variables:
    """Join the two results of `take_part`."""
    return {kind: {**own.get(kind, {}), **others.get(kind, {})} for kind in {**own, **others}}


def split_variables(variables: Mapping[str, Any]) -> tuple[Params, ModelState]:
    """Split stored variables into parameters and state; the inverse of `join_variables`."""
    return variables["params"], {kind: tree for kind, tree in variables.items() if kind != "params"}

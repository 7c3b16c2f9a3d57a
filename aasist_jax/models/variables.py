"""The variables of a network in their two forms: parameters and state apart, and one tree that holds both."""

from collections.abc import Mapping
from typing import Any

Params = Any
ModelState = dict[str, Any]
Variables = dict[str, Any]
"""`{"params": params, **model_state}`."""

RESERVED_KINDS = ("params", "step", "opt_state")
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


def split_variables(variables: Mapping[str, Any]) -> tuple[Params, ModelState]:
    """Split stored variables into parameters and state; the inverse of `join_variables`."""
    return variables["params"], {kind: tree for kind, tree in variables.items() if kind != "params"}

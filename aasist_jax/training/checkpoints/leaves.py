"""The leaves of a state: what a manifest says of them, whether a template fits, and where restored arrays go."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aasist_jax.errors import TrainingError

# One step of a path as `jax.tree_util.keystr` spells it: in brackets (a key, quoted or not), or behind a dot.
_KEY = re.compile(r"""(?P<bracketed>\[(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^\]]*)\])|\.(?P<attribute>\w+)""")


def describe_leaves(tree: Any) -> dict[str, str]:
    """Name, dtype and shape of every leaf, as `{"['params']['w']": "float32[3,4]"}`.

    Raises:
        TrainingError: a leaf is not an array.
    """
    leaves = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = jax.tree_util.keystr(path)
        if not isinstance(leaf, jax.Array | np.ndarray | jax.ShapeDtypeStruct):
            raise TrainingError(
                f"the state's {name} is of type {type(leaf).__name__}, not an array: wrap it in jnp.asarray,"
                " or keep it in extras"
            )
        leaves[name] = f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"
    return leaves


def canonical_name(name: str) -> str:
    """The one spelling of a leaf's path that does not tell an attribute from a dictionary's key.

    A struct's leaf is called `['train'].params['w']`, the same leaf of a dictionary `['train']['params']['w']`. Orbax
    stores both alike, so a state saved as the one can be restored as the other.
    """
    return _KEY.sub(lambda key: key["bracketed"] or f"['{key['attribute']}']", name)


def check_fits(stored: dict[str, str], wanted: dict[str, str], step: int) -> None:
    """Check that a stored step has the leaves that a template wants, both from `describe_leaves`.

    Raises:
        TrainingError: a leaf is missing, is not wanted, or has another dtype or shape.
    """
    stored = {canonical_name(name): leaf for name, leaf in stored.items()}
    wanted = {canonical_name(name): leaf for name, leaf in wanted.items()}
    names = [name for name in sorted(stored.keys() | wanted.keys()) if stored.get(name) != wanted.get(name)]
    if names:
        shown = [f"{name} {stored.get(name, 'missing')}, wanted {wanted.get(name, 'none')}" for name in names[:10]]
        more = [f"and {len(names) - 10} more"] if len(names) > 10 else []
        raise TrainingError(
            f"the checkpoint of step {step} does not fit this model and optimizer,"
            f" {len(names)} leaves differ: {'; '.join(shown + more)}"
        )


def placeholder(leaf: Any) -> Any:
    """What tells Orbax to restore a leaf with the type, shape, dtype and sharding of the template's."""
    if isinstance(leaf, np.ndarray):
        return leaf
    sharding = leaf.sharding or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def placed_like(leaf: Any, restored: Any) -> Any:
    """The restored array, bound to its devices only where the template's leaf is.

    JAX moves an array that is not bound ("committed") to the devices of the arrays that it is computed with.
    """
    if isinstance(leaf, jax.Array) and not leaf.committed and not jnp.issubdtype(leaf.dtype, jax.dtypes.extended):
        return jnp.array(np.asarray(restored))
    return restored

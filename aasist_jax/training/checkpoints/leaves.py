"""The leaves of a state: their description in a manifest, the comparison with a template, and their placement."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aasist_jax.errors import TrainingError

# One part of a path as `jax.tree_util.keystr` writes it: a key in brackets (quoted or not), or .attribute.
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
    """The name of a leaf in a form that is the same for attributes and dictionary keys.

    A leaf of a struct is named `['train'].params['w']`, the same leaf of a dictionary `['train']['params']['w']`. Orbax
    stores both in the same way, so a state saved as one can be restored as the other.
    """
    return _KEY.sub(lambda key: key["bracketed"] or f"['{key['attribute']}']", name)


def check_fits(stored: dict[str, str], wanted: dict[str, str], step: int) -> None:
    """Check that a stored step has exactly the leaves of a template; both come from `describe_leaves`.

    Raises:
        TrainingError: a leaf is missing, is not in the template, or has another dtype or shape.
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
    """The argument with which Orbax restores a leaf with the type, shape, dtype and sharding of the template."""
    if isinstance(leaf, np.ndarray):
        return leaf
    sharding = leaf.sharding or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def placed_like(leaf: Any, restored: Any) -> Any:
    """The restored array, committed to its devices only if the template's leaf is.

    JAX moves an uncommitted array to the devices of the arrays that it is combined with.
    """
    if isinstance(leaf, jax.Array) and not leaf.committed and not jnp.issubdtype(leaf.dtype, jax.dtypes.extended):
        return jnp.array(np.asarray(restored))
    return restored

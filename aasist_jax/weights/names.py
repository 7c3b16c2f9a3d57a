"""Maps PyTorch state dicts to our variables and back, for every family with `CheckpointNames`.

The family gives the names of its submodules; the last part of our name determines how a tensor is converted. Every
variable of the network and every tensor must be matched by name, so that nothing is dropped or made up silently.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from aasist_jax.errors import WeightsError
from aasist_jax.models import network
from aasist_jax.models.family import CheckpointNames, family_of

_TORCH_LEAF = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
    "count": "num_batches_tracked",
}
# PyTorch stores kernels as (out, in, *window), Flax as (*window, in, out).
_KERNEL_TO_FLAX = {2: (1, 0), 3: (2, 1, 0), 4: (2, 3, 1, 0)}
_INT32_MAX = np.iinfo(np.int32).max

Shapes = Mapping[str, jax.ShapeDtypeStruct]
"""Shape and type of every variable of a model, by path."""

LISTED, SAMPLED = 12, 3
"""Up to `LISTED` misfits are named in a message; of more, `SAMPLED` and the count of the others."""


def variable_shapes(config: Any) -> dict[str, jax.ShapeDtypeStruct]:
    """Shape and type of every variable of a `model_config`, by path such as `params/encoder/block1/conv1/kernel`."""
    return flatten_dict(network.variable_shapes(config), sep="/")


def torch_shapes(config: Any) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor of a PyTorch checkpoint of the model, by its name there.

    Raises:
        WeightsError: as `torch_names`.
    """
    shapes = variable_shapes(config)
    return {name: _torch_shape(path, shapes[path]) for path, name in torch_names(config).items()}


def torch_names(config: Any) -> dict[str, str]:
    """Name of the PyTorch tensor of every variable, by path, in the order of the network.

    Raises:
        WeightsError: the family has no PyTorch form, two variables would share a name, or a kernel has a number of
            axes for which there is no PyTorch layout.
    """
    family = family_of(config)
    if family.names is None:
        raise WeightsError(f"{family.name} has no PyTorch form; its weights are kept as a weights folder alone")
    return tensor_names(variable_shapes(config), family.names, family.name)


def tensor_names(shapes: Shapes, names: CheckpointNames, model: str) -> dict[str, str]:
    """Name of the PyTorch tensor of every variable, by path, in the order of `shapes`.

    Args:
        shapes: of every variable, by path.
        names: what the checkpoint calls the modules and parameters.
        model: what messages call the model.

    Raises:
        WeightsError: as `torch_names`.
    """
    found: dict[str, str] = {}
    paths: dict[str, str] = {}
    for path, target in shapes.items():
        if path.endswith("/kernel") and len(target.shape) not in _KERNEL_TO_FLAX:
            raise WeightsError(
                f"{model}: {path} has {len(target.shape)} axes; only a kernel of 2 to 4 axes has a PyTorch "
                "layout, so call this variable something else"
            )
        name = found[path] = _torch_name(names, path, target)
        if name in paths:
            raise WeightsError(
                f"{model}: {paths[name]} and {path} would both be {name!r} in a PyTorch checkpoint; let its "
                "CheckpointNames tell them apart"
            )
        paths[name] = path
    return found


def _torch_name(names: CheckpointNames, path: str, target: jax.ShapeDtypeStruct) -> str:
    _, *modules, leaf = path.split("/")
    module = names.module("/".join(modules)) if modules else ""
    fixed = None if leaf == "count" and not _is_counter(path, target) else _TORCH_LEAF.get(leaf)
    name = fixed or names.parameter(leaf)
    return f"{module}.{name}" if module else name


def _is_counter(path: str, target: jax.ShapeDtypeStruct) -> bool:
    """Whether a variable is PyTorch's `num_batches_tracked`, an integer of 64 bits there."""
    return path.endswith("/count") and np.issubdtype(target.dtype, np.integer)


def from_torch(config: Any, tensors: Mapping[str, np.ndarray], origin: str = "checkpoint") -> dict[str, Any]:
    """Turn a PyTorch state dict into Flax variables (nested dictionaries of NumPy arrays).

    Floating types are kept (float32 for the official files), `num_batches_tracked` becomes int32.

    Raises:
        WeightsError: tensors are missing, not used, or have the wrong shape or type; the message lists them (see
            `listed`).
    """
    model = f"{family_of(config).name} as configured"
    return to_variables(variable_shapes(config), torch_names(config), tensors, origin, model)


def to_variables(
    shapes: Shapes, names: Mapping[str, str], tensors: Mapping[str, np.ndarray], origin: str, model: str
) -> dict[str, Any]:
    """Turn tensors into variables as `from_torch` does, for any model.

    Args:
        shapes: of every variable, by path.
        names: of the tensor of every variable, by path, as `tensor_names` gives them.
        tensors: the state dict.
        origin: what messages call the file.
        model: what messages call the model.

    Raises:
        WeightsError: as `from_torch`.
    """
    missing, misfits, used, flat = [], [], set(), {}
    for path, target in shapes.items():
        name = names[path]
        if name not in tensors:
            missing.append(f"{name} is missing")
            continue
        used.add(name)
        value = np.asarray(tensors[name])
        fault = _misfit(path, value, target)
        if fault:
            misfits.append(f"{name} {fault}")
        else:
            flat[path] = _to_flax(path, value, target)
    # The names that a file made up may hold anything; a line has 120 letters of each.
    unused = [f"{name if name.isprintable() else ascii(name):.120} is not used" for name in tensors if name not in used]
    if missing or misfits or unused:
        at_odds = {"are missing": missing, "have another shape, type or range": misfits}
        told = [f"{len(group)} {what}" for what, group in at_odds.items() if group]
        counts = [f"of the model's {len(names)} tensors {' and '.join(told)}"] if told else []
        counts += [f"of the file's {len(tensors)} tensors {len(unused)} are not used"] if unused else []
        raise WeightsError(f"{origin}: does not fit {model}, {'; '.join(counts)}: {listed(missing, misfits, unused)}")
    return unflatten_dict(flat, sep="/")


def listed(*groups: Sequence[str]) -> str:
    """Misfits as one line: all of them, or some from every group and the count of the others."""
    faults = [fault for group in groups for fault in group]
    if len(faults) <= LISTED:
        return "; ".join(faults)
    in_turn = (fault for row in itertools.zip_longest(*groups) for fault in row if fault is not None)
    return f"{'; '.join(itertools.islice(in_turn, SAMPLED))}; and {len(faults) - SAMPLED} more"


def to_torch(config: Any, variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Turn Flax variables back into a PyTorch state dict; the exact inverse of `from_torch`."""
    flat = check_variables(config, variables, "variables")
    return to_tensors(variable_shapes(config), torch_names(config), flat)


def to_tensors(shapes: Shapes, names: Mapping[str, str], flat: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Turn variables by path into a state dict; the exact inverse of `to_variables`."""
    tensors = {}
    # The order is that of the network, so that the same weights always give the same file.
    for path, name in names.items():
        value = flat[path]
        if _is_counter(path, shapes[path]):
            value = value.astype(np.int64)
        elif path.endswith("/kernel"):
            value = value.transpose(np.argsort(_KERNEL_TO_FLAX[value.ndim]))
        tensors[name] = np.ascontiguousarray(value).reshape(value.shape)
    return tensors


def check_variables(config: Any, variables: Mapping[str, Any], origin: str) -> dict[str, np.ndarray]:
    """Flatten variables by path and check them as `check_leaves` does."""
    flat = {path: np.asarray(value) for path, value in flatten_dict(dict(variables), sep="/").items()}
    check_leaves(variable_shapes(config), flat, origin)
    return flat


def check_leaves(shapes: Shapes, flat: Mapping[str, np.ndarray], origin: str) -> None:
    """Check that variables by path are exactly those of a model, with its shapes and types, and finite.

    Args:
        shapes: the result of `variable_shapes`.
        flat: the variables.
        origin: names them in messages.

    Raises:
        WeightsError: the message lists the variables that are not (see `listed`).
    """
    missing = [f"{path} is missing" for path in shapes if path not in flat]
    unused = [f"{path} is not used" for path in flat if path not in shapes]
    misshapen = [
        f"{path} has shape {flat[path].shape}, expected {shapes[path].shape}"
        for path in shapes
        if path in flat and flat[path].shape != shapes[path].shape
    ]
    mistyped = [
        f"{path} has type {flat[path].dtype}, expected {shapes[path].dtype}"
        for path in shapes
        if path in flat and flat[path].dtype.kind != np.dtype(shapes[path].dtype).kind
    ]
    unusable = [
        f"{path} holds NaN or infinite values"
        for path in shapes
        if path in flat and flat[path].dtype.kind == "f" and not np.isfinite(flat[path]).all()
    ]
    unusable += [
        f"{path} holds negative variances"
        for path in shapes
        if path.endswith("/var") and path in flat and flat[path].dtype.kind == "f" and (flat[path] < 0).any()
    ]
    if missing or unused or misshapen or mistyped or unusable:
        found = listed(missing, unused, misshapen, mistyped, unusable)
        raise WeightsError(f"{origin}: does not fit the configured model: {found}")


def _misfit(path: str, value: np.ndarray, target: jax.ShapeDtypeStruct) -> str:
    expected = _torch_shape(path, target)
    if value.shape != expected:
        return f"has shape {value.shape}, expected {expected}"
    counter = _is_counter(path, target)
    if value.dtype.kind != np.dtype(target.dtype).kind:
        return f"has type {value.dtype}, expected {'an integer' if counter else 'a float'} type"
    if counter and not 0 <= value <= _INT32_MAX:
        return f"is {value}, expected a count from 0 to {_INT32_MAX}"
    return ""


def _torch_shape(path: str, target: jax.ShapeDtypeStruct) -> tuple[int, ...]:
    shape: tuple[int, ...] = target.shape
    if path.endswith("/kernel"):
        return tuple(shape[i] for i in np.argsort(_KERNEL_TO_FLAX[len(shape)]))
    return shape


def _to_flax(path: str, value: np.ndarray, target: jax.ShapeDtypeStruct) -> np.ndarray:
    if path.endswith("/kernel"):
        value = np.ascontiguousarray(value.transpose(_KERNEL_TO_FLAX[value.ndim]))
    return value.astype(target.dtype) if _is_counter(path, target) else value

"""The map of names and layouts between PyTorch and Flax: exact both ways, misfits listed at once."""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aasist_jax.errors import WeightsError
from aasist_jax.models import network
from aasist_jax.models.family import CheckpointNames, Family, Window, register, unregister
from aasist_jax.models.linen import LinenNetwork
from aasist_jax.models.network import Outputs, init
from aasist_jax.models.variables import join_variables
from aasist_jax.ops import choice
from aasist_jax.weights.names import LISTED, check_variables, from_torch, to_torch, torch_names, variable_shapes
from tests.conftest import extra
from tests.models.aasist.tiny import CONFIG

KERNEL_TO_TORCH = {2: (1, 0), 4: (3, 2, 0, 1)}


def random_state_dict(seed: int = 0) -> dict[str, np.ndarray]:
    """Tensors of the tiny AASIST, their shapes taken from Flax's."""
    rng, names = np.random.default_rng(seed), torch_names(CONFIG)
    tensors = {}
    for path, leaf in variable_shapes(CONFIG).items():
        value = rng.normal(size=leaf.shape).astype(np.float32)
        if path.endswith("/var"):
            value = np.abs(value)
        if path.endswith("/count"):
            value = np.array(rng.integers(0, 2**31), np.int64)
        elif path.endswith("/var"):
            value = np.abs(value)
        elif path.endswith("/kernel"):
            value = np.ascontiguousarray(value.transpose(KERNEL_TO_TORCH[value.ndim]))
        tensors[names[path]] = value
    return tensors


@pytest.fixture(scope="module")
def tensors() -> dict[str, np.ndarray]:
    return random_state_dict()


@pytest.fixture(scope="module")
def variables(tensors: dict[str, np.ndarray]) -> dict[str, Any]:
    return from_torch(CONFIG, tensors)


def test_names_are_those_of_the_pytorch_model(tensors: dict[str, np.ndarray]) -> None:
    extra("torch", "torch")
    from aasist_jax.config import to_json
    from benchmarks.torch_aasist import TorchAASIST

    state = TorchAASIST(to_json(CONFIG)).state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == {
        name: value.shape for name, value in tensors.items()
    }


def test_there_and_back_is_exact(tensors: dict[str, np.ndarray], variables: dict[str, Any]) -> None:
    back = to_torch(CONFIG, variables)
    assert back.keys() == tensors.keys()
    for name, value in tensors.items():
        assert back[name].dtype == value.dtype
        assert back[name].flags.c_contiguous
        np.testing.assert_array_equal(back[name], value, strict=True)


def test_layouts_are_channels_last(tensors: dict[str, np.ndarray], variables: dict[str, Any]) -> None:
    conv = variables["params"]["encoder"]["block3"]["conv1"]["kernel"]
    np.testing.assert_array_equal(conv, tensors["encoder.2.0.conv1.weight"].transpose(2, 3, 1, 0))
    linear = variables["params"]["gat_s"]["att_proj"]["kernel"]
    np.testing.assert_array_equal(linear, tensors["GAT_layer_S.att_proj.weight"].T)
    statistics = variables["batch_stats"]["encoder"]["block2"]["bn1"]
    np.testing.assert_array_equal(statistics["var"], tensors["encoder.1.0.bn1.running_var"])
    assert statistics["count"].dtype == np.int32
    assert statistics["count"] == tensors["encoder.1.0.bn1.num_batches_tracked"]


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_floating_types_are_kept(tensors: dict[str, np.ndarray], dtype: type) -> None:
    wide = {name: value.astype(dtype) if value.dtype == np.float32 else value for name, value in tensors.items()}
    back = to_torch(CONFIG, from_torch(CONFIG, wide))
    assert all(back[name].dtype == value.dtype for name, value in wide.items())


def test_every_misfit_of_a_checkpoint_is_listed_at_once(tensors: dict[str, np.ndarray]) -> None:
    wrong = tensors | {
        "pos_S": tensors["pos_S"][:, :-1],
        "encoder.1.0.conv1.weight": tensors["encoder.1.0.conv1.weight"][..., :-1],
        "out_layer.weight": tensors["out_layer.weight"].T.copy(),
        "master1": tensors["master1"].astype(np.int64),
        "first_bn.num_batches_tracked": np.array(3.0, np.float32),
        "GAT_layer_S.bn.num_batches_tracked": np.array(2**31, np.int64),
        "GAT_layer_T.bn.num_batches_tracked": np.array(-1, np.int64),
        "extra.weight": np.zeros(3, np.float32),
        "sinc_filters": np.zeros(3, np.float32),
    }
    del wrong["pool_S.proj.bias"], wrong["encoder.5.0.bn2.running_mean"]
    with pytest.raises(WeightsError) as caught:
        from_torch(CONFIG, wrong, "some.pth")
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(
        f"some.pth: does not fit AASIST as configured, of the model's {len(tensors)} tensors 2 are missing and 7 have "
        f"another shape, type or range; of the file's {len(wrong)} tensors 2 are not used: "
    )
    for fault in (
        "pos_S has shape (1, 7, 4), expected (1, 8, 4)",
        "encoder.1.0.conv1.weight has shape (3, 3, 2, 2), expected (3, 3, 2, 3)",
        "out_layer.weight has shape (25, 2), expected (2, 25)",
        "master1 has type int64, expected a float type",
        "first_bn.num_batches_tracked has type float32, expected an integer type",
        "GAT_layer_S.bn.num_batches_tracked is 2147483648, expected a count from 0 to 2147483647",
        "GAT_layer_T.bn.num_batches_tracked is -1, expected a count from 0 to 2147483647",
        "extra.weight is not used",
        "sinc_filters is not used",
        "pool_S.proj.bias is missing",
        "encoder.5.0.bn2.running_mean is missing",
    ):
        assert fault in message
    # One is between the two counts.
    assert message.count(";") == 11


def test_of_many_misfits_some_of_each_kind_are_named_and_the_rest_counted(tensors: dict[str, np.ndarray]) -> None:
    for count in (LISTED, LISTED + 1):
        wrong = tensors | {f"extra{number}": np.zeros(1, np.float32) for number in range(count - 2)}
        wrong["pos_S"] = wrong["pos_S"][:, :-1]
        del wrong["pool_S.proj.bias"]
        with pytest.raises(WeightsError) as caught:
            from_torch(CONFIG, wrong)
        head, _, named = str(caught.value).partition("tensors " + f"{count - 2} are not used: ")
        assert head.endswith(f"of the file's {len(wrong)} ")
        if count == LISTED:
            assert named.count(";") == LISTED - 1
        else:
            assert named == (
                "pool_S.proj.bias is missing; pos_S has shape (1, 7, 4), expected (1, 8, 4); extra0 is not used; "
                f"and {count - 3} more"
            )


def test_every_misfit_of_variables_is_listed_at_once(variables: dict[str, Any]) -> None:
    wrong = jax.tree.map(np.copy, variables)
    params, stats = wrong["params"], wrong["batch_stats"]
    params["pos_s"] = params["pos_s"][0]
    params["master1"][0, 0, 0] = np.nan
    params["extra"] = np.zeros(2, np.float32)
    stats["gat_s"]["bn"]["count"] = np.float32(3)
    del stats["gat_t"]["bn"]["var"]
    with pytest.raises(WeightsError) as caught:
        check_variables(CONFIG, wrong, "here")
    assert str(caught.value) == (
        "here: does not fit the configured model: batch_stats/gat_t/bn/var is missing; params/extra is not used; "
        "params/pos_s has shape (8, 4), expected (1, 8, 4); "
        "batch_stats/gat_s/bn/count has type float32, expected int32; params/master1 holds NaN or infinite values"
    )
    with pytest.raises(WeightsError, match=re.escape("params/pos_s has shape (8, 4)")):
        to_torch(CONFIG, wrong)


@dataclass(frozen=True)
class OneVariableConfig:
    """A network with one parameter beside its layers, of the given name and shape."""

    leaf: str
    shape: tuple[int, ...]


class OneVariable(nn.Module):
    config: OneVariableConfig

    @nn.compact
    def __call__(self, waves: Any, lengths: Any = None, *, train: bool = False) -> Outputs:
        value = jnp.asarray(self.param(self.config.leaf, nn.initializers.ones, self.config.shape))
        logits = nn.Dense(2, name="a")(waves[:, :3]) + nn.Dense(2, name="b")(waves[:, :3]) + value.mean()
        return Outputs(logits, logits)


@contextlib.contextmanager
def one_variable(names: CheckpointNames) -> Iterator[None]:
    family = Family(
        name="OneVariable",
        config_type=OneVariableConfig,
        build=lambda config, **options: LinenNetwork(OneVariable(config), 10),
        window=lambda config: Window(10, 3),
        names=names,
    )
    register(family)
    try:
        yield
    finally:
        unregister(family.name)


def test_two_variables_of_one_name_are_refused_both_ways() -> None:
    """Written under one name, the second would silently replace the first, and both would be read from one tensor."""
    config = OneVariableConfig("gain", (1,))
    with one_variable(CheckpointNames(module=lambda path: "layer")):
        expected = "OneVariable: params/a/bias and params/b/bias would both be 'layer.bias' in a PyTorch checkpoint"
        variables = join_variables(*init(jax.random.key(0), config))
        with pytest.raises(WeightsError, match=expected):
            to_torch(config, variables)
        with pytest.raises(WeightsError, match=expected):
            from_torch(config, {"layer.bias": np.zeros(2, np.float32)})


@pytest.mark.parametrize("shape", [(3,), (1, 1, 1, 1, 2)])
def test_a_kernel_without_a_pytorch_layout_is_refused_in_a_line(shape: tuple[int, ...]) -> None:
    config = OneVariableConfig("kernel", shape)
    with one_variable(CheckpointNames()), pytest.raises(WeightsError) as caught:
        to_torch(config, join_variables(*init(jax.random.key(0), config)))
    assert f"OneVariable: params/kernel has {len(shape)} axes; only a kernel of 2 to 4 axes" in str(caught.value)


def test_a_count_that_is_no_integer_is_an_ordinary_parameter() -> None:
    """Only PyTorch's counter of batches is turned into an integer; a parameter would lose its fraction."""
    config = OneVariableConfig("count", ())
    with one_variable(CheckpointNames()):
        variables: Any = join_variables(*init(jax.random.key(0), config))
        variables["params"]["count"] = np.array(0.25, np.float32)
        tensors = to_torch(config, variables)
        np.testing.assert_array_equal(tensors["count"], np.array(0.25, np.float32), strict=True)
        assert from_torch(config, tensors)["params"]["count"] == 0.25


def test_shapes_are_known_without_building_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that weights are fetched and converted at once, also where there is no compiler."""
    monkeypatch.setattr(choice, "native_kernels", lambda: pytest.fail("the kernels are built"))
    # No other test asks for these sizes, whose shapes are then remembered.
    assert variable_shapes(replace(CONFIG, gat_dims=(3, 4)))


def test_shapes_belong_to_who_asks_for_them() -> None:
    expected = dict(variable_shapes(CONFIG))
    tree = network.variable_shapes(CONFIG)
    tree["params"].clear()
    tree["more"] = {}
    assert variable_shapes(CONFIG) == expected


def test_shapes_of_a_configuration_that_holds_a_list() -> None:
    held: Any = [3, 2]
    with one_variable(CheckpointNames()):
        assert variable_shapes(OneVariableConfig("kernel", held))["params/kernel"].shape == (3, 2)

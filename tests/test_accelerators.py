"""What can be known of an accelerator without one: every family lowers for CUDA, and calls nothing made for CPUs."""

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from aasist_jax.config import OptimConfig, load_config, parse_model_config
from aasist_jax.models.family import family_names, family_of, window_of
from aasist_jax.models.network import build_network, score_function, variable_shapes
from aasist_jax.ops.native import build
from aasist_jax.training.loss import loss_of
from aasist_jax.training.optimizer import make_optimizer, never_trained
from aasist_jax.training.parallel import AXIS, parallel_step
from aasist_jax.training.step import init_state, make_train_step
from tests.conftest import REPOSITORY
from tests.models.toys import any_length, attack_types, stateless

CUSTOM_CALL = re.compile(r"custom_call @(\w+)")
HARMLESS = {"Sharding", "SPMDFullToShardShape", "SPMDShardToFullShape", "mhlo.topk"}
"""Custom calls that are XLA's own on every backend."""

SHIPPED = {}
for path in sorted((REPOSITORY / "configs").glob("*.json")):
    shipped = load_config(path).model_config
    SHIPPED.setdefault(family_of(shipped).name, shipped)

TOYS = {toy.FAMILY.name: toy for toy in (any_length, attack_types, stateless)}


@pytest.fixture(params=[*SHIPPED, *TOYS])
def config(request: pytest.FixtureRequest) -> Any:
    if request.param in SHIPPED:
        return SHIPPED[request.param]
    toy = TOYS[request.param]
    request.getfixturevalue("toys")
    return parse_model_config(toy.MODEL_CONFIG, "toy")


def test_every_family_has_a_configuration_that_ships() -> None:
    assert set(SHIPPED) == set(family_names())


def lowered(function: Callable[..., Any], *operands: Any, platform: str = "cuda") -> str:
    return jax.jit(function).trace(*operands).lower(lowering_platforms=(platform,)).as_text()


def batch_for(config: Any, *leading: int) -> dict[str, Any]:
    """Shapes of a batch: its clips, and what the family is told of them."""
    batch = {"wave": jax.ShapeDtypeStruct((*leading, window_of(config).samples), jnp.float32)}
    names = ["label"]
    names += [] if window_of(config).fixed else ["length"]
    names += [] if family_of(config).loss is None else ["attack", "speaker"]
    return batch | {name: jax.ShapeDtypeStruct(leading, jnp.int32) for name in names}


def inference(config: Any, dtype: Any, platform: str = "cuda") -> str:
    batch = batch_for(config, 2)
    score = score_function(config, build_network(config, dtype=dtype))
    lengths = [batch["length"]] if "length" in batch else []
    return lowered(score, variable_shapes(config), batch["wave"], *lengths, platform=platform)


def training(config: Any, dtype: Any, platform: str = "cuda") -> str:
    variables = zeros(variable_shapes(config))
    optimizer = make_optimizer(OptimConfig(), 10, variables["params"], never_trained(config))
    network = build_network(config, dtype=dtype, axis_name=AXIS)
    step = parallel_step(make_train_step(network, optimizer, loss=loss_of(family_of(config)), axis_name=AXIS))
    # What a pmapped function is lowered with is real: it asks for its place.
    batch = zeros(batch_for(config, jax.device_count(), 1))
    leaves, tree = jax.tree.flatten((init_state(variables, optimizer), batch))
    return lowered(lambda *leaves: step(*tree.unflatten(leaves)), *leaves, platform=platform)


def zeros(shapes: Any) -> Any:
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("program", [inference, training])
def test_it_lowers_for_cuda_and_calls_nothing_made_for_cpus(program: Any, dtype: Any, config: Any) -> None:
    text = program(config, dtype)
    assert not [name for name in build.HANDLERS if name in text]
    assert set(CUSTOM_CALL.findall(text)) <= HARMLESS
    assert ("bf16" in text) == (dtype == jnp.bfloat16)
    if program is training:
        assert "all_reduce" in text, "the devices do not add their gradients up"


@pytest.mark.skipif(not build.native_kernels(), reason="a C++ compiler is not installed")
def test_the_same_check_would_see_a_kernel() -> None:
    """Lowered for a CPU, the same program does call them."""
    config = next(iter(SHIPPED.values()))
    assert [name for name in build.HANDLERS if name in inference(config, jnp.float32, platform="cpu")]

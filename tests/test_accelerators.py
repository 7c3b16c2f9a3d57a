"""What can be known of an accelerator without one: every family lowers for CUDA, and calls nothing made for CPUs."""

import re
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from aasist_jax.config import OptimConfig, load_config, parse_model_config
from aasist_jax.models.family import Family, family, family_names, family_of, window_of
from aasist_jax.models.network import build_network, score_function, variable_shapes
from aasist_jax.models.variables import split_variables
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


FAMILIES = [family(name) for name in SHIPPED] + [toy.FAMILY for toy in TOYS.values()]


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


def encoding(config: Any, dtype: Any, platform: str = "cuda") -> str:
    """The encoder on a piece of a recording, as a timeline or a stream runs it."""
    network, pieces = build_network(config, dtype=dtype), batch_for(config, 2)["wave"]
    valid = jax.ShapeDtypeStruct((2, 2), jnp.int32)
    return lowered(partial(run, network.encode), variable_shapes(config), pieces, valid, platform=platform)


def classification(config: Any, dtype: Any, platform: str = "cuda") -> str:
    """Windows from the frames that the encoder gave."""
    network, variables = build_network(config, dtype=dtype), variable_shapes(config)
    frames = jax.eval_shape(partial(run, network.encode), variables, batch_for(config, 2)["wave"])
    return lowered(partial(run, network.classify), variables, frames, platform=platform)


def run(method: Callable[..., Any], variables: Any, *operands: Any) -> Any:
    return method(*split_variables(variables), *operands)


def masked_training(config: Any, dtype: Any, platform: str = "cuda") -> str:
    """The training step with the filter mask that the configuration calls `freq_aug`."""
    text = training(config, dtype, platform, freq_aug=True)
    assert text != training(config, dtype, platform), "the mask makes no difference"
    return text


@cache
def training(config: Any, dtype: Any, platform: str = "cuda", **options: Any) -> str:
    variables = zeros(variable_shapes(config))
    optimizer = make_optimizer(OptimConfig(), 10, variables["params"], never_trained(config))
    network = build_network(config, dtype=dtype, axis_name=AXIS, **options)
    step = parallel_step(make_train_step(network, optimizer, loss=loss_of(family_of(config)), axis_name=AXIS))
    # What a pmapped function is lowered with is real: it asks for its place.
    batch = zeros(batch_for(config, jax.device_count(), 1))
    leaves, tree = jax.tree.flatten((init_state(variables, optimizer), batch))
    return lowered(lambda *leaves: step(*tree.unflatten(leaves)), *leaves, platform=platform)


def zeros(shapes: Any) -> Any:
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)


def programs_of(one: Family) -> Iterator[Callable[..., str]]:
    """What is ever compiled for a family."""
    yield from (inference, training)
    if one.frame_geometry is not None:
        yield from (encoding, classification)
    if one.masks_filters:
        yield masked_training


CASES = [
    pytest.param(one.name, program, id=f"{one.name}-{program.__name__}")
    for one in FAMILIES
    for program in programs_of(one)
]


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize(("name", "program"), CASES)
def test_it_lowers_for_cuda_and_calls_nothing_made_for_cpus(name: str, program: Any, dtype: Any) -> None:
    config = SHIPPED[name] if name in SHIPPED else parse_model_config(TOYS[name].MODEL_CONFIG, "toy")
    text = program(config, dtype)
    assert not [name for name in build.HANDLERS if name in text]
    assert set(CUSTOM_CALL.findall(text)) <= HARMLESS
    assert ("bf16" in text) == (dtype == jnp.bfloat16)
    if program in (training, masked_training):
        assert "all_reduce" in text, "the devices do not add their gradients up"


@pytest.mark.skipif(not build.native_kernels(), reason="a C++ compiler is not installed")
def test_the_same_check_would_see_a_kernel() -> None:
    """Lowered for a CPU, the same program does call them."""
    config = next(iter(SHIPPED.values()))
    assert [name for name in build.HANDLERS if name in inference(config, jnp.float32, platform="cpu")]

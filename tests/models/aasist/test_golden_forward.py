"""The Flax model with the official weights against the official model's outputs, stage by stage."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from aasist_jax.features.sinc import sinc_filters
from aasist_jax.models.aasist.network import AASIST
from tests.conftest import REFERENCE
from tests.models.aasist import official
from tests.models.aasist.goldens import golden_names

FORWARD = golden_names(REFERENCE, "forward")

pytestmark = pytest.mark.reference


def torch_layout(sown: dict[str, Any]) -> dict[str, np.ndarray]:
    """The sown stages under the goldens' names and with channels first."""
    stages = {}
    for path, (value,) in flatten_dict(sown).items():
        name = path[-1].removeprefix("after_")
        to_torch = {4: (0, 3, 1, 2), 3: (0, 2, 1) if name == "sinc" else (0, 1, 2)}
        stages[name] = np.asarray(value).transpose(to_torch[value.ndim])
    return stages


@functools.cache
def errors(name: str) -> dict[str, float]:
    """The greatest error of each stage over the clips, each relative to the clip's own largest magnitude there."""
    golden, weights = official.golden(name), official.weights(name)
    worst: dict[str, float] = {}
    with jax.enable_x64(True):
        model = AASIST(weights.config, dtype=jnp.float64)
        variables = jax.tree.map(lambda x: x.astype(np.float64) if x.dtype.kind == "f" else x, weights.variables)
        forward = jax.jit(lambda variables, wave: model.apply(variables, wave, mutable=["stages"]))
        # Clip by clip, in a tenth of the memory.
        for i, wave in enumerate(golden.wave):
            outputs, sown = forward(variables, wave[None])
            stages = torch_layout(sown["stages"]) | {"last_hidden": outputs.embedding, "logits": outputs.logits}
            for stage in golden.stages:
                assert stages[stage].dtype == np.float64
                error = golden.stage_error(stage, np.asarray(stages[stage]), slice(i, i + 1))
                worst[stage] = max(worst.get(stage, 0.0), error)
    return worst


def test_goldens_of_both_official_models_are_there() -> None:
    assert {"AASIST", "AASIST-L"} <= set(FORWARD)
    for name in ("AASIST", "AASIST-L"):
        assert len(official.golden(name).stages) == 30


@pytest.mark.parametrize("name", FORWARD)
def test_every_stage_in_float64(name: str) -> None:
    # 4e-15 is reached; the rest is room for other processors' order of summation.
    print(f"{name}: float64, worst of {len(errors(name))} stages {max(errors(name).values()):.1e}")
    assert max(errors(name).values()) < 1e-13, errors(name)


@pytest.mark.parametrize("name", FORWARD)
def test_logits_in_float32(name: str) -> None:
    golden = official.golden(name)
    logits = np.concatenate([official.detector(name).logits(wave[None].astype(np.float32)) for wave in golden.wave])
    assert logits.dtype == np.float32
    print(f"{name}: float32 logits against float64 {np.abs(logits - golden.stages['logits']).max():.1e}")
    np.testing.assert_allclose(logits, golden.stages["logits"], rtol=0, atol=2e-5)
    assert np.array_equal(logits.argmax(1), golden.stages["logits"].argmax(1))


@pytest.mark.parametrize("name", FORWARD)
def test_sinc_filters_to_the_bit(name: str) -> None:
    golden = official.golden(name)
    bank = sinc_filters(golden.config["filts"][0], golden.config["first_conv"])
    assert bank.dtype == np.float32
    np.testing.assert_array_equal(bank, golden.sinc_filters)

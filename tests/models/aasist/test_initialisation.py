"""Every parameter of AASIST starts by PyTorch's rules."""

from collections import Counter
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from scipy import stats

from aasist_jax.models.aasist.network import AASIST, xavier_normal
from tests.conftest import extra
from tests.models.aasist.tiny import CONFIG, SAMPLES
from tests.models.distributions import assert_normal, assert_uniform

torch = extra("torch", "torch")


def test_attention_vectors_are_xavier_normal() -> None:
    vector = xavier_normal(jax.random.key(0), (3000, 1))
    assert_normal(vector, (2 / 3001) ** 0.5)
    reference = torch.nn.init.xavier_normal_(torch.empty(3000, 1))
    assert stats.ks_2samp(np.ravel(vector), reference.numpy().ravel()).pvalue > 1e-3


def test_every_parameter_of_the_model_starts_by_its_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    # What draws each parameter is noted while the model is traced; compiling the whole takes a minute.
    rules: dict[str, tuple[Any, tuple[int, ...]]] = {}
    declare = nn.Module.param

    def note(self: nn.Module, name: str, init: Any, shape: tuple[int, ...]) -> Any:
        rules["/".join((*self.path, name))] = (init, shape)
        return declare(self, name, init, shape)

    monkeypatch.setattr(nn.Module, "param", note)
    params = jax.eval_shape(AASIST(CONFIG).init, jax.random.key(0), jnp.zeros((1, SAMPLES)))["params"]
    assert rules.keys() == flatten_dict(params, sep="/").keys()

    kinds = Counter()
    for path, (init, _) in rules.items():
        parent, _, name = path.rpartition("/")
        sample = init(jax.random.key(1), (4000, 1))
        assert sample.dtype == jnp.float32
        if name.startswith("att_weight"):
            assert init is xavier_normal
            kinds["attention"] += 1
        elif path in ("pos_s", "master1", "master2"):
            assert_normal(sample, 1)
            kinds["node"] += 1
        elif parent.split("/")[-1].startswith("bn"):
            assert (np.asarray(sample) == (1 if name == "scale" else 0)).all()
            kinds["norm"] += 1
        else:
            fan_in = np.prod(rules[f"{parent}/kernel"][1][:-1])
            assert_uniform(sample, fan_in**-0.5)
            assert np.abs(sample).max() > 0.99 * fan_in**-0.5
            kinds["affine"] += 1
    assert kinds["attention"] == 2 + 4 * 4
    assert kinds["node"] == 3
    assert kinds["norm"] == 2 * (1 + 6 + 5 + 2 + 4)
    # Convolutions and shortcuts, homogeneous and heterogeneous layers, pools, output.
    assert kinds["affine"] == 2 * (12 + 2 + 2 * 3 + 4 * 8 + 6 + 1)

"""The leaves of a stored state against those of a template."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from aasist_jax.errors import TrainingError
from aasist_jax.training.checkpoints.leaves import canonical_name
from aasist_jax.training.checkpoints.manifest import read_manifest
from aasist_jax.training.checkpoints.store import CheckpointStore
from tests.training.checkpoints.child import make_state


def test_a_template_that_differs_is_named_leaf_by_leaf(damaged: Path) -> None:
    template = {"weight": jnp.zeros((64, 32)), "extra": jnp.zeros(2, jnp.bfloat16)}
    with CheckpointStore(damaged) as store:
        with pytest.raises(TrainingError) as caught:
            store.restore(template)
        assert str(caught.value) == (
            "the checkpoint of step 3 does not fit this model and optimizer, 3 leaves differ: "
            "['extra'] missing, wanted bfloat16[2]; ['step'] int32[], wanted none; "
            "['weight'] float32[64,33], wanted float32[64,32]"
        )
        assert store.steps() == [1, 2, 3]
        assert store.restore(make_state(0)) is not None


class Moments(NamedTuple):
    count: Any
    mean: Any


class StructState(struct.PyTreeNode):
    step: Any
    batch_stats: Any
    optimizer: Any


def as_struct(seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    statistics = {"a.b['c']": jnp.asarray(rng.standard_normal(3), jnp.float32), "count": jnp.asarray(seed)}
    moments = Moments(jnp.asarray(seed), {"w": rng.standard_normal(2)})
    return {"train": StructState(jnp.asarray(seed), statistics, (moments, ()))}


def as_dictionary(seed: int) -> dict[str, Any]:
    """The leaves of `as_struct`, by the same names, with dictionaries in place of the struct and the named tuple."""
    train = as_struct(seed)["train"]
    return {"train": vars(train) | {"optimizer": (train.optimizer[0]._asdict(), ())}}


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("['train'].batch_stats['x']", "['train']['batch_stats']['x']"),
        ("['train']['batch_stats']['x']", "['train']['batch_stats']['x']"),
        (
            ".opt_state.inner_states['trained'].inner_state[1].mu",
            "['opt_state']['inner_states']['trained']['inner_state'][1]['mu']",
        ),
        ("['a.b'].c[0][<flat index 1>]", "['a.b']['c'][0][<flat index 1>]"),
        ("""["a.b['c']"].d['e\\'].f']""", """["a.b['c']"]['d']['e\\'].f']"""),
        ("", ""),
    ],
)
def test_an_attribute_and_a_key_of_the_same_name_are_one_leaf(name: str, canonical: str) -> None:
    assert canonical_name(name) == canonical


@pytest.mark.parametrize(("saved", "wanted"), [(as_struct, as_dictionary), (as_dictionary, as_struct)])
def test_a_struct_can_be_restored_as_a_dictionary_and_the_other_way_round(
    tmp_path: Path, saved: Any, wanted: Any
) -> None:
    with CheckpointStore(tmp_path) as store:
        store.save(1, saved(1), data={}, extras={})
        store.wait()
        names = read_manifest(tmp_path / "1").leaves.keys()
        assert any(".batch_stats" in name for name in names) == (saved is as_struct)
        restored = store.restore(wanted(2))
    assert restored is not None
    assert jax.tree.structure(restored.state) == jax.tree.structure(wanted(1))
    jax.tree.map(np.testing.assert_array_equal, restored.state, wanted(1))


def test_a_dictionary_that_lacks_a_leaf_of_the_struct_is_refused(tmp_path: Path) -> None:
    template = as_dictionary(2)
    del template["train"]["batch_stats"]["count"]
    with CheckpointStore(tmp_path) as store:
        store.save(1, as_struct(1), data={}, extras={})
        message = r"1 leaves differ: \['train'\]\['batch_stats'\]\['count'\] int32\[\], wanted none"
        with pytest.raises(TrainingError, match=message):
            store.restore(template)

"""What is random in training: the frequency mask and dropout. Evaluation draws nothing."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.errors import InvalidRngError

from aasist_jax.features.sinc import mask_filters
from aasist_jax.models.aasist.config import DropoutRates
from aasist_jax.models.aasist.network import AASIST, GraphPool, HeterogeneousGraphAttention
from tests.models.aasist.tiny import CONFIG, SAMPLES, random_variables
from tests.quick_compilation import QUICK

pytestmark = pytest.mark.usefixtures("quickly_compiled")

NO_DROPOUT = DropoutRates(0.0, 0.0, 0.0, 0.0)


@pytest.fixture(scope="module")
def wave() -> Any:
    return jax.random.normal(jax.random.key(0), (3, SAMPLES))


@pytest.fixture(scope="module")
def variables() -> Any:
    return jax.device_put(random_variables())


@pytest.fixture(scope="module")
def masks() -> np.ndarray:
    """Which filters were silenced in each of many draws."""
    bank = jnp.ones((70, 3))
    keys = jax.random.split(jax.random.key(7), 20_000)
    return np.asarray(jax.jit(jax.vmap(lambda key: mask_filters(key, bank)))(keys) == 0).all(-1)


def test_the_mask_is_one_run_of_neighbouring_filters(masks: np.ndarray) -> None:
    edges = np.diff(np.pad(masks, ((0, 0), (1, 1))).astype(int), axis=1)
    assert set((edges == 1).sum(1)) == {0, 1}
    assert set((edges == -1).sum(1)) == {0, 1}


def test_the_mask_spans_0_to_19_filters_alike(masks: np.ndarray) -> None:
    counts = np.bincount(masks.sum(1), minlength=20)
    assert len(counts) == 20
    # 1000 expected each, standard deviation 31.
    assert counts.min() > 850
    assert counts.max() < 1150


@pytest.mark.parametrize("length", [1, 10, 19])
def test_the_mask_starts_anywhere_it_fits(masks: np.ndarray, length: int) -> None:
    starts = masks[masks.sum(1) == length].argmax(1)
    counts = np.bincount(starts, minlength=70 - length + 1)
    assert len(counts) == 70 - length + 1, "a start beyond the last that fits"
    expected = counts.sum() / len(counts)
    # 14 to 20 expected each: six standard deviations below, and above.
    assert counts.min() >= 1
    assert counts.max() < expected + 6 * expected**0.5


def test_freq_aug_masks_the_whole_batch_alike_in_training_only(wave: Any, variables: Any) -> None:
    @jax.jit
    def filtered(variables: Any, wave: Any, key: Any) -> tuple[Any, ...]:
        def sinc(train: bool, freq_aug: bool) -> Any:
            _, sown = AASIST(CONFIG, freq_aug=freq_aug, dropout=NO_DROPOUT).apply(
                variables,
                wave,
                train=train,
                rngs={"shared": key},
                mutable=["stages", "batch_stats"],
            )
            return sown["stages"]["encoder"]["front_end"]["after_sinc"][0]

        return sinc(True, True), sinc(True, False), sinc(False, True)

    lengths = set()
    for seed in range(8):
        masked, plain, evaluated = map(np.asarray, filtered(variables, wave, jax.random.key(seed)))
        np.testing.assert_allclose(evaluated, plain, atol=1e-6)
        assert (evaluated != 0).any(1).all()
        silent = (masked == 0).all(1)
        assert (silent == silent[0]).all(), "one draw for the whole batch"
        np.testing.assert_allclose(masked[..., ~silent[0]], plain[..., ~silent[0]], atol=1e-6)
        assert (plain[..., silent[0]] != 0).any() or not silent.any()
        lengths.add(int(silent[0].sum()))
    assert len(lengths) > 2


def dropouts(train: bool) -> dict[str, list[tuple[float, bool]]]:
    """Rate of every dropout that a forward pass goes through, by its place, and whether it is off."""
    seen: dict[str, list[tuple[float, bool]]] = {}

    def watch(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        if isinstance(context.module, nn.Dropout) and context.method_name == "__call__":
            off = kwargs.get("deterministic", context.module.deterministic)
            seen.setdefault("/".join(context.module.path), []).append((context.module.rate, off))
        return call(*args, **kwargs)

    def run(key: Any) -> Any:
        with nn.intercept_methods(watch):
            return AASIST(CONFIG).init({"params": key, "dropout": key}, jnp.zeros((2, SAMPLES)), train=train)

    jax.eval_shape(run, jax.random.key(0))
    return seen


@pytest.mark.parametrize("train", [True, False])
def test_dropout_has_the_published_rates_and_is_off_in_evaluation(train: bool) -> None:
    off = not train
    graph = {
        f"{layer}/Dropout_0": [(0.2, off)] for layer in ("gat_s", "gat_t", *(f"htrg{i}" for i in (11, 12, 21, 22)))
    }
    pool = {f"pool_{nodes}/Dropout_0": [(0.3, off)] for nodes in ("s", "t", "hs1", "ht1", "hs2", "ht2")}
    head = {"drop_branch": [(0.2, off)] * 6, "drop_output": [(0.5, off)]}
    assert dropouts(train) == graph | pool | head


def test_dropout_draws_anew_in_training_and_doubles_what_it_keeps(wave: Any, variables: Any) -> None:
    def forward(rates: DropoutRates) -> Any:
        model = AASIST(CONFIG, dropout=rates)
        train = functools.partial(model.apply, train=True, mutable=["batch_stats"])
        compiled = jax.jit(
            lambda variables, wave, key: train(variables, wave, rngs={"dropout": key}),
            compiler_options=QUICK,
        )
        return functools.partial(compiled, variables, wave)

    output_only = forward(DropoutRates(0.0, 0.0, 0.0, 0.5))
    outputs, _ = output_only(jax.random.key(0))
    one, logits = outputs.embedding, outputs.logits
    again = output_only(jax.random.key(0))[0].embedding
    other = output_only(jax.random.key(1))[0].embedding
    np.testing.assert_array_equal(one, again)
    assert np.any(one != other)

    whole = forward(NO_DROPOUT)(jax.random.key(0))[0].embedding
    kept = one != 0
    assert 0.2 < kept.mean() < 0.8
    np.testing.assert_allclose(one[kept], 2 * whole[kept], rtol=1e-5)
    # The logits see the dropped read-out.
    head = variables["params"]["out_layer"]
    np.testing.assert_allclose(logits, one @ head["kernel"] + head["bias"][None], rtol=1e-4, atol=1e-6)


def test_only_training_needs_a_random_stream(wave: Any, variables: Any) -> None:
    jax.eval_shape(lambda: AASIST(CONFIG).apply(variables, wave))
    with pytest.raises(InvalidRngError, match="dropout"):
        jax.eval_shape(lambda: AASIST(CONFIG).apply(variables, wave, train=True, mutable=["batch_stats"]))


def test_pool_dropout_bears_on_the_scores_alone() -> None:
    nodes = jax.random.normal(jax.random.key(0), (2, 6, 8))
    pool = GraphPool(1.0, 0.5)
    variables = pool.init(jax.random.key(1), nodes, train=False)
    gated = pool.apply(variables, nodes, train=True, rngs={"dropout": jax.random.key(2)})
    plain = pool.apply(variables, nodes, train=False)
    assert np.abs(gated - plain).max() > 1e-2
    for graph, kept in zip(np.asarray(nodes), np.asarray(gated), strict=True):
        gates = kept[:, None] / graph[None]
        # Every node that comes out is one that went in, times one gate.
        spread = np.ptp(gates, axis=2)
        assert sorted(spread.argmin(1)) == list(range(6))
        assert spread.min(1).max() < 1e-5
        best = gates[np.arange(6), spread.argmin(1), 0]
        assert (np.diff(best) <= 1e-6).all()
        assert best.min() > 0
        assert best.max() < 1


def test_attention_and_the_stack_node_see_the_dropped_nodes() -> None:
    t, s = (jax.random.normal(jax.random.key(i), (2, n, 4)) for i, n in ((0, 5), (1, 3)))
    stack_node = jax.random.normal(jax.random.key(2), (2, 1, 4))
    layer = HeterogeneousGraphAttention(6, 100.0, dropout=1.0)
    variables = layer.init(jax.random.key(3), t, s, stack_node, train=False)
    outputs, _ = layer.apply(
        variables, t, s, stack_node, train=True, rngs={"dropout": jax.random.key(4)}, mutable=["batch_stats"]
    )
    # With every node dropped, batch norm leaves its bias, 0 (and rounding noise, 300 times over), and the stack
    # node hears nothing but itself.
    np.testing.assert_allclose(outputs[0], 0, atol=1e-3)
    np.testing.assert_allclose(outputs[1], 0, atol=1e-3)
    params = variables["params"]
    own = stack_node @ params["proj_without_attM"]["kernel"] + params["proj_without_attM"]["bias"].reshape(1, 1, -1)
    np.testing.assert_allclose(outputs[2], own + params["proj_with_attM"]["bias"].reshape(1, 1, -1), rtol=1e-5)

"""Which spans of time and which bands of frequency determined AASIST's score of one window.

There are three measures, which need not agree: the attention of the graph layers, followed through to the read-out; the
nodes that the pools keep; and, as a check on both, occlusion: how the score changes when a node's span or band is
silenced.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Float32, Int

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.features.sinc import band_edges
from aasist_jax.models.aasist.config import AASISTConfig
from aasist_jax.models.aasist.network import AASIST
from aasist_jax.models.explanation import Explanation, Nodes
from aasist_jax.models.family import LABELS

BATCH_SIZE = 8
BRANCHES = (1, 2)

Sown = dict[str, dict[str, np.ndarray]]
Observe = Callable[[np.ndarray, np.ndarray], tuple[Any, Any]]


class AASISTExplainer:
    """Explains the scores of one AASIST model: see `aasist_jax.models.explanation`."""

    def __init__(self, config: AASISTConfig, variables: Any) -> None:
        """Take a model's configuration and variables."""
        self.config = config
        self._observe = observer(AASIST(config), variables)

    def __call__(
        self, wave: Float32[np.ndarray, " samples"], *, length: int, duration: float, weights_id: str
    ) -> Explanation:
        """Explain the score of one window of `config.nb_samp` samples at 16 kHz, all of them valid.

        Takes about 50 times as long as scoring, because every span and band is silenced in turn.
        """
        config = self.config
        spans = time_spans(config)
        edges = band_edges(config.filts[0])[::3]
        waves, kept = _occluded(wave, spans, filters=config.filts[0], bands=len(edges) - 1)
        logits, sown = _observe_all(self._observe, waves, kept)
        scores = logits[:, LABELS.index("bonafide")].astype(np.float64)
        falls = scores[0] - scores[1:]
        time_share, band_share = rollout(sown)
        return Explanation(
            score=float(scores[0]),
            duration=duration,
            window=config.nb_samp / SAMPLE_RATE,
            weights_id=weights_id,
            time=_nodes(sown, "t", spans / SAMPLE_RATE, time_share, falls[: len(spans) - 1]),
            frequency=_nodes(sown, "s", edges, band_share, falls[len(spans) - 1 :]),
        )


def observer(model: AASIST, variables: Any) -> Observe:
    """Make the function that scores windows with some sinc filters silenced and returns intermediate values.

    Returns:
        A function from waves (batch, samples) and the factor of each filter (batch, filters), 0 or 1, to logits
        (batch, 2) and the collection `explanation` of the first window.
    """

    @jax.jit
    def observe(wave: Any, kept_filters: Any) -> Any:
        occlusion = {"encoder": {"front_end": {"kept_filters": kept_filters}}}
        outputs, sown = model.apply({**variables, "occlusion": occlusion}, wave, mutable=["explanation"])
        return outputs.logits, jax.tree.map(lambda x: x[0], sown["explanation"])

    return observe


def time_spans(config: AASISTConfig) -> Int[np.ndarray, " edges"]:
    """Borders of the temporal nodes' spans in samples; a node covers one stride of the sinc filters' output."""
    return config.first_conv // 2 + config.frame_geometry.stride * np.arange(config.frames(config.nb_samp) + 1)


def _occluded(wave: np.ndarray, spans: np.ndarray, *, filters: int, bands: int) -> tuple[np.ndarray, np.ndarray]:
    """Copies of the window: unchanged, then with each span of time set to zero, then with each band silenced."""
    times = len(spans) - 1
    waves = np.tile(wave, (1 + times + bands, 1))
    kept = np.ones((len(waves), filters), np.float32)
    for i in range(times):
        waves[1 + i, spans[i] : spans[i + 1]] = 0
    for i in range(bands):
        kept[1 + times + i, 3 * i : 3 * i + 3] = 0
    return waves, kept


def _observe_all(observe: Observe, waves: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, Sown]:
    """Logits of every window, and the intermediate values of the first."""
    logits, inside = [], []
    for start in range(0, len(waves), BATCH_SIZE):
        part = slice(start, start + BATCH_SIZE)
        padding = ((0, BATCH_SIZE - len(waves[part])), (0, 0))
        with jax.default_matmul_precision("highest"):
            output, sown = observe(np.pad(waves[part], padding), np.pad(kept[part], padding))
        logits.append(np.asarray(output))
        inside.append(sown)
    first = {layer: {key: np.asarray(x) for key, (x,) in values.items()} for layer, values in inside[0].items()}
    return np.concatenate(logits)[: len(waves)], first


def _nodes(sown: Sown, kind: str, edges: np.ndarray, share: np.ndarray, falls: np.ndarray) -> Nodes:
    first = sown[f"pool_{kind}"]["order"]
    one, two = (tuple(first[sown[f"pool_h{kind}{b}"]["order"]].tolist()) for b in BRANCHES)
    return Nodes(
        edges=_floats(edges),
        attention=_floats(sown[f"gat_{kind}"]["attention"].mean(axis=0)),
        first_pool=tuple(first.tolist()),
        branch_pools=(one, two),
        rollout=_floats(share),
        occlusion=_floats(falls),
    )


def rollout(sown: Sown) -> tuple[Float[np.ndarray, " times"], Float[np.ndarray, " bands"]]:
    """Follow the attention from the read-out back to the nodes (attention rollout, Abnar & Zuidema, ACL 2020).

    Each layer's output counts half as the attended nodes and half as the node itself; a pool drops nodes and scales the
    others by their gates. In the read-out, temporal nodes, spectral nodes and the stack node are weighted 2 : 2 : 1,
    like their shares of the features. The learned initial value of the stack node represents no node and is left out.

    Args:
        sown: the collection `explanation` of one window.

    Returns:
        Shares of the temporal and of the spectral nodes; together they sum to 1.
    """
    t, s = (_pooled(sown, f"pool_{kind}", _attended(sown[f"gat_{kind}"]["attention"])) for kind in "ts")
    times, bands = t.shape[1], s.shape[1]
    both = np.block([[t, np.zeros((len(t), bands))], [np.zeros((len(s), times)), s]])
    total = np.zeros(times + bands)
    for b in BRANCHES:
        first, second = sown[f"htrg{b}1"], sown[f"htrg{b}2"]
        stack_node = first["stack_node_attention"][0] @ both / 2
        x = _attended(first["attention"]) @ both
        t_now, s_now = (
            _pooled(sown, f"pool_h{kind}{b}", part) for kind, part in (("t", x[: len(t)]), ("s", x[len(t) :]))
        )
        x = np.concatenate([t_now, s_now])
        # The second layer has a residual connection.
        stack_node = (stack_node + (second["stack_node_attention"][0] @ x + stack_node) / 2) / 2
        x = (x + _attended(second["attention"]) @ x) / 2
        total += 2 * x[: len(t_now)].mean(axis=0) + 2 * x[len(t_now) :].mean(axis=0) + stack_node
    total /= total.sum()
    return total[:times], total[times:]


def _attended(attention: np.ndarray) -> np.ndarray:
    return (attention.astype(np.float64) + np.eye(len(attention))) / 2


def _pooled(sown: Sown, pool: str, x: np.ndarray) -> np.ndarray:
    return x[sown[pool]["order"]] * sown[pool]["gates"][:, None]


def _floats(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in values)

"""AASIST: integrated spectro-temporal graph attention (Jung et al., ICASSP 2022, arXiv:2110.01200)."""

import itertools
from dataclasses import dataclass, field
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from aasist_jax.models.encoder import Encoder, encoded_frames, encoder_stride
from aasist_jax.models.graph import GraphAttention, GraphPool, HeterogeneousGraphAttention
from aasist_jax.models.layers import Linear
from aasist_jax.models.pooling import first_max
from aasist_jax.models.registry import Architecture, FrameGeometry, register
from aasist_jax.models.sinc import sinc_taps

Channels = tuple[int, int]


@dataclass(frozen=True)
class AASISTConfig:
    """The official `model_config` of the AASIST family.

    Attributes:
        nb_samp: samples of a window (64,600 as published: 4.0375 s).
        first_conv: taps of the sinc filters; an even number becomes the next odd one.
        filts: number of sinc filters, then (input, output) channels of residual blocks 1, 2, 3, and 4 to 6.
        gat_dims: features of the homogeneous and of the heterogeneous graph layers.
        pool_ratios: kept share of the spectral, temporal and all later nodes; the fourth is unused.
        temperatures: attention temperature of the spectral, temporal and heterogeneous layers; the fourth is unused.
    """

    nb_samp: int
    first_conv: int
    filts: tuple[int, Channels, Channels, Channels, Channels]
    gat_dims: tuple[int, int]
    pool_ratios: tuple[float, float, float, float]
    temperatures: tuple[float, float, float, float]

    def __post_init__(self) -> None:
        """Check that the numbers fit one another."""
        filters, *blocks = self.filts
        if self.first_conv < 1:
            raise ValueError(f"first_conv: expected 1 or more, got {self.first_conv}")
        if filters < 3:
            raise ValueError(f"filts: expected at least 3 sinc filters (they are pooled by 3), got {filters}")
        if min(self.gat_dims) < 1 or min(min(pair) for pair in blocks) < 1:
            raise ValueError("filts and gat_dims: expected channels of at least 1")
        if blocks[0][0] != 1:
            raise ValueError(f"filts: expected block 1 to have one input channel, got {blocks[0][0]}")
        chain = [*blocks, blocks[3]]
        for before, after in itertools.pairwise(chain):
            if before[1] != after[0]:
                raise ValueError(
                    f"filts: expected each block to take what the one before gives (the last repeats), got {blocks}"
                )
        if not all(0 < ratio <= 1 for ratio in self.pool_ratios):
            raise ValueError(f"pool_ratios: expected numbers above 0 and up to 1, got {list(self.pool_ratios)}")
        if not all(temperature > 0 for temperature in self.temperatures):
            raise ValueError(f"temperatures: expected positive numbers, got {list(self.temperatures)}")
        if self.frames(self.nb_samp) < 1:
            raise ValueError(f"nb_samp: expected at least {self.shortest_input}, got {self.nb_samp}")

    @property
    def channels(self) -> tuple[int, ...]:
        """Output channels of the six residual blocks."""
        _, *blocks = self.filts
        return tuple(pair[1] for pair in [*blocks, blocks[3], blocks[3]])

    @property
    def shortest_input(self) -> int:
        """Samples that leave exactly one temporal node."""
        return self.frame_geometry.tail + self.frame_geometry.stride

    @property
    def frame_geometry(self) -> FrameGeometry:
        """The temporal nodes as frames of a recording.

        Each block's output depends on two steps of its input before its own three and two after them; over all blocks
        that is 3 ** blocks - 1 pooled steps on either side, so one frame of context suffices.
        """
        return FrameGeometry(stride=encoder_stride(len(self.channels)), tail=sinc_taps(self.first_conv) - 1, context=1)

    def frames(self, samples: int) -> int:
        """Count the temporal nodes of an input of `samples`."""
        return encoded_frames(samples, self.first_conv, len(self.channels))


@dataclass(frozen=True)
class DropoutRates:
    """Published dropout probabilities: graph-layer inputs, pool scores, branch outputs, before the output layer."""

    graph: float = 0.2
    pool: float = 0.3
    branch: float = 0.2
    output: float = 0.5


class AASIST(nn.Module):
    """AASIST and AASIST-L.

    Collections that are asked for as `mutable` are filled: `stages`, the outputs of the layers; `explanation`, the
    attention of the graph layers and what the pools keep.

    Parameters are float32; `dtype` is the type computed in. `axis_name` makes batch norm span the devices of
    that axis. In training, pass the random streams `dropout` and, with `freq_aug`, `freq_aug`.
    """

    config: AASISTConfig
    dtype: Any = jnp.float32
    axis_name: str | None = None
    dropout: DropoutRates = field(default_factory=DropoutRates)

    def setup(self) -> None:
        """Create the layers under the names that the paper and the checkpoints use."""
        config = self.config
        filters = config.filts[0]
        nodes, hidden = config.gat_dims
        options = {"dtype": self.dtype, "axis_name": self.axis_name}
        self.encoder = Encoder(filters, config.first_conv, config.channels, **options)
        self.pos_s = self.param("pos_s", nn.initializers.normal(1), (1, filters // 3, config.channels[-1]))
        self.master1 = self.param("master1", nn.initializers.normal(1), (1, 1, nodes))
        self.master2 = self.param("master2", nn.initializers.normal(1), (1, 1, nodes))

        temperature_s, temperature_t, temperature_st, _ = config.temperatures
        self.gat_s = GraphAttention(nodes, temperature_s, self.dropout.graph, **options)
        self.gat_t = GraphAttention(nodes, temperature_t, self.dropout.graph, **options)
        self.htrg11, self.htrg12, self.htrg21, self.htrg22 = (
            HeterogeneousGraphAttention(hidden, temperature_st, self.dropout.graph, **options) for _ in range(4)
        )
        ratio_s, ratio_t, ratio_st, _ = config.pool_ratios
        self.pool_s = GraphPool(ratio_s, self.dropout.pool, self.dtype)
        self.pool_t = GraphPool(ratio_t, self.dropout.pool, self.dtype)
        self.pool_hs1, self.pool_ht1, self.pool_hs2, self.pool_ht2 = (
            GraphPool(ratio_st, self.dropout.pool, self.dtype) for _ in range(4)
        )
        self.drop_branch = nn.Dropout(self.dropout.branch)
        self.drop_output = nn.Dropout(self.dropout.output)
        self.out_layer = Linear(2, self.dtype)

    def __call__(
        self, wave: Float[Array, "batch samples"], *, train: bool = False, freq_aug: bool = False
    ) -> tuple[Float[Array, "batch readout"], Float[Array, "batch 2"]]:
        """Score waveforms at 16 kHz, full scale 1.

        Returns:
            The read-out (batch, 5 * gat_dims[1]) and the logits (batch, 2), index 1 bona fide. The published score is
            the raw logit of index 1. Logits are float32 or wider.
        """
        if self.config.frames(wave.shape[1]) < 1:
            raise ValueError(f"AASIST needs at least {self.config.shortest_input} samples, got {wave.shape[1]}")
        encoded = self.encoder(wave, train=train, freq_aug=freq_aug)
        return self.classify(encoded, train=train)

    def encode(
        self, wave: Float[Array, "batch samples"], valid: Int[Array, "batch 2"] | None = None
    ) -> Float[Array, "batch f t c"]:
        """Run the encoder on waveforms, or on pieces of longer recordings (`valid`, see `Encoder`)."""
        return self.encoder(wave, train=False, freq_aug=False, valid=valid)

    def classify(
        self, encoded: Float[Array, "batch f t c"], *, train: bool = False
    ) -> tuple[Float[Array, "batch readout"], Float[Array, "batch 2"]]:
        """Run the graph part on an encoder output; returns what `__call__` does."""
        magnitude = jnp.abs(encoded)
        spectral = first_max(magnitude, axis=2) + self.pos_s.astype(self.dtype)[:, : encoded.shape[1]]
        temporal = first_max(magnitude, axis=1)
        spectral = self._pool("s", self._attend("s", spectral, train), train)
        temporal = self._pool("t", self._attend("t", temporal, train), train)

        branches = [self._branch(b, temporal, spectral, train) for b in (1, 2)]
        t, s, master = (jnp.maximum(one, two) for one, two in zip(*branches, strict=True))
        readout = [
            first_max(jnp.abs(t), axis=1),
            t.mean(axis=1),
            first_max(jnp.abs(s), axis=1),
            s.mean(axis=1),
            master.squeeze(1),
        ]
        last_hidden = self.drop_output(jnp.concatenate(readout, axis=1), deterministic=not train)
        logits = self.out_layer(last_hidden)
        return last_hidden, logits.astype(jnp.promote_types(logits.dtype, jnp.float32))

    def _attend(self, kind: str, x: Array, train: bool) -> Array:
        x = getattr(self, f"gat_{kind}")(x, train=train)
        self.sow("stages", f"after_gat_{kind}", x)
        return x

    def _pool(self, kind: str, x: Array, train: bool) -> Array:
        x = getattr(self, f"pool_{kind}")(x, train=train)
        self.sow("stages", f"after_pool_{kind}", x)
        return x

    def _attend_both(self, name: str, t: Array, s: Array, master: Array, train: bool) -> tuple[Array, Array, Array]:
        outputs = getattr(self, name)(t, s, master, train=train)
        for node, value in zip(("t", "s", "master"), outputs, strict=True):
            self.sow("stages", f"after_{name}.{node}", value)
        return outputs

    def _branch(self, b: int, t: Array, s: Array, train: bool) -> tuple[Array, Array, Array]:
        """One of the two parallel branches: two heterogeneous layers, the second residual."""
        master = getattr(self, f"master{b}").astype(self.dtype)
        master = jnp.broadcast_to(master, (t.shape[0], *master.shape[1:]))
        t, s, master = self._attend_both(f"htrg{b}1", t, s, master, train)
        s = self._pool(f"hs{b}", s, train)
        t = self._pool(f"ht{b}", t, train)
        updates = self._attend_both(f"htrg{b}2", t, s, master, train)
        outputs = (x + update for x, update in zip((t, s, master), updates, strict=True))
        t, s, master = (self.drop_branch(x, deterministic=not train) for x in outputs)
        return t, s, master


_TORCH_NAMES = {
    "encoder/front_end/bn": "first_bn",
    "gat_s": "GAT_layer_S",
    "gat_t": "GAT_layer_T",
    "pool_s": "pool_S",
    "pool_t": "pool_T",
    **{f"htrg{i}": f"HtrgGAT_layer_ST{i}" for i in (11, 12, 21, 22)},
    **{f"pool_h{kind}{b}": f"pool_h{kind.upper()}{b}" for kind in "st" for b in (1, 2)},
    **{f"encoder/block{i + 1}": f"encoder.{i}.0" for i in range(6)},
}


def _torch_module(path: str) -> str:
    for prefix, name in _TORCH_NAMES.items():
        if path == prefix or path.startswith(prefix + "/"):
            return (name + path[len(prefix) :]).replace("/", ".")
    return path.replace("/", ".")


def _torch_parameter(name: str) -> str:
    return {"pos_s": "pos_S"}.get(name, name)


def _frozen_parameter(path: str) -> bool:
    # What bn1 computes is thrown away, so PyTorch never gives its scale and bias a gradient.
    return "/bn1/" in path


def _onnx_graph(config: AASISTConfig, variables: dict[str, Any]) -> Any:
    # Needs the extra `onnx`, which nothing else does.
    from aasist_jax.models.onnx_aasist import aasist_graph

    return aasist_graph(config, variables)


register(
    Architecture(
        name="AASIST",
        config_type=AASISTConfig,
        build=AASIST,
        torch_module=_torch_module,
        torch_parameter=_torch_parameter,
        frozen_parameter=_frozen_parameter,
        frame_geometry=lambda config: config.frame_geometry,
        onnx_graph=_onnx_graph,
    )
)

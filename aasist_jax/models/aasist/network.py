"""AASIST: integrated spectro-temporal graph attention (Jung et al., ICASSP 2022, arXiv:2110.01200)."""

from collections.abc import Sequence
from dataclasses import field
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from aasist_jax.features.sinc import mask_filters, sinc_filters, sinc_taps
from aasist_jax.models.aasist.config import AASISTConfig, DropoutRates
from aasist_jax.models.layers import BatchNorm, Conv, Linear, xavier_normal
from aasist_jax.models.network import Outputs
from aasist_jax.ops.pooling import first_max
from aasist_jax.ops.residual_block import activate_merge_and_pool, evaluate_block, fold_batch_norm, zero_outside
from aasist_jax.ops.selu import selu
from aasist_jax.ops.sinc import pooled_sinc_magnitude, sinc_convolution


class SincLayer(nn.Module):
    """The front-end: fixed sinc filters, absolute value, 3 x 3 max-pooling, batch norm and SELU.

    Computed in float32 or wider: bfloat16 is too coarse for small sample values and narrow filters.
    """

    filters: int
    first_conv: int
    dtype: Any = jnp.float32
    axis_name: str | None = None
    freq_aug: bool = False

    def setup(self) -> None:
        """Create the batch norm; the filters are fixed."""
        self.bn = BatchNorm(jnp.promote_types(self.dtype, jnp.float32), self.axis_name)

    def __call__(self, wave: Float[Array, "batch samples"], *, train: bool) -> Float[Array, "batch f t 1"]:
        """Turn waveforms into one-channel images, f = filters // 3.

        With `freq_aug`, training silences a run of neighbouring filters. If the collection `occlusion` holds a variable
        `kept_filters` (batch, filters), it scales the filters' outputs: 0 silences a filter.
        """
        wave = wave.astype(jnp.promote_types(self.dtype, jnp.float32))
        bank = jnp.asarray(sinc_filters(self.filters, self.first_conv))
        if train and self.freq_aug:
            bank = mask_filters(self.make_rng("shared"), bank)
        self.sow("stages", "after_sinc", sinc_convolution(wave, bank))
        banks = bank[None]
        if self.has_variable("occlusion", "kept_filters"):
            banks = banks * self.get_variable("occlusion", "kept_filters").astype(bank.dtype)[..., None]
        x = self.bn(pooled_sinc_magnitude(wave, banks)[..., None], train=train)
        self.sow("stages", "after_first_bn", x)
        return selu(x).astype(self.dtype)


class ResidualBlock(nn.Module):
    """Two convolutions and a shortcut, then max-pooling over time by 3.

    As published, the first convolution takes the block's raw input; the output of `bn1` is discarded. `bn1` is computed
    all the same, because the checkpoints hold its running statistics. The first block has no `bn1`.
    """

    features: int
    first: bool = False
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch f t c"], *, train: bool, valid: Int[Array, "batch 2"] | None = None
    ) -> Float[Array, "batch f t3 d"]:
        """Map (batch, f, t, c) to (batch, f, t // 3, features); `valid` is the (start, end) of valid time steps."""
        if not train and self.dtype != jnp.bfloat16 and not self.is_initializing():
            return evaluate_block(
                x.astype(self.dtype),
                valid,
                *fold_batch_norm(self.variables["params"], self.variables["batch_stats"]["bn2"], self.dtype),
            )
        if not self.first:
            BatchNorm(self.dtype, self.axis_name, name="bn1")(x, train=train)
        # The (2, 3) kernel with one row of zeros on either side gives f + 1 rows; conv2 brings them back to f.
        conv1 = Conv(self.features, (2, 3), (1, 1), self.dtype, name="conv1")
        # SELU needs float32 or wider: exp(x) - 1 loses small values in bfloat16.
        bn2 = BatchNorm(jnp.promote_types(self.dtype, jnp.float32), self.axis_name, name="bn2")
        a = bn2(x, conv1, train=train)
        kernel, bias = Conv(self.features, (2, 3), (0, 1), self.dtype, name="conv2").parameters(self.features)
        shortcut = jnp.zeros((0, x.shape[-1], self.features), self.dtype)
        if x.shape[-1] != self.features:
            downsample = Conv(self.features, (1, 3), (0, 1), self.dtype, name="conv_downsample")
            (shortcut,), shortcut_bias = downsample.parameters(x.shape[-1])
            bias = bias + shortcut_bias
        return activate_merge_and_pool(zero_outside(a, valid), x, kernel, bias, shortcut)


class Encoder(nn.Module):
    """The sinc layer and the residual blocks of RawNet2: from waveform to a (frequency, time) map.

    `channels` are the output channels of the blocks, in order.
    """

    filters: int
    first_conv: int
    channels: Sequence[int]
    dtype: Any = jnp.float32
    axis_name: str | None = None
    freq_aug: bool = False

    def setup(self) -> None:
        """Create the front-end and `block1`, `block2`, ..."""
        self.front_end = SincLayer(self.filters, self.first_conv, self.dtype, self.axis_name, self.freq_aug)
        self.block = [
            ResidualBlock(features, first=i == 0, dtype=self.dtype, axis_name=self.axis_name, name=f"block{i + 1}")
            for i, features in enumerate(self.channels)
        ]

    def __call__(
        self, wave: Float[Array, "batch samples"], *, train: bool, valid: Int[Array, "batch 2"] | None = None
    ) -> Float[Array, "batch f t c"]:
        """Encode waveforms; every block divides time by 3.

        With `valid`, each waveform is a piece of a longer recording: its samples `valid[0]` to `valid[1] - 1` belong to
        the recording, the rest is padding. The convolutions then see zeros beyond the recording's ends, as if it were
        encoded in one pass. `valid[0]` must be a multiple of `encoder_stride`.
        """
        x = self.front_end(wave, train=train)
        if valid is not None:
            valid = (valid - jnp.array([[0, sinc_taps(self.first_conv) - 1]], valid.dtype)) // 3
        x = zero_outside(x, valid)
        for i, block in enumerate(self.block):
            x = block(x, train=train, valid=valid)
            if valid is not None:
                valid = valid // 3
            x = zero_outside(x, valid)
            self.sow("stages", f"after_block{i + 1}", x)
        return x


class GraphLayer(nn.Module):
    """A layer of graph attention.

    `features` are those of a node that comes out. `temperature` divides the scores before the softmax, and `dropout` is
    the probability for features that come in.
    """

    features: int
    temperature: float
    dropout: float
    dtype: Any = jnp.float32
    axis_name: str | None = None


class GraphAttention(GraphLayer):
    """Graph attention layer over a fully connected graph of one kind of nodes.

    The attention of node i to node j is softmax over j of w . tanh(Linear(x_i * x_j)) / temperature.
    """

    @nn.compact
    def __call__(self, x: Float[Array, "batch n c"], *, train: bool) -> Float[Array, "batch n d"]:
        """Update the nodes: (batch, n, inputs) -> (batch, n, features)."""
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        weight = self.param("att_weight", xavier_normal, (self.features, 1)).astype(self.dtype)
        # The product of every pair of nodes, (batch, n, n, c).
        pairs = jnp.tanh(Linear(self.features, self.dtype, name="att_proj")(x[:, :, None] * x[:, None]))
        attention = jax.nn.softmax((pairs @ weight).squeeze(-1) / self.temperature, axis=-1)
        self.sow("explanation", "attention", attention)
        y = Linear(self.features, self.dtype, name="proj_with_att")(attention @ x)
        y += Linear(self.features, self.dtype, name="proj_without_att")(x)
        return BatchNorm(self.dtype, self.axis_name, activate=True, name="bn")(y, train=train)


class HeterogeneousGraphAttention(GraphLayer):
    """Graph attention over two kinds of nodes and a stack node that gathers from both.

    Pairs within the first kind, within the second kind and across kinds have separate attention vectors
    (`att_weight11`, `att_weight22`, `att_weight12`). The stack node (`master` in the checkpoints) attends to the input
    nodes, not to the updated ones, and has neither batch norm nor activation.
    """

    @nn.compact
    def __call__(
        self,
        x1: Float[Array, "batch n1 c"],
        x2: Float[Array, "batch n2 c"],
        stack_node: Float[Array, "batch 1 c"],
        *,
        train: bool,
    ) -> tuple[Float[Array, "batch n1 d"], Float[Array, "batch n2 d"], Float[Array, "batch 1 d"]]:
        """Update both kinds of nodes and the stack node."""
        n1, inputs = x1.shape[1:]
        x1 = Linear(inputs, self.dtype, name="proj_type1")(x1)
        x2 = Linear(inputs, self.dtype, name="proj_type2")(x2)
        x = jnp.concatenate([x1, x2], axis=1)
        x = nn.Dropout(self.dropout, deterministic=not train)(x)

        attention = self._node_attention(x, n1)
        self.sow("explanation", "attention", attention)
        stack_node = self._update_stack_node(x, stack_node)
        y = self._linear("proj_with_att")(attention @ x) + self._linear("proj_without_att")(x)
        y = BatchNorm(self.dtype, self.axis_name, activate=True, name="bn")(y, train=train)
        return y[:, :n1], y[:, n1:], stack_node

    def _node_attention(self, x: Float[Array, "batch n c"], n1: int) -> Float[Array, "batch n n"]:
        pairs = jnp.tanh(self._linear("att_proj")(x[:, :, None] * x[:, None]))
        w11, w12, w22 = (self._vector(f"att_weight{kind}") for kind in ("11", "12", "22"))
        first = jnp.concatenate([pairs[:, :n1, :n1] @ w11, pairs[:, :n1, n1:] @ w12], axis=2)
        second = jnp.concatenate([pairs[:, n1:, :n1] @ w12, pairs[:, n1:, n1:] @ w22], axis=2)
        board = jnp.concatenate([first, second], axis=1).squeeze(-1)
        return jax.nn.softmax(board / self.temperature, axis=-1)

    def _update_stack_node(
        self, x: Float[Array, "batch n c"], stack_node: Float[Array, "batch 1 c"]
    ) -> Float[Array, "batch 1 d"]:
        pairs = jnp.tanh(self._linear("att_projM")(x * stack_node))
        scores = (pairs @ self._vector("att_weightM")).squeeze(-1) / self.temperature
        attention = jax.nn.softmax(scores, axis=-1)[:, None]
        self.sow("explanation", "stack_node_attention", attention)
        return self._linear("proj_with_attM")(attention @ x) + self._linear("proj_without_attM")(stack_node)

    def _linear(self, name: str) -> Linear:
        return Linear(self.features, self.dtype, name=name)

    def _vector(self, name: str) -> Float[Array, "d 1"]:
        return self.param(name, xavier_normal, (self.features, 1)).astype(self.dtype)


class GraphPool(nn.Module):
    """Keep the highest-scoring share of the nodes, each gated by its score, in descending order of score.

    The order matters because nodes of the two branches are later paired by position. Dropout only affects the scores,
    not the nodes.
    """

    ratio: float
    dropout: float
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "batch n c"], *, train: bool) -> Float[Array, "batch kept c"]:
        """Pool nodes: kept = max(int(n * ratio), 1)."""
        dropped = nn.Dropout(self.dropout, deterministic=not train)(x)
        scores = nn.sigmoid(Linear(1, self.dtype, name="proj")(dropped))
        kept = max(int(x.shape[1] * self.ratio), 1)
        gates, order = jax.lax.top_k(scores.squeeze(-1), kept)
        self.sow("explanation", "gates", gates)
        self.sow("explanation", "order", order)
        return jnp.take_along_axis(x * scores, order[..., None], axis=1)


class AASIST(nn.Module):
    """AASIST and AASIST-L.

    A call with `mutable` fills these collections: `stages`, the outputs of the layers; `explanation`, the attention of
    the graph layers and the nodes that the pools keep.

    Parameters are float32; the network computes in `dtype`. Batch norm spans the devices of `axis_name`. Training needs
    the random streams `dropout` and, with `freq_aug`, `shared`.
    """

    config: AASISTConfig
    dtype: Any = jnp.float32
    axis_name: str | None = None
    freq_aug: bool = False
    dropout: DropoutRates = field(default_factory=DropoutRates)

    def setup(self) -> None:
        """Create the layers under the names that the paper and the checkpoints use."""
        config = self.config
        filters, (nodes, hidden) = config.filts[0], config.gat_dims
        options = {"dtype": self.dtype, "axis_name": self.axis_name}
        self.encoder = Encoder(filters, config.first_conv, config.channels, freq_aug=self.freq_aug, **options)
        self.pos_s = self.param("pos_s", nn.initializers.normal(1), (1, filters // 3, config.channels[-1]))
        self.master1 = self.param("master1", nn.initializers.normal(1), (1, 1, nodes))
        self.master2 = self.param("master2", nn.initializers.normal(1), (1, 1, nodes))
        temperature_s, temperature_t, temperature_st, _ = config.temperatures
        self.gat_s = GraphAttention(nodes, temperature_s, self.dropout.graph, **options)
        self.gat_t = GraphAttention(nodes, temperature_t, self.dropout.graph, **options)
        for name in ("htrg11", "htrg12", "htrg21", "htrg22"):
            setattr(self, name, HeterogeneousGraphAttention(hidden, temperature_st, self.dropout.graph, **options))
        ratio_s, ratio_t, ratio_st, _ = config.pool_ratios
        self.pool_s = GraphPool(ratio_s, self.dropout.pool, self.dtype)
        self.pool_t = GraphPool(ratio_t, self.dropout.pool, self.dtype)
        for name in ("pool_hs1", "pool_ht1", "pool_hs2", "pool_ht2"):
            setattr(self, name, GraphPool(ratio_st, self.dropout.pool, self.dtype))
        self.drop_branch = nn.Dropout(self.dropout.branch)
        self.drop_output = nn.Dropout(self.dropout.output)
        self.out_layer = Linear(2, self.dtype)

    def __call__(self, waves: Float[Array, "batch samples"], lengths: None = None, *, train: bool = False) -> Outputs:
        """Score waveforms at 16 kHz, full scale 1.

        The embedding is the read-out, (batch, 5 * gat_dims[1]). The logits are (batch, 2), index 1 bona fide, float32
        or wider; the published score is the raw logit of index 1. Windows are always full, so `lengths` is None.
        """
        if self.config.frames(waves.shape[1]) < 1:
            raise ValueError(f"AASIST needs at least {self.config.shortest_input} samples, got {waves.shape[1]}")
        return self.classify(self.encoder(waves, train=train), train=train)

    def encode(
        self, pieces: Float[Array, "batch samples"], valid: Int[Array, "batch 2"] | None = None
    ) -> Float[Array, "batch f t c"]:
        """Run the encoder on waveforms, or on pieces of longer recordings (`valid`, see `Encoder`)."""
        return self.encoder(pieces, train=False, valid=valid)

    def classify(self, encoded: Float[Array, "batch f t c"], *, train: bool = False) -> Outputs:
        """Run the graph part on an encoder output; returns the same outputs as calling the module."""
        magnitude = jnp.abs(encoded)
        spectral = first_max(magnitude, axis=2) + self.pos_s.astype(self.dtype)[:, : encoded.shape[1]]
        temporal = first_max(magnitude, axis=1)
        spectral = self._run("pool_s", self._run("gat_s", spectral, train), train)
        temporal = self._run("pool_t", self._run("gat_t", temporal, train), train)
        branches = [self._branch(b, temporal, spectral, train) for b in (1, 2)]
        # Max graph operation: the element-wise maximum of the two branches.
        t, s, stack_node = (jnp.maximum(one, two) for one, two in zip(*branches, strict=True))
        hidden = self.drop_output(read_out(t, s, stack_node), deterministic=not train)
        logits = self.out_layer(hidden)
        return Outputs(logits.astype(jnp.promote_types(logits.dtype, jnp.float32)), hidden)

    def _run(self, name: str, x: Array, train: bool) -> Array:
        x = getattr(self, name)(x, train=train)
        self.sow("stages", f"after_{name}", x)
        return x

    def _run_both(self, name: str, t: Array, s: Array, stack_node: Array, train: bool) -> tuple[Array, Array, Array]:
        outputs = getattr(self, name)(t, s, stack_node, train=train)
        for node, value in zip(("t", "s", "master"), outputs, strict=True):
            self.sow("stages", f"after_{name}.{node}", value)
        return outputs

    def _branch(self, b: int, t: Array, s: Array, train: bool) -> tuple[Array, Array, Array]:
        """One of the two parallel branches: two heterogeneous layers, the second with a residual connection."""
        stack_node = getattr(self, f"master{b}").astype(self.dtype)
        stack_node = jnp.broadcast_to(stack_node, (t.shape[0], *stack_node.shape[1:]))
        t, s, stack_node = self._run_both(f"htrg{b}1", t, s, stack_node, train)
        s = self._run(f"pool_hs{b}", s, train)
        t = self._run(f"pool_ht{b}", t, train)
        updates = self._run_both(f"htrg{b}2", t, s, stack_node, train)
        outputs = (x + update for x, update in zip((t, s, stack_node), updates, strict=True))
        t, s, stack_node = (self.drop_branch(x, deterministic=not train) for x in outputs)
        return t, s, stack_node


def read_out(
    t: Float[Array, "batch nt d"], s: Float[Array, "batch ns d"], stack_node: Float[Array, "batch 1 d"]
) -> Float[Array, "batch 5*d"]:
    """Concatenate max and mean over the temporal nodes, the same over the spectral nodes, and the stack node."""
    temporal = first_max(jnp.abs(t), axis=1), t.mean(axis=1)
    spectral = first_max(jnp.abs(s), axis=1), s.mean(axis=1)
    return jnp.concatenate([*temporal, *spectral, stack_node.squeeze(1)], axis=1)

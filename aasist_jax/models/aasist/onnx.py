"""AASIST as an ONNX graph, in evaluation mode and float32.

The arithmetic is that of `network.py`, but with channels first, the layout of ONNX convolutions. Constants are folded
in float64 before export: each batch norm into the convolution or linear layer before it, temperatures into the
attention vectors. `bn1` of a block is left out because its output is not used.
"""

from typing import Any

import numpy as np
import onnx
from flax.traverse_util import flatten_dict
from onnx import TensorProto, helper

from aasist_jax.features.sinc import sinc_filters
from aasist_jax.models.aasist.config import AASISTConfig
from aasist_jax.models.onnx_builder import GraphBuilder
from aasist_jax.ops.batch_norm import BATCH_NORM_EPSILON

Folded = tuple[np.ndarray, np.ndarray]


def aasist_graph(config: AASISTConfig, variables: dict[str, Any]) -> onnx.GraphProto:
    """Emit the graph: `wave` (batch, nb_samp), float32 at 16 kHz -> `logits` (batch, 2), index 1 bona fide.

    Args:
        config: configuration of the model.
        variables: its collections `params` and `batch_stats`, as NumPy arrays.
    """
    return _Emitter(config, variables).graph()


class _Emitter:
    def __init__(self, config: AASISTConfig, variables: dict[str, Any]) -> None:
        self.config = config
        self.builder = GraphBuilder()
        self.params = {path: value.astype(np.float64) for path, value in _flat(variables["params"]).items()}
        self.stats = {path: value.astype(np.float64) for path, value in _flat(variables["batch_stats"]).items()}

    def graph(self) -> onnx.GraphProto:
        spectral, temporal = self._nodes(self._encoder("wave"))
        temperature_s, temperature_t, _, _ = self.config.temperatures
        ratio_s, ratio_t, _, _ = self.config.pool_ratios
        s_count = _kept(self.config.filts[0] // 3, ratio_s)
        t_count = _kept(self.config.frames(self.config.nb_samp), ratio_t)
        spectral = self._pool("pool_s", self._attend("gat_s", spectral, temperature_s), s_count)
        temporal = self._pool("pool_t", self._attend("gat_t", temporal, temperature_t), t_count)
        branches = [self._branch(b, temporal, spectral, (t_count, s_count)) for b in (1, 2)]
        t, s, stack_node = (self.builder.node("Max", one, two) for one, two in zip(*branches, strict=True))
        kernel, bias = self._linear("out_layer")
        readout = self.builder.node(
            "Concat", *self._summary(t), *self._summary(s), self._squeeze(stack_node, 1), axis=1
        )
        logits = self._apply("out_layer", readout, kernel, bias)
        wave = helper.make_tensor_value_info("wave", TensorProto.FLOAT, ["batch", self.config.nb_samp])
        info = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])
        return self.builder.graph("AASIST", inputs=[wave], outputs=[(logits, info)])

    # Encoder: (batch, samples) -> (batch, channels, frequency, time)

    def _encoder(self, wave: str) -> str:
        bank = sinc_filters(self.config.filts[0], self.config.first_conv)
        x = self.builder.node("Unsqueeze", wave, self.builder.integers(1))
        x = self.builder.node("Conv", x, self.builder.constant("sinc_filters", bank[:, None]))
        x = self.builder.node("Unsqueeze", self.builder.node("Abs", x), self.builder.integers(1))
        x = self.builder.node("MaxPool", x, kernel_shape=[3, 3], strides=[3, 3])
        factor, shift = self._batch_norm("encoder/front_end/bn")
        x = self.builder.node("Mul", x, self.builder.constant("encoder/front_end/bn/factor", factor))
        x = self.builder.node("Add", x, self.builder.constant("encoder/front_end/bn/shift", shift))
        x = self.builder.node("Selu", x)
        for i in range(len(self.config.channels)):
            x = self._block(f"encoder/block{i + 1}", x)
        return x

    def _block(self, name: str, x: str) -> str:
        factor, shift = self._batch_norm(f"{name}/bn2")
        kernel, bias = self._linear(f"{name}/conv1")
        y = self._convolve(f"{name}/conv1", x, kernel * factor, bias * factor + shift, padding=(1, 1))
        y = self.builder.node("Selu", y)
        y = self._convolve(f"{name}/conv2", y, *self._linear(f"{name}/conv2"), padding=(0, 1))
        shortcut = f"{name}/conv_downsample"
        if f"{shortcut}/kernel" in self.params:
            x = self._convolve(shortcut, x, *self._linear(shortcut), padding=(0, 1))
        return self.builder.node("MaxPool", self.builder.node("Add", x, y), kernel_shape=[1, 3], strides=[1, 3])

    def _convolve(self, name: str, x: str, kernel: np.ndarray, bias: np.ndarray, padding: tuple[int, int]) -> str:
        weight = self.builder.constant(f"{name}/kernel", kernel.transpose(3, 2, 0, 1))
        return self.builder.node("Conv", x, weight, self.builder.constant(f"{name}/bias", bias), pads=padding * 2)

    # Graph: nodes are (batch, node, feature)

    def _nodes(self, encoded: str) -> tuple[str, str]:
        magnitude = self.builder.node("Abs", encoded)
        spectral, temporal = (
            self.builder.node(
                "Transpose", self.builder.node("ReduceMax", magnitude, axes=[axis], keepdims=0), perm=[0, 2, 1]
            )
            for axis in (3, 2)
        )
        return self.builder.node("Add", spectral, self.builder.constant("pos_s", self.params["pos_s"])), temporal

    def _attend(self, name: str, x: str, temperature: float) -> str:
        weight = self.params[f"{name}/att_weight"] / temperature
        scores = self._times(f"{name}/att_weight", self._pairs(name, x), weight)
        attention = self.builder.node("Softmax", self._squeeze(scores, 3), axis=-1)
        return self._update_nodes(name, attention, x)

    def _attend_both(self, name: str, t: str, s: str, stack_node: str, counts: tuple[int, int]) -> list[str]:
        temperature = self.config.temperatures[2]
        projected = [self._project(f"{name}/proj_type{kind}", x) for kind, x in ((1, t), (2, s))]
        x = self.builder.node("Concat", *projected, axis=1)

        # Compute the scores for all three kinds of pairs, then keep the one that matches each pair.
        weights = [self.params[f"{name}/att_weight{kind}"] / temperature for kind in ("11", "12", "22")]
        scores = self._times(f"{name}/att_weights", self._pairs(name, x), np.concatenate(weights, axis=1))
        kinds = np.repeat([0, 1], counts)
        own_kind = np.eye(3)[kinds[:, None] + kinds]
        mask = self.builder.constant("pair_kinds_{}_{}".format(*counts), own_kind)
        scores = self.builder.node("Mul", scores, mask)
        scores = self.builder.node("ReduceSum", scores, self.builder.integers(3), keepdims=0)
        attention = self.builder.node("Softmax", scores, axis=-1)

        stack_node = self._update_stack_node(name, x, stack_node, temperature)
        y = self._update_nodes(name, attention, x)
        return [*self.builder.node_outputs("Split", 2, y, self.builder.integers(*counts), axis=1), stack_node]

    def _pairs(self, name: str, x: str) -> str:
        one, other = (self.builder.node("Unsqueeze", x, self.builder.integers(axis)) for axis in (2, 1))
        products = self.builder.node("Mul", one, other)
        return self.builder.node("Tanh", self._project(f"{name}/att_proj", products))

    def _update_nodes(self, name: str, attention: str, x: str) -> str:
        """SELU of the batch norm of two linear layers, written as one layer on (attended nodes, nodes)."""
        maps = [self._linear(f"{name}/{path}") for path in ("proj_with_att", "proj_without_att")]
        factor, shift = self._batch_norm(f"{name}/bn")
        kernel = np.concatenate([kernel for kernel, _ in maps]) * factor
        bias = sum(bias for _, bias in maps) * factor + shift
        both = self.builder.node("Concat", self.builder.node("MatMul", attention, x), x, axis=2)
        return self.builder.node("Selu", self._apply(f"{name}/update", both, kernel, bias))

    def _update_stack_node(self, name: str, x: str, stack_node: str, temperature: float) -> str:
        weight = self.params[f"{name}/att_weightM"] / temperature
        pairs = self.builder.node("Tanh", self._project(f"{name}/att_projM", self.builder.node("Mul", x, stack_node)))
        scores = self.builder.node("Transpose", self._times(f"{name}/att_weightM", pairs, weight), perm=[0, 2, 1])
        attended = self.builder.node("MatMul", self.builder.node("Softmax", scores, axis=-1), x)
        return self.builder.node(
            "Add",
            self._project(f"{name}/proj_with_attM", attended),
            self._project(f"{name}/proj_without_attM", stack_node),
        )

    def _pool(self, name: str, x: str, kept: int) -> str:
        """Keep the highest-scoring nodes in descending order; ties go to the lower index, as ONNX defines TopK."""
        scores = self._sigmoid(self._project(f"{name}/proj", x))
        values, order = self.builder.node_outputs("TopK", 2, scores, self.builder.integers(kept), axis=1)
        return self.builder.node("Mul", self.builder.node("GatherND", x, order, batch_dims=1), values)

    def _sigmoid(self, x: str) -> str:
        # ONNX Runtime's Sigmoid is an approximation; its rounding would change the order of nearly equal nodes.
        exponential = self.builder.node("Exp", self.builder.node("Neg", x))
        return self.builder.node("Reciprocal", self.builder.node("Add", exponential, self.builder.constant("one", 1)))

    def _branch(self, b: int, t: str, s: str, counts: tuple[int, int]) -> list[str]:
        stack_node = self.builder.constant(f"master{b}", self.params[f"master{b}"])
        t, s, stack_node = self._attend_both(f"htrg{b}1", t, s, stack_node, counts)
        t_count, s_count = (_kept(count, self.config.pool_ratios[2]) for count in counts)
        s, t = self._pool(f"pool_hs{b}", s, s_count), self._pool(f"pool_ht{b}", t, t_count)
        updates = self._attend_both(f"htrg{b}2", t, s, stack_node, (t_count, s_count))
        return [self.builder.node("Add", x, update) for x, update in zip((t, s, stack_node), updates, strict=True)]

    def _summary(self, x: str) -> tuple[str, str]:
        largest = self.builder.node("ReduceMax", self.builder.node("Abs", x), axes=[1], keepdims=0)
        return largest, self.builder.node("ReduceMean", x, axes=[1], keepdims=0)

    # Weights in float64, and the layers made from them

    def _linear(self, name: str) -> Folded:
        return self.params[f"{name}/kernel"], self.params[f"{name}/bias"]

    def _batch_norm(self, name: str) -> Folded:
        """The factor and shift that a batch norm applies in evaluation mode."""
        factor = self.params[f"{name}/scale"] / np.sqrt(self.stats[f"{name}/var"] + BATCH_NORM_EPSILON)
        return factor, self.params[f"{name}/bias"] - self.stats[f"{name}/mean"] * factor

    def _project(self, name: str, x: str) -> str:
        return self._apply(name, x, *self._linear(name))

    def _apply(self, name: str, x: str, kernel: np.ndarray, bias: np.ndarray) -> str:
        y = self._times(f"{name}/kernel", x, kernel)
        return self.builder.node("Add", y, self.builder.constant(f"{name}/bias", bias))

    def _times(self, name: str, x: str, matrix: np.ndarray) -> str:
        return self.builder.node("MatMul", x, self.builder.constant(name, matrix))

    def _squeeze(self, x: str, axis: int) -> str:
        return self.builder.node("Squeeze", x, self.builder.integers(axis))


def _kept(nodes: int, ratio: float) -> int:
    return max(int(nodes * ratio), 1)


def _flat(variables: dict[str, Any]) -> dict[str, np.ndarray]:
    flat: dict[str, np.ndarray] = flatten_dict(variables, sep="/")
    return flat

"""A counted model of the work: FLOPs and least bytes of every layer of AASIST, for one clip, in float32.

Conventions. A multiply-add is two FLOPs; a bias starts the sum and costs nothing of its own; a comparison, exponential
or tanh is one. Zeros that pad a convolution are multiplied like others. Bytes are float32. *Unfused*: every layer reads
its inputs and writes its output once. *Fused*: the wave in, and every block's output written once and read once; the
rest stays on the chip. Weights are read once for a batch in both.

The training step adds the backward pass. A layer with weights costs twice its forward FLOPs again, one for its input
and one for its weights, but nothing with respect to the wave, so the fixed sinc filters and their pooling have none.
Elementwise layers cost their forward FLOPs again. Unfused, the backward pass of a layer reads its input and its
output's gradient and writes its input's gradient, and where it has weights reads the gradient and the input once more.
Fused, it reads a block's input and its output's gradient and writes its input's gradient, and computes the inside anew
for free. Weights: read by both passes, the gradient written, and Adam reads and writes weights and both moments.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from aasist_jax.features.sinc import sinc_taps
from aasist_jax.models.aasist.config import AASISTConfig
from scripts.benchmarking.setting import Section, Setting
from scripts.benchmarking.tables import make_table

FLOAT = 4
BATCH_NORM, SELU, SOFTMAX = 2, 4, 4
"""FLOPs a value: scale and shift; compare, exponential, subtract, scale; compare, exponential, add, divide."""


@dataclass(frozen=True)
class Layer:
    """The work of a layer for one clip.

    Attributes:
        name: of the layer.
        flops: of the forward pass.
        read: values of the inputs.
        written: values of the output.
        weights: values of the weights, once a batch.
        fused_read: of the inputs, values that a fused model must read still.
        fused_written: of the output, values that a fused model must write still.
        linear: whether it is a convolution or a product with weights.
        has_gradient: whether the backward pass visits it.
    """

    name: str
    flops: int
    read: int
    written: int
    weights: int = 0
    fused_read: int = 0
    fused_written: int = 0
    linear: bool = False
    has_gradient: bool = True

    @property
    def backward_flops(self) -> int:
        """FLOPs that the backward pass adds."""
        return self.flops * (2 if self.linear else 1) if self.has_gradient else 0

    def bytes(self, batch: int) -> int:
        """Unfused bytes of the forward pass of a batch."""
        return FLOAT * (batch * (self.read + self.written) + self.weights)

    def fused_bytes(self, batch: int) -> int:
        """Fused bytes of the forward pass of a batch."""
        return FLOAT * (batch * (self.fused_read + self.fused_written) + self.weights)

    def training_bytes(self, batch: int) -> int:
        """Unfused bytes of a training step of a batch."""
        backward = 2 * self.read + self.written if self.has_gradient else 0
        backward += self.read + self.written if self.linear and self.has_gradient else 0
        return self.bytes(batch) + FLOAT * (batch * backward + self._update())

    def fused_training_bytes(self, batch: int) -> int:
        """Fused bytes of a training step of a batch."""
        # Reading a block's input again, writing its gradient; reading the gradient of its output. The wave has none.
        backward = 2 * self.fused_read + self.fused_written if self.has_gradient else self.fused_read
        return self.fused_bytes(batch) + FLOAT * (batch * backward + self._update())

    def _update(self) -> int:
        # Read again, gradient written; Adam reads weights, gradient and two moments, writes weights and moments.
        return 9 * self.weights if self.has_gradient else 0


def layers(config: AASISTConfig, samples: int) -> list[Layer]:
    """List the layers in the order in which they run, for a clip of `samples`."""
    return [*_front_end(config, samples), *_blocks(config, samples), *_graphs(config, samples)]


def pooled_steps(config: AASISTConfig, samples: int) -> int:
    """Time steps that the front-end leaves."""
    return (samples - sinc_taps(config.first_conv) + 1) // 3


def _front_end(config: AASISTConfig, samples: int) -> Iterator[Layer]:
    filters, taps = config.filts[0], sinc_taps(config.first_conv)
    filtered = samples - taps + 1
    pooled = filters // 3 * pooled_steps(config, samples)
    yield Layer(
        "sinc",
        2 * taps * filters * filtered,
        samples,
        filters * filtered,
        filters * taps,
        fused_read=samples,
        linear=True,
        has_gradient=False,
    )
    # Absolute values of all, and eight comparisons for nine of them.
    yield Layer("abs, pool", filters * filtered + 8 * pooled, filters * filtered, pooled, has_gradient=False)
    yield Layer("first_bn, selu", (BATCH_NORM + SELU) * pooled, pooled, pooled, 2)


def _blocks(config: AASISTConfig, samples: int) -> Iterator[Layer]:
    rows, steps, inputs = config.filts[0] // 3, pooled_steps(config, samples), 1
    for i, outputs in enumerate(config.channels):
        name = f"block{i + 1}"
        # The (2, 3) kernel with a row of zeros on either side makes a row more.
        taken, middle = rows * steps * inputs, (rows + 1) * steps * outputs
        made, pooled = rows * steps * outputs, rows * (steps // 3) * outputs
        yield Layer(
            f"{name} conv1",
            2 * 6 * inputs * middle,
            taken,
            middle,
            (6 * inputs + 1) * outputs,
            # Block 1 takes the front-end's output, which a fused model never writes.
            fused_read=taken if i else 0,
            linear=True,
        )
        yield Layer(f"{name} bn2, selu", (BATCH_NORM + SELU) * middle, middle, middle, 2 * outputs)
        yield Layer(f"{name} conv2", 2 * 6 * outputs * made, middle, made, (6 * outputs + 1) * outputs, linear=True)
        if inputs != outputs:
            weights = (3 * inputs + 1) * outputs
            yield Layer(f"{name} shortcut", 2 * 3 * inputs * made, taken, made, weights, linear=True)
        shortcut = made if inputs != outputs else taken
        # One addition for each value, two comparisons for three of them.
        yield Layer(f"{name} add, pool", made + 2 * pooled, made + shortcut, pooled, fused_written=pooled)
        steps, inputs = steps // 3, outputs


def _graphs(config: AASISTConfig, samples: int) -> Iterator[Layer]:
    rows, steps, channels = config.filts[0] // 3, config.frames(samples), config.channels[-1]
    nodes, hidden = config.gat_dims
    ratio_s, ratio_t, ratio_st, _ = config.pool_ratios
    encoded = rows * steps * channels
    yield Layer(
        "spectral and temporal maxima",
        encoded + 2 * encoded + rows * channels,
        encoded,
        (rows + steps) * channels,
        rows * channels,
        fused_read=encoded,
    )
    yield from _attention("gat_s", rows, channels, nodes)
    yield from _attention("gat_t", steps, channels, nodes)
    s, t = _kept(rows, ratio_s), _kept(steps, ratio_t)
    yield _pool("pool_s", rows, s, nodes)
    yield _pool("pool_t", steps, t, nodes)
    for branch in (1, 2):
        yield from _both_kinds(f"htrg{branch}1", t, s, nodes, hidden)
        kept_s, kept_t = _kept(s, ratio_st), _kept(t, ratio_st)
        yield _pool(f"pool_hs{branch}", s, kept_s, hidden)
        yield _pool(f"pool_ht{branch}", t, kept_t, hidden)
        yield from _both_kinds(f"htrg{branch}2", kept_t, kept_s, hidden, hidden)
    values = (kept_s + kept_t + 1) * hidden
    # Two branches, each with its residual sum; their maximum; absolute values, maxima and means over the nodes.
    yield Layer("residual sums, maximum, read-out", (2 + 1 + 3) * values, 4 * values, 5 * hidden)
    yield Layer("out_layer", 2 * 5 * hidden * 2, 5 * hidden, 2, (5 * hidden + 1) * 2, linear=True)


def _attention(name: str, n: int, inputs: int, outputs: int) -> Iterator[Layer]:
    """Attention of n nodes to one another, and the nodes' update."""
    pairs = n * n
    yield Layer(f"{name} pairs", pairs * inputs, n * inputs, pairs * inputs)
    yield Layer(
        f"{name} att_proj",
        2 * pairs * inputs * outputs,
        pairs * inputs,
        pairs * outputs,
        (inputs + 1) * outputs,
        linear=True,
    )
    yield Layer(f"{name} tanh", pairs * outputs, pairs * outputs, pairs * outputs)
    yield Layer(f"{name} att_weight", 2 * pairs * outputs, pairs * outputs, pairs, outputs, linear=True)
    # The temperature divides as well.
    yield Layer(f"{name} softmax", (SOFTMAX + 1) * pairs, pairs, pairs)
    yield Layer(f"{name} attention @ nodes", 2 * pairs * inputs, pairs + n * inputs, n * inputs)
    yield Layer(
        f"{name} proj",
        2 * 2 * n * inputs * outputs + n * outputs,
        2 * n * inputs,
        n * outputs,
        2 * (inputs + 1) * outputs,
        linear=True,
    )
    yield Layer(f"{name} bn, selu", (BATCH_NORM + SELU) * n * outputs, n * outputs, n * outputs, 2 * outputs)


def _both_kinds(name: str, t: int, s: int, inputs: int, outputs: int) -> Iterator[Layer]:
    """Heterogeneous attention: both kinds projected, then as one graph, with a master node."""
    n = t + s
    weights = 2 * (inputs + 1) * inputs
    yield Layer(f"{name} proj_type", 2 * n * inputs * inputs, n * inputs, n * inputs, weights, linear=True)
    for layer in _attention(name, n, inputs, outputs):
        # Three vectors in place of one, each for its own pairs.
        more = 2 * outputs if layer.name.endswith("att_weight") else 0
        yield Layer(**(asdict(layer) | {"weights": layer.weights + more}))
    master = n * inputs + 2 * n * inputs * outputs + n * outputs + 2 * n * outputs + (SOFTMAX + 1) * n
    master += 2 * n * inputs + 2 * 2 * inputs * outputs + outputs
    weights = 3 * (inputs + 1) * outputs + outputs
    yield Layer(f"{name} master", master, n * inputs + inputs, outputs, weights, linear=True)


def _pool(name: str, n: int, kept: int, features: int) -> Layer:
    # The score's product and its sigmoid (exponential, addition, division), the gates.
    flops = n * (2 * features + 3) + n * features
    return Layer(name, flops, n * features, kept * features, features + 1, linear=True)


def _kept(n: int, ratio: float) -> int:
    return max(int(n * ratio), 1)


def totals(counted: Sequence[Layer], batch: int) -> dict[str, int]:
    """Add up the work of a batch."""
    return {
        "flops": batch * sum(layer.flops for layer in counted),
        "bytes": sum(layer.bytes(batch) for layer in counted),
        "fused_bytes": sum(layer.fused_bytes(batch) for layer in counted),
        "training_flops": batch * sum(layer.flops + layer.backward_flops for layer in counted),
        "training_bytes": sum(layer.training_bytes(batch) for layer in counted),
        "fused_training_bytes": sum(layer.fused_training_bytes(batch) for layer in counted),
    }


def count_work(setting: Setting) -> Section:
    """Print the count for one clip of the model's window; nothing is measured."""
    config = setting.weights.config
    counted = layers(config, config.nb_samp)
    rows: list[tuple[str, ...]] = [
        (
            layer.name,
            f"{layer.flops / 1e6:.2f}",
            f"{layer.bytes(1) / 1e6:.3f}",
            f"{layer.fused_bytes(1) / 1e6:.3f}",
            f"{(layer.flops + layer.backward_flops) / 1e6:.2f}",
            f"{layer.training_bytes(1) / 1e6:.3f}",
            f"{layer.fused_training_bytes(1) / 1e6:.3f}",
        )
        for layer in counted
    ]
    total = totals(counted, 1)
    rows.append(("total", f"{total['flops'] / 1e6:.2f}", *(f"{v / 1e6:.3f}" for k, v in total.items() if k != "flops")))
    columns = ("layer", "MFLOP", "MB", "MB fused", "training MFLOP", "training MB", "training MB fused")
    title = f"counted work for one clip of {config.nb_samp} samples: {setting.weights.model_id}"
    figures = [asdict(layer) | {"backward_flops": layer.backward_flops} for layer in counted]
    return Section([*figures, {"name": "total"} | total], [make_table(title, columns, rows)])

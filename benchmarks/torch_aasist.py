"""AASIST in PyTorch, written from the paper, to hold the JAX model against.

Jung et al., "AASIST: Audio Anti-Spoofing using Integrated Spectro-Temporal Graph Attention Networks" (2021).
Parameter names are those of the official checkpoints, which load with `load_state_dict(strict=True)`.
Departures of the official weights' model from the paper are kept; each is told where it happens.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

SAMPLE_RATE = 16_000


def sinc_filter_bank(filters: int, kernel_size: int) -> np.ndarray:
    """Band-pass filters on a mel scale from 0 Hz to the Nyquist frequency, float32 (filter, tap).

    An even `kernel_size` is made odd. The mixed precision is that of the bank the official weights were trained
    with: float64 throughout would differ by 1.5e-7.
    """
    half = kernel_size // 2
    taps = np.arange(-half, half + 1, dtype=np.float32)
    mel = np.linspace(0, 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700), filters + 1)
    edges = 700 * (10 ** (mel / 2595) - 1)
    scale = np.float64(2 * edges[:, None] / SAMPLE_RATE)
    low_pass = scale * np.sinc(np.float32(2 * edges[:, None]) * taps / np.float32(SAMPLE_RATE)).astype(np.float64)
    return np.diff(low_pass, axis=0).astype(np.float32) * np.hamming(taps.size).astype(np.float32)


class ResidualBlock(nn.Module):
    """One encoder block: (batch, channel, frequency, time) to a third of the time."""

    def __init__(self, inputs: int, outputs: int, first: bool) -> None:
        super().__init__()
        self.bn1 = None if first else nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, (2, 3), padding=(1, 1))
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, (2, 3), padding=(0, 1))
        self.conv_downsample = None if inputs == outputs else nn.Conv2d(inputs, outputs, (1, 3), padding=(0, 1))

    def forward(self, x: Tensor) -> Tensor:
        if self.bn1 is not None:
            # The paper's pre-activation feeds nothing, but its running statistics stand in the checkpoints.
            self.bn1(x)
        residual = self.conv2(F.selu(self.bn2(self.conv1(x))))
        shortcut = x if self.conv_downsample is None else self.conv_downsample(x)
        return F.max_pool2d(residual + shortcut, (1, 3))


def attention_vector(features: int) -> nn.Parameter:
    return nn.Parameter(nn.init.xavier_normal_(torch.empty(features, 1)))


class _Attention(nn.Module):
    """What both kinds of graph attention share; dropout is left to them."""

    def __init__(self, inputs: int, outputs: int, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.dropout = nn.Dropout(0.2)
        self.att_proj = nn.Linear(inputs, outputs)
        self.proj_with_att = nn.Linear(inputs, outputs)
        self.proj_without_att = nn.Linear(inputs, outputs)
        self.bn = nn.BatchNorm1d(outputs)

    def attend(self, nodes: Tensor, score: Callable[[Tensor], Tensor]) -> Tensor:
        """(batch, node, inputs) to (batch, node, outputs); `score` takes (batch, node, node, outputs) to scores."""
        pairs = torch.tanh(self.att_proj(nodes.unsqueeze(2) * nodes.unsqueeze(1)))
        attention = torch.softmax(score(pairs) / self.temperature, dim=2)
        updated = self.proj_with_att(attention @ nodes) + self.proj_without_att(nodes)
        # Batch norm over all nodes of all graphs of the batch.
        return F.selu(self.bn(updated.flatten(0, 1)).view_as(updated))


class GraphAttention(_Attention):
    """Homogeneous graph attention over a complete graph: (batch, node, inputs) to (batch, node, outputs)."""

    def __init__(self, inputs: int, outputs: int, temperature: float) -> None:
        super().__init__(inputs, outputs, temperature)
        self.att_weight = attention_vector(outputs)

    def forward(self, nodes: Tensor) -> Tensor:
        return self.attend(self.dropout(nodes), lambda pairs: (pairs @ self.att_weight).squeeze(3))


class HeterogeneousGraphAttention(_Attention):
    """Graph attention over two types of node and a stack node (`master` in the checkpoints) that listens to both."""

    def __init__(self, inputs: int, outputs: int, temperature: float) -> None:
        super().__init__(inputs, outputs, temperature)
        self.proj_type1 = nn.Linear(inputs, inputs)
        self.proj_type2 = nn.Linear(inputs, inputs)
        self.att_weight11 = attention_vector(outputs)
        self.att_weight12 = attention_vector(outputs)
        self.att_weight22 = attention_vector(outputs)
        self.att_projM = nn.Linear(inputs, outputs)
        self.att_weightM = attention_vector(outputs)
        self.proj_with_attM = nn.Linear(inputs, outputs)
        self.proj_without_attM = nn.Linear(inputs, outputs)

    def forward(self, type1: Tensor, type2: Tensor, stack_node: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(batch, n1, inputs), (batch, n2, inputs) and (batch or 1, 1, inputs) to the same with `outputs`."""
        counts = [type1.shape[1], type2.shape[1]]
        nodes = self.dropout(torch.cat([self.proj_type1(type1), self.proj_type2(type2)], dim=1))
        by_types = torch.stack([self.att_weight11, self.att_weight12, self.att_weight22]).squeeze(2)
        is_type2 = torch.repeat_interleave(torch.tensor([0, 1]), torch.tensor(counts))
        vectors = by_types[is_type2.unsqueeze(1) + is_type2]
        new1, new2 = self.attend(nodes, lambda pairs: (pairs * vectors).sum(dim=3)).split(counts, dim=1)
        # Of the nodes as they came in: the stack node does not wait for the layer's update.
        scores = torch.tanh(self.att_projM(nodes * stack_node)) @ self.att_weightM
        heard = torch.softmax(scores / self.temperature, dim=1).transpose(1, 2) @ nodes
        return new1, new2, self.proj_with_attM(heard) + self.proj_without_attM(stack_node)


class GraphPool(nn.Module):
    """Keeps the highest scoring nodes, gated by their scores, in descending order of score."""

    def __init__(self, features: int, ratio: float) -> None:
        super().__init__()
        self.ratio = ratio
        self.dropout = nn.Dropout(0.3)
        self.proj = nn.Linear(features, 1)

    def forward(self, nodes: Tensor) -> Tensor:
        scores = torch.sigmoid(self.proj(self.dropout(nodes)))
        kept = max(int(nodes.shape[1] * self.ratio), 1)
        best = scores.topk(kept, dim=1).indices
        return (nodes * scores).take_along_dim(best, dim=1)


class TorchAASIST(nn.Module):
    """AASIST for any `model_config` of the official family.

    `model_config` has `filts` (filters, then four pairs of channels), `first_conv` (taps), `gat_dims`,
    `pool_ratios` and `temperatures`. The buffer `sinc_filters` (filter, tap) is fixed and not in the state dict;
    it is computed in float32 and cast with the model.
    """

    sinc_filters: Tensor

    def __init__(self, model_config: dict[str, Any]) -> None:
        super().__init__()
        filters, *channels = model_config["filts"]
        graph, joint = model_config["gat_dims"]
        # The fourth ratio and the fourth temperature of the official configurations have no use.
        ratio_spectral, ratio_temporal, ratio_joint = model_config["pool_ratios"][:3]
        heat_spectral, heat_temporal, heat_joint = model_config["temperatures"][:3]
        encoded = channels[-1][1]

        bank = torch.from_numpy(sinc_filter_bank(filters, model_config["first_conv"]))
        self.register_buffer("sinc_filters", bank, persistent=False)
        self.first_bn = nn.BatchNorm2d(1)
        # The last pair serves three blocks. The checkpoints' names want each block in a sequence of its own.
        widths = [*channels, channels[-1], channels[-1]]
        blocks = [ResidualBlock(inputs, outputs, first=i == 0) for i, (inputs, outputs) in enumerate(widths)]
        self.encoder = nn.Sequential(*map(nn.Sequential, blocks))

        self.pos_S = nn.Parameter(torch.randn(1, filters // 3, encoded))
        self.GAT_layer_S = GraphAttention(encoded, graph, heat_spectral)
        self.GAT_layer_T = GraphAttention(encoded, graph, heat_temporal)
        self.pool_S = GraphPool(graph, ratio_spectral)
        self.pool_T = GraphPool(graph, ratio_temporal)

        for branch in (1, 2):
            self.register_parameter(f"master{branch}", nn.Parameter(torch.randn(1, 1, graph)))
            self.add_module(f"HtrgGAT_layer_ST{branch}1", HeterogeneousGraphAttention(graph, joint, heat_joint))
            self.add_module(f"HtrgGAT_layer_ST{branch}2", HeterogeneousGraphAttention(joint, joint, heat_joint))
            self.add_module(f"pool_hS{branch}", GraphPool(joint, ratio_joint))
            self.add_module(f"pool_hT{branch}", GraphPool(joint, ratio_joint))

        self.branch_dropout = nn.Dropout(0.2)
        self.output_dropout = nn.Dropout(0.5)
        self.out_layer = nn.Linear(5 * joint, 2)

    def forward(self, wave: Tensor) -> tuple[Tensor, Tensor]:
        """Waveforms (batch, sample) to the embedding (batch, 5 joint features) and the logits (batch, 2).

        Logit 1 is bona fide.
        """
        stages = self.stages(wave)
        return stages["last_hidden"], stages["logits"]

    def stages(self, wave: Tensor) -> dict[str, Tensor]:
        """Every stage's output, by the goldens' names, `last_hidden` and `logits` included."""
        stages: dict[str, Tensor] = {}

        stages["sinc"] = F.conv1d(wave.unsqueeze(1), self.sinc_filters.unsqueeze(1))
        image = F.max_pool2d(stages["sinc"].abs().unsqueeze(1), 3)
        stages["first_bn"] = self.first_bn(image)
        x = F.selu(stages["first_bn"])
        for number, block in enumerate(self.encoder, start=1):
            x = stages[f"block{number}"] = block(x)

        spectral = x.abs().amax(dim=3).transpose(1, 2) + self.pos_S
        temporal = x.abs().amax(dim=2).transpose(1, 2)
        stages["gat_s"] = self.GAT_layer_S(spectral)
        stages["gat_t"] = self.GAT_layer_T(temporal)
        stages["pool_s"] = self.pool_S(stages["gat_s"])
        stages["pool_t"] = self.pool_T(stages["gat_t"])

        branches = [self._branch(number, stages) for number in (1, 2)]
        temporal, spectral, stack_node = (torch.maximum(one, two) for one, two in zip(*branches, strict=True))
        of_temporal, of_spectral = ([nodes.abs().amax(dim=1), nodes.mean(dim=1)] for nodes in (temporal, spectral))
        stages["last_hidden"] = torch.cat([*of_temporal, *of_spectral, stack_node.squeeze(1)], dim=1)
        stages["logits"] = self.out_layer(self.output_dropout(stages["last_hidden"]))
        return stages

    def set_dropout(self, p: float) -> None:
        """Gives every dropout of the model the probability `p`."""
        for module in self.modules():
            if isinstance(module, nn.Dropout):
                module.p = p

    def _branch(self, number: int, stages: dict[str, Tensor]) -> Sequence[Tensor]:
        """One of the two rival branches, to its temporal nodes, spectral nodes and stack node."""

        def attend(layer: int, *inputs: Tensor) -> Sequence[Tensor]:
            outputs = self.get_submodule(f"HtrgGAT_layer_ST{number}{layer}")(*inputs)
            names = (f"htrg{number}{layer}.{part}" for part in ("t", "s", "master"))
            stages.update(zip(names, outputs, strict=True))
            return outputs

        def pool(kind: str, nodes: Tensor) -> Tensor:
            pooled = self.get_submodule(f"pool_h{kind}{number}")(nodes)
            stages[f"pool_h{kind.lower()}{number}"] = pooled
            return pooled

        learned_stack_node = self.get_parameter(f"master{number}")
        temporal, spectral, stack_node = attend(1, stages["pool_t"], stages["pool_s"], learned_stack_node)
        middle = (pool("T", temporal), pool("S", spectral), stack_node)
        updates = attend(2, *middle)
        return [self.branch_dropout(old + new) for old, new in zip(middle, updates, strict=True)]

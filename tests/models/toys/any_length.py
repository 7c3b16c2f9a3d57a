"""A family that takes clips of any length, keeps a state that is no batch norm, and has one logit."""

import functools
import itertools
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.models.explanation import Explanation, Nodes
from aasist_jax.models.family import CheckpointNames, Family, Window
from aasist_jax.models.layers import Linear
from aasist_jax.models.linen import LinenNetwork
from aasist_jax.models.network import Outputs, build_network, score_function
from tests.models.toys.base import ToyModule


@dataclass(frozen=True)
class AnyLengthConfig:
    """Clips of up to `longest` samples, in frames of `frame` samples."""

    longest: int
    frame: int = 200


class AnyLength(ToyModule):
    """Loudness of frames relative to the loudest training batch so far, averaged over the frames that are there."""

    @nn.compact
    def __call__(self, waves: Any, lengths: Any = None, *, train: bool = False) -> Outputs:
        batch, size = waves.shape[0], self.config.frame
        frames = waves[:, : waves.shape[1] // size * size].reshape(batch, -1, size)
        loudest = self.variable("memory", "loudest", jnp.ones, ())
        if train:
            largest = jnp.abs(waves).max()
            if self.axis_name is not None:
                largest = jax.lax.pmax(largest, self.axis_name)
            loudest.value = jnp.maximum(loudest.value, largest)
        x = (jnp.abs(frames) / loudest.value).astype(self.dtype)
        x = jnp.stack([x.mean(2), x.max(2)], axis=2)
        over_time = Linear(1, self.dtype, name="judge")(x).astype(jnp.float32)
        there = jnp.full((batch,), frames.shape[1]) if lengths is None else jnp.maximum(lengths // size, 1)
        mask = (jnp.arange(frames.shape[1])[None] < there[:, None])[..., None]
        logit = (over_time * mask).sum(1) / there[:, None]
        return Outputs(logit, (x * mask).sum(1) / there[:, None], frames=over_time)


class OcclusionExplainer:
    """An explanation by occlusion alone: four spans of equal length, and four bands."""

    BANDS = (0.0, 500.0, 1000.0, 2000.0, 8000.0)

    def __init__(self, config: AnyLengthConfig, variables: dict[str, Any]) -> None:
        self.score = jax.jit(functools.partial(score_function(config, build_network(config)), variables))

    def __call__(self, wave: Any, *, length: int, duration: float, weights_id: str) -> Explanation:
        clip, spans = wave[:length], np.linspace(0, length, 5).astype(int)
        frequencies = np.fft.rfftfreq(length, 1 / SAMPLE_RATE)
        copies = [clip]
        for begin, end in itertools.pairwise(spans):
            copies.append(np.concatenate([clip[:begin], np.zeros(end - begin), clip[end:]]))
        for low, high in itertools.pairwise(self.BANDS):
            kept = (frequencies < low) | (frequencies >= high)
            copies.append(np.fft.irfft(np.fft.rfft(clip) * kept, length))
        waves = np.pad(np.stack(copies).astype(np.float32), ((0, 0), (0, wave.size - length)))
        logits = np.asarray(self.score(waves, np.full(len(waves), length, np.int32)))
        falls = (logits[0, 1] - logits[1:, 1]).tolist()
        return Explanation(
            score=float(logits[0, 1]),
            duration=duration,
            window=length / SAMPLE_RATE,
            weights_id=weights_id,
            time=Nodes(edges=tuple((spans / SAMPLE_RATE).tolist()), occlusion=tuple(falls[:4])),
            frequency=Nodes(edges=self.BANDS, occlusion=tuple(falls[4:])),
        )


def _onnx_graph(config: AnyLengthConfig, variables: dict[str, Any]) -> Any:
    """The same in ONNX: `wave` and `length` to the logits of both classes; that of spoof is 0."""
    from onnx import TensorProto, helper

    from aasist_jax.models.onnx_builder import GraphBuilder

    build, size = GraphBuilder(), config.frame
    judge, frames = variables["params"]["judge"], config.longest // config.frame
    x = build.node("Slice", "wave", build.integers(0), build.integers(frames * size), build.integers(1))
    x = build.node("Abs", build.node("Reshape", x, build.integers(-1, frames, size)))
    x = build.node("Div", x, build.constant("loudest", variables["memory"]["loudest"]))
    x = build.node("Concat", *(build.node(reduce, x, axes=[2]) for reduce in ("ReduceMean", "ReduceMax")), axis=2)
    x = build.node("MatMul", x, build.constant("kernel", judge["kernel"]))
    x = build.node("Add", x, build.constant("bias", judge["bias"]))
    there = build.node("Div", "length", build.constant("frame", size, np.int32))
    there = build.node("Max", there, build.constant("one", 1, np.int32))
    there = build.node("Unsqueeze", there, build.integers(1))
    mask = build.node("Less", build.constant("numbers", np.arange(frames)[None], np.int32), there)
    mask = build.node("Unsqueeze", build.node("Cast", mask, to=TensorProto.FLOAT), build.integers(2))
    total = build.node("ReduceSum", build.node("Mul", x, mask), build.integers(1), keepdims=0)
    logit = build.node("Div", total, build.node("Cast", there, to=TensorProto.FLOAT))
    logits = build.node("Concat", build.node("Sub", logit, logit), logit, axis=1)
    wave = helper.make_tensor_value_info("wave", TensorProto.FLOAT, ["batch", config.longest])
    length = helper.make_tensor_value_info("length", TensorProto.INT32, ["batch"])
    info = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])
    return build.graph("ToyAnyLength", inputs=[wave, length], outputs=[(logits, info)])


FAMILY = Family(
    name="ToyAnyLength",
    config_type=AnyLengthConfig,
    build=lambda config, **options: LinenNetwork(AnyLength(config, **options), config.longest, state=("memory",)),
    window=lambda config: Window(config.longest, shortest=config.frame, fixed=False),
    bonafide_index=None,
    names=CheckpointNames(parameter=lambda name: f"buffer_{name}"),
    explainer=OcclusionExplainer,
    onnx_graph=_onnx_graph,
)
MODEL_CONFIG = {"architecture": "ToyAnyLength", "longest": 6000}

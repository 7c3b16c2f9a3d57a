"""Reads the golden outputs of the official model: `NAME.forward.npz` and `NAME.train.npz`.

What each array holds is told in the reference folder's README. Waveforms are read as float64 in [-1, 1).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Golden:
    """A model and what it was given."""

    name: str
    weights: Path
    config: dict[str, Any]
    wave: np.ndarray
    """(clip, sample)"""


@dataclass(frozen=True)
class ForwardGolden(Golden):
    """What the official model makes of a few waveforms, in evaluation mode and float64."""

    sinc_filters: np.ndarray
    """(filter, tap), float32"""
    stages: Arrays
    """Outputs by stage name in PyTorch's layout, thinned out by `strides`; `last_hidden` and `logits` too."""
    strides: dict[str, tuple[int, ...]]
    shapes: dict[str, tuple[int, ...]]
    """Full shape of each stage."""
    logits_float32: np.ndarray | None

    def stage_error(self, stage: str, output: np.ndarray, clips: slice = slice(None)) -> float:
        """Relative error of a stage's full `output` for the given `clips` of `wave`."""
        shape = self.shapes[stage]
        assert output.shape[1:] == shape[1:], f"{stage}: shape {output.shape}, not {shape}"
        # No stage is thinned out over the clips.
        kept = tuple(slice(None, None, step) for step in self.strides[stage])
        return relative_error(output[kept], self.stages[stage][clips])


@dataclass(frozen=True)
class TrainGolden(Golden):
    """A few optimizer steps of the official model, in training mode without dropout, in float64.

    Names of parameters and buffers are PyTorch's.
    """

    labels: np.ndarray
    hyper: dict[str, Any]
    logits_step0: np.ndarray
    losses: np.ndarray
    learning_rates: np.ndarray
    gradients: dict[str, np.ndarray | None]
    """At step 0; None where the parameter gets none."""
    buffers_after_step1: Arrays
    params_after_step1: Arrays
    state_after_step3: Arrays


def golden_names(reference: Path, kind: str) -> list[str]:
    """Names of the models with a golden of `kind` ("forward" or "train"); none where there is no folder."""
    ending = f".{kind}.npz"
    return sorted(path.name.removesuffix(ending) for path in (reference / "golden").glob(f"*{ending}"))


def read_forward_golden(reference: Path, name: str) -> ForwardGolden:
    arrays = _read(reference, name, "forward")
    # A file may hold the logits alone.
    stages = _under(arrays, "stage/") | {key: arrays[key] for key in ("last_hidden", "logits") if key in arrays}
    strides = _under(arrays, "stride/")
    shapes = _under(arrays, "shape/")
    return ForwardGolden(
        **_model_and_waves(reference, name, arrays),
        sinc_filters=arrays["sinc_filters"],
        stages=stages,
        strides={
            key: tuple(map(int, strides[key])) if key in strides else (1,) * stage.ndim for key, stage in stages.items()
        },
        shapes={key: tuple(map(int, shapes[key])) if key in shapes else stage.shape for key, stage in stages.items()},
        logits_float32=arrays.get("logits_float32"),
    )


def read_train_golden(reference: Path, name: str) -> TrainGolden:
    arrays = _read(reference, name, "train")
    gradients = _under(arrays, "grad/")
    return TrainGolden(
        **_model_and_waves(reference, name, arrays),
        labels=arrays["labels"],
        hyper=json.loads(str(arrays["hyper_json"])),
        logits_step0=arrays["logits_step0"],
        losses=arrays["losses"],
        learning_rates=arrays["lrs"],
        gradients={key: gradient if gradient.size else None for key, gradient in gradients.items()},
        buffers_after_step1=_under(arrays, "buffers_after_step1/"),
        params_after_step1=_under(arrays, "params_after_step1/"),
        state_after_step3=_under(arrays, "state_after_step3/"),
    )


def relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    """Greatest absolute difference over the largest expected magnitude; infinite where one is not finite."""
    assert actual.shape == expected.shape, f"shape {actual.shape}, not {expected.shape}"
    difference = float(np.max(np.abs(np.asarray(actual, np.float64) - expected)))
    if not np.isfinite(difference):
        return float("inf")
    return difference / float(np.max(np.abs(expected))) if difference else 0.0


def has_noise_gradient(name: str) -> bool:
    """Whether the parameter's gradient in AASIST-L's training golden is rounding noise, and so its Adam steps.

    A batch norm cancels the biases before it, and Adam blows the noise up to steps of full size.

    Weight decay has worn the attention of the official AASIST-L's heterogeneous layers down to 1e-40. There tanh is
    the identity, the bias of the stack node's attention shifts all scores alike, and softmax cancels it. The other
    attention gradients are tiny as well (1e-43) but exact: compared each by its own magnitude, they tell which vector
    serves which pair of node types, which no forward golden of such weights can.
    """
    return name.endswith(("conv1.bias", "proj_with_att.bias", "proj_without_att.bias", "att_projM.bias"))


def _read(reference: Path, name: str, kind: str) -> Arrays:
    with np.load(reference / "golden" / f"{name}.{kind}.npz") as archive:
        return dict(archive)


def _under(arrays: Arrays, prefix: str) -> Arrays:
    return {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}


def _model_and_waves(reference: Path, name: str, arrays: Arrays) -> dict[str, Any]:
    """The fields of `Golden`."""
    return {
        "name": name,
        "weights": reference / "weights" / f"{name}.pth",
        "config": json.loads(str(arrays["config_json"])),
        "wave": arrays["wave_int16"] / np.float64(32768),
    }

"""PyTorch's side. Imports no JAX, so that a process of PyTorch alone can measure its memory."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from benchmarks.torch_aasist import TorchAASIST

Arithmetic = Literal["float32", "TF32", "bfloat16 autocast"]
Call = Callable[[], np.ndarray]


@dataclass(frozen=True)
class TorchModel:
    """A model for PyTorch: its `model_config` and its state, as `load_state_dict` takes it."""

    config: dict[str, Any]
    state: Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Adam:
    """The optimizer's options."""

    learning_rate: float
    betas: tuple[float, float]
    weight_decay: float


@dataclass(frozen=True)
class Flavour:
    """One way to run PyTorch."""

    channels_last: bool = False
    compiled: bool = False
    arithmetic: Arithmetic = "float32"

    @property
    def name(self) -> str:
        """What the tables call it."""
        name = "torch.compile" if self.compiled else "PyTorch channels last" if self.channels_last else "PyTorch eager"
        return name if self.arithmetic == "float32" else f"{name}, {self.arithmetic}"


def flavours(*, compiled: bool, gpu: bool) -> list[Flavour]:
    """Every way to try; eager in float32 comes first."""
    layouts = [Flavour(), Flavour(channels_last=True)] + [Flavour(compiled=True)] * compiled
    arithmetics: list[Arithmetic] = ["float32", "TF32", "bfloat16 autocast"] if gpu else ["float32"]
    return [
        Flavour(layout.channels_last, layout.compiled, arithmetic) for arithmetic in arithmetics for layout in layouts
    ]


def torch_inference(model: TorchModel, wave: np.ndarray, flavour: Flavour, device: str = "cpu") -> Call:
    """Make a call that gives the logits of a batch."""
    module = _build(model, flavour, device).eval()
    run: Any = torch.compile(module) if flavour.compiled else module

    def logits() -> np.ndarray:
        with torch.inference_mode(), _arithmetic(flavour, device):
            result = run(torch.from_numpy(wave).to(device))[1].float().cpu().numpy()
        _wait(device)
        return result

    return logits


def torch_training(
    model: TorchModel, wave: np.ndarray, label: np.ndarray, options: Adam, flavour: Flavour, device: str = "cpu"
) -> Call:
    """Make a call that takes a step of Adam with L2, as the official code does, and gives the loss."""
    module = _build(model, flavour, device).train()
    run: Any = torch.compile(module) if flavour.compiled else module
    adam = torch.optim.Adam(
        module.parameters(), options.learning_rate, options.betas, weight_decay=options.weight_decay
    )
    criterion = torch.nn.CrossEntropyLoss(torch.tensor([0.1, 0.9], device=device))
    # In training the next batch is sent while a step runs, so the sending is not part of a step.
    inputs, labels = torch.from_numpy(wave).to(device), torch.from_numpy(label).long().to(device)

    def step() -> np.ndarray:
        with _arithmetic(flavour, device):
            loss = criterion(run(inputs)[1], labels)
        adam.zero_grad()
        loss.backward()
        adam.step()
        _wait(device)
        return np.array([loss.item()])

    return step


def _build(model: TorchModel, flavour: Flavour, device: str) -> Any:
    module = TorchAASIST(model.config)
    module.load_state_dict(dict(model.state))
    module.set_dropout(0)
    # The stubs of `Module.to` know of no memory format alone.
    placed: Any = module.to(device)
    return placed.to(memory_format=torch.channels_last) if flavour.channels_last else placed


@contextlib.contextmanager
def _arithmetic(flavour: Flavour, device: str) -> Iterator[None]:
    """Switch TF32 on or off, which holds for the whole process until the next switch; autocast where asked for."""
    if device == "cpu":
        yield
        return
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = flavour.arithmetic == "TF32"
    with torch.autocast(device, torch.bfloat16, enabled=flavour.arithmetic == "bfloat16 autocast"):
        yield


def _wait(device: str) -> None:
    # A GPU works on after the call; the clock must not stop before it has finished.
    if device != "cpu":
        torch.cuda.synchronize()

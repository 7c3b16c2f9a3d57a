"""PyTorch's implementations. Imports no JAX, so that a process holds the memory of PyTorch alone."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from benchmarks.inputs import labels, noise
from benchmarks.torch_aasist import TorchAASIST

Call = Callable[[], np.ndarray]


def inference(model: str, batch: int, **options: Any) -> Call:
    """Make a call that gives the logits of a batch; options are those of `load`."""
    module, run, device, arithmetic = load(model, **options)
    module.eval()
    wave = noise(batch, module.samples)

    def logits() -> np.ndarray:
        with torch.inference_mode(), arithmetic():
            result: np.ndarray = run(torch.from_numpy(wave).to(device))[1].float().cpu().numpy()
        return result

    return logits


def training_step(model: str, batch: int, adam: Any, **options: Any) -> Call:
    """Make a call that takes a step of Adam with L2, as the official code does, and gives the loss.

    `adam` holds the learning rate, the betas and the weight decay.
    """
    module, run, device, arithmetic = load(model, **options)
    optimizer = torch.optim.Adam(module.train().parameters(), adam[0], adam[1], weight_decay=adam[2])
    criterion = torch.nn.CrossEntropyLoss(torch.tensor([0.1, 0.9], device=device))
    # In training the next batch is sent while a step runs, so the sending is not part of a step.
    wave = torch.from_numpy(noise(batch, module.samples)).to(device)
    targets = torch.from_numpy(labels(batch)).long().to(device)

    def step() -> np.ndarray:
        with arithmetic():
            loss = criterion(run(wave)[1], targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if device != "cpu":
            # A GPU works on after the call; the clock must not stop before it has finished.
            torch.cuda.synchronize()
        return np.array([loss.item()])

    return step


def load(
    model: str, threads: int, layout: str = "eager", arithmetic: str = "float32", device: str = "cpu"
) -> tuple[Any, Any, str, Callable[[], Any]]:
    """Read a file of `comparison.write_torch_model`, without dropout; `layout` is eager, channels last or compiled."""
    torch.set_num_threads(threads)
    stored = torch.load(model, weights_only=True)
    module: Any = TorchAASIST(stored["config"])
    module.load_state_dict(stored["state"])
    module.set_dropout(0)
    module = module.to(device, memory_format=torch.channels_last if layout == "channels last" else None)
    module.samples = stored["config"]["nb_samp"]
    return module, torch.compile(module) if layout == "compiled" else module, device, lambda: _as(arithmetic, device)


@contextlib.contextmanager
def _as(arithmetic: str, device: str) -> Iterator[None]:
    """Switch TF32 on or off, which holds for the whole process until the next switch; autocast where asked for."""
    if device == "cpu":
        yield
        return
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = arithmetic == "TF32"
    with torch.autocast(device, torch.bfloat16, enabled=arithmetic == "bfloat16 autocast"):
        yield

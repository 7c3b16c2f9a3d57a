"""The PyTorch AASIST of these tests against the official model's goldens."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import REFERENCE, extra

torch = extra("torch", "torch")

from torch.nn import functional as F

from benchmarks.torch_aasist import TorchAASIST
from tests.models.aasist.goldens import (
    TrainGolden,
    golden_names,
    has_noise_gradient,
    read_forward_golden,
    read_train_golden,
    relative_error,
)

# Other architectures may have goldens there too.
FORWARD = [name for name in golden_names(REFERENCE, "forward") if name.startswith("AASIST")]
TRAIN = [name for name in golden_names(REFERENCE, "train") if name.startswith("AASIST")]

SMALL_CONFIG: dict[str, Any] = {
    "filts": [12, [1, 4], [4, 4], [4, 6], [6, 6]],
    "first_conv": 16,
    "gat_dims": [5, 7],
    "pool_ratios": [0.4, 0.5, 0.7, 0.5],
    "temperatures": [2.0, 2.0, 100.0, 100.0],
}


@pytest.fixture(autouse=True, scope="module")
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def load_torch_aasist(model_config: dict[str, Any], checkpoint: Path) -> TorchAASIST:
    """The model with the float32 weights of an official checkpoint, on the CPU, in training mode."""
    model = TorchAASIST(model_config)
    model.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True), strict=True)
    return model


@pytest.mark.reference
def test_goldens_are_found() -> None:
    assert {"AASIST", "AASIST-L"} <= set(FORWARD)
    assert "AASIST-L" in TRAIN


@pytest.mark.reference
@pytest.mark.parametrize("name", FORWARD)
def test_filter_bank_equals_the_golden_to_the_bit(reference: Path, name: str) -> None:
    golden = read_forward_golden(reference, name)
    bank = TorchAASIST(golden.config).sinc_filters.numpy()
    assert bank.dtype == golden.sinc_filters.dtype == np.float32
    np.testing.assert_array_equal(bank, golden.sinc_filters)


@pytest.mark.reference
@pytest.mark.parametrize("name", FORWARD)
@pytest.mark.parametrize(
    "clips",
    [pytest.param(slice(3, 5), id="impulses+speech"), pytest.param(slice(0, 3), id="rest", marks=pytest.mark.slow)],
)
def test_every_stage_equals_the_golden(reference: Path, name: str, clips: slice) -> None:
    golden = read_forward_golden(reference, name)
    model = load_torch_aasist(golden.config, golden.weights).double().eval()
    with torch.no_grad():
        # Clip by clip: a batch would take twice the time, most of it in fetching memory.
        outputs = [model.stages(torch.tensor(clip[None])) for clip in golden.wave[clips]]
    stages = {stage: torch.cat([output[stage] for output in outputs]).numpy() for stage in outputs[0]}
    assert set(stages) == set(golden.stages)
    errors = {stage: golden.stage_error(stage, output, clips) for stage, output in stages.items()}
    assert max(errors.values()) < 1e-12, errors


@pytest.mark.reference
@pytest.mark.parametrize("name", FORWARD)
def test_float32_logits_equal_the_golden(reference: Path, name: str) -> None:
    golden = read_forward_golden(reference, name)
    model = load_torch_aasist(golden.config, golden.weights).eval()
    with torch.no_grad():
        _, logits = model(torch.tensor(golden.wave[-1:], dtype=torch.float32))
    assert logits.dtype == torch.float32
    # The golden's own float32 lies this far from its float64.
    assert relative_error(logits.numpy(), golden.logits_float32[-1:]) < 3e-6


@dataclass(frozen=True)
class Step:
    """What one optimizer step was made from, and the state it left, by PyTorch's names."""

    logits: np.ndarray
    loss: float
    learning_rate: float
    gradients: dict[str, np.ndarray | None]
    state: dict[str, np.ndarray]


def optimizer_steps(golden: TrainGolden) -> Iterator[Step]:
    """Trains on the golden's batch without end, by the published recipe less dropout."""
    hyper = golden.hyper
    model = load_torch_aasist(golden.config, golden.weights).double().train()
    model.set_dropout(0)
    optimizer = torch.optim.Adam(
        model.parameters(),
        lr=hyper["base_lr"],
        betas=tuple(hyper["betas"]),
        eps=hyper["eps"],
        weight_decay=hyper["weight_decay"],
    )
    span = hyper["base_lr"] - hyper["lr_min"]
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: (
            (hyper["lr_min"] + span * (1 + math.cos(math.pi * step / hyper["total_steps"])) / 2) / hyper["base_lr"]
        ),
    )
    wave, labels = torch.tensor(golden.wave), torch.tensor(golden.labels)
    class_weights = torch.tensor(hyper["ce_weights"], dtype=torch.float64)
    while True:
        _, logits = model(wave)
        loss = F.cross_entropy(logits, labels, weight=class_weights)
        optimizer.zero_grad()
        loss.backward()
        learning_rate = optimizer.param_groups[0]["lr"]
        optimizer.step()
        scheduler.step()
        yield Step(
            logits=logits.detach().numpy(),
            loss=loss.item(),
            learning_rate=learning_rate,
            gradients={
                name: None if parameter.grad is None else parameter.grad.numpy().copy()
                for name, parameter in model.named_parameters()
            },
            state={name: value.numpy().copy() for name, value in model.state_dict().items()},
        )


def assert_all_close(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray], bar: float) -> None:
    errors = {name: relative_error(actual[name], array) for name, array in expected.items()}
    assert errors
    assert max(errors.values()) < bar, {name: error for name, error in errors.items() if not error < bar}


def without_noisy_steps(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: array for name, array in state.items() if not has_noise_gradient(name)}


@pytest.mark.reference
@pytest.mark.parametrize("name", TRAIN)
def test_a_training_step_equals_the_golden(reference: Path, name: str) -> None:
    golden = read_train_golden(reference, name)
    step = next(optimizer_steps(golden))

    assert relative_error(step.logits, golden.logits_step0) < 1e-11
    assert step.loss == pytest.approx(golden.losses[0], rel=1e-11)

    assert set(step.gradients) == set(golden.gradients)
    without = {name for name, gradient in step.gradients.items() if gradient is None}
    assert without == {name for name, gradient in golden.gradients.items() if gradient is None}
    gradients = {name: array for name, array in step.gradients.items() if array is not None}
    expected = {name: array for name, array in golden.gradients.items() if array is not None}
    noise = {name for name in expected if has_noise_gradient(name)}
    assert_all_close(gradients, {name: expected[name] for name in expected if name not in noise}, 1e-9)
    for name in noise:
        # Noise against what the weight beside the bias gets; a first layer's noise has come the longest way.
        beside = np.abs(expected[name.replace(".bias", ".weight")]).max()
        assert np.abs(gradients[name]).max() < 1e-10 * beside, name

    assert_all_close(step.state, golden.buffers_after_step1, 1e-11)
    assert_all_close(step.state, without_noisy_steps(golden.params_after_step1), 1e-11)


@pytest.mark.slow
@pytest.mark.reference
@pytest.mark.parametrize("name", TRAIN)
def test_three_optimizer_steps_equal_the_golden(reference: Path, name: str) -> None:
    golden = read_train_golden(reference, name)
    # The losses set how many steps are made.
    steps = [step for step, _ in zip(optimizer_steps(golden), golden.losses, strict=False)]
    np.testing.assert_allclose([step.learning_rate for step in steps], golden.learning_rates, rtol=1e-12)
    np.testing.assert_allclose([step.loss for step in steps], golden.losses, rtol=1e-9)
    assert_all_close(steps[-1].state, without_noisy_steps(golden.state_after_step3), 1e-7)


def fewest_samples(config: dict[str, Any]) -> int:
    """Samples that leave one temporal node: the valid convolution, seven poolings by 3."""
    return 3**7 + config["first_conv"] // 2 * 2


@settings(max_examples=12, deadline=None)
@given(
    filters=st.integers(3, 14),
    taps=st.integers(2, 20),
    channels=st.tuples(*[st.integers(1, 6)] * 3),
    gat_dims=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    ratios=st.tuples(*[st.floats(0.05, 1)] * 3),
    extra=st.integers(0, 3000),
    batch=st.integers(1, 3),
    training=st.booleans(),
)
def test_any_small_config_gives_finite_logits(
    filters: int,
    taps: int,
    channels: tuple[int, int, int],
    gat_dims: tuple[int, int],
    ratios: tuple[float, float, float],
    extra: int,
    batch: int,
    training: bool,
) -> None:
    one, two, last = channels
    config = SMALL_CONFIG | {
        "filts": [filters, [1, one], [one, two], [two, last], [last, last]],
        "first_conv": taps,
        "gat_dims": list(gat_dims),
        "pool_ratios": list(ratios),
    }
    model = TorchAASIST(config).double().train(training and batch > 1)
    samples = fewest_samples(config) + extra
    stages = model.stages(torch.randn(batch, samples, dtype=torch.float64))
    nodes_s, nodes_t = filters // 3, (samples - taps // 2 * 2) // 3**7
    assert stages["block6"].shape == (batch, last, nodes_s, nodes_t)
    assert stages["pool_s"].shape == (batch, max(int(nodes_s * ratios[0]), 1), gat_dims[0])
    assert stages["pool_t"].shape == (batch, max(int(nodes_t * ratios[1]), 1), gat_dims[0])
    assert stages["last_hidden"].shape == (batch, 5 * gat_dims[1])
    assert stages["logits"].shape == (batch, 2)
    assert torch.isfinite(stages["logits"]).all()


def test_training_without_dropout_repeats_itself_and_with_it_does_not() -> None:
    torch.manual_seed(0)
    model = TorchAASIST(SMALL_CONFIG).double().train()
    dropouts = [module for module in model.modules() if isinstance(module, torch.nn.Dropout)]
    # Six graph layers and the branches' outputs, six pools, the output layer.
    assert sorted(dropout.p for dropout in dropouts) == [0.2] * 7 + [0.3] * 6 + [0.5]
    wave = torch.randn(2, 3000, dtype=torch.float64)
    assert not torch.equal(model(wave)[1], model(wave)[1])
    model.set_dropout(0)
    assert {dropout.p for dropout in dropouts} == {0}
    assert torch.equal(model(wave)[1], model(wave)[1])

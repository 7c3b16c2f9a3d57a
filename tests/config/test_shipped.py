"""The configurations of the package: found by name from any folder, and the nearest name is told."""

from pathlib import Path

import pytest

from aasist_jax.config import configuration_names, load_config, shipped
from aasist_jax.errors import ConfigError
from tests.conftest import REPOSITORY


def test_every_file_of_the_repository_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert configuration_names() == sorted(path.stem for path in (REPOSITORY / "configs").glob("*.json"))
    assert {"AASIST", "AASIST-L", "AASIST-L_finetune", "quickstart"} <= set(configuration_names())
    for name in configuration_names():
        assert load_config(name) == load_config(REPOSITORY / "configs" / f"{name}.json")


def test_a_file_comes_before_a_configuration_of_the_same_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("quickstart").mkdir()
    assert load_config("quickstart").batch_size == 12
    Path("quickstart").rmdir()
    Path("quickstart").write_text("[]")
    with pytest.raises(ConfigError, match="quickstart: expected a JSON object"):
        load_config("quickstart")


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("AASIST_L", "did you mean 'AASIST-L'?"),
        ("aasist-l", "did you mean 'AASIST-L'?"),
        ("aasistl", "did you mean 'AASIST-L'?"),
        ("______AASIST______", "did you mean 'AASIST'?"),
        ("A A S I S T", "did you mean 'AASIST'?"),
        ("aasist l FINE tune", "did you mean 'AASIST-L_finetune'?"),
        ("AASIST-L.json", "did you mean 'AASIST-L'?"),
        ("configs/AASIST-L.json", "did you mean 'AASIST-L'?"),
        ("quick-start", "did you mean 'quickstart'?"),
        ("zzz", f"there are {', '.join(configuration_names())}"),
    ],
)
def test_the_nearest_name_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, advice: str) -> None:
    """`AASIST_L`, `aasist-l` as a configuration: the nearest name is suggested; case and separators are ignored."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        load_config(name)
    assert str(caught.value) == f"{name}: no such file, nor a configuration that comes with the package; {advice}"


def test_faults_in_a_named_configuration_name_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"^AASIST: batch_size: expected"):
        load_config("AASIST", ["batch_size=0"])


def test_a_wheel_has_them_within_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped, "_PACKAGE", tmp_path / "aasist_jax")
    for folder in ("configs", "aasist_jax/configs"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / f"{Path(folder).parts[0]}.json").touch()
    assert configuration_names() == ["aasist_jax"]

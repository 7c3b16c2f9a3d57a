"""Experiment configurations: JSON files read into frozen dataclasses, strictly.

The official AASIST `.conf` files load as they are, their "True" and "False" strings included. Whatever is not
understood is refused with one line that names the file, the key and what was expected.
"""

import dataclasses
import difflib
import json
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from aasist_jax.errors import ConfigError

Number = int | float


@dataclass(frozen=True)
class OptimConfig:
    """Adam with L2 added to the gradient, and a learning rate per step (the official `optim_config`)."""

    optimizer: Literal["adam"] = "adam"
    amsgrad: bool = False
    base_lr: float = 1e-4
    lr_min: float = 5e-6
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 1e-4
    scheduler: Literal["cosine", "constant"] = "cosine"

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.amsgrad:
            raise ValueError('amsgrad: expected "False" (no published recipe uses AMSGrad)')
        if not self.base_lr > 0:
            raise ValueError(f"base_lr: expected a positive number, got {self.base_lr}")
        if not 0 <= self.lr_min <= self.base_lr:
            raise ValueError(f"lr_min: expected a number from 0 to base_lr, got {self.lr_min}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas: expected two numbers in [0, 1), got {list(self.betas)}")
        if self.weight_decay < 0:
            raise ValueError(f"weight_decay: expected a number of at least 0, got {self.weight_decay}")


@dataclass(frozen=True)
class DataConfig:
    """Where clips come from and how they are fed.

    `layout` is `asvspoof2019_la` (the published folders under `database_path`) or `csv` (`database_path` names
    the table). `workers` is the number of decoding processes, 0 decodes in the training process. `cache` names
    a folder for decoded audio, empty for none. `on_bad_file` says what to do where the check before the first
    step finds missing or unreadable files. `corpus` is `quickstart` where the data set is to be built first.
    """

    layout: str = "asvspoof2019_la"
    workers: int = 0
    cache: str = ""
    on_bad_file: Literal["fail", "skip"] = "fail"
    corpus: Literal["", "quickstart"] = ""

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.workers < 0:
            raise ValueError(f"workers: expected 0 or more, got {self.workers}")


@dataclass(frozen=True)
class TrainConfig:
    """How a run proceeds, beyond the published recipe.

    `cpu_devices` splits a CPU into as many devices, each computing on a core of its own; other backends ignore it.
    `dtype` is the compute type; parameters stay float32. `accumulation` splits each batch into as many equal
    parts on every device, and gradients are summed (batch-norm statistics are then those of a part).
    `class_weights` are the cross-entropy weights of spoof and bona fide. `checkpoint_steps` and
    `checkpoint_minutes` set how often the run is saved, 0 switches one off. `freeze` lists patterns
    (fnmatch, on names such as `encoder/block1/conv1/kernel`) of parameters that stay as they are. `log_batches`
    adds every logged batch's utterances to the log. `shuffle_labels` deals out the labels of train and dev at
    random: a control.
    """

    seed: int = 1234
    cpu_devices: int = 1
    dtype: Literal["float32", "bfloat16"] = "float32"
    accumulation: int = 1
    class_weights: tuple[float, float] = (0.1, 0.9)
    selection: Literal["dev", "published"] = "dev"
    init: str = ""
    freeze: tuple[str, ...] = ()
    checkpoint_steps: int = 0
    checkpoint_minutes: float = 10.0
    log_steps: int = 10
    log_batches: bool = False
    eval_batch_size: int = 0
    shuffle_labels: bool = False

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.seed < 0:
            raise ValueError(f"seed: expected 0 or more, got {self.seed}")
        for name in ("cpu_devices", "accumulation", "log_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected 1 or more, got {getattr(self, name)}")
        for name in ("checkpoint_steps", "checkpoint_minutes", "eval_batch_size"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: expected 0 or more, got {getattr(self, name)}")
        if min(self.class_weights) <= 0:
            raise ValueError(f"class_weights: expected two positive weights, got {list(self.class_weights)}")


@dataclass(frozen=True)
class ExperimentConfig:
    """One experiment. Fields above `data_config` are the official ones and keep their official meaning.

    `eval_all_best`, `eval_output` and the `cudnn_*` switches are read for the sake of the official files.
    """

    model_config: Any
    optim_config: OptimConfig = field(default_factory=OptimConfig)
    database_path: str = "./LA/"
    asv_score_path: str = ""
    model_path: str = ""
    batch_size: int = 24
    num_epochs: int = 100
    loss: Literal["CCE"] = "CCE"
    track: Literal["LA", "PA", "DF"] = "LA"
    eval_all_best: bool = True
    eval_output: str = "eval_scores_using_best_dev_model.txt"
    cudnn_deterministic_toggle: bool = True
    cudnn_benchmark_toggle: bool = False
    freq_aug: bool = False
    data_config: DataConfig = field(default_factory=DataConfig)
    train_config: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("batch_size", "num_epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected 1 or more, got {getattr(self, name)}")
        if self.data_config.corpus and self.data_config.layout == "csv":
            raise ValueError('data_config.corpus: expected "" where data_config.layout is "csv"')


def load_config(path: str | PathLike[str], overrides: Sequence[str] = ()) -> ExperimentConfig:
    """Read an experiment configuration, ours or an official `.conf` file.

    Args:
        path: a JSON file.
        overrides: changes on top, each `key=value` with dots into the sections, such as
            `optim_config.base_lr=5e-5`. A value is read as JSON, and as a plain string where it is none.

    Raises:
        ConfigError: one line that names the file, the key and what was expected.
    """
    raw = read_json(path)
    for override in overrides:
        _apply_override(raw, override)
    return parse_config(raw, str(path))


def parse_config(raw: Mapping[str, Any], origin: str) -> ExperimentConfig:
    """Turn a parsed JSON object into a configuration; `origin` names it in errors."""
    config: ExperimentConfig = parse_dataclass(ExperimentConfig, raw, origin)
    return dataclasses.replace(config, model_config=parse_model_config(config.model_config, origin))


def parse_model_config(raw: Any, origin: str, key: str = "model_config") -> Any:
    """Turn a `model_config` object into the frozen dataclass of its architecture."""
    from aasist_jax.models.family import family, family_names

    if not isinstance(raw, Mapping):
        raise ConfigError(f"{origin}: {key}: expected an object, got {_show(raw)}")
    if "architecture" not in raw:
        raise ConfigError(f"{origin}: {key}.architecture: missing; expected one of {family_names()}")
    name = raw["architecture"]
    if name not in family_names():
        raise ConfigError(f"{origin}: {key}.architecture: expected one of {family_names()}, got {_show(name)}")
    fields = {k: v for k, v in raw.items() if k != "architecture"}
    return parse_dataclass(family(name).config_type, fields, origin, key)


def to_json(config: Any) -> Any:
    """Turn a configuration back into what JSON can hold; `parse_config` reads it again to an equal one."""
    from aasist_jax.models.family import family_of

    if isinstance(config, ExperimentConfig):
        raw = {f.name: to_json(getattr(config, f.name)) for f in dataclasses.fields(config)}
        raw["model_config"] = {"architecture": family_of(config.model_config).name} | raw["model_config"]
        return raw
    if dataclasses.is_dataclass(config):
        return {f.name: to_json(getattr(config, f.name)) for f in dataclasses.fields(config)}
    if isinstance(config, tuple):
        return [to_json(item) for item in config]
    return config


def read_json(path: str | PathLike[str]) -> dict[str, Any]:
    """Read a JSON file whose top is an object; a repeated key, NaN or infinity is an error."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError(f"{path}: cannot be read ({reason}); expected a JSON file") from None
    try:
        raw = _parse_json(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: expected a JSON object at the top, got {_show(raw)}")
    return raw


def parse_dataclass(cls: type, raw: Any, origin: str, prefix: str = "") -> Any:
    """Build the frozen dataclass `cls` from a JSON object, every key and type checked."""
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{origin}: {prefix or 'top'}: expected an object, got {_show(raw)}")
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls)}
    for key in raw:
        if key not in fields:
            close = difflib.get_close_matches(str(key), fields, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"expected one of {sorted(fields)}"
            raise ConfigError(f"{origin}: {_join(prefix, key)}: unknown key; {hint}")
    values = {}
    for name, spec in fields.items():
        key = _join(prefix, name)
        if name in raw:
            values[name] = _parse_value(hints[name], raw[name], origin, key)
        elif spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{origin}: {key}: missing; expected {_describe(hints[name])}")
    try:
        return cls(**values)
    except ValueError as error:
        raise ConfigError(f"{origin}: {_join(prefix, str(error))}") from None


def _parse_value(hint: Any, value: Any, origin: str, key: str) -> Any:
    if hint is Any:
        return value
    if dataclasses.is_dataclass(hint):
        return parse_dataclass(typing.cast(type, hint), value, origin, key)
    kind, args = typing.get_origin(hint), typing.get_args(hint)
    if kind is tuple and isinstance(value, list):
        variadic = len(args) == 2 and args[1] is Ellipsis
        hints = [args[0]] * len(value) if variadic else list(args)
        if len(hints) == len(value):
            parts = zip(hints, value, strict=True)
            return tuple(_parse_value(h, v, origin, f"{key}[{i}]") for i, (h, v) in enumerate(parts))
    if kind is Literal and value in args:
        return value
    if hint is bool:
        if value in ("True", "False"):
            return value == "True"
        if isinstance(value, bool):
            return value
    is_number = isinstance(value, Number) and not isinstance(value, bool)
    if hint is int and is_number and isinstance(value, int):
        return value
    if hint is float and is_number and abs(value) <= sys.float_info.max:
        return float(value)
    if hint is str and isinstance(value, str):
        return value
    raise ConfigError(f"{origin}: {key}: expected {_describe(hint)}, got {_show(value)}")


def _describe(hint: Any) -> str:
    kind, args = typing.get_origin(hint), typing.get_args(hint)
    if kind is Literal:
        return " or ".join(repr(a) for a in args)
    if kind is tuple:
        if len(args) == 2 and args[1] is Ellipsis:
            return f"a list, each item {_describe(args[0])}"
        return f"a list of {len(args)} ({', '.join(_describe(a) for a in args)})"
    if kind in (types.UnionType, typing.Union):
        return " or ".join(_describe(a) for a in args)
    names = {int: "an integer", float: "a number", bool: "true or false", str: "a string"}
    return names.get(hint, "an object")


def _show(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _join(prefix: str, key: str) -> str:
    return f"{prefix}.{key}" if prefix else str(key)


def _parse_json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"the key {key!r} stands twice")
        result[key] = value
    return result


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _apply_override(raw: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {override}: expected KEY=VALUE, such as optim_config.base_lr=5e-5")
    try:
        value = _parse_json(text)
    except (ValueError, RecursionError):
        value = text
    *sections, last = key.split(".")
    target = raw
    for section in sections:
        target = target.setdefault(section, {})
        if not isinstance(target, dict):
            raise ConfigError(f"--set {override}: {section} is no section of the configuration")
    target[last] = value

"""Experiment configurations: JSON files, given by path or by the name of one that comes with the package.

`experiment` defines the types, `parse` reads and checks JSON, `shipped` finds the configurations of the package.
"""

from aasist_jax.config.experiment import DataConfig, ExperimentConfig, OptimConfig, TrainConfig
from aasist_jax.config.parse import (
    load_config,
    parse_augmentation,
    parse_config,
    parse_dataclass,
    parse_model_config,
    read_json,
    to_json,
)
from aasist_jax.config.shipped import configuration_names

__all__ = [
    "DataConfig",
    "ExperimentConfig",
    "OptimConfig",
    "TrainConfig",
    "configuration_names",
    "load_config",
    "parse_augmentation",
    "parse_config",
    "parse_dataclass",
    "parse_model_config",
    "read_json",
    "to_json",
]

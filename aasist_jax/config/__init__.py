"""Experiment configurations: JSON files, or names of those that come with the package, read into frozen types.

`experiment` has the types, `parse` reads them strictly, `shipped` finds the configurations of the package by name.
"""

from aasist_jax.config.experiment import DataConfig, ExperimentConfig, OptimConfig, TrainConfig
from aasist_jax.config.parse import load_config, parse_config, parse_dataclass, parse_model_config, read_json, to_json
from aasist_jax.config.shipped import configuration_names

__all__ = [
    "DataConfig",
    "ExperimentConfig",
    "OptimConfig",
    "TrainConfig",
    "configuration_names",
    "load_config",
    "parse_config",
    "parse_dataclass",
    "parse_model_config",
    "read_json",
    "to_json",
]

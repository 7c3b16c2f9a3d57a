"""The identity of a run, which must not change when it is resumed, and its environment, which may."""

import datetime
import hashlib
import importlib.metadata
import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax

from aasist_jax.config import ExperimentConfig, parse_config, to_json
from aasist_jax.data.splits import Split
from aasist_jax.errors import ConfigError, TrainingError
from aasist_jax.ops.choice import native_kernels
from aasist_jax.runtime.files import read_text

PACKAGES = (
    *("aasist-jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain"),
    *("numpy", "scipy", "soundfile", "soxr", "pyroomacoustics", "G722"),
)


def run_identity(
    config: ExperimentConfig,
    splits: Mapping[str, Split],
    init: str,
    sounds: Sequence[str] = (),
    more: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    """Collect the values that must be the same for a resumed run to give bit-identical results.

    Args:
        config: configuration of the experiment.
        splits: the data by split.
        init: where the initial weights come from: the seed, or the id of a model.
        sounds: a line for every file that augmentation reads, see `aasist_jax.augmentation.prepare`.
        more: further marks by name, of what the configuration only names.
    """
    files = {"augmentation_files": hashlib.sha256("\n".join(sounds).encode()).hexdigest()} if sounds else {}
    return {**files, **more} | {
        "config": to_json(config),
        "data": {name: split.fingerprint for name, split in splits.items()},
        "init": init,
        "devices": jax.device_count(),
        "processes": jax.process_count(),
    }


def check_identity(root: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Check that this run is the one in the folder `root`.

    Raises:
        TrainingError: the two results of `run_identity` differ.
    """
    changed = differences(before | {"config": _with_new_keys(before.get("config"))}, now)
    if changed:
        raise TrainingError(
            f"{root}: holds a run that differs from what is asked for: {'; '.join(changed)}. "
            "Undo the change to resume it, or give another --output"
        )


def describe_environment(seed: int) -> dict[str, Any]:
    """Describe the environment: start time, versions, git revision, seed, devices, use of the C++ kernels."""
    return {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "git_revision": _git_revision(),
        "seed": seed,
        "devices": [str(device) for device in jax.devices()],
        "processes": jax.process_count(),
        "native_kernels": native_kernels(),
    }


def software_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """List the software that differs between two results of `describe_environment`; results may differ slightly."""
    keys = ("python", "packages", "git_revision", "native_kernels")
    return differences({key: before.get(key) for key in keys}, {key: now[key] for key in keys})


def config_fault(path: Path, config: ExperimentConfig) -> str:
    """Say what a run folder's `config.json` holds other than the configuration of the run; "" if nothing."""
    try:
        found = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError) as error:
        return f"cannot be read ({(error.strerror if isinstance(error, OSError) else None) or error})"
    expected, found = to_json(config), _with_new_keys(found)
    if found == expected:
        return ""
    changed = differences(expected, found) if isinstance(found, dict) else []
    return f"is not as it was written ({'; '.join(changed) or 'other keys'})"


def _with_new_keys(config: Any) -> Any:
    """A configuration that an earlier version of this package wrote, with the defaults of keys that it did not know."""
    try:
        return to_json(parse_config(config, "config.json"))
    except (ConfigError, TypeError, AttributeError):
        return config


def differences(before: Any, now: Any, key: str = "") -> list[str]:
    """List where two JSON values differ, as `key: was X, is Y`."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = [*before, *(k for k in now if k not in before)]
        return [line for k in keys for line in differences(before.get(k), now.get(k), f"{key}.{k}" if key else k)]
    return [] if before == now else [f"{key}: was {json.dumps(before)}, is {json.dumps(now)}"]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git_revision() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None

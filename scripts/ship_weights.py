"""Put trained, calibrated weights into the package: `python scripts/ship_weights.py RUN NAME --notice NOTICE`.

Parameters are stored as float16. To a calibration these are other weights, so it is fitted again, by the command that
it names: the data must be where they were. NOTICE is a text that says what the weights were made from, under which
licences, with the notices that these ask for.
"""

import argparse
import os
import re
import shlex
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from aasist_jax.calibration.detector_calibration import (
    DetectorCalibration,
    read_detector_calibration,
    save_detector_calibration,
)
from aasist_jax.commands.app import load_verb
from aasist_jax.detection.detector import CALIBRATION_FILE
from aasist_jax.errors import AasistError, WeightsError
from aasist_jax.weights import shipped
from aasist_jax.weights.folder import load_weights, save_weights

LICENCE = Path(__file__).resolve().parent.parent / "LICENSE"

LARGEST, LARGEST_OF = 10_000_000, {"small": 1_000_000}
"""Bytes of a folder with all its files, and of those that must be smaller."""


def largest(name: str) -> int:
    """The most bytes that the folder of these weights may have."""
    return LARGEST_OF.get(name, LARGEST)


def ship(trained: Path, name: str, notice: Path) -> Path:
    """Write the folder of the package; one of that name is replaced.

    Args:
        trained: the folder of a run, or a weights folder.
        name: of the weights in the package.
        notice: a text file.

    Raises:
        WeightsError: there is no calibration of these weights, no notice, or all together is too large.
        AasistError: what the calibration was fitted on cannot be read.
    """
    if not re.fullmatch("[a-z][a-z0-9-]*", name):
        raise WeightsError(f"{name!r}: a name is of small letters, digits and dashes, as in `small`")
    if not notice.is_file() or not notice.read_text(encoding="utf-8").strip():
        raise WeightsError(f"{notice}: holds no text; say there what the weights were made from, and its licences")
    folder = trained / "weights" if (trained / "weights").is_dir() else trained
    weights, calibration = load_weights(folder), calibration_of(folder)
    with tempfile.TemporaryDirectory(dir=shipped.FOLDER, prefix=f".{name}-") as scratch:
        made = save_weights(Path(scratch) / name, weights.config, weights.variables, weights.source, dtype="float16")
        shutil.copyfile(LICENCE, made / "LICENSE")
        shutil.copyfile(notice, made / "NOTICE")
        check_size(made, name)
        save_detector_calibration(fitted_again(calibration, made, name), made / CALIBRATION_FILE)
        check_size(made, name)
        target = shipped.shipped_folder(name)
        if target.exists():
            os.replace(target, Path(scratch) / "before")
        os.replace(made, target)
    return target


def calibration_of(folder: Path) -> DetectorCalibration:
    """The calibration in a weights folder, if it is one of those weights."""
    path, way_out = folder / CALIBRATION_FILE, f"run `aasist-jax calibrate {folder} --data CLIPS` first"
    if not path.is_file():
        raise WeightsError(f"{folder}: not calibrated; {way_out}")
    calibration = read_detector_calibration(path)
    if calibration.weights_id != load_weights(folder).weights_id:
        raise WeightsError(f"{path}: was fitted on other weights, {calibration.weights_id}; {way_out}")
    return calibration


def fitted_again(calibration: DetectorCalibration, made: Path, name: str) -> DetectorCalibration:
    """The calibration of the weights in `made`, by the command of one of the same weights in another type."""
    _, _, _, _, data, *options = shlex.split(calibration.fitted_on.command)
    if calibration.weights_id != load_weights(made).weights_id:
        load_verb("calibrate").main([str(made), "--data", data, *options], standalone_mode=False)
        before, calibration = calibration, read_detector_calibration(made / CALIBRATION_FILE)
        if calibration.fitted_on.sha256 != before.fitted_on.sha256:
            raise WeightsError(f"{data}: holds other recordings than those of the calibration; calibrate again first")
    # Where the data lay on this machine is nothing to others.
    command = shlex.join(["aasist-jax", "calibrate", name, "--data", Path(data).name, *options])
    return replace(calibration, fitted_on=replace(calibration.fitted_on, command=command))


def check_size(folder: Path, name: str) -> None:
    """Refuse what is too large to come with the package."""
    size = shipped.folder_size(folder)
    if size > largest(name):
        raise WeightsError(f"{name}: {size:,} bytes, more than {largest(name):,}; train a smaller model")


def main() -> None:
    """Read the command line, and print what was written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trained", type=Path, help="the folder of a run, or a weights folder, with its calibration")
    parser.add_argument("name", help="of the weights in the package: default, small, fast")
    parser.add_argument("--notice", type=Path, required=True, help="text file: made from what, under which licences")
    options = parser.parse_args()
    try:
        folder = ship(options.trained, options.name, options.notice)
    except AasistError as error:
        sys.exit(f"error: {error}")
    print(f"{folder}: {shipped.folder_size(folder):,} bytes; its model card is docs/models/{options.name}.md")


if __name__ == "__main__":
    main()

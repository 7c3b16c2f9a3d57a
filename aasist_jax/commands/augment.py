"""aasist-jax augment: Write augmented copies of a recording, to be listened to.

Every kind of augmentation that training can apply is one file or more, named by the kind and its settings. With
--chain, files are what a configuration with that data_config.augmentation would train on.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer


def augment(
    file: Annotated[Path, typer.Argument(help="A recording.")],
    output: Annotated[Path, typer.Option(help="Folder for the copies, WAV at 16 kHz.")],
    kind: Annotated[list[str] | None, typer.Option(help="One kind; repeat for more (default: all).")] = None,
    chain: Annotated[
        str | None, typer.Option(help="A chain instead, as JSON, as data_config.augmentation takes it.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="With --chain: copies, each drawn anew.")] = 5,
    speech: Annotated[
        Path | None, typer.Option(help="Folder of recordings to make babble of (default: the recording itself).")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="How much of the recording is used, from its start.")] = 30.0,
    seed: Annotated[int, typer.Option(min=0, help="Another seed draws other numbers.")] = 0,
) -> None:
    """Write the files and print, for each, what was drawn."""
    from aasist_jax.audio.load import SAMPLE_RATE, load_start
    from aasist_jax.augmentation.sound.files import load_sound, sound_files
    from aasist_jax.data.augmented_files import example_chains, missing, write_augmented
    from aasist_jax.errors import ConfigError
    from aasist_jax.runtime.messages import print_warning

    if chain is not None and kind:
        raise ConfigError("--chain: says which kinds there are; leave --kind out")
    if chain is not None:
        chains = {f"chain-{number}": _read(chain) for number in range(1, count + 1)}
    else:
        chains = example_chains(kind or ())
    wave, _ = load_start(file, round(seconds * SAMPLE_RATE))
    clips = [load_sound(path).astype("float32") for path in sound_files(str(speech))] if speech else [wave]
    reasons = {name: missing(steps) for name, steps in chains.items()}
    for reason in dict.fromkeys(filter(None, reasons.values())):
        print_warning(reason)
    there = [(name, steps) for name, steps in chains.items() if not reasons[name]]
    for written in write_augmented(wave, there, output, seed=seed, clips=clips):
        done = "; ".join(f"{name}: {_numbers(drawn)}" for name, drawn in written.drawn)
        print(f"{written.path}  {done or 'as it was'}")


def _read(text: str) -> tuple[Any, ...]:
    import json

    from aasist_jax.config import parse_augmentation
    from aasist_jax.errors import ConfigError

    try:
        raw = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"--chain: not valid JSON ({error})") from None
    return parse_augmentation(raw, "--chain", "chain")


def _numbers(drawn: Mapping[str, str | float | int]) -> str:
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in drawn.items()
    )

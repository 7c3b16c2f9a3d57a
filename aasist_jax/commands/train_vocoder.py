"""aasist-jax train-vocoder: Train a vocoder that copies human speech.

The large corpus trains its own; one trained here is given to it by `build-corpus --size large --vocoders FOLDER`, where
FOLDER has a folder for each, by the name of its kind. It takes an hour or more on a few cores. The same command goes on
where an earlier one was stopped.
"""

from pathlib import Path
from typing import Annotated

import typer


def train_vocoder(
    kind: Annotated[str, typer.Argument(help="vocos, multiband_gan or diffusion.")],
    data: Annotated[
        Path, typer.Option(help="Human speech: a data set, whose bona fide training clips are used, or a folder.")
    ],
    output: Annotated[Path, typer.Option(help="Folder for the vocoder.")],
    steps: Annotated[int | None, typer.Option(min=1, help="Of training (default: as many as the kind needs).")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Pieces of speech of a step (default: 8).")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives other weights.")] = 0,
) -> None:
    """Train it, and write its weights and their description."""
    import dataclasses

    from aasist_jax.runtime.start_up import prepare_to_compute

    prepare_to_compute()
    from aasist_jax.corpus.neural_vocoders.kinds import KINDS
    from aasist_jax.corpus.neural_vocoders.speech import read_speech
    from aasist_jax.corpus.neural_vocoders.trained import is_trained
    from aasist_jax.corpus.neural_vocoders.trained import train_vocoder as train
    from aasist_jax.corpus.neural_vocoders.training import Report
    from aasist_jax.errors import ConfigError, nearest
    from aasist_jax.runtime.messages import say
    from aasist_jax.runtime.progress import Progress

    if kind not in KINDS:
        raise ConfigError(f"KIND {kind!r}: {nearest(kind, KINDS)}")
    if is_trained(output):
        raise ConfigError(f"--output {output}: holds a trained vocoder; give another folder")
    given = {"steps": steps, "batch": batch, "seed": seed}
    changes = {name: value for name, value in given.items() if value is not None}
    settings = dataclasses.replace(KINDS[kind].settings, **changes)
    speech = read_speech(data)
    say(speech.described)
    with Progress(lines="now and then") as progress:

        def show(report: Report) -> None:
            note = ", ".join(f"{name} {value:.3f}" for name, value in report.losses.items())
            progress.update("training", report.done, report.steps, unit="steps", note=note)

        train(kind, settings, speech.waves, output, show)
    say(f"{output}: {kind}, {settings.steps:,} steps")

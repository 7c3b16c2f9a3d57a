import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasist_jax.corpus.large.plan import Group, LargeClip
from aasist_jax.corpus.large.systems import SYSTEMS, choose_systems
from aasist_jax.corpus.large.vocoders import FOLDER, prepare_vocoders, vocoders_of
from aasist_jax.corpus.neural_vocoders import kinds, training
from aasist_jax.corpus.neural_vocoders.trained import CONFIG, MODEL, copy_by, is_trained
from aasist_jax.corpus.neural_vocoders.training import CHECKPOINT, TrainingSettings
from aasist_jax.corpus.neural_vocoders.vocos import Vocos, VocosConfig
from aasist_jax.errors import DataError
from tests.corpus.made_voices import speech_like

pytestmark = pytest.mark.usefixtures("quickly_compiled")

VOCOS_ALONE = choose_systems({"multiband_gan", "diffusion"})


@dataclass(frozen=True)
class SmallVocos(VocosConfig):
    """Sizes with which a step takes no time."""

    width: int = 8
    blocks: int = 1
    expansion: int = 2


def a_group(root: Path, split: str, number: int) -> Group:
    path = root / f"{split}_{number}.wav"
    soundfile.write(path, speech_like(1.0, number), 16_000)
    clip = LargeClip(f"LC_{split}_{number}", split, "-", "someone", "en", "package", 0.8, "clean", (path.name,))
    return Group(clip, ())


def test_vocoders_are_among_the_systems() -> None:
    assert vocoders_of(SYSTEMS) == ("vocos", "multiband_gan", "diffusion")
    assert vocoders_of(VOCOS_ALONE) == ("vocos",)


def test_a_vocoder_is_trained_on_train_alone_and_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = dataclasses.replace(
        kinds.KINDS["vocos"],
        config=SmallVocos,
        network=lambda config: Vocos(config),
        settings=TrainingSettings(steps=50, batch=2, frames=8),
    )
    monkeypatch.setitem(kinds.KINDS, "vocos", small)  # type: ignore[arg-type]
    monkeypatch.setattr(training, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    groups = [a_group(tmp_path, "train", 1), a_group(tmp_path, "train", 2)]
    of_others = [a_group(tmp_path, split, 3) for split in ("dev", "eval")]

    class Killed(Exception):
        pass

    told: list[tuple[str, int, int]] = []
    kill_at = 3

    def progress(stage: str, done: int, total: int) -> None:
        told.append((stage, done, total))
        if done == kill_at:
            raise Killed

    def prepare(output: str, groups: list[Group]) -> dict[str, str]:
        return prepare_vocoders(tmp_path / output, tmp_path, groups, VOCOS_ALONE, progress, given=None, steps=4, seed=1)

    with pytest.raises(Killed):
        prepare("killed", [*groups, *of_others])
    assert not is_trained(tmp_path / "killed" / FOLDER / "vocos")
    kill_at = 0
    told.clear()
    # What other splits have plays no part, so the weights are those of a run without them.
    sums = prepare("killed", [*groups, *of_others])
    assert told == [("training vocos", 3, 4), ("training vocos", 4, 4)]
    assert prepare("whole", groups) == sums
    told.clear()
    assert prepare("whole", groups) == sums
    assert told == []
    made = copy_by(tmp_path / "whole" / FOLDER / "vocos", speech_like(0.5, 9), np.random.default_rng(0))
    assert made.shape == (8000,)
    unfinished = tmp_path / "taken" / FOLDER / "vocos" / CHECKPOINT
    unfinished.parent.mkdir(parents=True)
    unfinished.touch()
    taken = prepare_vocoders(
        *(tmp_path / "taken", tmp_path, [], VOCOS_ALONE, progress),
        given=tmp_path / "whole" / FOLDER,
        steps=None,
        seed=1,
    )
    assert taken == sums
    assert {path.name for path in unfinished.parent.iterdir()} == {CONFIG, MODEL}
    (unfinished.parent / MODEL).write_bytes(b"half")
    with pytest.raises(DataError, match="vocos: damaged"):
        prepare_vocoders(tmp_path / "taken", tmp_path, [], VOCOS_ALONE, progress, given=None, steps=None, seed=1)

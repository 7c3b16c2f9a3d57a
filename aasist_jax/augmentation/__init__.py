"""What is done to training clips so that a model meets more channels than the corpus has: every file here is one kind.

To add a kind, add one file that sets `AUGMENTATION` to a subclass of `Augmentation` with the file's name as its tag. No
other change is needed; configurations name it as `kind` in `data_config.augmentation`. `sound/` holds what several
kinds, and the corpora that we build, have in common.
"""

import dataclasses
import importlib
import math
import pkgutil
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, NamedTuple, Protocol, runtime_checkable

import msgspec
import numpy as np
from jaxtyping import Float32
from msgspec import Meta

from aasist_jax.augmentation.sound import OtherWave, Wave
from aasist_jax.errors import AudioError, ConfigError, nearest
from aasist_jax.runtime.abstract_struct import AbstractStruct

Share = Annotated[float, Meta(ge=0, le=1)]
PositiveCount = Annotated[int, Meta(ge=1)]
Range = tuple[float, float]
"""The lowest and the highest value that is drawn; they may be equal."""

AnyRange = tuple[float | int, float | int]

Drawn = Mapping[str, str | float | int]
"""What was drawn for one wave, by name; for people to read."""


@runtime_checkable
class Clips(Protocol):
    """Speech of other recordings, which babble is made of: waves at 16 kHz by position."""

    def __len__(self) -> int:
        """Number of clips."""

    def __getitem__(self, position: int) -> OtherWave:
        """The wave at a position."""


class Changed(NamedTuple):
    """A changed wave, and what was drawn for it."""

    wave: OtherWave
    drawn: Drawn


class Augmentation(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="", metaclass=AbstractStruct):
    """One kind and its settings; a subclass adds its own as fields, whose types and `__post_init__` check them.

    Attributes:
        probability: how often it is applied; within `one_of`, its weight among the others.
    """

    probability: Share = 1.0

    @abstractmethod
    def change(self, wave: Wave, rng: np.random.Generator, clips: Clips) -> Changed:
        """Change a wave.

        Args:
            wave: float64 (samples,), one sample or more, at 16 kHz in about [-1, 1]; it must not be written to.
            rng: all that is random is drawn from it, so that the result follows from its state.
            clips: other recordings of the same data, maybe none.
        """

    def least_share(self) -> float:
        """The least share of a wave's length that is left, at most 1; a longer piece of the clip is then cut before."""
        return 1.0

    def takes_other_clips(self) -> bool:
        """Whether `change` makes use of `clips`, so that its result depends on which other recordings there are."""
        return False

    def prepare(self) -> Sequence[str]:
        """Check before the first step that all is there that the kind needs.

        Returns:
            A line for every file that it will read, which differs if the file does; a resumed run must have the same.

        Raises:
            AudioError: a package, a program or files are missing; the message says how to get them.
        """
        return ()

    @classmethod
    def examples(cls) -> tuple["Augmentation", ...]:
        """Settings worth hearing, for `aasist-jax augment`."""
        return (cls(),)

    def __call__(self, wave: Float32[np.ndarray, "samples"], rng: np.random.Generator) -> Float32[np.ndarray, "_new"]:
        """Apply the kind, whatever its probability, to float32 mono at 16 kHz; see `apply`."""
        return apply(self, wave, rng).wave


@dataclasses.dataclass(frozen=True)
class OneOf:
    """One of several kinds, drawn with the `probability` of each as its weight.

    Attributes:
        one_of: the kinds.
        probability: how often one of them is applied.
    """

    one_of: tuple[Augmentation, ...]
    probability: Share = 1.0

    def __post_init__(self) -> None:
        """Check what the types cannot express."""
        if not sum(step.probability for step in self.one_of):
            raise ValueError("one_of: expected kinds of which one at least has a probability above 0")

    def draw(self, rng: np.random.Generator) -> Augmentation:
        """One of the kinds."""
        weights = np.cumsum([step.probability for step in self.one_of])
        return self.one_of[int(np.searchsorted(weights, rng.uniform(0, weights[-1]), side="right"))]


Step = Augmentation | OneOf
Chain = tuple[Step, ...]


def kind_names() -> list[str]:
    """The names of all kinds, sorted: those of the files in this folder."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg)


def find_kind(name: str) -> type[Augmentation]:
    """Return the kind of that name; only its file is imported.

    Raises:
        ConfigError: there is none, or its file does not set `AUGMENTATION`.
    """
    names = kind_names()
    if name not in names:
        raise ConfigError(f"there is no augmentation {name!r}; {nearest(name, names)}")
    kind = getattr(importlib.import_module(f"{__name__}.{name}"), "AUGMENTATION", None)
    if not isinstance(kind, type) or not issubclass(kind, Augmentation) or kind_of(kind) != name:
        raise ConfigError(f"augmentation/{name}.py: sets no AUGMENTATION, a subclass of Augmentation with tag={name!r}")
    return kind


def kind_of(step: Augmentation | type[Augmentation]) -> str:
    """The name of a kind."""
    return str(step.__struct_config__.tag)


def apply(
    step: Augmentation, wave: Float32[np.ndarray, "samples"], rng: np.random.Generator, clips: Clips = ()
) -> Changed:
    """Apply a kind, whatever its probability.

    Returns:
        float32, finite; the peak is at most full scale or that of `wave`, whichever is higher: what exceeds it is
        scaled down. A wave without samples comes back as it is.

    Raises:
        AudioError: a file of one's own cannot be read, or a program fails.
    """
    if not wave.size:
        return Changed(wave, {})
    changed = step.change(wave.astype(np.float64), rng, clips)
    limit = max(1.0, float(np.abs(wave).max()))
    peak = float(np.abs(changed.wave).max(initial=0.0))
    if not np.isfinite(peak):
        raise AudioError(f"augmentation {kind_of(step)!r}: gives samples that are not finite; leave it out")
    result = np.asarray(changed.wave * (limit / peak) if peak > limit else changed.wave, np.float32)
    return Changed(result, changed.drawn)


def augment(
    wave: Float32[np.ndarray, "samples"], chain: Chain, rng: np.random.Generator, clips: Clips = ()
) -> tuple[Float32[np.ndarray, "_new"], list[tuple[str, Drawn]]]:
    """Apply the steps of a chain one after the other, each with its probability.

    Returns:
        The wave, and for every kind that was applied its name and what was drawn.
    """
    done = []
    for step in chain:
        if rng.random() < step.probability:
            kind = step.draw(rng) if isinstance(step, OneOf) else step
            wave, drawn = apply(kind, wave, rng, clips)
            done.append((kind_of(kind), drawn))
    return wave, done


def least_share(chain: Chain) -> float:
    """The least share of a wave's length that a chain leaves, at most 1."""
    return math.prod((min(min(kind.least_share(), 1.0) for kind in kinds) for kinds in _kinds(chain)), start=1.0)


def takes_other_clips(chain: Chain) -> bool:
    """Whether what a chain makes of a clip depends on which other ones there are."""
    return any(kind.takes_other_clips() for kinds in _kinds(chain) for kind in kinds)


def prepare(chain: Chain) -> list[str]:
    """Check what all kinds of a chain need, see `Augmentation.prepare`."""
    return [mark for kinds in _kinds(chain) for kind in kinds for mark in kind.prepare()]


def _kinds(chain: Chain) -> Iterator[tuple[Augmentation, ...]]:
    """The kinds of each step, of which one is applied."""
    for step in chain:
        yield step.one_of if isinstance(step, OneOf) else (step,)


def check_range(name: str, pair: AnyRange, lowest: float | int, highest: float | int, unit: str = "") -> None:
    """Check a setting of two numbers.

    Raises:
        ValueError: they are not in order, or outside the limits.
    """
    low, high = pair
    if not lowest <= low <= high <= highest:
        limits = f"from {lowest:g} to {highest:g}{f' {unit}' if unit else ''}"
        raise ValueError(f"{name}: expected two numbers, the lower one first, {limits}, got [{low:g}, {high:g}]")


def uniform(rng: np.random.Generator, pair: AnyRange) -> float:
    """A number from a range, all equally likely."""
    return float(rng.uniform(*pair))


def log_uniform(rng: np.random.Generator, pair: AnyRange) -> float:
    """A number from a range above 0, all octaves equally likely; as one hears frequencies."""
    return float(np.exp(rng.uniform(*np.log(pair))))


def one(rng: np.random.Generator, choices: Sequence[Any]) -> Any:
    """One of several, all equally likely."""
    return choices[int(rng.integers(len(choices)))]

"""The options of the benchmark command, each said once: name, type, help and default."""

import argparse
import dataclasses
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from benchmarks.rounds import BenchmarkError

Sizes = tuple[int, ...]
MaybePath = Path | None
MaybeName = str | None


@dataclasses.dataclass(frozen=True)
class Options:
    """The options of all sections; each annotation is the option's help. Tuples take several values."""

    weights: Annotated[
        str, "a weights folder, the name of fetched weights, or `small`: a small random model, for a quick trial"
    ] = "AASIST-L"
    config: Annotated[MaybeName, "a configuration of any family, timed with random weights instead"] = None
    batch: Annotated[Sizes, "batch sizes of inference (1 8 24)"] = (1, 8, 24)
    step_batch: Annotated[Sizes, "batch sizes of the training step (8; on a GPU 24 48 96)"] = ()
    rounds: Annotated[int, "how many times each implementation is timed (9)"] = 9
    threads: Annotated[int, "CPU threads of every implementation, each on a core of its own (2)"] = 2
    no_compiled: Annotated[bool, "leave out torch.compile, which takes minutes and a C++ compiler"] = False
    corpus: Annotated[MaybePath, "a data set in the layout of ASVspoof 2019 LA (noise, made for the run)"] = None
    clips: Annotated[
        int, "scoring: clips to score; pipeline: clips to train on, from which an epoch is extrapolated (64)"
    ] = 64
    length: Annotated[tuple[float, ...], "timeline: lengths of the recordings in seconds (5 60 600 3600)"] = (
        5.0,
        60.0,
        600.0,
        3600.0,
    )
    devices: Annotated[Sizes, "devices: numbers of devices to train on, virtual ones on a CPU (1 2 4)"] = (1, 2, 4)
    scores: Annotated[MaybePath, "calibration: a score file, in any layout that `aasist-jax metrics` reads"] = None
    keys: Annotated[MaybePath, "calibration: the protocol of those scores, which must name the speakers"] = None
    sounds: Annotated[MaybePath, "speech: a folder of folders of recordings without speech, each a row (none)"] = None
    base: Annotated[MaybePath, "revisions: the folder of another checkout of the project"] = None
    out: Annotated[MaybePath, "folder to write benchmark.md and benchmark.json to"] = None
    gpu: bool = False
    """Whether JAX computes on a GPU."""
    scratch: Path = Path()
    """A folder that lasts as long as the run."""

    def path(self, name: str) -> Path:
        """Give the path of an option that a section cannot do without.

        Raises:
            BenchmarkError: the option is not given, or nothing is there.
        """
        path: Path | None = getattr(self, name)
        if path is None or not path.exists():
            raise BenchmarkError(f"--{name}: " + ("this section needs it" if path is None else f"{path} is not there"))
        return path

    @property
    def steps(self) -> Sizes:
        """Batch sizes of the training step."""
        return self.step_batch or ((24, 48, 96) if self.gpu else (8,))


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise BenchmarkError(f"{message}; `python -m benchmarks --help` lists sections and options")


def parse(arguments: list[str], sections: dict[str, str]) -> tuple[list[str], Options]:
    """Read a command line: the sections that it names, and the options.

    Raises:
        BenchmarkError: an unknown section or option, or a value out of range; one line.
    """
    parser = _Parser(prog="python -m benchmarks", formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.epilog = "sections (what is measured):\n" + "".join(
        f"  {name:12} {help}\n" for name, help in sections.items()
    )
    parser.add_argument("sections", nargs="+", choices=list(sections), metavar="SECTION", help="what to measure")
    for name, hint in get_type_hints(Options, include_extras=True).items():
        if hint in (bool, Path):
            continue
        kind, help = hint.__origin__, hint.__metadata__[0]
        more: dict[str, Any] = {"type": Path if kind == MaybePath else kind}
        more = {"type": kind.__args__[0], "nargs": "+"} if getattr(kind, "__origin__", None) is tuple else more
        more = {"type": str} if kind == MaybeName else more
        more = {"action": "store_true"} if kind is bool else more
        parser.add_argument("--" + name.replace("_", "-"), default=getattr(Options, name), help=help, **more)
    values: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in vars(parser.parse_args(arguments)).items()}
    names = list(dict.fromkeys(values.pop("sections")))
    for name, value in values.items():
        if any(x <= 0 for x in (value if isinstance(value, tuple) else (value,)) if type(x) in (int, float)):
            raise BenchmarkError(f"--{name.replace('_', '-')}: expected numbers above 0, got {value}")
    return names, Options(**values)

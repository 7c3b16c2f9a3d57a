"""The options of the benchmark command, each said once: name, type, help and default."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from benchmarks.rounds import BenchmarkError

Sizes = tuple[int, ...]


@dataclass(frozen=True)
class Options:
    """The options of all sections; what is annotated with a help is one of the command."""

    weights: Annotated[str, "a weights folder, the name of fetched weights, or `small`: a small random model"] = (
        "AASIST-L"
    )
    config: Annotated[str | None, "a configuration of any family, timed with random weights instead"] = None
    batch: Annotated[Sizes, "batch sizes of inference (1 8 24)"] = (1, 8, 24)
    step_batch: Annotated[Sizes, "batch sizes of the training step (8; on a GPU 24 48 96)"] = ()
    rounds: Annotated[int, "how many times each implementation is timed (9)"] = 9
    threads: Annotated[int, "CPU threads of every implementation, each on a core of its own (2)"] = 2
    no_compiled: Annotated[bool, "leave out torch.compile, which takes minutes and a C++ compiler"] = False
    corpus: Annotated[Path | None, "a data set in the layout of ASVspoof 2019 LA (else noise)"] = None
    clips: Annotated[int, "clips to score, to train on (an epoch is extrapolated), or of each class to judge (64)"] = 64
    length: Annotated[tuple[float, ...], "timeline: seconds of the recordings (5 60 600 3600)"] = (5, 60, 600, 3600)
    devices: Annotated[Sizes, "numbers of devices, virtual ones on a CPU (1 2 4)"] = (1, 2, 4)
    scores: Annotated[Path | None, "calibration: a score file that `aasist-jax metrics` reads"] = None
    keys: Annotated[Path | None, "calibration: its protocol, which must name the speakers"] = None
    sounds: Annotated[Path | None, "speech: a folder of folders of recordings without speech"] = None
    base: Annotated[Path | None, "revisions: the folder of another checkout of the project"] = None
    output: Annotated[Path | None, "folder to write benchmark.md and benchmark.json to"] = None
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
    form = argparse.RawDescriptionHelpFormatter
    parser = _Parser(prog="python -m benchmarks", formatter_class=form, allow_abbrev=False)
    parser.epilog = "sections:\n" + "".join(f"  {name:12} {help}\n" for name, help in sections.items())
    parser.add_argument("sections", nargs="+", choices=list(sections), metavar="SECTION", help="what to measure")
    for name, annotated in get_type_hints(Options, include_extras=True).items():
        if get_origin(annotated) is Annotated:
            kind, help = get_args(annotated)
            # Of `Path | None` and of `tuple[int, ...]` the first, which is what a word on the command line is read as.
            more: dict[str, Any] = {"type": next(iter(get_args(kind)), kind)}
            more |= {"nargs": "+"} if get_origin(kind) is tuple else {}
            more = {"action": "store_true"} if kind is bool else more
            parser.add_argument(f"--{name.replace('_', '-')}", default=getattr(Options, name), help=help, **more)
    values: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in vars(parser.parse_args(arguments)).items()}
    names = list(dict.fromkeys(values.pop("sections")))
    for name, value in values.items():
        if any(x <= 0 for x in (value if isinstance(value, tuple) else (value,)) if type(x) in (int, float)):
            raise BenchmarkError(f"--{name.replace('_', '-')}: expected numbers above 0, got {value}")
    return names, Options(**values)

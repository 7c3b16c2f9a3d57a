"""The options of the benchmark command, each said once: name, type, default and help."""

import argparse
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from benchmarks.rounds import BenchmarkError

Sizes = tuple[int, ...]


def _option(default: Any, help: str, **more: Any) -> Any:
    """A field that is an option of the command, with further arguments of `ArgumentParser.add_argument`."""
    return field(default=default, metadata={"help": help, "type": type(default)} | more)


@dataclass(frozen=True)
class Options:
    """The options of all sections."""

    weights: str = _option(
        "AASIST-L", "a weights folder, the name of fetched weights, or `small`: a small random model"
    )
    config: str | None = _option(None, "a configuration of any family, timed with random weights instead", type=str)
    batch: Sizes = _option((1, 8, 24), "batch sizes of inference (1 8 24)", type=int, nargs="+")
    step_batch: Sizes = _option((), "batch sizes of the training step (8; on a GPU 24 48 96)", type=int, nargs="+")
    rounds: int = _option(9, "how many times each implementation is timed (9)")
    threads: int = _option(2, "CPU threads of every implementation, each on a core of its own (2)")
    no_compiled: bool = _option(False, "leave out torch.compile, which takes minutes and a C++ compiler")
    corpus: Path | None = _option(None, "a data set in the layout of ASVspoof 2019 LA (else noise)", type=Path)
    clips: int = _option(64, "clips to score, to train on (an epoch is extrapolated), or of each class to judge (64)")
    length: tuple[float, ...] = _option(
        (5.0, 60.0, 600.0, 3600.0), "timeline: seconds of the recordings (5 60 600 3600)", type=float, nargs="+"
    )
    devices: Sizes = _option((1, 2, 4), "numbers of devices, virtual ones on a CPU (1 2 4)", type=int, nargs="+")
    scores: Path | None = _option(None, "calibration: a score file that `aasist-jax metrics` reads", type=Path)
    keys: Path | None = _option(None, "calibration: its protocol, which must name the speakers", type=Path)
    sounds: Path | None = _option(None, "speech: a folder of folders of recordings without speech", type=Path)
    base: Path | None = _option(None, "revisions: the folder of another checkout of the project", type=Path)
    out: Path | None = _option(None, "folder to write benchmark.md and benchmark.json to", type=Path)
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
    parser.epilog = "sections:\n" + "".join(f"  {name:12} {help}\n" for name, help in sections.items())
    parser.add_argument("sections", nargs="+", choices=list(sections), metavar="SECTION", help="what to measure")
    for each in (each for each in fields(Options) if each.metadata):
        more = {"action": "store_true", "help": each.metadata["help"]} if each.type is bool else each.metadata
        parser.add_argument("--" + each.name.replace("_", "-"), default=each.default, **more)
    values: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in vars(parser.parse_args(arguments)).items()}
    names = list(dict.fromkeys(values.pop("sections")))
    for name, value in values.items():
        if any(x <= 0 for x in (value if isinstance(value, tuple) else (value,)) if type(x) in (int, float)):
            raise BenchmarkError(f"--{name.replace('_', '-')}: expected numbers above 0, got {value}")
    return names, Options(**values)

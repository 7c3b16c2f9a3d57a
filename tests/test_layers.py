"""Imports point one way: from each package only to those below it, in no circle, and to no family by name."""

import ast
import re
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

PACKAGE = REPOSITORY / "aasist_jax"

LAYERS = (
    "errors",
    "runtime",
    "audio",
    "augmentation",
    "ops",
    "features",
    "models",
    "config",
    "weights",
    "encoders",
    "data",
    "metrics",
    "corpus",
    "calibration",
    "evaluation",
    "training",
    "detection",
    "export",
    "commands",
)
"""From the bottom up; docs/architecture.md says what each is for."""

NOT_BENEATH = {("detection", "training"), ("detection", "evaluation"), ("corpus", "config"), ("data", "weights")}
"""Layers that, though above, have no business with the other."""


def module_name(path: Path) -> str:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_in(text: str) -> set[str]:
    """The modules of this repository that a text imports, anywhere in it, but for what only type checkers see.

    A relative import is given as it is written, with its dots, since it cannot be resolved without its place.
    """
    found = set()
    for node in ast.walk(without_type_checking(text)):
        if isinstance(node, ast.Import):
            found |= {resolve(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            found.add("." * node.level + (node.module or ""))
        elif isinstance(node, ast.ImportFrom):
            found |= {resolve(f"{node.module}.{alias.name}") for alias in node.names}
    return found - {""}


def without_type_checking(text: str) -> ast.Module:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            node.body = [ast.Pass()]
    return tree


def lazy_names() -> dict[str, str]:
    """What the package gives by name and imports on first use, such as `Detector`, and the modules that it is from."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module != "typing"]
    return {f"aasist_jax.{alias.name}": str(node.module) for node in imports for alias in node.names}


LAZY_NAMES = lazy_names()


def resolve(name: str) -> str:
    """The module that an imported name is, or lies in; '' for one of another project."""
    if name in LAZY_NAMES:
        return LAZY_NAMES[name]
    parts = name.split(".")
    while parts:
        path = REPOSITORY.joinpath(*parts)
        if path.with_suffix(".py").is_file() or (path / "__init__.py").is_file():
            return ".".join(parts)
        parts.pop()
    return ""


def graph(folder: Path) -> dict[str, set[str]]:
    return {module_name(path): imports_in(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.py"))}


def layer(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def violations(modules: dict[str, set[str]]) -> list[str]:
    """The imports that point up or across a border that only one module may cross, and relative ones."""
    found = []
    for module, targets in modules.items():
        own = layer(module)
        for target in sorted(targets):
            other = layer(target)
            if target.startswith("."):
                found.append(f"{module} imports {target}: write the full name")
            elif not target.startswith("aasist_jax.") or own in ("", "__main__") or own == other:
                pass
            elif LAYERS.index(own) < LAYERS.index(other) or (own, other) in NOT_BENEATH:
                found.append(f"{module} imports {target}")
            if target.startswith("aasist_jax.ops.native") and own != "ops":
                found.append(f"{module} imports {target}: only ops may")
    return found


def circles(modules: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import one another, by Tarjan's algorithm."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for target in modules.get(module, ()):
            if target not in index:
                visit(target)
                low[module] = min(low[module], low[target])
            elif target in stack:
                low[module] = min(low[module], index[target])
        if low[module] == index[module]:
            group = [stack.pop()]
            while group[-1] != module:
                group.append(stack.pop())
            if len(group) > 1 or module in modules.get(module, ()):
                found.append(sorted(group))

    for module in modules:
        if module not in index:
            visit(module)
    return found


def test_every_import_points_down() -> None:
    modules = graph(PACKAGE)
    new = {layer(module) for module in modules} - {"", "__main__", *LAYERS}
    assert not new, "give each a place in LAYERS above, and in the table of docs/architecture.md"
    assert violations(modules) == []


def test_no_circle() -> None:
    assert circles(graph(PACKAGE)) == []


def test_an_import_turned_round_is_seen() -> None:
    modules = graph(PACKAGE)
    modules["aasist_jax.metrics.scores"] |= {"aasist_jax.evaluation.score_files"}
    modules["aasist_jax.detection.detector"] |= {"aasist_jax.training.step", "aasist_jax.ops.native.kernels"}
    assert violations(modules) == [
        "aasist_jax.detection.detector imports aasist_jax.ops.native.kernels: only ops may",
        "aasist_jax.detection.detector imports aasist_jax.training.step",
        "aasist_jax.metrics.scores imports aasist_jax.evaluation.score_files",
    ]
    for text, target in (
        ("from aasist_jax import detection", "aasist_jax.detection"),
        ("from aasist_jax import Detector", "aasist_jax.detection.detector"),
        ("import aasist_jax.detection.detector as d", "aasist_jax.detection.detector"),
        ("def f():\n    from aasist_jax.detection import detector", "aasist_jax.detection.detector"),
    ):
        found = violations({"aasist_jax.metrics.scores": imports_in(text)})
        assert found == [f"aasist_jax.metrics.scores imports {target}"], text
    for text, target in (("from ..detection import detector", "..detection"), ("from . import rates", ".")):
        found = violations({"aasist_jax.metrics.scores": imports_in(text)})
        assert found == [f"aasist_jax.metrics.scores imports {target}: write the full name"], text
    only_for_types = "if TYPE_CHECKING:\n    from aasist_jax import detection"
    assert imports_in(f"from aasist_jax.errors import AasistError\n{only_for_types}") == {"aasist_jax.errors"}
    circular = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": {"e"}}
    assert circles(circular) == [["a", "b", "c"], ["e"]]


@pytest.mark.parametrize("folder", ["scripts", "benchmarks", "examples", "aasist_jax"])
def test_nothing_but_tests_imports_tests(folder: str) -> None:
    for module, targets in graph(REPOSITORY / folder).items():
        assert not {target for target in targets if target == "tests" or target.startswith("tests.")}, module


def test_only_doors_import_commands() -> None:
    for module, targets in graph(PACKAGE).items():
        if layer(module) not in ("commands", "__main__"):
            assert not {target for target in targets if target.startswith("aasist_jax.commands")}, module


def test_no_family_is_named_outside_its_folder() -> None:
    """The package's own name, its command's and its errors' are no family's; other words hold one by chance."""
    own_name = re.compile(r"aasist[_-]?jax|AasistError|\"svg.hashsalt\": \"aasist\"", re.IGNORECASE)
    chance = re.compile(
        r"import ssl|ssl\.SSL|ProcessLookupError|wmalossless|SSL_Anti-spoofing|ssl_model", re.IGNORECASE
    )
    # The encoders that a family is built on are a registry of their own, which readers of their files know.
    registry = re.compile(r"aasist_jax\.models\.ssl\.encoders")
    families = [path.parent for path in (PACKAGE / "models").glob("*/__init__.py")]
    assert families
    for folder in families:
        for path in PACKAGE.rglob("*.py"):
            if folder in path.parents:
                continue
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
                rest = chance.sub("", own_name.sub("", registry.sub("", line)))
                assert folder.name not in rest.lower(), f"{path.relative_to(REPOSITORY)}:{number}: {line.strip()}"


def test_files_and_functions_have_a_size_that_is_read_at_once() -> None:
    """At most 400 lines a file and 60 a function; the options of a verb are a list, and do not count."""
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 400, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                first = node.body[0].lineno if "commands" in path.parts else node.lineno
                assert node.end_lineno - first < 60, f"{path}: {node.name}"

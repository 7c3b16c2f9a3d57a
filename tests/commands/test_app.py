import dataclasses

"""The program: what every verb has, how large its help is, and how a new one is added."""

import contextlib
import io
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aasist_jax import __version__, commands
from aasist_jax.commands import exit_codes
from aasist_jax.commands.app import app, find_verbs, load_verb, run_verb
from aasist_jax.corpus.plan import ClipCounts
from tests.conftest import REPOSITORY, Command

PUBLISHED_VERBS = {
    *("build-corpus", "calibrate", "convert", "download", "evaluate", "explain", "export", "fetch-weights", "fuse"),
    *("join-clips", "listen", "llr", "metrics", "models", "score", "timeline", "train", "verdicts", "verify"),
}
"""Verbs that may not get lost. A new one need not be added: every test below takes all that are found."""

VERBS = tuple(find_verbs())
DOORS = ("score", "train", "evaluate", "build_corpus", "download_dataset")
LINES, COLUMNS, OPTIONS = 45, 80, 12
"""Lines and columns of a screen, and the options that may stand above the rare ones."""


def invoke(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": str(COLUMNS), "TERM": "dumb"})
    assert result.exit_code == 0, result.output
    return result.output


def sections(text: str) -> dict[str, list[str]]:
    """The options of a help page, by heading."""
    found: dict[str, list[str]] = {}
    heading = ""
    for line in text.splitlines():
        if match := re.fullmatch(r"(\S.*):", line):
            heading = match[1]
        elif match := re.match(r"  (?:-\w, )?(--[a-z0-9-]+)", line):
            found.setdefault(heading, []).append(match[1])
    return found


def test_the_verbs_are_all_there() -> None:
    assert set(VERBS) >= PUBLISHED_VERBS
    assert [*VERBS] == sorted(VERBS)
    listed = invoke("--help")
    for verb, line in find_verbs().items():
        assert f"  {verb} " in listed
        assert line in listed, "longer than a line of the list"


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_every_verb_has_what_all_have(verb: str) -> None:
    arguments = [verb] if verb else []
    text = invoke(*arguments, "-h")
    assert text == invoke(*arguments, "--help")
    assert sections(text)["Everywhere"] == ["--device", "--quiet", "--version", "--help"]
    assert invoke(*arguments, "--version") == f"aasist-jax {__version__}\n"


@pytest.mark.parametrize("verb", VERBS)
def test_a_help_fits_one_screen(verb: str) -> None:
    text = invoke(verb, "-h")
    main = sections(text).get("Options", [])
    # Counted apart from the page, so that no layout of it can hide one.
    own = [option for option in load_verb(verb).params if option.param_type_name == "option"]
    assert len(main) == sum(getattr(option, "rich_help_panel", None) is None for option in own)
    assert len(main) <= OPTIONS
    assert len(text.splitlines()) <= LINES
    assert max(map(len, text.splitlines())) <= COLUMNS


def test_what_is_written_has_one_name_in_every_verb() -> None:
    """`--output`, be it a file or a folder; what is written beside it, such as a plot, is called what it is."""
    names = {option for verb in VERBS for parameter in load_verb(verb).params for option in parameter.opts}
    assert "--output" in names
    assert not names & {"--out", "--output-file", "--output-folder", "-o"}


def test_the_help_of_no_verb_imports_what_takes_time() -> None:
    code = """
        import sys
        from aasist_jax.commands.app import find_verbs, load_verb
        assert not any(name.startswith("aasist_jax.commands.s") for name in sys.modules)
        for verb in find_verbs():
            load_verb(verb)
        print(sorted({"jax", "flax", "numpy", "scipy", "matplotlib", "soundfile", "rich"} & set(sys.modules)))
    """
    done = child("-c", textwrap.dedent(code))
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_completion_knows_the_verbs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "aasist_jax"],
        cwd=REPOSITORY,
        env=os.environ | {"_AASIST_JAX_COMPLETE": "complete_bash", "COMP_WORDS": "aasist-jax fe", "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout == "fetch-weights\n"


def child(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False
    )


def test_a_new_verb_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "say_hello.py").write_text('''"""aasist-jax say-hello: Greet somebody.

At length.
"""


def say_hello(name: str, loudly: bool = False) -> None:
    print(f"hello {name}")
''')
    monkeypatch.setattr(commands, "__path__", [*commands.__path__, str(tmp_path)])
    assert find_verbs()["say-hello"] == "Greet somebody."
    for arguments, code, printed in ((["you"], 0, "hello you\n"), (["-h"], 0, "At length"), ([], 2, "")):
        result = run_in_process("say-hello", arguments, monkeypatch)
        assert result[0] == code
        assert printed in result[1]


@pytest.mark.parametrize(
    ("first_line", "function", "complaint"),
    [
        (
            "aasist-jax say_hello: Greet somebody.",
            "say_hello",
            "commands/say_hello.py: its first line names the verb 'say_hello', where the file is that of the verb "
            "'say-hello'; write the one that is meant",
        ),
        (
            "aasist-jax greet: Greet somebody.",
            "say_hello",
            "commands/say_hello.py: its first line names the verb 'greet'",
        ),
        (
            "aasist-jax say-hello: Greet somebody.",
            "hello",
            "commands/say_hello.py: has no function say_hello, whose parameters are the options of the verb",
        ),
    ],
)
def test_a_misnamed_verb_is_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command, first_line: str, function: str, complaint: str
) -> None:
    (tmp_path / "say_hello.py").write_text(f'"""{first_line}"""\n\n\ndef {function}(name: str) -> None: ...\n')
    monkeypatch.setattr(commands, "__path__", [*commands.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "aasist_jax.commands.say_hello", raising=False)
    code, _, said = command("say-hello", "you")
    assert code == exit_codes.FAILURE
    assert said.startswith(f"error: {complaint}")
    assert said.count("\n") == 1


def run_in_process(verb: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """Exit code and standard output of a verb."""
    output = io.StringIO()
    monkeypatch.setattr(sys, "argv", [verb, *arguments])
    with pytest.raises(SystemExit) as stop, contextlib.redirect_stdout(output):
        run_verb(verb)
    return int(stop.value.code or 0), output.getvalue()


def test_scripts_are_doors() -> None:
    doors = [REPOSITORY / "scripts" / f"{name}.py" for name in DOORS] + [REPOSITORY / "convert_weights.py"]
    for door in doors:
        text = door.read_text()
        assert len(text.splitlines()) <= 15
        (verb,) = re.findall(r'run_verb\("([a-z-]+)"\)', text)
        assert verb in VERBS
        done = child(str(door), "--version")
        assert (done.returncode, done.stdout) == (0, f"aasist-jax {__version__}\n"), done.stderr


def test_a_wrong_device_is_wrong_usage() -> None:
    result = CliRunner().invoke(app, ["models", "--device", "abacus"])
    assert result.exit_code == 2
    assert "--device: expected cpu, gpu or the number of a GPU, got 'abacus'" in result.output


def test_the_defaults_of_the_corpus_are_those_that_the_help_says() -> None:
    said = " ".join(CliRunner().invoke(app, ["build-corpus", "--help"], env={"COLUMNS": "200"}).output.split())
    for name, count in dataclasses.asdict(ClipCounts()).items():
        assert re.search(rf"--{name} [^-]*of the small one \(default: {count}\)", said), name

"""The exit codes of every verb, and of the scripts, in one list. 2 is wrong usage, which Typer tells by itself."""

FAILURE = 1
"""Nothing, or not all, of what was asked for could be done; also where the reader of standard output has gone."""

SOME_FAILED = 3
"""`score`: some recordings could not be scored."""

SYNTHETIC = 4
"""`score`, `timeline` and `listen` with --fail-on-synthetic: a verdict is synthetic."""

STOPPED = 75
"""`train`: asked to stop by a signal; a checkpoint is saved, and the same command goes on (EX_TEMPFAIL)."""

INTERRUPTED = 130
"""Typer's code for Ctrl-C; a shell sees the process end by SIGINT instead."""

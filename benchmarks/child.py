"""A program in a process of its own, `python -P child.py JOB`; `processes.py` is the other end.

JOB is JSON: FUNCTION(**OPTIONS) of FILE gives a call without arguments. For every line of standard input it runs once,
and its result, a number, a list or an array, goes to standard output as a line of JSON. Only the program imports
anything of this project: its file may be of another checkout, and the memory is that of its framework alone.
"""

import json
import os
import runpy
import sys
from typing import Any


def main(file: str, function: str, options: dict[str, Any], keep_memory: bool) -> None:
    """Make the call, then run it for every line of standard input until that ends."""
    # What libraries print must not stand between the answers: from here on it goes to standard error.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(**answer: Any) -> None:
        print(json.dumps(answer, default=lambda array: array.tolist()), file=answers, flush=True)

    try:
        if keep_memory:
            from aasist_jax.runtime.memory import keep_freed_memory

            keep_freed_memory()
        call = runpy.run_path(file)[function](**options)
        say(answer=None)
        while sys.stdin.readline():
            say(answer=call())
    except KeyboardInterrupt:
        # It interrupts the parent as well, which says so.
        return
    except Exception as error:
        say(error=" ".join(f"{type(error).__name__}: {error}".split()))


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))

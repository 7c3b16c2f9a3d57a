"""Kill a training run at random moments, and compare its end with a run left alone.

    python -m tests.training.random_kills

Both must end in the same bits: parameters, optimizer, batch statistics, weights, and every logged loss and batch.
Exit codes: 0 the same, 1 they differ, or a start failed otherwise than by the kill.
"""

import json
import random
import signal
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from tests.training.short_run import Start, board_points, make_config, outcome, outcome_differences, write_corpus


def main(
    kills: Annotated[int, typer.Option(min=1, help="How often to kill the run.")] = 200,
    config: Annotated[Path | None, typer.Option(help="Configuration (default: a tiny model and corpus).")] = None,
    folder: Annotated[Path | None, typer.Option(help="Keep the runs here (default: a temporary folder).")] = None,
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 0,
) -> None:
    """Kill a run again and again, resume it, and compare."""
    with tempfile.TemporaryDirectory() as scratch:
        root = folder or Path(scratch)
        # Kills that come before the next checkpoint gain nothing: more of them need more steps.
        given = json.loads(config.read_text()) if config else None
        settings = given or make_config(write_corpus(root / "LA"), num_epochs=3 + kills // 20)
        raise typer.Exit(kill_and_compare(settings, root, kills, random.Random(seed)))


def kill_and_compare(settings: dict[str, object], root: Path, kills: int, moments: random.Random) -> int:
    """Run once untouched and once with kills; print each kill and the verdict."""
    alone, killed, cache = root / "alone" / "run", root / "killed" / "run", root / "compiled"
    began = time.monotonic()
    start = Start(settings, alone, cache)
    if start.end() != 0:
        print(start.output)
        return 1
    print(f"left alone: {time.monotonic() - began:.0f} s")
    count = 0
    while True:
        start = Start(settings, killed, cache)
        if count < kills:
            start.until("start ")
            # Some lines later, among the steps, saves and evaluations.
            for _ in range(moments.randrange(12)):
                start.until("")
            time.sleep(moments.uniform(0, 0.3))
            code = start.end(signal.SIGKILL)
        else:
            code = start.end()
        if code == -signal.SIGKILL:
            count += 1
            lines = start.output.splitlines()
            seen = [line for line in lines if line.startswith(("start", "step", "scoring", "batch-norm"))]
            print(f"kill {count}: {seen[0]}; last seen: {seen[-1]}" if seen else f"kill {count}", flush=True)
        elif code == 0:
            break
        else:
            print(start.output)
            print(f"FAILED: a start ended with exit code {code}")
            return 1
    one, other = outcome(alone), outcome(killed)
    different = outcome_differences(one, other)
    steps = [line["step"] for line in other.steps]
    if steps != sorted(set(steps)):
        different.append("a step is logged twice")
    if any(len(set(values)) != 1 for values in board_points(killed).values()):
        different.append("TensorBoard")
    verdict = f"DIFFERENT: {', '.join(different)}" if different else "the same bits"
    print(f"{count} kills, {len(steps)} logged steps: {verdict}")
    return 1 if different else 0


if __name__ == "__main__":
    typer.run(main)

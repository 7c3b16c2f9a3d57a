"""What the tests of `timeline` and `listen` share."""

import subprocess
import sys
from typing import Any

import numpy as np

from aasist_jax.detection.timeline import Timeline
from tests.conftest import REPOSITORY


def run_process(*arguments: object, **options: Any) -> subprocess.CompletedProcess[Any]:
    line = [sys.executable, "-m", "aasist_jax.commands.app", *map(str, arguments)]
    return subprocess.run(line, cwd=REPOSITORY, capture_output=True, timeout=300, **options)


def assert_scores(found: list[dict[str, Any]], expected: Timeline) -> None:
    """Of another process; None where nothing was judged."""
    scores, others = (
        [np.nan if s is None else s for s in scores]
        for scores in ([window["score"] for window in found], [window.score for window in expected.windows])
    )
    np.testing.assert_allclose(scores, others, rtol=1e-5)

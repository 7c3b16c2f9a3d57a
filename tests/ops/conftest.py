"""The tests of operations compile hundreds of small programs, each of which runs once."""

from collections.abc import Iterator

import pytest

from tests.quick_compilation import quick_compilation


@pytest.fixture(autouse=True, scope="module")
def _compiled_quickly() -> Iterator[None]:
    """What XLA computes is the yardstick of these tests, and without its optimizer it is closer to the formulas."""
    with quick_compilation():
        yield

"""Tests of properties: on some examples of Hypothesis by default, and on 10,000 in their slow form."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis.strategies import SearchStrategy


def holds_for(*strategies: SearchStrategy[Any], examples: int = 200) -> Callable[[Callable[..., None]], Any]:
    """Make a test of a function that asserts something of its arguments, which are drawn from the strategies."""
    slow = pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(7200)])

    def as_test(property: Callable[..., None]) -> Any:
        @pytest.mark.parametrize("examples", [examples, slow])
        def test(examples: int) -> None:
            settings(max_examples=examples, deadline=None)(given(*strategies)(property))()

        test.__name__, test.__doc__ = property.__name__, property.__doc__
        return test

    return as_test

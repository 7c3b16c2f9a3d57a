"""`aasist-jax explain`; what an explanation holds is tested with the families that have one."""

from typing import Any

import pytest


@pytest.mark.parametrize(
    ("plot", "complaint"),
    [
        ("why.jpg", "error: why.jpg: written as .png; give a name that ends so\n"),
        ("nowhere/why.png", "error: nowhere/why.png: there is no folder nowhere; make it first\n"),
    ],
)
def test_the_plot_is_checked_before_the_work(command: Any, plot: str, complaint: str) -> None:
    """Neither the weights nor the recording are there, and yet it is the plot that is complained of."""
    code, out, err = command("explain", "a.wav", "--weights", "no_weights", "--plot", plot)
    assert (code, out, err) == (1, "", complaint)

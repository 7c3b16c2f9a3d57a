"""What an explanation says of itself."""

from aasist_jax.models.explanation import Explanation, Nodes


def test_an_explanation_is_told_in_one_line() -> None:
    """The repr in a notebook is short, however many spans there are."""
    time = Nodes(edges=tuple(i / 100 for i in range(405)), occlusion=(0.123456,) * 404)
    frequency = Nodes(edges=(0.0, 4000.0, 8000.0), occlusion=(0.1, 0.2))
    explanation = Explanation(-3.14159, 1680.0, 4.0375, "toy-0123", time, frequency)
    assert repr(explanation) == (
        "Explanation(score=-3.142, window=4.04, duration=1680.00: 404 spans of time, 2 bands of frequency)"
    )
    assert repr(frequency) == "Nodes(2 from 0 to 8000)"

"""What bfloat16 arithmetic costs: the label and the logits against float32, with the official weights."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aasist_jax.audio.load import load_audio
from aasist_jax.audio.windows import first_window
from aasist_jax.models.aasist.network import AASIST
from tests.conftest import EVAL_CLIPS, REFERENCE, needs_corpus
from tests.models.aasist import official
from tests.models.aasist.goldens import golden_names
from tests.models.aasist.tiny import CONFIG, SAMPLES

FORWARD = golden_names(REFERENCE, "forward")


@functools.cache
def logits(name: str, dtype: jnp.dtype) -> np.ndarray:
    detector = official.detector(name, dtype)
    return np.concatenate([detector.logits(wave[None].astype(np.float32)) for wave in official.golden(name).wave])


@pytest.mark.reference
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "AASIST-L" else pytest.mark.slow) for name in FORWARD]
)
def test_the_golden_clips_keep_their_labels(name: str) -> None:
    wide, narrow = logits(name, jnp.float32), logits(name, jnp.bfloat16)
    assert np.isfinite(narrow).all()
    assert narrow.dtype == np.float32
    np.testing.assert_array_equal(narrow.argmax(1), wide.argmax(1))
    difference = np.abs(narrow - wide).max()
    print(f"{name}: {len(wide)} golden clips, equal labels, max {difference:.3f}")
    # Measured: 0.20 for both official models, of logits up to 10.6.
    assert 1e-3 < difference < 0.4


@pytest.mark.reference
@needs_corpus
@pytest.mark.parametrize(
    ("name", "clips"),
    [
        ("AASIST-L", 6),
        pytest.param("AASIST-L", 40, marks=pytest.mark.slow),
        pytest.param("AASIST", 40, marks=pytest.mark.slow),
    ],
)
def test_clips_of_a_corpus_keep_their_labels(name: str, clips: int) -> None:
    files = sorted(EVAL_CLIPS.glob("*.flac"))
    files = files[:: len(files) // clips][:clips]
    waves = [first_window(load_audio(file), 64_600)[None] for file in files]
    wide, narrow = (
        np.concatenate([official.detector(name, dtype).logits(wave) for wave in waves])
        for dtype in (jnp.float32, jnp.bfloat16)
    )
    difference = np.abs(narrow - wide)
    same = narrow.argmax(1) == wide.argmax(1)
    print(
        f"{name}: {same.sum()} of {len(files)} labels, max {difference.max():.3f}, median {np.median(difference):.3f}"
    )
    # Only a clip near the threshold may change its label.
    assert np.abs(wide[~same, 1] - wide[~same, 0]).max(initial=0) < 0.5
    assert difference.max() < 1


def test_parameters_and_logits_stay_float32() -> None:
    model = AASIST(CONFIG, dtype=jnp.bfloat16)
    wave = jnp.zeros((2, SAMPLES))
    variables, outputs = jax.eval_shape(
        lambda: (variables := model.init(jax.random.key(0), wave), model.apply(variables, wave))
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(variables["params"])} == {jnp.dtype("float32")}
    assert outputs.logits.dtype == jnp.float32


def test_gradients_stay_float32() -> None:
    model = AASIST(CONFIG, dtype=jnp.bfloat16)
    wave = jnp.zeros((2, SAMPLES))

    def gradients() -> dict:
        variables = model.init(jax.random.key(0), wave)
        return jax.grad(lambda params: model.apply(variables | {"params": params}, wave).logits.sum())(
            variables["params"]
        )

    assert {leaf.dtype for leaf in jax.tree.leaves(jax.eval_shape(gradients))} == {jnp.dtype("float32")}

"""Where a calibration set lies, and what is far from it."""

import numpy as np
import pytest

from aasist_jax.calibration.domain import COMPONENTS, DIGITS, FAR_SHARE, NEIGHBOURS, Domain, fit_domain

FEATURES = 12


def cloud(windows: int, seed: int, centre: float = 0.0) -> np.ndarray:
    """Embeddings with two directions that hold much, and features of very different sizes."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(windows, 2)) * (3, 1) + centre
    mixing = np.random.default_rng(99).normal(size=(2, FEATURES)) * np.logspace(-2, 3, FEATURES)
    return hidden @ mixing + 0.01 * rng.normal(size=(windows, FEATURES)) * np.logspace(-2, 3, FEATURES)


def voices(windows: int, count: int) -> np.ndarray:
    return np.array([f"voice {i % count}" for i in range(windows)])


@pytest.fixture(scope="module")
def domain() -> Domain:
    return fit_domain(cloud(600, 0), voices(600, 6))


def test_distances_are_those_to_the_nearest_windows_of_the_set() -> None:
    embeddings, others = cloud(40, 1), cloud(7, 2)
    domain = fit_domain(embeddings, voices(40, 4))
    standard = (embeddings - embeddings.mean(0)) / embeddings.std(0)
    # All components are kept, so that the distances are those between the standardised features.
    assert domain.components.shape == (min(COMPONENTS, FEATURES), FEATURES)
    apart = np.linalg.norm(((others - embeddings.mean(0)) / embeddings.std(0))[:, None] - standard[None], axis=2)
    expected = np.sort(apart, axis=1)[:, :NEIGHBOURS].mean(axis=1)
    np.testing.assert_allclose(domain.distances(others), expected, rtol=10.0 ** (3 - DIGITS))


def test_what_is_alike_is_near_and_what_is_unlike_is_far(domain: Domain) -> None:
    alike = domain.distances(cloud(2000, 3))
    assert np.mean(alike > domain.farthest) < 3 * FAR_SHARE
    assert (domain.distances(cloud(100, 4, centre=40.0)) > domain.farthest).all()


def test_the_scale_of_a_feature_does_not_matter(domain: Domain) -> None:
    factors = np.logspace(-3, 3, FEATURES)
    scaled = fit_domain(cloud(600, 0) * factors, voices(600, 6))
    found = scaled.distances(cloud(50, 5) * factors)
    np.testing.assert_allclose(found, domain.distances(cloud(50, 5)), rtol=1e-3, atol=1e-4)


def test_what_is_far_is_measured_between_voices() -> None:
    """Voices that lie apart make the border wide: a new voice may lie as far away, and is not unlike for that."""
    embeddings = np.concatenate([cloud(100, 0, 0.0), cloud(100, 1, 30.0)])
    owners = np.repeat(["one", "other"], 100)
    apart, mixed = fit_domain(embeddings, owners), fit_domain(embeddings, voices(200, 2))
    assert apart.farthest > 3 * mixed.farthest


def test_a_feature_that_never_changes_says_nothing() -> None:
    embeddings = cloud(50, 0)
    embeddings[:, 3] = 7.0
    domain = fit_domain(embeddings, voices(50, 5))
    assert domain.scale[3] == 1
    assert np.isfinite(domain.distances(embeddings)).all()
    domain.check()


def test_fewer_windows_of_others_than_neighbours_are_enough() -> None:
    domain = fit_domain(cloud(4, 0), np.array(["a", "a", "b", "c"]))
    assert 0 < domain.farthest < np.inf
    domain.check()


def test_numbers_are_kept_short(domain: Domain) -> None:
    for array in (domain.mean, domain.scale, domain.components, domain.reference):
        assert all(float(f"{value:.{DIGITS}g}") == value for value in array.ravel().tolist())


def test_a_scale_that_is_not_positive_is_refused() -> None:
    for scale in (0.0, -1.0):
        with pytest.raises(ValueError, match="not positive"):
            Domain(np.zeros(1), np.full(1, scale), np.ones((1, 1)), np.ones((1, 1)), 1.0).check()

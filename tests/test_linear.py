"""Many small linear systems: NumPy's solutions and inverses, derivatives by finite differences, and fits that end."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxprice
from jaxprice import linear, ope


@pytest.mark.parametrize("size", [1, 2, 5, 25])
def test_solutions_are_those_of_numpy(size):
    rng = np.random.default_rng(size)
    root = rng.normal(size=(4, 3, size, size + 3))
    matrix, right = root @ np.swapaxes(root, -1, -2) + 0.1 * np.eye(size), rng.normal(size=(4, 3, size))
    exact = np.linalg.solve(matrix, right[..., None])[..., 0]
    found = np.asarray(linear.solve(jnp.asarray(matrix, jnp.float32), jnp.asarray(right, jnp.float32)))
    scale = np.abs(exact).max(axis=-1, keepdims=True)
    assert found.dtype == np.float32 and np.abs((found - exact) / scale).max() < 2e-6 * np.linalg.cond(matrix).max()
    with jax.enable_x64(True):
        assert np.allclose(linear.solve(jnp.asarray(matrix), jnp.asarray(right)), exact, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("size", [1, 2, 7])
def test_inverse_of_positive_definite_matrices(size):
    root = np.random.default_rng(size).normal(size=(20, size, 2 * size))
    matrices = (root @ np.swapaxes(root, 1, 2) + np.eye(size)).astype(np.float32)
    found = jax.jit(jax.vmap(linear.inverse))(matrices)
    np.testing.assert_allclose(found, np.linalg.inv(matrices.astype(float)), atol=1e-4)


def test_derivatives_are_those_of_finite_differences():
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        root = jnp.asarray(rng.normal(size=(2, 4, 6)))
        right, along = (jnp.asarray(rng.normal(size=shape)) for shape in ((2, 4), (2, 4, 6)))

        def value(step):
            moved = root + step * along
            return jnp.sum(jnp.sin(linear.solve(moved @ jnp.swapaxes(moved, -1, -2), (1 + step) * right)))

        slope = (value(1e-6) - value(-1e-6)) / 2e-6
        assert float(jax.grad(value)(0.0)) == pytest.approx(float(slope), rel=1e-5)
        assert float(jax.jvp(value, (0.0,), (1.0,))[1]) == pytest.approx(float(slope), rel=1e-5)


def test_fits_that_may_run_at_the_same_time_end():
    """Several regressions in one program, on many logs: a solver that waits for threads of the pool would block them all."""
    rng = np.random.default_rng(1)
    log = ope.DecisionLog.of(
        action=rng.integers(0, 3, (64, 40)),
        reward=rng.random((64, 40)).astype(np.float32),
        probabilities=np.full((64, 40, 3), 1 / 3, np.float32),
        observation=rng.normal(size=(64, 40, 4)).astype(np.float32),
        prices=[1.0, 2.0, 3.0],
    )

    @jax.jit
    def fits(log):
        models = [ope.reward_model(log, lambda x: x, ridge=ridge) for ridge in (0.5, 1.0, 2.0, 4.0)]
        return models, [ope.estimated_propensities(log, ridge=ridge).propensity_se for ridge in (0.5, 1.0, 2.0)]

    for _ in range(20):
        found = jax.block_until_ready(fits(log))
    assert all(np.isfinite(np.asarray(one)).all() for one in jax.tree.leaves(found))
    assert not re.search("getrf|potrf|trsm", jax.jit(fits).lower(log).as_text())


def test_best_prices_of_drawn_markets_call_no_lapack():
    env, _ = jaxprice.make("MultiProduct", num_products=3)
    markets = jax.vmap(env.sample_params)(jax.random.split(jax.random.key(0), 200))
    best = jax.jit(jax.vmap(env.best))
    assert not re.search("getrf|potrf|trsm|custom_call", best.lower(markets).as_text())
    slopes, intercept = np.asarray(markets.slopes, float), np.asarray(markets.intercept, float)
    exact = np.linalg.solve(slopes + np.swapaxes(slopes, 1, 2), intercept[..., None])[..., 0]  # without costs
    inside = np.all((exact >= env.low) & (exact <= env.high), axis=1)
    assert inside.sum() > 10
    np.testing.assert_allclose(np.asarray(best(markets))[inside], exact[inside], rtol=1e-5)

"""Numerical functions, against NumPy and SciPy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from jaxprice import numerics

pytestmark = pytest.mark.optimised


def test_dot_is_the_matrix_product_of_each_shape():
    rng = np.random.default_rng(1)
    for left, right in (((3,), (3,)), ((4, 3), (3,)), ((4, 3), (3, 5)), ((2, 4, 3), (3, 5))):
        a, b = rng.normal(size=left).astype(np.float32), rng.normal(size=right).astype(np.float32)
        np.testing.assert_allclose(numerics.dot(a, b), a.astype(float) @ b.astype(float), atol=2e-6)
    jaxpr = jax.make_jaxpr(numerics.dot)(a, b)
    products = [equation for equation in jaxpr.eqns if equation.primitive.name == "dot_general"]
    assert len(products) == 1 and set(products[0].params["precision"]) == {jax.lax.Precision.HIGHEST}


def test_wright_omega():
    x = np.concatenate([np.linspace(-80, 80, 4001), np.geomspace(80, 1e6, 200)]).astype(np.float32)
    np.testing.assert_allclose(jax.jit(numerics.wright_omega)(x), special.wrightomega(x.astype(float)), rtol=1e-6)
    assert float(numerics.wright_omega(0.0)) == pytest.approx(0.5671432904, rel=1e-6)  # the Omega constant


def waves(x, centers, heights, widths):
    return jnp.sum(heights * jnp.exp(-(((x[..., None] - centers) / widths) ** 2)), -1)


def test_maximise_finds_the_highest_peak():
    rng = np.random.default_rng(3)
    fine = np.linspace(-2, 5, 200_001)
    search = jax.jit(lambda *peaks: numerics.maximise(lambda x: waves(x, *peaks), -2.0, 5.0))
    for _ in range(20):
        centers, heights = rng.uniform(-2, 5, 6).astype(np.float32), rng.uniform(0.5, 1, 6).astype(np.float32)
        widths = rng.uniform(0.05, 0.4, 6).astype(np.float32)
        found = float(search(centers, heights, widths))
        values = sum(h * np.exp(-(((fine - c) / w) ** 2)) for c, h, w in zip(centers, heights, widths, strict=True))
        at_found = sum(h * np.exp(-(((found - c) / w) ** 2)) for c, h, w in zip(centers, heights, widths, strict=True))
        assert at_found >= values.max() - 2e-6


def test_maximise_at_the_ends_and_between_grid_points():
    assert float(numerics.maximise(lambda x: x, 1.0, 3.0)) == pytest.approx(3, abs=1e-6)
    assert float(numerics.maximise(lambda x: -x, 1.0, 3.0)) == pytest.approx(1, abs=1e-6)
    assert float(numerics.maximise(lambda x: -((x - 1.23456) ** 2), 0.0, 2.0, points=7)) == pytest.approx(1.23456, abs=1e-3)
    assert float(numerics.maximise(lambda x: -jnp.abs(x - 1.23456), 0.0, 2.0, points=7)) == pytest.approx(1.23456, abs=1e-6)

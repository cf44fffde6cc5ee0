"""Demand curves against SciPy, and their optimal prices against brute force in float64."""

import functools
import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from scipy import special, stats

from jaxprice import demand

pytestmark = pytest.mark.optimised

CURVES = demand.curves()
SAMPLES = 50


def leaves(curve):
    """The numbers of a curve as float64."""
    return jax.tree.map(lambda x: np.asarray(x, float), curve)


def exact(curve, price):
    """Expected demand of one curve at `price` `[P]` in float64."""
    c, p = leaves(curve), np.asarray(price, float)
    match c:
        case demand.Linear():
            return np.maximum(c.intercept - c.slope * p, 0)
        case demand.Logit():
            return special.expit(-(c.slope * p + c.intercept))
        case demand.Probit():
            return stats.norm.sf(p, c.location, c.scale)
        case demand.Exponential():
            return c.scale * stats.expon.sf(p, scale=1 / c.rate)
        case demand.IsoElastic():
            return c.scale * p**-c.elasticity
        case demand.UniformValuation():
            return stats.uniform.sf(p, c.low, c.high - c.low)
        case demand.BetaValuation():
            return stats.beta.sf(p, c.a, c.b)
        case demand.LogNormalValuation():
            return stats.lognorm.sf(p, c.scale, scale=np.exp(c.location))
        case demand.Mixture():
            parts = [exact(jax.tree.map(operator.itemgetter(m), c.components), p) for m in range(c.weights.size)]
            return c.weights @ np.stack(parts)
        case demand.Atoms():
            return (c.values >= p[:, None]) @ c.weights
    raise AssertionError(f"no reference for {curve}")


@functools.cache
def sampled(name):
    """`SAMPLES` random curves, leaves `[SAMPLES, ...]`, and the default curve as the first of the list."""
    batch = jax.tree.map(np.asarray, jax.vmap(CURVES[name].sample)(jax.random.split(jax.random.key(1), SAMPLES)))
    return batch, [jax.tree.map(operator.itemgetter(k), batch) for k in range(SAMPLES)]


def stacked(curves):
    return jax.tree.map(lambda *x: np.stack([np.float32(v) for v in x]), *curves)


def family(name):
    """The default curve and the sampled ones, as a batch and as a list."""
    default = CURVES[name]()
    if name == "atoms":  # three atoms, as many as the sampled ones have
        default = demand.Atoms(np.float32([0.5, 0.2, 0.9]), np.float32([0, 0.7, 0.3]))
    curves = [default, *sampled(name)[1]]
    return stacked(curves), curves


def test_every_curve_has_its_name():
    assert set(CURVES) == {
        *(
            "linear",
            "logit",
            "probit",
            "exponential",
            "iso_elastic",
            "uniform",
            "beta",
            "log_normal",
            "mixture",
            "atoms",
        )
    }
    assert all(issubclass(curve, demand.Curve) for curve in CURVES.values())


def test_a_curve_without_its_methods_cannot_be_made():
    @struct.dataclass
    class Half(demand.Curve):
        def mean(self, price):
            return 0.5 * price

    with pytest.raises(TypeError, match=r"Half .*sample"):
        Half()
    with pytest.raises(TypeError, match=r"Curve .*mean.*sample"):
        demand.Curve()


@pytest.mark.parametrize("name", CURVES)
def test_mean_is_the_survival_function(name):
    batch, curves = family(name)
    low, high = CURVES[name].price_range
    outside = 0.9 * low if name == "iso_elastic" else 0.0
    price = np.linspace(outside, 1.3 * high, 151, dtype=np.float32)
    mean = np.asarray(jax.jit(jax.vmap(lambda curve: curve.mean(price)))(batch))
    for row, curve in zip(mean, curves, strict=True):
        np.testing.assert_allclose(row, exact(curve, price), rtol=2e-5, atol=2e-6)
    assert mean.std() > 0.05
    np.testing.assert_allclose(CURVES[name]().mean(price[7]), mean[0, 7], rtol=2e-6)  # a scalar price, outside jit


@pytest.mark.parametrize("name", CURVES)
def test_demand_falls_and_is_a_probability(name):
    batch, _ = family(name)
    price = np.linspace(*CURVES[name].price_range, 301, dtype=np.float32)
    mean = np.asarray(jax.jit(jax.vmap(lambda curve: curve.mean(price)))(batch))
    assert np.all(np.diff(mean, axis=1) <= 1e-6) and np.all(mean[:, -1] < mean[:, 0])
    assert mean.min() >= 0 and mean.max() <= 1 + 2e-7  # the weights of atoms sum to one up to rounding


def costs_of(name):
    low, high = CURVES[name].price_range
    if name == "beta":  # its survival function is slow
        return [0.0, 0.3]
    return sorted({CURVES[name].unit_cost, *np.float32([0.25 * low, low, 0.4 * high, 0.8 * high]).tolist()})


@pytest.mark.parametrize("name", CURVES)
def test_optimal_price_is_that_of_brute_force(name):
    batch, curves = family(name)
    low, high = np.float32(CURVES[name].price_range)
    costs = np.float32(costs_of(name))
    best = jax.vmap(jax.vmap(lambda curve, cost: curve.optimal_price(cost, low, high), (None, 0)), (0, None))
    chosen = np.asarray(jax.jit(best)(batch, costs))
    assert np.all((chosen >= low) & (chosen <= high))
    grid = np.linspace(low, high, 2001)
    for curve, row in zip(curves, chosen, strict=True):
        grid_of = np.union1d(grid, leaves(curve).values) if name == "atoms" else grid
        grid_of = grid_of[(grid_of >= low) & (grid_of <= high)]
        mean, mean_row = exact(curve, grid_of), exact(curve, row)
        for cost, price, at_price in zip(costs.astype(float), row, mean_row, strict=True):
            profit = (grid_of - cost) * mean
            top, width = profit.max(), grid[1] - grid[0]
            assert (price - cost) * at_price >= top - 1e-6 * max(1, abs(top)), (curve, cost)
            if name not in ("atoms", "mixture") and top > 1e-3:
                near = grid_of[profit > top - 1e-5 * abs(top)]
                assert near[0] - width <= price <= near[-1] + width, (curve, cost)


@pytest.mark.parametrize(
    ("curve", "cost", "price", "profit"),
    [
        (demand.Logit(1.0, -1.0), 0.0, 1.5671433, 0.5671433),
        (
            demand.Logit(2.0, 0.5),
            0.3,
            0.3 + (1 + special.lambertw(np.exp(-2.1)).real) / 2,
            special.lambertw(np.exp(-2.1)).real / 2,
        ),
        (demand.Exponential(0.8, 2.5), 0.1, 0.5, 0.8 / 2.5 * np.exp(-1.25)),
        (demand.Linear(0.9, 1.2), 0.2, (0.9 + 1.2 * 0.2) / 2.4, (0.9 - 1.2 * 0.2) ** 2 / 4.8),
        (demand.Linear(1.0, 0.5), 0.0, 1.0, 0.5),  # 1/2 + z - z p with z = 1/2
        (demand.IsoElastic(0.5, 3.0), 0.8, 1.2, 0.4 * 0.5 * 1.2**-3),
        (demand.UniformValuation(0.0, 1.0), 0.0, 0.5, 0.25),
        (demand.UniformValuation(0.4, 0.6), 0.0, 0.4, 0.4),  # the seller sells to everybody
        (demand.Atoms(np.float32([0.2, 0.9]), np.float32([0.7, 0.3])), 0.0, 0.9, 0.27),
        (demand.Atoms(np.float32([0.2, 0.9]), np.float32([0.8, 0.2])), 0.0, 0.2, 0.2),
    ],
    ids=lambda x: type(x).__name__ if isinstance(x, demand.Curve) else "",
)
def test_closed_forms(curve, cost, price, profit):
    chosen = float(curve.optimal_price(np.float32(cost), np.float32(0.05), np.float32(10)))
    assert chosen == pytest.approx(price, rel=1e-6)
    assert (chosen - cost) * float(curve.mean(jnp.float32(chosen))) == pytest.approx(profit, rel=2e-6)


@pytest.mark.parametrize("name", [name for name in CURVES if name != "atoms"])
def test_optimal_price_is_clipped_to_the_interval(name):
    curve = CURVES[name]()
    low, high = CURVES[name].price_range
    cost = np.float32(CURVES[name].unit_cost)
    best = jax.jit(curve.optimal_price)
    inside = float(best(cost, np.float32(low), np.float32(high)))
    assert low < inside < high
    above, below = np.float32(inside + 0.01), np.float32(inside - 0.01)
    assert float(best(cost, above, above + np.float32(0.01))) == pytest.approx(float(above), rel=1e-5)
    assert float(best(cost, below - np.float32(0.01), below)) == pytest.approx(float(below), rel=1e-5)


RANGES = {
    "linear": lambda c: [(c.intercept, 0.5, 1), (c.intercept / c.slope, 0.6, 1.2)],
    "logit": lambda c: [(c.slope, 0.2, 2), (c.intercept, -1, 1)],
    "probit": lambda c: [(c.location, 0.3, 0.7), (c.scale, 0.1, 0.3)],
    "exponential": lambda c: [(c.scale, 0.5, 1), (c.rate, 1, 4)],
    "iso_elastic": lambda c: [(c.scale, 0.2, 0.5), (c.elasticity, 1.3, 3)],
    "uniform": lambda c: [(c.low, 0, 0.3), (c.high, 0.6, 1)],
    "beta": lambda c: [(c.a, 1, 8), (c.b, 1, 8)],
    "log_normal": lambda c: [(c.location, -1, 0), (c.scale, 0.2, 0.6)],
    "mixture": lambda c: [
        (c.weights[:, 0], 0.2, 0.8),
        (c.components.location[:, 0], 0.2, 0.5),
        (c.components.location[:, 1], 0.6, 0.9),
        (c.components.scale[:, 0], 0.03, 0.12),
        (c.components.scale[:, 1], 0.03, 0.12),
    ],
    "atoms": lambda c: [(c.values[:, k], 0.1, 1) for k in range(3)],
}


@pytest.mark.parametrize("name", CURVES)
def test_sampled_curves_are_uniform_on_their_ranges(name):
    size = 2000
    batch = jax.jit(jax.vmap(CURVES[name].sample))(jax.random.split(jax.random.key(2), size))
    numbers = RANGES[name](leaves(batch))
    for values, low, high in numbers:
        assert values.min() >= low - 1e-6 and values.max() <= high + 1e-6
        assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 1e-4
    together = np.corrcoef([values for values, _, _ in numbers])
    assert np.abs(together - np.eye(len(numbers))).max() < 5 / np.sqrt(size)


@pytest.mark.parametrize("name", ["mixture", "atoms"])
def test_sampled_weights_sum_to_one(name):
    batch = jax.vmap(CURVES[name].sample)(jax.random.split(jax.random.key(4), 2000))
    weights = np.asarray(batch.weights, float)
    assert weights.min() >= 0
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-6)
    if name == "atoms":  # each weight of a uniform point of the simplex is Beta(1, 2)
        assert min(stats.kstest(w, stats.beta(1, 2).cdf).pvalue for w in weights.T) > 1e-4

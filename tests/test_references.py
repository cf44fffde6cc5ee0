"""The NumPy references of the throughput script earn the same as our policies, and their shortcuts are exact."""

import itertools

import numpy as np
import pytest

import jaxprice
from experiments import throughput
from experiments.references import families, private

pytestmark = pytest.mark.optimised

SEASONS = {  # lanes and periods
    "q_learning": (3200, 400),
    "kleinberg_leighton": (400, 300),
    "private_pricing": (400, 100),
    "mnl_ucb": (400, 400),
    "hierarchical_thompson": (400, 400),
}


@pytest.mark.parametrize("name", SEASONS)
def test_a_reference_earns_what_ours_does(name):
    """Within 4 standard errors of the difference, which are a small share of what there is to earn."""
    lanes, horizon = SEASONS[name]
    options = throughput.Options()
    policy, reference = throughput.policy_rows()[name]
    env, params = throughput.stage(policy, options)
    result = jaxprice.simulate(env, policy, lanes=lanes, horizon=horizon, params=params, checkpoints=[horizon])
    result = result.isel(policy=0, time=0)
    bandit = hasattr(params, "means")
    kind = "regret" if bandit else "reward"
    ours, error = float(result[kind]), float(result[f"{kind}_se"])
    theirs = reference(options.arms, lanes, horizon, 1).run(params.means if bandit else 0.5)
    assert abs(ours - theirs) < 4 * 2**0.5 * error, (ours, theirs, error)
    assert 4 * 2**0.5 * error < 0.06 * ours


def test_sets_are_the_best_of_all():
    shop, rng = families.NumpyMNLUCB(0, 5, 1, 0), np.random.default_rng(0)
    attractions = rng.uniform(0, 2, (shop.n, 200)).astype(np.float32)
    revenues = shop.revenues[:, 0].astype(float)
    sets = [list(s) for size in range(1, shop.size + 1) for s in itertools.combinations(range(shop.n), size)]
    values = np.array([revenues[s] @ attractions[s] / (1 + attractions[s].sum(axis=0)) for s in sets])
    for start in (np.zeros((shop.n, 200), bool), rng.random((shop.n, 200)) < 0.3):
        start &= start.cumsum(axis=0) <= shop.size
        chosen = shop.best(attractions, start)
        assert chosen.sum(axis=0).max() <= shop.size
        np.testing.assert_allclose(shop.value(attractions, chosen), values.max(axis=0), rtol=1e-5)


def test_the_index_of_private_prices_needs_no_inverse():
    """Against dense linear algebra, where the matrix is positive."""
    size, rng = 3, np.random.default_rng(0)
    seller = private.NumpyPrivatePricing(4, 5, 8, 0, size=size)
    d, h, prices = 2 * size, np.float32(0.7), np.asarray(seller.p.prices, float)
    factors = rng.standard_normal((5, d + 1, 40))
    full = np.einsum("lit,ljt->lij", factors, factors)
    full = full + 2 * np.eye(d + 1)
    seller.sums[:] = full[:, *np.triu_indices(d + 1)][:, :-1].T
    x = rng.random((size, 5)).astype(np.float32)
    index = seller.index(x, np.zeros_like(seller.sums), h, slice(0, 5))
    for lane in range(5):
        z = np.stack([np.concatenate([x[:, lane], p / prices[-1] * x[:, lane]]) for p in prices])
        inverse = np.linalg.inv(full[lane, :d, :d] + h * np.eye(d))
        mean = z @ inverse @ full[lane, :d, d]
        width = seller.alpha * np.sqrt(h * np.einsum("ki,ij,kj->k", z, inverse, z))
        np.testing.assert_allclose(index[:, lane], prices * (mean + width), rtol=2e-4, atol=1e-5)

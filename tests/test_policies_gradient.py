"""Pricing on an interval without a model of demand, against NumPy references written from the formulas."""

import dataclasses
import math

import harness
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from harness import HORIZON, LANES, market, play, problem_of
from test_policies_parametric import CROWD, LINEAR, ends, sweep

from jaxprice import policies
from jaxprice.types import Transition


@pytest.mark.parametrize("name", [LINEAR, CROWD])
def test_kiefer_wolfowitz_step_for_step(name):
    played = play(policies.kiefer_wolfowitz(step=0.7, gap=0.3), name)
    (low, high, cost), buyers = ends(name)
    for lane in range(LANES):
        price, demand = (x[:, lane].astype(float) for x in (played.sales.price, played.sales.demand))
        profit, x = (price - cost) * demand / buyers / (high - low), 0.5
        for n in range(1, HORIZON // 2 + 1):
            c = 0.3 * n**-0.25
            c = c if x + c <= 1 else -c
            now = slice(2 * n - 2, 2 * n)
            np.testing.assert_allclose(price[now], low + (high - low) * np.array([x, x + c]), rtol=1e-4)
            x = min(max(x + 0.7 / n * (profit[2 * n - 1] - profit[2 * n - 2]) / c, 0), 1)


def test_kiefer_wolfowitz_climbs_to_the_top():
    """Without noise, the middle of the pairs converges to the best price of linear demand."""
    options = (("demand", "linear"), ("num_prices", None), ("noise", "gaussian"), ("noise_scale", 0.0), ("cost", 0.2))
    name = ("PostedPrice", options)
    prices = sweep(policies.kiefer_wolfowitz, [[1.0, 0.2], [0.02, 0.2]], name, 400)[:, -2:].mean(axis=(1, 2))
    env, params = market(name)
    best = float(env.best(params))
    assert abs(prices[0] - best) < 0.01
    assert abs(prices[1] - best) > 0.02  # steps that are too small


def test_bandit_gradient_step_for_step():
    horizon = 400
    policy = policies.bandit_gradient(step=0.8, gap=0.5)
    for name in (LINEAR, CROWD):
        played = play(policy, name)
        (low, high, cost), buyers = ends(name)
        shift, step = 0.5 * HORIZON**-0.25, 0.8 * HORIZON**-0.5
        x = np.zeros(LANES)
        up = 0
        for t in range(HORIZON):
            price, demand = played.sales.price[t].astype(float), played.sales.demand[t].astype(float)
            middle = low + (high - low) * (1 + x) / 2
            sign = np.where(price > middle, 1, -1)
            np.testing.assert_allclose(price, middle + sign * shift * (high - low) / 2, rtol=1e-5)
            np.testing.assert_allclose(played.states.x[t], x, atol=2e-5)
            y = (price - cost) * demand / buyers / (high - cost)
            x = np.clip(x + step * y * sign, shift - 1, 1 - shift)
            up += np.sum(sign > 0)
        assert abs(up / (LANES * HORIZON) - 0.5) < 4 * 0.5 / math.sqrt(LANES * HORIZON)
    state = policy.init(jax.random.key(0), problem_of(LINEAR, horizon))
    np.testing.assert_allclose([state.shift, state.step], [0.5 * horizon**-0.25, 0.8 * horizon**-0.5], rtol=1e-5)


def test_bandit_gradient_is_one_on_average():
    """The mean step is step * d * (difference quotient of profit), over fair signs and without noise."""
    policy, problem = policies.bandit_gradient(), problem_of(LINEAR)
    state = dataclasses.replace(policy.init(jax.random.key(0), problem), x=jnp.float32(-0.4))

    @jax.jit
    @jax.vmap
    def moves(key):
        price = policy.act(key, state, None)
        reward = price * (1.1 - 0.5 * price)
        return policy.update(key, state, Transition(None, price, price, reward / price, reward, None)).x - state.x

    seen = np.asarray(moves(jax.random.split(jax.random.key(1), 400_000)), float)
    shift, step = 0.41 * HORIZON**-0.25, HORIZON**-0.5
    above, below = (p * (1.1 - 0.5 * p) / 1.5 for p in (1 + 0.5 * (-0.4 + shift), 1 + 0.5 * (-0.4 - shift)))
    assert abs(seen.mean() - step * (above - below) / 2) < 4 * seen.std() / math.sqrt(seen.size)
    assert step * (above - below) / 2 > 10 * seen.std() / math.sqrt(seen.size)


@pytest.mark.parametrize(("scale", "lipschitz"), [(2.0, 1.0), (0.25, 0.9)])
def test_zooming_step_for_step(scale, lipschitz):
    """Every price is covered whenever one is chosen; indices, and which price becomes active, by brute force."""
    points = 24
    played = play(policies.zooming(scale=scale, lipschitz=lipschitz, points=points), CROWD)
    (low, high, cost), buyers = ends(CROWD)
    x, clear = np.arange(points) / (points - 1), 0
    for lane in range(LANES):
        price, demand = (a[:, lane].astype(float) for a in (played.sales.price, played.sales.demand))
        counts, sums, active = np.zeros(points), np.zeros(points), np.arange(points) == points // 2
        for t in range(HORIZON):
            np.testing.assert_array_equal(played.states.active[t, lane], active)
            radius = np.sqrt(scale * math.log(HORIZON) / (counts + 1))
            distance = lipschitz * np.abs(x[:, None] - x[active])
            assert np.all(np.min(distance - radius[active], axis=1) <= 1e-5)
            mean = np.divide(sums, counts, out=np.zeros(points), where=counts > 0)
            arm = int(np.argmin(np.abs(x - (price[t] - low) / (high - low))))
            assert active[arm] and abs(price[t] - low - (high - low) * x[arm]) < 1e-5
            clear += harness.assert_index(arm, np.where(active, mean + 2 * radius, -9.0))
            counts[arm] += 1
            sums[arm] += (price[t] - cost) * demand[t] / buyers / (high - cost)
            radius = np.sqrt(scale * math.log(HORIZON) / (counts + 1))
            gaps = np.min(distance - radius[active], axis=1)
            if t + 1 < HORIZON and gaps.max() > 0:
                (new,) = np.flatnonzero(played.states.active[t + 1, lane] & ~active)
                assert gaps[new] > gaps.max() - 1e-5
                active[new] = True
        if scale < 1:
            assert 3 < active.sum() < points
    assert clear > 0.8 * LANES * HORIZON

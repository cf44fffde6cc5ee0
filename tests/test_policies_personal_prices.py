"""Personal prices from estimates that price experiments keep honest, against NumPy references and known truths."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from harness import HORIZON, LANES, problem_of
from rows import some
from scipy import optimize, special, stats
from test_policies_contextual_pricing import (
    ELASTIC,
    GAUSSIAN,
    LINEAR,
    SEEN,
    best_price,
    distance,
    fit,
    hazard,
    log_chance,
    markup,
    told,
)

from jaxprice import policies
from jaxprice.types import Transition

# policies for personal price sensitivity


def effects(x, p, low=0.0, high=3.0):
    s = (p - (low + high) / 2) / ((high - low) / 2)
    return np.concatenate([x, -s[..., None] * x], axis=-1)


def greedy(law, theta, x, least=0.5, low=0.0, high=3.0, cost=0.0):
    slope = np.maximum(np.sum(x * theta[..., SEEN:], axis=-1), least) / ((high - low) / 2)
    return best_price(law, np.sum(x * theta[..., :SEEN], axis=-1) + slope * (low + high) / 2, slope, low, high, cost)


@pytest.mark.parametrize("doubling", some([False, True], False))
def test_etc_glm(doubling):
    """As many random prices as the formula says, uniform; then the prices of SciPy's estimate from them."""
    horizon, scale = (700, 2.0) if doubling else (HORIZON, 1.0)
    x, p, y, states = told(ELASTIC, policies.etc_glm(scale=scale, doubling=doubling), horizon)
    lengths = np.array([2**q for q in range(1, 10)] if doubling else [horizon])
    share = scale * (2**0.5 - 1 if doubling else 1)
    tau = np.minimum(lengths, np.ceil(share * np.sqrt(SEEN * lengths * np.log(lengths)))).astype(int)
    begins = np.cumsum([0, *lengths])[:-1]
    drawn = np.concatenate([p[t : t + k].ravel() for t, k in zip(begins, tau, strict=True)]) / 3
    assert stats.kstest(drawn, "uniform").pvalue > 1e-3 and stats.kstest(drawn**2, "uniform").pvalue < 1e-6
    theta = states.theta.astype(float)
    for t, k, n in zip(begins, tau, lengths, strict=True):
        if k < n:
            rows = slice(t + k, min(t + n, horizon))
            np.testing.assert_allclose(p[rows], greedy("logistic", theta[rows], x[rows]), atol=2e-4)
            assert np.ptp(theta[rows], axis=0).max() == 0
    t, k = begins[-1], tau[-1]
    assert k == (82 if doubling else 42)
    for lane in range(4):
        z, c = effects(x[t : t + k, lane], p[t : t + k, lane]), 2 * y[t : t + k, lane] - 1
        assert distance(theta[t + k, lane], *fit("logistic", z, 0.0, c, 20.0)) < (0.4 if doubling else 0.01)


@pytest.mark.parametrize("name", some([ELASTIC, GAUSSIAN], ELASTIC))
def test_perturbed_pricing_step_for_step(name):
    """The greedy price of the estimate, plus or minus delta, by a fair coin; the estimate by online Newton steps."""
    law = "gaussian" if name == GAUSSIAN else "logistic"
    x, p, y, states = told(name, policies.perturbed_pricing())
    delta = min((SEEN * math.log(HORIZON) / HORIZON) ** 0.25, float(markup(law, np.float64(0))) / 10, 0.1)
    np.testing.assert_allclose(states.delta, delta, rtol=1e-5)
    mean, factor = states.model.mean.astype(float), states.model.factor.astype(float)
    shock = p - np.clip(greedy(law, mean[:-1], x), delta, 3 - delta)
    np.testing.assert_allclose(np.abs(shock), delta, atol=2e-3)
    n = shock.size
    assert abs(np.sum(shock > 0) - n / 2) < 4 * math.sqrt(n) / 2
    for lane in range(4):
        theta, metric = np.zeros(2 * SEEN), np.eye(2 * SEEN)
        for t in range(HORIZON):
            z, c = effects(x[t, lane], p[t, lane]), 2 * y[t, lane] - 1
            gradient = -c * hazard(law, c * (z @ theta)) * z
            metric += np.outer(gradient, gradient)
            theta = theta - 3 * np.linalg.solve(metric, gradient)
            assert np.linalg.norm(theta) < 20
            np.testing.assert_allclose(mean[t + 1, lane], theta, atol=2e-3)
        inverse = factor[-1, lane] @ factor[-1, lane].T
        np.testing.assert_allclose(inverse, np.linalg.inv(metric), atol=1e-4)


@pytest.mark.parametrize("name", [ELASTIC, ("GLMDemand", (("link", "linear"),))])
def test_glm_greedy(name):
    """Random prices first; then ridge regression on all sales, or the posterior mode to a fraction of an error."""
    x, p, y, states = told(name, policies.glm_greedy())
    mean, first = states.model.mean.astype(float), 4 * SEEN
    drawn = p[:first].ravel() / 3
    assert stats.kstest(drawn, "uniform").pvalue > 1e-3
    z = effects(x, p)
    rows = slice(first, HORIZON)
    if name == ELASTIC:
        np.testing.assert_allclose(p[rows], greedy("logistic", mean[:-1][rows], x[rows]), atol=2e-4)
    else:
        slope = np.maximum(np.sum(x * mean[:-1, :, SEEN:], axis=-1), 0.5) / 1.5
        u = np.sum(x * mean[:-1, :, :SEEN], axis=-1) + 1.5 * slope
        np.testing.assert_allclose(p[rows], np.clip(u / slope / 2, 0, 3)[rows], atol=1e-4)
    for lane in range(4):
        a, d = z[:, lane], y[:, lane]
        if name == ELASTIC:

            def loss(v, a=a, c=2 * d - 1):
                return 0.05 * v @ v - log_chance("logistic", c * (a @ v)).sum()

            exact = optimize.minimize(loss, np.zeros(2 * SEEN)).x
            chance = special.expit(a @ exact)
            information = (a * (chance * (1 - chance))[:, None]).T @ a + 0.1 * np.eye(2 * SEEN)
            assert distance(mean[-1, lane], exact, information) < 0.3
        else:
            exact = np.linalg.solve(a.T @ a + 0.1 * np.eye(2 * SEEN), a.T @ d)
            np.testing.assert_allclose(mean[-1, lane], exact, atol=2e-4)


# random price shocks


@pytest.mark.parametrize("controls", [True, False])
def test_random_price_shocks_step_for_step(controls):
    """Two-stage least squares by LAPACK on all the data, with the ridge of the paper's second stage."""
    x, p, y, _ = told(LINEAR, policies.random_price_shocks(controls=controls))
    t = np.arange(1, HORIZON + 1)
    delta = 0.2 * 3 * t**-0.25
    shocks = np.zeros_like(p)
    for lane in range(LANES):
        for n in range(HORIZON):
            e, seen, prices, demand = (v[:n, lane] for v in (shocks, x, p, y))
            gram = seen.T @ seen + np.eye(SEEN)
            if not controls:
                b = e @ demand / max(e @ e, 1e-12)
            else:  # instruments (e, x) for (p, x), the ridge on x alone
                left = np.block([[np.array([[e @ prices]]), (e @ seen)[None]], [(seen.T @ prices)[:, None], gram]])
                reduced = [v @ e - e @ seen @ np.linalg.solve(gram, seen.T @ v) for v in (demand, prices)]
                if reduced[1] < e @ e / 4 or n == 0:
                    b = reduced[0] / max(e @ e / 4, 1e-12)
                else:
                    b = np.linalg.solve(left, np.concatenate([[e @ demand], seen.T @ demand]))[0]
            b = min(max(b, -5 / 3), -0.1 / 3)
            a = np.linalg.solve(gram, seen.T @ (demand - b * prices))
            g = min(max(-(x[n, lane] @ a) / b / 2, delta[n]), 3 - delta[n])
            assert abs(abs(p[n, lane] - g) - delta[n]) < 5e-3, (lane, n)
            shocks[n, lane] = math.copysign(delta[n], p[n, lane] - g)
    assert abs(np.sum(shocks > 0) - shocks.size / 2) < 2 * math.sqrt(shocks.size)


def test_random_price_shocks_see_through_a_confounder():
    """Where demand is not linear in the feature, least squares of demand on (x, p) errs, the shocks do not."""
    slope, horizon, lanes = -0.5, 4000, 16
    problem = dataclasses.replace(problem_of(LINEAR), context_size=2, low=jnp.float32(0.2), high=jnp.float32(1.4), buyers=1)
    policy = policies.random_price_shocks(shock=0.1)

    def lane(key):
        def period(state, key):
            keys = jax.random.split(key, 3)
            f = jax.random.uniform(keys[0], (), jnp.float32, -1, 1)
            observation = jnp.stack([jnp.float32(0), jnp.float32(1), f])
            price = policy.act(keys[1], state, observation)
            demand = 0.6 + 1.2 * f**3 + slope * price + 0.1 * jax.random.normal(keys[2], (), jnp.float32)
            sale = Transition(observation, price, price, demand, price * demand, observation)
            return policy.update(keys[0], state, sale), (observation[1:], price, demand)

        key, first = jax.random.split(key)
        state, rows = jax.lax.scan(period, policy.init(first, problem), jax.random.split(key, horizon))
        return state.inner.slope(True) / state.unit, rows

    learned, (x, p, q) = jax.jit(jax.vmap(lane))(jax.random.split(jax.random.key(0), lanes))
    learned, x, p, q = (np.asarray(v, float) for v in (learned, x, p, q))
    squares = [np.linalg.lstsq(np.column_stack([p[i], x[i]]), q[i], rcond=None)[0][0] for i in range(lanes)]
    for estimates, errs in ((learned, False), (np.array(squares), True)):
        z = (estimates.mean() - slope) / (estimates.std(ddof=1) / math.sqrt(lanes))
        assert (abs(z) > 8) == errs and (errs or abs(z) < 4), (z, estimates.mean())

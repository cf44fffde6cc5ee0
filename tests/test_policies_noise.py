"""The noise of the mean of several buyers: the value that every policy assumes, and the value in the market."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from harness import problem_of

import jaxprice
from jaxprice import policies
from jaxprice.policies.parts import arms
from jaxprice.types import Transition

GRID = ["gaussian_thompson", "kl_ucb_gaussian", "hierarchical_thompson", "meta_thompson", "gp_thompson", "gp_ucb"]
LINES = ["o3fu", "bayesian_linear_pricing", "meta_dynamic_pricing", "change_point_least_squares"]
FEATURES = ["lin_ts", "neural_linear"]


def test_the_number_is_that_of_the_market():
    """Standard deviation of the conversion rate of a period: Gaussian as drawn; Bernoulli, a bound that 1/2 attains."""
    for buyers in (1, 50):
        for noise, scale in (("gaussian", 0.3), ("bernoulli", None)):
            options = {"noise_scale": scale} if scale else {}
            env, params = jaxprice.make(
                "PostedPrice", demand="linear", prices=[0.4, 0.5], noise=noise, buyers=buyers, **options
            )
            problem = env.problem(params)
            result = jaxprice.simulate(env, policies.fixed_price(0.5), params=params, lanes=4000, horizon=1, traces=True)
            rates = result["trace_demand"].values.ravel() / buyers
            known = float(arms.noise_of_signal(problem))
            np.testing.assert_allclose(rates.std(), known, rtol=4 / np.sqrt(2 * rates.size))  # mean demand is 1/2


@pytest.mark.parametrize("name", GRID + LINES + FEATURES)
def test_every_policy_takes_it_for_the_mean_of_the_buyers(name):
    label = "interval" if name in LINES else "features" if name in FEATURES else "pricing"
    problem = problem_of(label)
    for buyers, noise, known in ((1, "bernoulli", 0.5), (64, "bernoulli", 0.0625), (50, "gaussian", 0.1)):
        changed = dataclasses.replace(problem, buyers=buyers, noise=noise, noise_scale=jnp.float32(5.0))
        state = policies.make(name).init(jax.random.key(0), changed)
        played = getattr(state, "inner", state)  # in a unit of money of its own
        np.testing.assert_allclose(played.noise, known, rtol=1e-6)


@pytest.mark.parametrize("name", [name for name in GRID if not name.startswith("gp")])
def test_fifty_buyers_teach_fifty_times_as_much(name):
    """Bernoulli demand of 50 buyers: with the noise of one buyer these policies went on exploring (.634 of the optimum)."""
    env, params = jaxprice.make("PostedPrice", demand="linear", num_prices=10, buyers=50)
    options = {"products": 1} if name in ("hierarchical_thompson", "meta_thompson") else {}
    sizes = {"lanes": 16, "horizon": 400, "params": params}
    result = jaxprice.simulate(env, {"it": policies.make(name, **options), "random": policies.random_price()}, **sizes)
    share = result["share"].isel(time=-1)
    assert float(share.sel(policy="it")) > 0.95, float(share.sel(policy="it"))
    assert float(share.sel(policy="random")) < 0.9


def test_linear_thompson_learns_from_n_buyers_as_from_n_periods():
    """Mean and standard deviation of the values it draws are the same, whatever the penalty."""
    told, x = problem_of("features"), jnp.array([0.3, -1.0, 0.5])

    def known(buyers, periods, ridge):
        problem = dataclasses.replace(told, buyers=buyers)
        policy = policies.lin_ts(ridge=ridge, form="joint")
        state = policy.init(jax.random.key(0), problem)
        for action, sold in periods:
            sale = Transition(x, jnp.int32(action), problem.prices[action], jnp.float32(sold), jnp.float32(0), x)
            state = policy.update(jax.random.key(1), state, sale)
        return state.model.predict(state.form, x), state.noise * state.model.std(state.form, x)

    for ridge in (1.0, 0.1):
        one = known(1, [(0, 1)] * 6 + [(0, 0)] * 2 + [(3, 0)] * 8, ridge)
        eight = known(8, [(0, 6), (3, 0)], ridge)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6), one, eight)

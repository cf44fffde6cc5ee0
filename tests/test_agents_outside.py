"""Agents of other libraries as policies: what they see, the order of their arguments, their actions, bad input."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxprice
from jaxprice import agents, policies

ENV, PARAMS = jaxprice.make("FiniteInventory", horizon=4, stock=3)
LANES = {"lanes": 8, "horizon": 4, "seed": 3}


def regrets(policy, env=ENV, params=PARAMS):
    return jaxprice.simulate(env, policy, params=params, **LANES)["lane_regret"].values


@pytest.mark.parametrize(
    ("act", "options"),
    [
        (lambda observation: jnp.int32(2), {}),
        (lambda key, observation: jnp.argmax(jnp.arange(3)), {}),
        (lambda params, key, observation: params["best"], {"params": {"best": jnp.int32(2)}}),
        (lambda seen, rng: jnp.int32(jnp.sum(0 * seen)) + 2, {"takes": ("observation", "key")}),
        (lambda seen: jnp.int32(seen[0]), {"see": lambda flat: flat[:1] * 0 + 2}),
    ],
)
def test_arguments_in_any_order(act, options):
    """All of them play the third price."""
    np.testing.assert_array_equal(regrets(agents.from_act(act, **options)), regrets(policies.fixed_price(PARAMS.prices[2])))


def test_it_sees_the_flat_observation_and_draws_anew():
    """A price that follows the share of the season, and random prices that are as good as those of the policy."""
    seen = regrets(agents.from_act(lambda flat: jnp.int32(flat[0] * 4)))
    fixed = [jaxprice.Policy(lambda k, p: (), lambda k, s, o: jnp.int32(o[0] * 4), lambda k, s, t: s)]
    np.testing.assert_array_equal(seen, regrets(fixed[0]))
    drawn = agents.from_act(lambda key, flat: jax.random.randint(key, (), 0, 4))
    actions = jaxprice.simulate(ENV, drawn, params=PARAMS, traces=True, **LANES)["trace_action"].values
    assert len(np.unique(actions)) == 4


def test_prices_are_cut_at_the_interval():
    env, params = jaxprice.make("PostedPrice", num_prices=None, horizon=4)
    high = float(env.problem(params).high)
    one, other = (agents.from_act(lambda flat, price=p: jnp.full(1, price)) for p in (high, high + 100))
    np.testing.assert_array_equal(regrets(one, env, params), regrets(other, env, params))


@pytest.mark.parametrize(
    ("message", "act", "options"),
    [
        ("act must be a function, got 3", 3, {}),
        ("takes must name the arguments of act, which has 0", lambda: 1, {}),
        ("takes must name the arguments of act, which has 4", lambda a, b, c, d: 1, {}),
        ("unknown argument in takes 'obs'; did you mean", lambda a: 1, {"takes": ("obs",)}),
        ("takes must be names of arguments in their order, each once", lambda a: 1, {"takes": "observation"}),
        ("takes must be names of arguments in their order, each once", lambda a: 1, {"takes": ("key", "key")}),
        ("takes must have 'observation', got ('key',)", lambda a: 1, {"takes": ("key",)}),
        ("params must be given if act takes it, and only then", lambda p, k, o: 1, {}),
        ("params must be given if act takes it, and only then", lambda o: 1, {"params": 2}),
        ("see must be a function of an observation, got 1", lambda o: 1, {"see": 1}),
        ("act must return an action of Discrete", lambda o: 0.5, {}),
        ("1 integer(s), got float32[4]", lambda o: jnp.zeros(4), {}),
    ],
)
def test_bad_input(message, act, options):
    with pytest.raises(ValueError, match=re.escape(message)):
        regrets(agents.from_act(act, **options))

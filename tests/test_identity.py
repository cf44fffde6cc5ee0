"""The sum of `optimal_reward` does not depend on the seller: E sum optimal_reward = E sum (reward + regret).

Each kind of market has its own form of it: exact for myopic oracles and in a season; up to the worth of the last state for
long-run averages; an inequality in a network.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scaled
from rows import some

from jaxprice.envs.planning import LongRunMarket
from jaxprice.types import Discrete, Interval

LANES, PERIODS = 4000, 8
QUICK = ("inventory", "linear", "reference price", "network", "bandit", "fair prices")


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def sums(env, space, random, params):
    """Sums of optimal rewards, rewards and regrets over a season, and its first and last state, per lane."""

    def lane(key):
        def period(state, k):
            act, sell = jax.random.split(k)
            problem = env.problem(params)
            u = jax.random.uniform(act, space.shape, jnp.float32)
            if not random:
                action = env.optimal_action(state, params)
            elif isinstance(space, Discrete):
                action = jnp.minimum((u * space.n).astype(jnp.int32), space.n - 1)
            elif isinstance(space, Interval):
                action = problem.low + u * (problem.high - problem.low)
            else:
                action = u < 0.5
            _, state, _, _, info = env.step_env(sell, state, action, params)
            return state, [info[name] for name in ("optimal_reward", "reward", "regret")]

        start, key = jax.random.split(key)
        _, first = env.reset_env(start, params)
        last, infos = jax.lax.scan(period, first, jax.random.split(key, PERIODS))
        return [jnp.sum(x) for x in infos], first, last

    return jax.vmap(lane)(jax.random.split(jax.random.key(7), LANES))


def worth(env, params, state):
    """Bias of the states of all lanes, float `[LANES]`."""
    if hasattr(params, "memory"):  # linear between references
        nodes = np.linspace(params.low, params.high, len(params.worth))
        return np.interp(np.asarray(state.reference, float), nodes, params.worth)
    if hasattr(params, "pmf"):
        return np.asarray(params.worth)[np.asarray(state.stock) + env.largest_backlog]
    return np.asarray(params.worth)[np.asarray(jax.vmap(env._row)(state))]


@pytest.mark.parametrize("random", [True, False])
@pytest.mark.parametrize("row", some(dict.fromkeys(scaled.rows()), *QUICK))
def test_what_could_be_earned_does_not_depend_on_the_seller(row, random):
    env, params = scaled.market(row)
    params = params.replace(max_steps_in_episode=np.int32(PERIODS))
    params = env.solved(params)
    space = env.problem(params).action_space
    (optimal, reward, regret), first, last = jax.device_get(sums(env, space, random, params))
    gap = np.asarray(optimal, float) - np.asarray(reward, float) - np.asarray(regret, float)
    if isinstance(env, LongRunMarket):
        gap = gap - worth(env, params, last) + worth(env, params, first)
    error = 4.5 * gap.std() / np.sqrt(LANES) + 2e-5 * (np.abs(optimal).max() + np.abs(reward).max())
    assert gap.mean() < error
    if row not in ("network", "fair prices", "fair prices, linear"):  # bounds, see their modules
        assert gap.mean() > -error

"""Tabular learners on the chains of `deep_rl`: one stream of periods for each run, season after season.

The policies of `jaxprice.policies.tabular` learn from transitions and know no end. So the last transition of a season leads
to a state of its own, whose values stay zero: the time of the observation is one, which has a bin, and no price is ever
posted there. SARSA learns a transition when it sees the next price; at the end of a season it is given one more transition,
from the end. A market without end is one long season.

Exploration falls exponentially from 1 to about .01, the rate of learning as n^-power with the visits n.
"""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.deep_rl import chains
from jaxprice import policies
from jaxprice.types import Policy, Transition

LEARNERS = ("q_learning", "sarsa", "expected_sarsa")
FALL = 5.0  # exploration is exp(-FALL) at the end


@dataclasses.dataclass(frozen=True)
class Tables:
    """What tabular learning returns: the policy, its state after training `[runs]`, and the periods of a run."""

    policy: Policy
    state: Any
    steps: int


def train(market, name, steps, seeds, *, rate=1.0, power=0.7, discount=None):
    """Train a tabular learner, one run for each seed.

    Args:
      market: `markets.Market` with a table.
      name: one of `LEARNERS`.
      steps: periods of a run, rounded up to whole seasons.
      seeds: integers.
      rate, power, discount: options of the learner; by default the discount is .99, or almost 1 in a season.

    Returns:
      `Tables`.
    """
    env, params, table = market.env, market.params, market.table
    horizon = steps if env.endless else market.chain.horizon
    seasons = -(-steps // horizon)
    discount = (0.99 if env.endless else 1 - 1e-6) if discount is None else discount
    options = {"exploration": "exponential", "epsilon": 1.0, "decay": FALL / steps, "initial": 0.0}
    policy = getattr(policies, name)(*table, discount=discount, rate=rate, power=power, **options)
    final = math.prod(table.bins[1:])  # the states of the last bin of time, which are the last ones

    def period(carry, key):
        learner, obs, state = carry
        key_act, key_demand, key_learn = jax.random.split(key, 3)
        action = policy.act(key_act, learner, obs)
        after, state, reward, _, info = env.step_env(key_demand, state, action, params)
        sale = Transition(obs, action, info["price"], info["demand"], reward, after)
        return (policy.update(key_learn, learner, sale), after, state), None

    def season(learner, key):
        key_first, key_last, key_play = jax.random.split(key, 3)
        obs, state = env.reset_env(key_first, params)
        (learner, obs, _), _ = jax.lax.scan(period, (learner, obs, state), jax.random.split(key_play, horizon))
        if env.endless:
            return learner, None
        learner = dataclasses.replace(learner, table=learner.table.at[-final:].set(0.0))
        if name == "sarsa":
            shape = jnp.shape(market.env.problem(params).prices)[1:]
            nothing = jnp.zeros(shape, jnp.float32)
            last = Transition(obs, jnp.int32(0), nothing, nothing, jnp.float32(0), obs)
            learner = policy.update(key_last, learner, last)
        return learner, None

    def run(seed):
        key_first, key_policy, key_play = jax.random.split(jax.random.key(seed), 3)
        obs, _ = env.reset_env(key_first, params)
        learner = policy.init(key_policy, env.problem(params).with_observation(obs))
        return jax.lax.scan(season, learner, jax.random.split(key_play, seasons))[0]

    return Tables(policy, jax.jit(jax.vmap(run))(jnp.asarray(list(seeds), jnp.uint32)), seasons * horizon)


def shares_of_runs(market, tables):
    """Exact shares `[runs]` of the greedy sellers, and their actions `[runs, T, S]` and paths, as in `chains`."""
    horizon = market.chain.horizon

    def act(learner, time, state, observation):
        del state
        hidden = jnp.zeros(len(market.table.bins) - 1 - observation.size)  # last price and demand, which have one bin
        whole = jnp.concatenate([(time / horizon)[None], hidden, observation])
        return jnp.argmax(learner.table[learner.states.of(whole)]).astype(jnp.int32)

    one = jax.vmap(lambda learner: chains.share(market.chain, functools.partial(act, learner)))
    return jax.tree.map(np.asarray, jax.jit(one)(tables.state))

"""Play a policy in a small market and record everything, for comparison with a reference written in NumPy.

`play` drives `init`, `act` and `update` of one policy through `reset_env` and `step_env` of one market, in `LANES` lanes
that differ only in their random numbers, with the addressed keys of the engine. A reference then receives the same
transitions, one by one, in float64 and plain loops.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxprice
from jaxprice import random
from jaxprice.policies.parts import arms
from jaxprice.types import Transition

LANES, HORIZON = 12, 120
DRAWS = 40_000  # keys per frequency: a standard error of at most .0025
LEAD = 1e-4  # lead of an index that float32 cannot overturn

SMALL_MARKETS = {  # the smallest first of those that ask for the same
    "bandit": ("BernoulliBandit", {"means": [0.2, 0.9, 0.4, 0.7]}),
    "pricing": ("PostedPrice", {"demand": "linear", "prices": [0.35, 0.55, 0.7, 0.9], "cost": 0.3}),
    "crowd": ("PostedPrice", {"demand": "linear", "prices": [0.35, 0.55, 0.7, 0.9], "cost": 0.3, "buyers": 3}),
    "noisy": ("GaussianBandit", {"means": [0.2, 0.9, 0.4, 0.7], "stds": [0.3] * 4}),
    "interval": ("ParametricDemand", {"family": "keskin_zeevi"}),
    "interval, logit": ("ParametricDemand", {"family": "logit"}),
    "features": ("GLMDemand", {"dimension": 3, "num_prices": 4}),
    "features, interval": ("LinearValuation", {"dimension": 3}),
    "features, elasticity": ("GLMDemand", {"dimension": 3}),
    "inventory": ("FiniteInventory", {"stock": 30, "horizon": HORIZON}),
    "network": ("NetworkRevenue", {"horizon": HORIZON}),
    "segments": ("SegmentedValuation", {"num_segments": 20, "num_prices": 10, "buyers": 3}),
    "several products": ("MultiProduct", {"num_products": 2}),
    "low rank": ("LowRankDemand", {"num_products": 6, "rank": 2, "noise_scale": 1.0}),
    "mnl prices": ("MNLPricing", {"num_products": 3}),
    "assortments": ("MNLAssortment", {"num_products": 5, "size": 2}),
    "reference price": ("ReferencePrice", {"num_prices": 4}),
}


@functools.cache
def market(name):
    """`(environment, params)` of a row of `SMALL_MARKETS`, or of options given as `(kind, ((name, value), ...))`."""
    kind, options = SMALL_MARKETS[name] if isinstance(name, str) else (name[0], dict(name[1]))
    env, params = jaxprice.make(kind, **options)
    return env, jax.tree.map(jnp.asarray, params)


@functools.cache
def _told(name):
    env, params = market(name)
    with jax.ensure_compile_time_eval():  # kept for all tests, so never a tracer of the one that asks first
        return env.problem(params)


def problem_of(name, horizon=HORIZON, **changes):
    """What the seller is told, for a horizon of so many periods."""
    return dataclasses.replace(_told(name), **({"horizon": jnp.int32(horizon)} | changes))


class Played(NamedTuple):
    """All periods: `states` before each act, `sales` (transitions) and `info` with `[time, lane, ...]`; the `last` state."""

    states: Any
    sales: Transition
    info: dict
    last: Any

    def lane(self, k):
        """States and transitions of one lane, a list of `(state, transition)`."""
        one = jax.tree.map(lambda x: x[:, k], (self.states, self.sales))
        return [jax.tree.map(lambda x, t=t: x[t], one) for t in range(len(self.sales.reward))]


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def run(env, policy, horizon, params, problem, numbers):
    """`Played` as a plain tuple, for the lanes `numbers`, in one compiled call; numbers of the policy may be traced."""
    words = {role: random.stream(0, role) for role in random.ROLES}

    def lane(number):
        def key(role, time=0):
            return random.address(words[role], time, number)

        def period(carry, time):
            obs, state, env_state = carry
            action = policy.act(key("act", time), state, obs)
            after, env_state, reward, _, info = env.step_env(key("demand", time), env_state, action, params)
            sale = Transition(obs, action, info["price"], info["demand"], reward, after)
            return (after, policy.update(key("update", time), state, sale), env_state), (state, sale, info)

        obs, env_state = env.reset_env(key("reset"), params)
        start = obs, policy.init(key("init"), problem.with_observation(obs)), env_state
        (_, last, _), (states, sales, info) = jax.lax.scan(period, start, jnp.arange(horizon))
        return states, sales, info, last

    return jax.vmap(lane, 0, (1, 1, 1, 0))(numbers)


def _of_lane(number, role, time=0):
    """The key of a role, a period and a lane."""
    return random.address(random.stream(0, role), time, number)


@functools.partial(jax.jit, static_argnums=0)
def _open(env, params, numbers):
    return jax.vmap(lambda number: env.reset_env(_of_lane(number, "reset"), params))(numbers)


@functools.partial(jax.jit, static_argnums=0)
def _sell(env, params, numbers, time, obs, env_state, actions):
    def lane(number, obs, env_state, action):
        key = _of_lane(number, "demand", time)
        after, env_state, reward, _, info = env.step_env(key, env_state, action, params)
        return after, env_state, Transition(obs, action, info["price"], info["demand"], reward, after), info

    return jax.vmap(lane)(numbers, obs, env_state, actions)


@functools.partial(jax.jit, static_argnums=0)
def _init(policy, problem, numbers, obs):
    return jax.vmap(lambda number, obs: policy.init(_of_lane(number, "init"), problem.with_observation(obs)))(numbers, obs)


@functools.partial(jax.jit, static_argnums=0)
def _act(policy, numbers, time, states, obs):
    return jax.vmap(lambda number, *x: policy.act(_of_lane(number, "act", time), *x))(numbers, states, obs)


@functools.partial(jax.jit, static_argnums=0)
def _update(policy, numbers, time, states, sales):
    return jax.vmap(lambda number, *x: policy.update(_of_lane(number, "update", time), *x))(numbers, states, sales)


@functools.cache
def play(policy, name, horizon=HORIZON, changes=()):
    """Play `policy` in the market `name`: `Played`, NumPy arrays.

    As `run`, one call a period: the market is compiled once for all policies, and once for all other numbers of it,
    `changes`, as `((leaf, value), ...)`.
    """
    env, params = market(name)
    changes = {"max_steps_in_episode": horizon} | dict(changes)
    changes = {leaf: np.asarray(value, getattr(params, leaf).dtype) for leaf, value in changes.items()}
    params = jax.tree.map(jnp.asarray, dataclasses.replace(params, **changes))
    numbers = np.arange(LANES, dtype=np.uint32)
    obs, env_state = _open(env, params, numbers)
    state, periods = _init(policy, env.problem(params), numbers, obs), []
    for time in range(horizon):
        time = np.int32(time)
        action = _act(policy, numbers, time, state, obs)
        obs, env_state, sales, info = _sell(env, params, numbers, time, obs, env_state, action)
        periods.append((state, sales, info))
        state = _update(policy, numbers, time, state, sales)
    states, sales, info = jax.tree.map(lambda *x: np.stack(x), *jax.device_get(periods))
    return Played(states, sales, info, jax.device_get(state))


def sums_of(counts, sums):
    """`arms.Sums` after so many pulls and such sums of signals, `[num_prices]` each."""
    sums = jnp.asarray(sums, jnp.float32)
    return arms.Sums(jnp.asarray(counts).astype(jnp.int32), sums, jnp.zeros_like(sums))


def state_after(policy, problem, actions, demands, observation=None):
    """The state after a history of actions on a price grid and demands, `[time]` each."""
    actions, demands = np.asarray(actions, np.int32), np.asarray(demands, np.float32)
    prices = jnp.asarray(problem.prices)[actions]
    rewards = (prices - problem.cost) * demands
    seen = jax.tree.map(lambda x: jnp.broadcast_to(x, (actions.size, *jnp.shape(x))), observation)
    sales = Transition(seen, actions, prices, demands, rewards, seen)
    return learn(policy, policy.init(jax.random.key(0), problem), sales)


@functools.partial(jax.jit, static_argnums=0)
def learn(policy, state, sales):
    """The state after all `sales`, a `Transition` with leaves `[time, ...]`; every update gets the same key."""
    return jax.lax.scan(lambda state, sale: (policy.update(jax.random.key(0), state, sale), None), state, sales)[0]


@functools.partial(jax.jit, static_argnums=0)
def _act_many(policy, state, keys, observation):
    return jax.vmap(lambda key: policy.act(key, state, observation))(keys)


def actions_of(policy, state, observation=None, seed=0):
    """Actions under `DRAWS` keys, all in the same state."""
    return np.asarray(_act_many(policy, state, jax.random.split(jax.random.key(seed), DRAWS), observation))


def assert_choices(policy, state, expected, against=(), observation=None):
    """Frequencies of actions within 4 standard errors of `expected`, in a test that would tell it from `against`."""
    expected = np.asarray(expected, float)
    assert abs(expected.sum() - 1) < 1e-6
    actions = actions_of(policy, state, observation)
    assert actions.min() >= 0 and actions.max() < expected.size
    seen = np.bincount(actions, minlength=expected.size) / DRAWS
    error = np.sqrt(expected * (1 - expected) / DRAWS) + 1e-5
    assert np.all(np.abs(seen - expected) < 4 * error), (seen, expected)
    for wrong in against:
        assert np.abs((np.asarray(wrong) - expected) / error).max() > 10, (wrong, expected)


def assert_index(action, indices, lead=LEAD):
    """The action is the first with the largest index, wherever that leads by more than `lead`; whether it did."""
    best, second = np.sort(indices)[::-1][:2]
    if best > second + lead:
        assert action == np.argmax(indices), indices
        return True
    assert indices[action] >= best - lead, indices
    return False


def signals(name, actions, demands, source):
    """What `jaxprice.policies.parts.arms` calls the signal of each period, float64, and the weight of each arm."""
    problem = problem_of(name)
    margins = np.asarray(problem.prices, float) - float(problem.cost)
    rate = np.asarray(demands, float) / problem.buyers
    if source == "demand":
        return rate, margins
    return margins[actions] * rate / margins.max(), np.full(margins.size, margins.max())

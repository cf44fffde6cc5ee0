"""Markets without anything to learn or to earn: prices stay valid and finite for any sales.

Every seller of one product plays its market, or that market with a cost above every price, and then sees no sales at all, or
only sales. Policies of several products and of assortments see no sales.
"""

import dataclasses

import jax
import numpy as np
import pytest
from harness import LANES, _act, _init, _update, play, problem_of
from test_policy_table import CARDS, LONG, NAMES, fits

from jaxprice import policies
from jaxprice.types import Discrete, Interval, Transition

FAMILIES = ("gradient", "posted_price", "parametric", "personal", "inventory", "products")
ROWS = [name for name in NAMES if CARDS[name].family in FAMILIES]
PERIODS = 12


@pytest.mark.parametrize("name", [pytest.param(name, marks=LONG.get(name, [])) for name in ROWS])
def test_nothing_to_learn_or_to_earn(name):
    label = fits(name)[0]
    told, policy, sales = problem_of(label), policies.make(name), play(policies.make(name), label).sales
    dear = dataclasses.replace(told, cost=np.asarray(told.cost) + 2 * np.asarray(told.high))
    numbers, most = np.arange(LANES, dtype=np.uint32), 0 if np.ndim(told.high) else told.buyers
    for problem in (told, dear):
        for sold in sorted({0, most}):
            first = jax.tree.map(lambda x: x[0], sales.observation)
            state = _init(policy, problem, numbers, first)
            for time in range(PERIODS):
                seen, after = (jax.tree.map(lambda x, t=time: x[t], x) for x in (sales.observation, sales.next_observation))
                action = np.asarray(_act(policy, numbers, np.int32(time), state, seen))
                price = priced(problem, action, sales.price[time])
                demand = np.full_like(price, sold)
                reward = ((price - np.asarray(problem.cost)) * demand).reshape(LANES, -1).sum(axis=1).astype(np.float32)
                sale = Transition(seen, action, price, demand, reward, after)
                state = _update(policy, numbers, np.int32(time), state, sale)
            for leaf in jax.tree.leaves(jax.device_get(state)):
                assert not np.issubdtype(leaf.dtype, np.floating) or np.all(np.isfinite(leaf)), (sold, problem is dear)


def priced(problem, action, shape):
    """The prices of actions, once they are checked."""
    if isinstance(problem.action_space, Discrete):
        assert action.min() >= 0 and action.max() < problem.action_space.n
        return np.asarray(problem.prices, np.float32)[action]
    if isinstance(problem.action_space, Interval):
        assert np.all(np.isfinite(action))
        assert np.all(action >= np.asarray(problem.low) - 1e-5) and np.all(action <= np.asarray(problem.high) * (1 + 1e-5))
        return action
    return np.where(action, np.asarray(problem.high, np.float32), np.float32(0)).astype(shape.dtype)

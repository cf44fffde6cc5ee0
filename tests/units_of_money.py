"""What a policy decides in a market with another currency.

A policy plays a market of the harness once. Then the problem is given in other units, with prices, costs and rewards
rescaled, and the policy sees the same periods again. Its decisions must be the same: on a grid the same action, on an
interval the same price in the other unit. Powers of two lose no digit, and nothing may differ. Powers of ten change the last
digit of a price, which may break a tie or move a price slightly.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from harness import LANES, SMALL_MARKETS, _act, _init, _update, play, problem_of

from jaxprice import policies
from jaxprice.policies.parts import scale
from jaxprice.types import Interval, Transition

UNITS = (2.0**-40, 2.0**20, 1e-12, 1e6)
MORE = (2.0**-20, 2.0**40, 1e-6, 1e-3, 1e12)
EXACT = {2.0**power for power in (-40, -20, 20, 40)}
SLOPES = {"interval": [1], "interval, logit": [0]}  # the parameters in `bounds` that are a change for a unit of price
FLIPS = 0.01  # share of decisions on a grid that the last digit of prices may turn
MOVED = 2e-3  # of the price range, on an interval
PRICED = [label for label in SMALL_MARKETS if label not in ("bandit", "noisy")]


def told(label, unit):
    """The problem of a market in a currency of which the old unit has `unit`."""
    problem = problem_of(label)

    def times(x):
        return jnp.asarray(np.asarray(x, np.float32) * np.float32(unit))

    bounds = problem.bounds
    if bounds is not None:
        bounds = np.array(bounds, np.float32)
        bounds[:, SLOPES[label]] /= np.float32(unit)
    details = {name: times(x) if name in scale.MONEY else x for name, x in problem.details.items()}
    money = {name: times(getattr(problem, name)) for name in ("prices", "low", "high", "cost")}
    return dataclasses.replace(problem, **money, details=details, bounds=bounds)


def seen(observation, prices, unit):
    """An observation with its prices in the other unit."""
    if hasattr(observation, "price"):
        return dataclasses.replace(observation, price=observation.price * np.float32(unit))
    observation = np.array(observation)
    observation[..., 1 : 1 + prices] *= np.float32(unit)
    return observation


def sold(sale, prices, unit, interval):
    """A transition in the other unit."""
    unit = np.float32(unit)
    before, after = (seen(x, prices, unit) for x in (sale.observation, sale.next_observation))
    action = sale.action * unit if interval else sale.action
    return Transition(before, action, sale.price * unit, sale.demand, sale.reward * unit, after)


def replay(policy, label, unit, periods):
    """What the policy would do in the periods that it has played, told of them in the other unit; `[time, lane, ...]`."""
    played, interval = play(policy, label), isinstance(problem_of(label).action_space, Interval)
    numbers, prices = np.arange(LANES, dtype=np.uint32), int(np.prod(played.sales.price.shape[2:]))
    sales = sold(played.sales, prices, unit, interval)
    first = jax.tree.map(lambda x: x[0], sales.observation)
    state, actions = _init(policy, told(label, unit), numbers, first), []
    for time in range(periods):
        sale = jax.tree.map(lambda x, t=time: x[t], sales)
        actions.append(np.asarray(_act(policy, numbers, np.int32(time), state, sale.observation)))
        state = _update(policy, numbers, np.int32(time), state, sale)
    return np.stack(actions)


def check(name, label, units, periods):
    """The decisions of a policy do not depend on the unit."""
    policy, problem = policies.make(name), problem_of(label)
    base, interval = play(policy, label).sales.action[:periods], isinstance(problem.action_space, Interval)
    width = np.max(np.asarray(problem.high, float) - np.asarray(problem.low, float))
    for unit in units:
        actions = replay(policy, label, unit, periods)
        expected = base * np.float32(unit) if interval else base
        if unit in EXACT:
            same = (actions == expected).reshape(periods, -1).all(axis=1)
            assert same.all(), (unit, int(np.argmin(same)))
        elif interval:
            moved = np.abs(actions / np.float64(np.float32(unit)) - base) / width
            assert np.max(moved) < MOVED, (unit, np.max(moved))
        else:
            assert np.mean(actions != base) <= FLIPS, (unit, np.mean(actions != base))

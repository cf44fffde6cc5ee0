"""Money has no natural unit: a policy told the same market in another currency decides the same.

Every policy plays its markets of the harness once. Then it is told that market in other units, prices, costs and rewards
alike, and sees the same periods again: whatever it would have done must be what it did, on a grid the same action, on an
interval the same price in the other unit. Powers of two lose no digit, and nothing may differ; with powers of ten the last
digit of a price does, which may decide a tie or move a price a little.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from harness import LANES, _act, _init, _update, play, problem_of
from test_policy_table import NAMES, fits

from jaxprice import policies
from jaxprice.types import Interval, Transition

EXACT = (2.0**-40, 2.0**-20, 2.0**20, 2.0**40)
DECIMAL = (1e-12, 1e-6, 1e-3, 1e6, 1e12)
PERIODS = 60
MONEY = ("scale", "radius", "salvage")  # the entries of `details` that are prices
SLOPES = {"interval": (1,), "interval, logit": (0,)}  # the parameters of `bounds` that are a change per unit of price
FLIPS = 0.02  # share of decisions on a grid that the last digit of prices may turn
MOVED = 2e-3  # of the price range


def told(problem, label, unit):
    """The problem of the market `label` in a currency of which one old unit is `unit`."""

    def times(x):
        return jnp.asarray(np.asarray(x, np.float32) * np.float32(unit))

    details = {name: times(x) if name in MONEY else x for name, x in problem.details.items()}
    bounds = problem.bounds
    if bounds is not None:
        bounds = np.array(bounds, np.float32)
        for k in SLOPES[label]:
            bounds[:, k] /= np.float32(unit)
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
    return Transition(
        seen(sale.observation, prices, unit),
        sale.action * unit if interval else sale.action,
        sale.price * unit,
        sale.demand,
        sale.reward * unit,
        seen(sale.next_observation, prices, unit),
    )


def replay(policy, label, unit, periods=PERIODS):
    """What the policy would do in the periods it has played, told of them in the other unit; `[time, lane, ...]`."""
    problem, played = problem_of(label), play(policy, label)
    interval = isinstance(problem.action_space, Interval)
    prices = int(np.prod(played.sales.price.shape[2:]))
    numbers = np.arange(LANES, dtype=np.uint32)
    sales = sold(played.sales, prices, unit, interval)
    first = jax.tree.map(lambda x: x[0], sales.observation)
    state, actions = _init(policy, told(problem, label, unit), numbers, first), []
    for time in range(periods):
        sale = jax.tree.map(lambda x, t=time: x[t], sales)
        actions.append(np.asarray(_act(policy, numbers, np.int32(time), state, sale.observation)))
        state = _update(policy, numbers, np.int32(time), state, sale)
    return np.stack(actions)


def check(name, label, units=EXACT + DECIMAL, periods=PERIODS):
    """The decisions of a policy do not depend on the unit."""
    policy, problem = policies.make(name), problem_of(label)
    base, interval = play(policy, label).sales.action[:periods], isinstance(problem.action_space, Interval)
    for unit in units:
        actions = replay(policy, label, unit, periods)
        expected = base * np.float32(unit) if interval else base
        if unit in EXACT:
            assert np.array_equal(actions, expected), (unit, differing(actions, expected))
        elif interval:
            width = np.float64(np.max(np.asarray(problem.high) - np.asarray(problem.low)))
            moved = np.abs(actions / np.float64(np.float32(unit)) - base) / width
            assert np.max(moved) < MOVED, (unit, np.max(moved))
        else:
            assert np.mean(actions != base) <= FLIPS, (unit, np.mean(actions != base))


def differing(actions, expected):
    """Where decisions first differ, for the message."""
    same = (actions == expected).reshape(len(actions), -1).all(axis=1)
    time = int(np.argmin(same))
    return time, actions[time].tolist(), expected[time].tolist()


@pytest.mark.parametrize("name", NAMES)
def test_in_its_market(name):
    check(name, fits(name)[0])

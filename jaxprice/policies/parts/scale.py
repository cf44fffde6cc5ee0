"""A unit of money of the market's own: policies whose constants are made for prices of a certain size.

A floor under a sum of squared prices, or a step of a search, is a number made for prices of order one. A seller of tokens at
1e-6 dollars, or of flats in yen, has others, and a policy must not sell differently because of the currency. `in_own_unit`
plays a policy in a unit of money u of which the highest price has between `size` and 2 `size`, for markets in any currency.

u is a power of two, so that changing the unit loses no digit: a policy without such constants plays bit for bit as it would
without, and one with them plays in the units 1 and 2^k bit for bit alike.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxprice.types import Policy

MONEY = ("scale", "radius", "salvage")  # entries of `problem.details` that are money
EXPONENT = np.int32(0x7F800000)  # bits of the exponent in a float32


@struct.dataclass
class State:
    """The unit of money u, float scalar, and the state of the policy that is played in it."""

    unit: jax.Array
    inner: object


def power_of_two(x):
    """The largest power of two that is at most `x`, exactly, float32 `[...]`; 1 where `x` is not positive."""
    x = jnp.asarray(x, jnp.float32)
    power = jax.lax.bitcast_convert_type(jax.lax.bitcast_convert_type(x, jnp.int32) & EXPONENT, jnp.float32)
    return jnp.where(power > 0, power, jnp.float32(1))


def or_one(x):
    """`x` where it is positive, else 1: a divisor of what is then zero; float `[...]`."""
    return jnp.where(x > 0, x, jnp.ones_like(x))


def in_own_unit(policy, size=1.0):
    """The policy, told its market in the unit u that brings the highest price into [size, 2 size).

    Its problem has u, in the market's own money, as `details["unit"]`: an option in money has to be divided by it. What the
    seller observes is passed on as it is, prices among it.

    Args:
      policy: `Policy`.
      size: a power of two, a float.
    """

    def init(key, problem):
        unit = power_of_two(jnp.max(jnp.asarray(problem.high, jnp.float32))) / size
        details = {name: jnp.asarray(x, jnp.float32) / unit if name in MONEY else x for name, x in problem.details.items()}
        money = {name: jnp.asarray(getattr(problem, name), jnp.float32) for name in ("prices", "low", "high", "cost")}
        money = {name: x / unit for name, x in money.items()}
        told = dataclasses.replace(problem, **money, details=details | {"unit": unit})
        return State(unit, policy.init(key, told))

    def act(key, state, observation):
        action = policy.act(key, state.inner, observation)
        return action * state.unit if jnp.issubdtype(action.dtype, jnp.floating) else action

    def update(key, state, transition):
        unit, action = state.unit, transition.action
        if jnp.issubdtype(action.dtype, jnp.floating):
            action = action / unit
        sale = dataclasses.replace(transition, action=action, price=transition.price / unit, reward=transition.reward / unit)
        return State(unit, policy.update(key, state.inner, sale))

    return Policy(init, act, update)


def radius(problem, given, share=1.0):
    """Bound on the norm of coefficients that are money, in the unit of a problem that `in_own_unit` tells; float scalar.

    The number given, in the market's own money; or `share` times the highest price.
    """
    if given is None:
        return jnp.asarray(problem.high * share, jnp.float32)
    return jnp.asarray(given / problem.details["unit"], jnp.float32)

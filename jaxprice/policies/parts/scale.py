"""A unit of money for each market, for policies whose constants assume prices of a certain size.

A lower bound on a sum of squared prices, or the step of a search, is a constant for prices of order one. A seller of tokens
at 1e-6 dollars, or of flats in yen, has other prices, and a policy must not depend on the currency. `in_own_unit` runs a
policy in a unit of money u for which the highest price is between `size` and 2 `size`, for markets in any currency.

u is a power of two, so a change of unit loses no digit. A policy without such constants gives bit for bit the same prices as
without this wrapper; a policy with them gives bit for bit the same prices in the units 1 and 2^k.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Float32, Num

from jaxprice.types import Policy, Problem

MONEY = ("scale", "radius", "salvage")  # entries of `problem.details` in units of money
EXPONENT = np.int32(0x7F800000)  # bits of the exponent in a float32


@struct.dataclass
class State:
    """The unit of money u, float scalar, and the state of the policy inside."""

    unit: Float[Array, ""]
    inner: Any


def power_of_two(x: Num[ArrayLike, "*n"]) -> Float32[Array, " *n"]:
    """The largest power of two that is at most `x`, exact, float32 `[...]`; 1 if `x` is not positive."""
    x = jnp.asarray(x, jnp.float32)
    power = jax.lax.bitcast_convert_type(jax.lax.bitcast_convert_type(x, jnp.int32) & EXPONENT, jnp.float32)
    return jnp.where(power > 0, power, jnp.float32(1))


def or_one(x: Num[Array, "*n"]) -> Float[Array, " *n"]:
    """`x` if it is positive, otherwise 1; float `[...]`. It divides values that are zero where `x` is zero."""
    return jnp.where(x > 0, x, jnp.ones_like(x))


def in_own_unit(policy: Policy, size: float = 1.0) -> Policy:
    """Run a policy in the unit u for which the highest price is in [size, 2 size).

    The problem of the inner policy has u, in the market's own money, as `details["unit"]`; the policy must divide options in
    money by it. Observations are passed on unchanged, including their prices.

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


def radius(problem: Problem, given: Num[Array, ""] | float | None, share: Num[Array, ""] | float = 1.0) -> Float[Array, ""]:
    """Bound on the norm of coefficients in money, in the unit of a problem from `in_own_unit`; float scalar.

    It is the given number, in the market's own money; or `share` times the highest price.
    """
    if given is None:
        return jnp.asarray(problem.high * share, jnp.float32)
    return jnp.asarray(given / problem.details["unit"], jnp.float32)

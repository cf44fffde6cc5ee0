"""Price guards: any policy, within the business rules of a seller.

| rule | posted prices |
|---|---|
| `low`, `high` | no price outside [low, high] |
| `step` | a price differs from the last one by at most this |
| `hold` | a price stays for at least this number of periods before it changes |
| `markdown` | a price never rises |
| `gap` | with several products or groups, the prices of one period differ by at most this; 0: one price for all |

On an interval, the proposal of the inner policy is clipped in three steps: to the band; then towards the middle of the
lowest and the highest price until `gap` holds; then to within `step` of the last price and not above it. The last step keeps
the earlier rules. The posted price lies between the last price, which obeys them, and the clipped proposal. Each price is a
median with bounds that shift with the last price, so two prices that are at most `gap` apart before and after stay so. On a
grid, the guard posts the allowed action nearest to the proposal (in squared distance of prices, ties to the first), which is
the proposal if it is allowed. The last price is always allowed after the first period. With several products `hold` applies
to all at once: any change restarts the clock.

The inner policy learns from the posted price, so it never learns the profit of forbidden prices. A policy that must try
every price (UCB1) proposes a forbidden one in every period, and the nearest allowed price is posted instead. Thompson
sampling keeps its prior there. On a grid, prices that are never allowed should be left out of the market. A policy that
divides by the probability of its choice (Exp3) uses that of the posted action, so its estimates are biased when the guard
interferes.

Rules hold up to rounding, 1e-6 of the highest price. A band without a price of the market is refused if prices are concrete
numbers; if they are traced, the nearest price is posted. Regret is that of the inner policy, plus the loss of the best price
due to the rules, which may be linear in T.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxprice import checks
from jaxprice.policies.wrappers import combinators
from jaxprice.types import Discrete, Policy, Subset

ROUNDING = 1e-6  # tolerance, relative to the highest price


@struct.dataclass
class State:
    """State of the guard.

    Attributes:
      inner: state of the inner policy.
      prices: price of each action, float `[num_prices, n]` (n = 1 for one product); None on an interval.
      low, high: the band, float scalars, or `[n]` on an interval with bounds for each product.
      last: the last price, float `[n]`; on an interval in the shape of an action.
      age: number of periods for which it has been posted, 0 before the first, int scalar.
    """

    inner: Any
    prices: jax.Array | None
    low: jax.Array
    high: jax.Array
    last: jax.Array
    age: jax.Array


@combinators.combinator
def guarded(policy, low=None, high=None, step=None, hold=1, markdown=False, gap=None):
    """A policy whose prices obey rules.

    Args:
      policy: the inner policy.
      low, high: lowest and highest price, at least 0; may be traced. None: those of the market.
      step: largest change of a price from one period to the next, at least 0; may be traced. None: no limit.
      hold: smallest number of periods for which a price stays, an int of at least 1.
      markdown: whether prices must never rise.
      gap: largest difference between the prices of a period, at least 0; may be traced. None: no limit.

    Raises:
      ValueError: the argument is not a policy, or a number is out of range; at `init`, a band without a price, a market of
        assortments or of several sellers, or a gap if products have different bounds.
    """
    for name, value in (("low", low), ("high", high), ("step", step), ("gap", gap)):
        if value is not None:
            checks.number(name, value, low=0, scalar=True)
    if low is not None and high is not None and not checks.is_traced((low, high)) and low > high:
        raise ValueError(f"low must be at most high, got low={low!r} and high={high!r}")
    checks.positive_int("hold", hold)

    def init(key, problem):
        space = problem.action_space
        if isinstance(space, Subset):
            raise ValueError("guarded keeps prices within rules, but the actions of this market are assortments")
        if isinstance(space, Discrete) and space.shape:
            raise ValueError("guarded sets the prices of one seller: in a market with several, guard each of them")
        bottom, top = jnp.asarray(problem.low, jnp.float32), jnp.asarray(problem.high, jnp.float32)
        grid = isinstance(space, Discrete)
        if gap is not None and not grid and bottom.ndim:
            raise ValueError("guarded cannot keep a gap where products have bounds of their own")
        prices, shape = None, space.shape
        if grid:
            prices = jnp.asarray(problem.prices, jnp.float32).reshape(problem.num_prices, -1)
            shape = prices.shape[1:]
        _check_band(low, high, jnp.stack([bottom, top]) if prices is None else prices, grid)
        if prices is not None:
            bottom, top = jnp.min(prices), jnp.max(prices)
        return State(
            inner=policy.init(key, problem),
            prices=prices,
            low=bottom if low is None else jnp.clip(jnp.float32(low), bottom, top),
            high=top if high is None else jnp.clip(jnp.float32(high), bottom, top),
            last=jnp.zeros(shape, jnp.float32),
            age=jnp.int32(0),
        )

    def act(key, state, observation):
        proposal = policy.act(key, state.inner, observation)
        return _nearest(state, proposal) if state.prices is not None else _clipped(state, proposal)

    def update(key, state, transition):
        posted = transition.price if state.prices is None else state.prices[transition.action]
        posted = jnp.asarray(posted, jnp.float32)
        same = jnp.all(posted == state.last)
        age = jnp.where(same, state.age, 0) + 1
        return state.replace(inner=policy.update(key, state.inner, transition), last=posted, age=age)

    def _clipped(state, proposal):
        """The price on an interval."""
        price = jnp.clip(jnp.asarray(proposal, jnp.float32), state.low, state.high)
        if gap is not None and price.ndim:
            middle = 0.5 * (jnp.min(price) + jnp.max(price))
            price = jnp.clip(price, middle - 0.5 * gap, middle + 0.5 * gap)
        free = price
        if step is not None:
            price = jnp.clip(price, state.last - step, state.last + step)
        if markdown:
            price = jnp.minimum(price, state.last)
        price = jnp.where(state.age >= hold, price, state.last)
        return jnp.where(state.age == 0, free, price)

    def _nearest(state, proposal):
        """The action on a grid."""
        prices, last = state.prices, state.last[None]
        rounding = ROUNDING * jnp.max(prices)
        outside = jnp.max(jnp.maximum(state.low - prices, prices - state.high), axis=1)
        if gap is not None:
            outside = jnp.maximum(outside, jnp.max(prices, axis=1) - jnp.min(prices, axis=1) - gap)
        free = outside <= jnp.maximum(jnp.min(outside), rounding)
        allowed = jnp.where(state.age >= hold, True, jnp.all(prices == last, axis=1))
        if step is not None:
            allowed = allowed & jnp.all(jnp.abs(prices - last) <= step + rounding, axis=1)
        if markdown:
            allowed = allowed & jnp.all(prices <= last, axis=1)
        distance = jnp.sum((prices - prices[proposal][None]) ** 2, axis=1)
        distance = jnp.where(jnp.arange(prices.shape[0]) == proposal, -1.0, distance)
        return jnp.argmin(jnp.where(free & (allowed | (state.age == 0)), distance, jnp.inf)).astype(jnp.int32)

    def probabilities(state, observation):
        if state.prices is None:
            raise ValueError("guarded clips prices from an interval, so they have no density")
        proposed = policy.probabilities(state.inner, observation)
        posted = jax.vmap(lambda proposal: _nearest(state, proposal))(jnp.arange(proposed.shape[0], dtype=jnp.int32))
        moved = posted[None, :] == jnp.arange(proposed.shape[0], dtype=jnp.int32)[:, None]
        return jnp.sum(jnp.where(moved, proposed[None, :], 0.0), axis=1)

    return Policy(init, act, update, None if policy.probabilities is None else probabilities)


def _check_band(low, high, prices, grid):
    """Raise if a band contains no price; traced values pass unchecked.

    Args:
      low, high: the band, or None.
      prices: float `[num_prices, n]`, or lowest and highest, `[2, ...]`.
      grid: whether `prices` are the grid.
    """
    if checks.is_traced((low, high, prices)):
        return
    prices = np.asarray(prices, float)
    rounding = ROUNDING * prices.max()
    bottom, top = -np.inf if low is None else low - rounding, np.inf if high is None else high + rounding
    if grid:
        empty = not np.any(np.all((prices >= bottom) & (prices <= top), axis=1))
    else:
        empty = np.any(prices[1] < bottom) or np.any(prices[0] > top)
    if empty:
        raise ValueError(f"guarded got low={low!r} and high={high!r}, but no price of this market is between them")

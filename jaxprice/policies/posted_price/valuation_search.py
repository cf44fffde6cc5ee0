"""Valuation search: find the single valuation that all buyers share, with shrinking steps.

All buyers value the product at the same unknown v in [low, high] and buy if the price is at most v. The search keeps an
interval [a, b] that contains v and a step e, all in units of high - low; at the start they are [0, 1] and 1/2. It posts

    a + e:    if accepted, a <- a + e;    if refused, b <- a + e and a new phase starts with e <- e^2,

and when b - a <= 1 / n, with n the horizon, it posts a, which is never refused. A phase also ends if its next offer would be
b, whose answer is known. Bisection would have log(n) refusals, with a loss of up to v each. Here a phase has at most one
refusal, and squares the width of the interval. Each accepted offer loses less than the old width w, and there are at most w
/ e = 1 / w of them, so they lose at most 1 in all. About log2 log2 n phases are needed.

Regret: O(log log n): at most high - low for accepted offers and v for the refused one in each phase, and high - low in total
for the periods after the search; the lower bound is log log n.

Conventions: the first b, the highest price, is not offered either: a buyer whose valuation is exactly that price gets it for
1 / n less. Steps are powers of two, which float32 adds exactly, and stop at 2^-22. Above n = 4 million the last phase is
slower than in the paper, and the search ends there. Several buyers a period give the same answer; an offer counts as
accepted if at least half of them buy. The policy trusts every answer: if valuations vary, it stays at some price
permanently, and its regret is linear.

Source: R. Kleinberg, T. Leighton (2003), "The value of knowing a demand curve: bounds on regret for online posted-price
auctions", doi:10.1109/SFCS.2003.1238232, section 2.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks
from jaxprice.policies.parts import line
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy

FINEST = 2.0**-22  # smallest step


@struct.dataclass
class State:
    """State of the search; shares are of the price interval.

    Attributes:
      low, high: ends of the price interval, float scalars.
      tolerance: width at which the search ends, a share, float scalar.
      lowest: lower end a, a share: the highest price accepted, float scalar.
      width: b - a, a share, float scalar.
      step: e, a share, float scalar.
      buyers: buyers a period.
    """

    low: jax.Array
    high: jax.Array
    tolerance: jax.Array
    lowest: jax.Array
    width: jax.Array
    step: jax.Array
    buyers: int = struct.field(pytree_node=False)

    @property
    def over(self):
        """Whether the search has ended, bool scalar."""
        return self.width <= self.tolerance

    @property
    def price(self):
        """The next offer, float scalar."""
        share = self.lowest + jnp.where(self.over, 0.0, self.step)
        return jnp.minimum(self.low + (self.high - self.low) * share, self.high)


@policy_maker(source="Kleinberg and Leighton (2003)", regret="log log T, optimal", feedback="demand")
def valuation_search(tolerance=None):
    """Search for a valuation that all buyers share.

    Args:
      tolerance: width of the interval at which the search ends, as a share of [low, high], in (0, 1]; may be traced. By
        default 1 / horizon.

    Raises:
      ValueError: a tolerance out of range; at `init`, a market whose action is not one price of an interval, or whose demand
        is not Bernoulli.
    """
    if tolerance is not None:
        checks.number("tolerance", tolerance, low=FINEST, high=1)

    def init(key, problem):
        del key
        line.require_interval(problem, "valuation_search")
        if problem.noise != "bernoulli":
            raise ValueError(f"valuation_search needs buyers who buy or not, but this market has {problem.noise} demand")
        low, high = jnp.asarray(problem.low, jnp.float32), jnp.asarray(problem.high, jnp.float32)
        least = 1 / jnp.maximum(jnp.asarray(problem.horizon, jnp.float32), 1.0) if tolerance is None else tolerance
        least = jnp.maximum(jnp.asarray(least, jnp.float32), FINEST)
        return State(low, high, least, jnp.float32(0), jnp.float32(1), jnp.float32(0.5), problem.buyers)

    def act(key, state, observation):
        del key, observation
        return state.price

    def update(key, state, transition):
        del key
        step, over = state.step, state.over
        accepted = 2 * transition.demand >= state.buyers
        width = jnp.where(accepted, state.width - step, step)
        finer = jnp.where(width <= step, jnp.maximum(step * step, FINEST), step)
        return state.replace(
            lowest=jnp.where(over | ~accepted, state.lowest, state.lowest + step),
            width=jnp.where(over, state.width, width),
            step=jnp.where(over, step, finer),
        )

    return Policy(init, act, update)

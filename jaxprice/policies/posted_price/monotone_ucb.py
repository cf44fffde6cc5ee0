"""Monotone UCB: demand falls with the price, so the bound of a low price holds for every higher one.

With prices p_1 < ... < p_K, margins w_i = p_i - c and an upper confidence bound U_i on the conversion rate at each, the
index of price i is

    w_i min(h, min_{j <= i} U_j):

since D(p_i) <= D(p_j) for j <= i, what bounds the demand at a lower price bounds it here. h is a cap on conversion rates
known beforehand. The bounds, with m_i the mean conversion rate, n_i the pulls and t the pull to come:

| bonus | U_i - m_i |
|---|---|
| "ucb1" | sqrt(4 v(h) scale log(t) / n_i), v(h) = h (1 - h) for h <= 1/2, else 1/4; scale = 2 as in `ucb1` |
| "ucb_v" | sqrt(scale V_i log(t) / n_i) + 1.5 scale log(t) / n_i, V_i = m_i (1 - m_i); scale = 2.4 as in `ucb_v` |

At h = 1 the first is UCB1's. Of n buyers with a purchase probability q <= 1/2, the chance that the mean falls short of q by
e is at most exp(-n e^2 / (2 q (1 - q))) (Okamoto), and q (1 - q) <= h (1 - h) where q <= h <= 1/2: the confidence is that of
UCB1 with a shorter bound. The paper too shortens bounds where conversion rates are low; this constant is ours, as is that
V_i is the variance of single buyers, which needs no sums of squares.

With a window, pulls, sums and log(min(t, W)) are those of the last W periods as in `sliding_window_ucb`, for demand that
changes. Every price is pulled once first, from the lowest up, and again when none of its pulls is left in the window; ties
go to the lowest price. Where demand rises with the price anywhere, as between the arms of a bandit, the bounds are wrong.

Regret: O(log T) with the constants of the policy without the constraint, whose bounds these never exceed. How much less it
is depends on how often the bound of a lower price is the smaller one: seldom with the wide bonus of UCB1, whose bounds are
smallest at the high prices that it plays most, and more often with a small `scale`.

Sources: F. Trovo, S. Paladino, M. Restelli, N. Gatti (2018), "Improving multi-armed bandit algorithms in online pricing
settings", International Journal of Approximate Reasoning 98; M. Okamoto (1959), "Some inequalities relating to the partial
sum of binomial probabilities", Annals of the Institute of Statistical Mathematics 10.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks
from jaxprice.policies.parts import arms, recent
from jaxprice.policies.posted_price import falling_demand
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy

BONUSES = ("ucb1", "ucb_v")


@struct.dataclass
class State:
    """Time of the next pull, what a sale teaches, and sums over all pulls or the last ones."""

    time: jax.Array
    signal: arms.Signal
    seen: arms.Sums | recent.Window


@policy_maker(source="Trovo, Paladino, Restelli and Gatti (2018)", regret="log T", feedback="demand")
def monotone_ucb(bonus="ucb1", scale=None, cap=1.0, window=None):
    """UCB for demand that falls with the price.

    Args:
      bonus: "ucb1" or "ucb_v".
      scale: exploration constant, at least 0; may be traced. By default 2 or 2.4, by the bonus.
      cap: highest conversion rate h known beforehand, in (0, 1]; may be traced.
      window: periods remembered, an int; None: all.

    Raises:
      ValueError: an unknown bonus, numbers out of range; at `init`, a market without a price grid, or with Gaussian or
        Poisson demand.
    """
    checks.choice("bonus", bonus, BONUSES)
    if scale is not None:
        checks.number("scale", scale, low=0)
    checks.number("cap", cap, low=1e-6, high=1)
    if window is not None:
        checks.positive_int("window", window)
    factor = {"ucb1": 2.0, "ucb_v": 2.4}[bonus] if scale is None else scale

    def init(key, problem):
        del key
        signal = arms.learn(problem, "demand", "monotone_ucb")
        if problem.noise != "bernoulli":
            raise ValueError(f"monotone_ucb bounds conversion rates, this market has {problem.noise} demand")
        seen = arms.no_sums(problem) if window is None else recent.no_window(problem, window)
        return State(jnp.int32(1), signal, seen)

    def act(key, state, observation):
        del key, observation
        counts = jnp.maximum(state.seen.counts, arms.NEVER)
        bounds = upper_bounds(state.seen.sums / counts, counts, state.time)
        return jnp.argmax(jnp.where(counts < 0.5, jnp.inf, state.signal.weights * bounds))

    def upper_bounds(mean, counts, time):
        """The monotone bounds on conversion rates, float `[num_prices]`."""
        log_t = jnp.log((time if window is None else jnp.minimum(time, window)).astype(jnp.float32))
        width = factor * log_t / counts
        if bonus == "ucb1":
            half = jnp.minimum(cap, 0.5)
            above = jnp.sqrt(4 * half * (1 - half) * width)
        else:
            above = jnp.sqrt(jnp.clip(mean * (1 - mean), 0.0, 0.25) * width) + 1.5 * width
        return falling_demand.smallest_so_far(jnp.minimum(mean + above, cap))

    def update(key, state, transition):
        del key
        seen = state.seen.add(transition.action, state.signal.of(transition))
        return State(state.time + 1, state.signal, seen)

    return Policy(init, act, update)

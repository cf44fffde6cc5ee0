"""Monotone UCB: demand decreases with the price, so the bound of a low price holds for every higher one.

With prices p_1 < ... < p_K, margins w_i = p_i - c and an upper confidence bound U_i on the conversion rate at each, the
index of price i is

    w_i min(h, min_{j <= i} U_j):

because D(p_i) <= D(p_j) for j <= i: a bound on demand at a lower price is a bound at this price. h is a cap on conversion
rates that is known in advance. With mean conversion rate m_i, n_i pulls and t the coming pull, the bounds are

| bonus | U_i - m_i |
|---|---|
| "ucb1" | sqrt(4 v(h) scale log(t) / n_i), v(h) = h (1 - h) for h <= 1/2, otherwise 1/4; scale = 2 as in `ucb1` |
| "ucb_v" | sqrt(scale V_i log(t) / n_i) + 1.5 scale log(t) / n_i, V_i = m_i (1 - m_i); scale = 2.4 as in `ucb_v` |

At h = 1 the first is UCB1's. For n buyers with purchase probability q <= 1/2, the probability that the mean is below q by e
is at most exp(-n e^2 / (2 q (1 - q))) (Okamoto), and q (1 - q) <= h (1 - h) if q <= h <= 1/2. So the confidence is that of
UCB1 with a shorter bound. The paper also shortens bounds if conversion rates are low. This constant is ours, and so is the
choice of V_i as the variance of single buyers, which needs no sums of squares.

With a window, pulls, sums and log(min(t, W)) are those of the last W periods, as in `sliding_window_ucb`, for demand that
changes. Every price is pulled once first, from the lowest up, and again when the window contains none of its pulls. Ties go
to the lowest price. If demand increases with the price anywhere, as it may between the arms of a bandit, the bounds are
wrong.

Regret: O(log T) with at most the constants of the policy without the constraint, because the bounds are never larger. The
gain depends on how often the bound of a lower price is the smaller one. This is rare with the wide bonus of UCB1, whose
bounds are smallest at the high prices that it plays most, and more frequent with a small `scale`.

Sources: F. Trovo, S. Paladino, M. Restelli, N. Gatti (2018), "Improving multi-armed bandit algorithms in online pricing
settings", International Journal of Approximate Reasoning 98; M. Okamoto (1959), "Some inequalities relating to the partial
sum of binomial probabilities", Annals of the Institute of Statistical Mathematics 10.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks
from jaxprice.policies.parts import arms, line, recent
from jaxprice.policies.posted_price import falling_demand
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy

BONUSES = ("ucb1", "ucb_v")


@struct.dataclass
class State:
    """Time of the next pull, the learning signal, and sums over all pulls or the last ones."""

    time: jax.Array
    signal: arms.Signal
    seen: arms.Sums | recent.Window


@policy_maker(source="Trovo, Paladino, Restelli and Gatti (2018)", regret="log T", feedback="demand")
def monotone_ucb(bonus="ucb1", scale=None, cap=1.0, window=None):
    """UCB for demand that decreases with the price.

    Args:
      bonus: "ucb1" or "ucb_v".
      scale: exploration constant, at least 0; may be traced. By default 2 or 2.4, depending on the bonus.
      cap: highest conversion rate h, known in advance, in (0, 1]; may be traced.
      window: number of periods in the window, an int; None: all periods.

    Raises:
      ValueError: an unknown bonus, numbers out of range; at `init`, a market without a price grid, with one price for all
        arms, or with Gaussian or Poisson demand.
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
        line.require_prices(problem, "monotone_ucb")
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

"""Change-point least squares: price by least squares, test at two prices, and restart when a test shows a change.

Demand is constant for long times and then jumps. Between jumps this is `deterministic_testing`: the best price for the line
through all data since the last restart, with tests at two fixed prices in the periods t = m^2 and m^2 + 1, m = 1, 2, ...,
where t = 1, 2, ... counts from the restart. Demand at a test price is compared with earlier demand at it. At the (n+1)-th
test of a price since the restart, n >= 1, with m_n the mean of its first n demands and sd the standard deviation of noise,

    e = (d - m_n) / (sd sqrt(1 + 1/n)),    up <- max(0, up + e - k),    down <- max(0, down - e - k),

with two walks for each of the two prices. When a walk reaches h, all data are dropped and t restarts at 1. Without a change
and with Gaussian noise, the e are independent standard normals (recursive residuals). A walk that leaves zero then reaches h
before it returns with probability at most exp(-2 k h). With the defaults k = 1/2 and h = log T, T periods have 2 sqrt(T)
tests and fewer than 4 / sqrt(T) false alarms on average. If demand jumps by D sd at a test price, D > k, the change is found
after about h / (D - k) tests of it, and successive tests are at most 2 sqrt(t) + 1 periods apart. A change soon after a
restart is found late, because the mean in the comparison is noisy and moves too.

Regret against the best price of each period: O(C sqrt(T) log T) for C jumps that are large and far apart. Keskin and Zeevi
prove order sqrt(T), up to logarithms, for few changes. Departure: the change detector and the times of the tests are ours.

Sources: N. B. Keskin, A. Zeevi (2017), "Chasing demand: learning and earning in a changing environment",
doi:10.1287/moor.2016.0807; O. Besbes, A. Zeevi (2011), "On the minimax complexity of pricing in a changing environment",
doi:10.1287/opre.1100.0867; R. L. Brown, J. Durbin, J. M. Evans (1975), "Techniques for testing the constancy of regression
relationships over time", Journal of the Royal Statistical Society B 37 (recursive residuals); E. S. Page (1954),
"Continuous inspection schemes", doi:10.1093/biomet/41.1-2.100.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks
from jaxprice.policies.moving import price_tests
from jaxprice.policies.parts import arms, line, scale
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy

LEAST = 1e-6  # smallest standard deviation of noise that is used


@struct.dataclass
class Watch:
    """Results of the tests of the two prices since the restart: number, mean demand and walks, float `[2]` each."""

    counts: jax.Array
    means: jax.Array
    up: jax.Array
    down: jax.Array


@struct.dataclass
class State:
    """State of the policy.

    Attributes:
      market: the problem of the seller.
      noise: standard deviation of the demand of one buyer, float scalar.
      threshold: the h above, float scalar.
      time: number of periods since the restart, int scalar.
      line: the line through the data since the restart.
      watch: results of the tests.
      restarts: number of restarts, int scalar.
    """

    market: line.Market
    noise: jax.Array
    threshold: jax.Array
    time: jax.Array
    line: line.Line
    watch: Watch
    restarts: jax.Array


@policy_maker(source="Keskin and Zeevi (2017)", regret="C sqrt(T) log T, C changes", feedback="demand")
def change_point_least_squares(tolerance=0.5, threshold=None, noise_scale=None, first=1 / 3, second=2 / 3):
    """Least squares with deterministic testing, restarted when the tests show a change.

    Args:
      tolerance: the k above, the change that is ignored, in standard deviations, above 0; may be traced.
      threshold: the h above, above 0; may be traced. None: log(T).
      noise_scale: standard deviation of the demand of one buyer, above 0; may be traced. None: the market's if noise is
        Gaussian, and the largest possible one, 1 / (2 sqrt(buyers)), if each buyer buys or not.
      first, second: the two test prices, as shares of the interval: 0 is the lowest price, 1 the highest; may be traced.

    Raises:
      ValueError: numbers out of range; at `init`, a market whose action is not one price of an interval, or a market with
        another kind of noise and no `noise_scale`.
    """
    checks.number("tolerance", tolerance, low=1e-6)
    if threshold is not None:
        checks.number("threshold", threshold, low=1e-6)
    if noise_scale is not None:
        checks.number("noise_scale", noise_scale, low=LEAST)
    line.check_tests(first, second)

    def init(key, problem):
        del key
        market = line.market(problem, "change_point_least_squares", first, second)
        horizon = jnp.maximum(jnp.asarray(problem.horizon, jnp.float32), 3.0)
        level = jnp.asarray(jnp.log(horizon) if threshold is None else threshold, jnp.float32)
        noise = jnp.maximum(jnp.asarray(told_noise(problem), jnp.float32), LEAST)
        return State(market, noise, level, jnp.int32(0), line.start(), nothing_seen(), jnp.int32(0))

    def told_noise(problem):
        if noise_scale is None and problem.noise not in ("gaussian", "bernoulli"):
            raise ValueError(f"change_point_least_squares needs a noise_scale where demand is {problem.noise}")
        return arms.noise_of_signal(problem, noise_scale)

    def act(key, state, observation):
        del key, observation
        return price_tests.post(state.market, state.line.fit(), price_tests.since_square(state.time))

    def update(key, state, transition):
        del key
        demand = transition.demand / state.market.buyers
        watch = look(state, demand)
        alarm = jnp.any(jnp.maximum(watch.up, watch.down) >= state.threshold)
        seen = state.line.add(transition.price, demand, state.time.astype(jnp.float32))
        after, fresh = (state.time + 1, seen, watch), (jnp.int32(0), line.start(), nothing_seen())
        time, seen, watch = jax.tree.map(lambda x, y: jnp.where(alarm, x, y), fresh, after)
        restarts = state.restarts + alarm.astype(jnp.int32)
        return State(state.market, state.noise, state.threshold, time, seen, watch, restarts)

    def look(state, demand):
        """The watch after a period; only the tested price changes."""
        old, tested = state.watch, price_tests.since_square(state.time) == jnp.arange(2, dtype=jnp.int32)
        error = (demand - old.means) / (state.noise * jnp.sqrt(1 + 1 / jnp.maximum(old.counts, 1.0)))
        error = jnp.where(old.counts > 0, error, 0.0)
        new = Watch(
            old.counts + 1,
            old.means + (demand - old.means) / (old.counts + 1),
            jnp.maximum(old.up + error - tolerance, 0.0),
            jnp.maximum(old.down - error - tolerance, 0.0),
        )
        return jax.tree.map(lambda x, y: jnp.where(tested, x, y), new, old)

    return scale.in_own_unit(Policy(init, act, update))


def nothing_seen():
    """The watch after a restart."""
    return Watch(*(jnp.zeros(2, jnp.float32) for _ in range(4)))

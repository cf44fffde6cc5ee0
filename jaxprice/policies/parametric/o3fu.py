"""O3FU: online pricing that starts with historical sales, with optimism over a confidence ellipse of demand lines.

Demand of one buyer at price p is linear plus noise; n historical sales (price, demand) are given. On the scale x in [-1, 1]
of the price interval, with z = (1, x), sums over historical and own sales, and the ridge estimate (a, s),

    V = lambda I + sum z z',     (a, s) = prior + V^-1 sum z (d - z'prior),

the policy posts argmax over [low, high], or over the grid if prices are a grid, of the optimistic profit

    (p - c) (a + s x + w ||z||_{V^-1}),   w = width (noise sqrt(log(det V / lambda^2) - 2 log(failure)) + sqrt(lambda) size)

(below cost, with the smallest demand, -w for w, if that is nonnegative). This maximises over all prices and all lines of the
ellipse ||theta - (a, s)||_V <= w. The ellipse contains the true line in all periods with probability 1 - failure for width 1
and Gaussian noise, if that line is within `size` of the prior. Here lambda = ridge noise^2. By centred sums (`line`),
||z||^2_{V^-1} = 1 / W + (x - m_x)^2 / S_xx and det V = W S_xx, where W = lambda + n + t is the weight: no matrix is needed.
On an interval the maximum is searched among `POINTS` prices, then among as many around the best of them, with spacing
2 / (POINTS - 1)^2 of the interval.

History with spread-out prices shows the whole line. History at one price shows one point of it. If p* is far from that
price, prices around p* reveal the slope by themselves, the more so the farther away; historical prices at p* do not help.
Without history this is optimism for linear demand (Abbasi-Yadkori, Pal and Szepesvari).

Regret: of order min(sqrt(T), T / (min(n, T) delta^2 + n sigma^2)) up to logarithms, which is optimal. Here delta is the
distance of the mean historical price from p*, and sigma the standard deviation of historical prices. The inverse-square law:
for large n it decreases as delta^-2. Departures: the constants are those of the determinant bound instead of the paper's,
and the ellipse is not restricted to a box of parameters.

Sources: J. Bu, D. Simchi-Levi, Y. Xu (2020), "Online pricing with offline data: phase transition and inverse square law",
arXiv:1910.08693; Y. Abbasi-Yadkori, D. Pal, C. Szepesvari (2011), "Improved algorithms for linear stochastic bandits".
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxprice import checks
from jaxprice.policies.parts import arms, line
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy

POINTS = 48  # number of prices of each of the two grids


@struct.dataclass
class State:
    """State of the policy.

    Attributes:
      market: the problem of the seller.
      prices: the grid, float `[num_prices]`; None on an interval.
      noise: standard deviation of the demand of one buyer, float scalar.
      failure: probability that the ellipse misses the truth, float scalar.
      line: centred sums of prior, history and own sales, on the scale of x.
      weight: W, the count that belongs to the line, without own sales, float scalar.
      time: number of periods played, int scalar.
    """

    market: line.Market
    prices: Any
    noise: jax.Array
    failure: jax.Array
    line: line.Line
    weight: jax.Array
    time: jax.Array


def told(sums, weight, x, d):
    """Centred sums of weight `weight`, after points x, d, float `[n]`: `(sums, weight)`."""
    n = x.shape[0]
    mx, md = jnp.mean(x), jnp.mean(d)
    dx, dd = mx - sums.price, md - sums.demand
    share, after = n / (weight + n), weight + n
    squares = sums.squares + jnp.sum((x - mx) ** 2) + weight * share * dx * dx
    product = sums.product + jnp.sum((x - mx) * (d - md)) + weight * share * dx * dd
    return line.Sums(sums.price + share * dx, sums.demand + share * dd, squares, product), after


@policy_maker(
    source="Bu, Simchi-Levi and Xu (2020)",
    regret="min(sqrt(T), T / (min(n, T) delta^2 + n sigma^2)), up to logs",
    feedback="demand, and historical sales",
    kinds={"prices": "numbers", "demands": "numbers"},
)
def o3fu(
    prices: Any = None, demands: Any = None, width=1.0, ridge=1.0, size=0.5, level=0.5, fall=-0.25, failure=None, noise=None
):
    """Optimism for linear demand, with historical sales.

    Args:
      prices, demands: historical prices and demands of one buyer (the mean of several), `[n]` each; None: none.
      width: factor of the width of the ellipse, at least 0; may be traced.
      ridge: weight of the prior in units of the variance of noise, above 0; may be traced.
      size: distance of the true line from the prior, in demand, at least 0; may be traced.
      level, fall: prior of demand at the middle of the prices, and of its change from there to the highest; may be traced.
      failure: probability that the ellipse misses the truth, in (0, 1); may be traced; by default 1 / T^2.
      noise: standard deviation of the demand of one buyer; may be traced; by default the market's if it is Gaussian,
        otherwise 1/2 divided by the root of the number of buyers.

    Raises:
      ValueError: numbers out of range, histories of different lengths; at `init`, an action that is not one price, or one
        price for all arms.
    """
    checks.number("width", width, low=0)
    checks.number("ridge", ridge, low=1e-6)
    checks.number("size", size, low=0)
    checks.number("level", level)
    checks.number("fall", fall)
    if failure is not None:
        checks.number("failure", failure, low=1e-30, high=1)
    if noise is not None:
        checks.number("noise", noise, low=1e-6)
    if (prices is None) != (demands is None):
        raise ValueError("prices and demands are the two halves of a history: give both or neither")
    if prices is not None:
        checks.number("prices", prices)
        checks.number("demands", demands)
        if np.ndim(prices) != 1 or np.shape(prices) != np.shape(demands):
            raise ValueError(f"prices and demands must be [n] each, got {np.shape(prices)} and {np.shape(demands)}")

    def init(key, problem):
        del key
        market, grid = line.market_or_grid(problem, "o3fu")
        noise_std = arms.noise_of_signal(problem, noise)
        weight = jnp.maximum(ridge * noise_std**2, 1e-20)
        sums = line.start(0.0, level, weight, weight * fall).sums
        if prices is not None and np.shape(prices)[0]:
            x = scaled(market, jnp.asarray(prices, jnp.float32))
            sums, weight = told(sums, weight, x, jnp.asarray(demands, jnp.float32))
        horizon = jnp.asarray(problem.horizon, jnp.float32)
        chance = jnp.asarray(horizon**-2.0 if failure is None else failure, jnp.float32)
        running = line.Line(sums, jax.tree.map(jnp.zeros_like, sums))
        return State(market, grid, noise_std, chance, running, jnp.asarray(weight, jnp.float32), jnp.int32(0))

    def scaled(market, price):
        middle, unit = market.middle()
        return (price - middle) / unit

    def profit(state, price):
        """Optimistic profit at prices, float `[n]`."""
        sums, weight = state.line.sums, state.weight + state.time.astype(jnp.float32)
        ridged = jnp.maximum(ridge * state.noise**2, 1e-20)
        log_det = jnp.log(weight / ridged) + jnp.log(sums.squares / ridged)
        radius = state.noise * jnp.sqrt(jnp.maximum(log_det, 0.0) - 2 * jnp.log(state.failure)) + jnp.sqrt(ridged) * size
        away = scaled(state.market, price) - sums.price
        bonus = width * radius * jnp.sqrt(1 / weight + away**2 / sums.squares)
        margin, mean = price - state.market.cost, sums.demand + sums.product / sums.squares * away
        return margin * jnp.where(margin >= 0, mean + bonus, jnp.maximum(mean - bonus, 0.0))

    def act(key, state, observation):
        del key, observation
        if state.prices is not None:
            return jnp.argmax(profit(state, state.prices))
        low, high = state.market.low, state.market.high
        for _ in range(2):
            grid = low + (high - low) * jnp.linspace(0, 1, POINTS, dtype=jnp.float32)
            place, step = jnp.argmax(profit(state, grid)), (high - low) / (POINTS - 1)
            low, high = jnp.maximum(grid[place] - step, state.market.low), jnp.minimum(grid[place] + step, state.market.high)
        return jnp.clip(grid[place], state.market.low, state.market.high)

    def update(key, state, transition):
        del key
        x, demand = scaled(state.market, transition.price), transition.demand / state.market.buyers
        added = state.line.add(x, demand, state.weight + state.time.astype(jnp.float32))
        return state.replace(line=added, time=state.time + 1)

    return Policy(init, act, update)

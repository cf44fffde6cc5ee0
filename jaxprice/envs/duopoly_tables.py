"""Tables of a duopoly on a price grid: the answers of a rival that follows a rule, and mean sales at every pair of prices.

A rival answers the seller's new price a with a price of the same grid. Prices below are places on the grid, and the rules
are those of Kastius and Schlosser (2022):

| rule | answer to a |
|---|---|
| "fixed" | `at` |
| "two_bound" | a - step, or `ceiling` if that is below `floor`; if capped, at most `ceiling` |
| "undercut" | a - step, or `floor` if that is below `floor`; if capped, at most `ceiling` |
| "cartel" | a if a = `at`, otherwise the answer of "two_bound": a price war |

Source: A. Kastius, R. Schlosser (2022), "Dynamic pricing under competition using reinforcement learning",
doi:10.1057/s41272-021-00285-3, and the public code of the paper, github.com/Raandom/rlpricing.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from scipy import optimize, special

from jaxprice import checks
from jaxprice.oracles import logit_pricing

RULES = ("two_bound", "undercut", "fixed", "cartel")
DEMANDS = ("rank", "logit")
TOP = 50.0  # highest price for which the coefficients of `rank_sales` are stated


def usual_shares(rule):
    """Default places of floor, ceiling and `at`, as shares of the grid: on prices 1, ..., 50 those of the paper."""
    floor, ceiling = (0.08, 0.8) if rule == "two_bound" else (0.0, 1.0)
    return floor, ceiling, 0.39 if rule == "fixed" else 0.65


def answers(rule, num_prices, floor, ceiling, at, step, capped):
    """The table of a rule: the place of the rival's answer for each place of the seller's price and of the rival's old one.

    Args:
      rule: one of `RULES`.
      num_prices: size K of the grid.
      floor, ceiling, at: places on the grid, int scalars, possibly traced.
      step: by how many places the rival undercuts.
      capped: whether the rival never goes above `ceiling`.

    Returns:
      int `[K, K]`, the seller's price first. These rules ignore the rival's old price, so all columns are equal.
    """
    own = jnp.arange(num_prices, dtype=jnp.int32)
    lower = own - step
    below = jnp.minimum(lower, ceiling) if capped else lower
    if rule == "fixed":
        answer = jnp.full_like(own, at)
    elif rule == "undercut":
        answer = jnp.maximum(below, floor)
    else:
        answer = jnp.where(lower < floor, ceiling, below)
        if rule == "cartel":
            answer = jnp.where(own == at, own, answer)
    return jnp.broadcast_to(answer[:, None], (num_prices, num_prices)).astype(jnp.int32)


def rank_sales(prices, size: ArrayLike = 800.0, rank: ArrayLike = -0.56, level: ArrayLike = -0.03):
    """Mean sales of a period under the demand of Kastius and Schlosser, by the seller's price a and the rival's price p:

        size sigmoid(-3.89 + rank k - .01 (a - p) + .07 + level (a + p) / 2),   k = 1 + (1{p < a} + 1{p <= a}) / 2.

    k is the rank of the seller's price, 1.5 at equal prices; .07 is the coefficient of the number of rivals, one. Prices are
    first rescaled so that the highest of the grid is 50, as in the paper.

    Args:
      prices: the grid, float `[K]`.
      size: factor of the probabilities, float scalar.
      rank, level: coefficients of the rank and of the mean price, float scalars.

    Returns:
      float `[K, K]`, the seller's price first; units a period.
    """
    x = jnp.asarray(prices, jnp.float32)
    a, p = jnp.meshgrid(TOP * x / x[-1], TOP * x / x[-1], indexing="ij")
    place = 1 + ((p < a).astype(jnp.float32) + (p <= a).astype(jnp.float32)) / 2
    return size * jax.nn.sigmoid(-3.89 + 0.07 + rank * place - 0.01 * (a - p) + level * (a + p) / 2)


def logit_sales(prices, size: ArrayLike = 1.0, quality: ArrayLike = 2.0, scale: ArrayLike = 0.25):
    """Mean sales of a period if buyers choose by multinomial logit between two equal products and nothing.

    Args:
      prices: the grid, float `[K]`.
      size: mass of buyers.
      quality, scale: mean valuation of a product above that of buying nothing, and spread of valuations, units of the price.

    Returns:
      float `[K, K]`, the seller's price first; units a period.
    """
    x = jnp.asarray(prices, jnp.float32)
    both = jnp.stack(jnp.meshgrid(x, x, indexing="ij"), axis=-1)
    qualities = jnp.full_like(both, quality)
    return size * logit_pricing.choice_probabilities(both, qualities, scale)[..., 0]


def logit_ends(quality, cost, scale):
    """Ends of the grid of Calvano et al. (2020): a tenth of the distance of Nash and monopoly prices beyond both.

    Both products are alike: p^N = c + m / (1 - q(p^N)) and p^M = c + m (1 + W(2 exp((quality - c) / m - 1))), with scale m.

    Returns:
      lowest and highest price, floats.
    """

    def excess(price):
        pull = np.exp((quality - price) / scale)
        return price - cost - scale * (1 + 2 * pull) / (1 + pull)

    nash = optimize.brentq(excess, cost + scale, cost + 2 * scale, xtol=1e-12)
    monopoly = cost + scale * (1 + special.wrightomega((quality - cost) / scale - 1 + np.log(2)).real)
    reach = 0.1 * (monopoly - nash)
    return nash - reach, monopoly + reach


def place_of(name, price, prices):
    """Place of a price on the grid.

    Raises:
      ValueError: it is not on the grid.
    """
    grid = np.asarray(prices, np.float64)
    checks.number(name, price, scalar=True)
    place = int(np.argmin(np.abs(grid - float(price))))
    if abs(grid[place] - float(price)) > 1e-5 * max(abs(float(price)), grid[-1]):
        raise ValueError(f"{name} must be a price of the grid, the nearest of which is {grid[place]:g}, got {price!r}")
    return place


def table_of_answers(value, prices):
    """A user's table of the rival's answers, prices `[K, K]` or `[K]`, as places on the grid, int32 `[K, K]`.

    Raises:
      ValueError: a wrong shape, or an answer that is not on the grid.
    """
    count = len(prices)
    table = checks.array("answers", value, (count,) if np.ndim(value) == 1 else (count, count)).astype(np.float64)
    grid = np.asarray(prices, np.float64)
    places = np.argmin(np.abs(table[..., None] - grid), axis=-1)
    gaps = np.abs(grid[places] - table)
    if gaps.max() > 1e-5 * grid[-1]:
        raise ValueError(f"answers must be prices of the grid, got {table.ravel()[gaps.argmax()]:g}")
    return np.broadcast_to(places if places.ndim == 2 else places[:, None], (count, count)).astype(np.int32)

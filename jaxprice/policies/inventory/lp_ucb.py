"""Optimism for bandits with knapsacks: the fluid programme with upper bounds on rewards and lower bounds on consumption.

In every period, with N_ki observations of product i under action k, demand in units of its largest value, D, and its mean
m_ki,

    rad(v, N) = sqrt(C v / N) + C / N,     C = confidence * log(d T K),     d = M + 1,
    u_ki = m_ki + rad(m_ki, N_ki) and l_ki = m_ki - rad(m_ki, N_ki), clipped to [0, 1],
    x maximises sum_k x_k sum_i w_ki D u_ki  subject to  sum_k x_k sum_i A_ij D l_ki <= (1 - shrink) I_j / T,  sum x <= 1,

with x >= 0 and margins w_ki. Action k is played with probability x_k, and nothing with probability 1 - sum x. The programme
is solved as in `stock`. An action without data has the bounds 1 and 0, so all actions are tried.

Departures: the bounds are those of demand, which a seller observes, not those of reward and of the consumption of each
resource; for one product the two are equivalent. The paper shrinks the budget, by a share of order sqrt(C K / B), so that it
lasts with high probability. Here an empty stock stops sales, and the default is no shrinking. Sales limited by the stock
teach nothing.

Regret: O~(sqrt(K OPT) + OPT sqrt(K / B)) against the fluid bound OPT, with the shrinking of the paper.

Source: S. Agrawal, N. R. Devanur (2014), "Bandits with concave rewards and convex knapsacks", arXiv:1402.5758.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks, samplers
from jaxprice.policies.inventory import stock
from jaxprice.policies.inventory.primal_dual_bwk import largest_demand, radius
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy


@struct.dataclass
class State:
    """The season and the books; the largest demand, C and the capacity of a period (float scalars and `[M]`)."""

    season: stock.Season
    books: stock.Books
    most: jax.Array
    constant: jax.Array
    capacity: jax.Array


@policy_maker(
    source="Agrawal and Devanur (2014)",
    regret="sqrt(K OPT) + OPT sqrt(K / B)",
    feedback="demand",
)
def lp_ucb(confidence=1.0, shrink=0.0, largest=None):
    """The fluid programme with confidence bounds.

    Args:
      confidence: factor of log(d T K) in the radius, above 0; may be traced.
      shrink: share of the budget that is reserved, in [0, 1]; may be traced.
      largest: assumed largest demand for a product in a period; by default the number of buyers.

    Raises:
      ValueError: numbers out of range; at `init`, unlimited stock, no price grid, or demand that is not Bernoulli and no
        `largest`.
    """
    checks.number("confidence", confidence, low=1e-6)
    checks.number("shrink", shrink, low=0, high=1)
    if largest is not None:
        checks.number("largest", largest, low=1e-6)

    def init(key, problem):
        del key
        season = stock.season(problem, "lp_ucb")
        most = largest_demand(largest, season, "lp_ucb")
        size, resources = season.margins.shape[0], season.stock.shape[0]
        constant = confidence * jnp.log((resources + 1) * season.horizon * size)
        capacity = (1 - shrink) * season.stock / season.horizon
        return State(season, stock.books(season), most, constant.astype(jnp.float32), capacity.astype(jnp.float32))

    def act(key, state, observation):
        del observation
        season = state.season
        upper, lower = bounds(state)
        reward = jnp.sum(season.margins * upper, axis=1)
        mix = stock.shares(reward, season.take(lower), state.capacity)
        return stock.pick(samplers.uniform(jax.random.bits(key, (), jnp.uint32)), mix, season.idle)

    def update(key, state, transition):
        del key
        return state.replace(books=state.books.add(state.season, transition))

    return Policy(init, act, update)


def bounds(state):
    """Upper and lower confidence bounds of mean demand, float `[K, n]` each."""
    inverse = 1 / jnp.maximum(state.books.counts, 1e-6)
    mean = state.books.sums * inverse / state.most
    width = radius(mean, state.constant, inverse)
    return state.most * jnp.clip(mean + width, 0.0, 1.0), state.most * jnp.clip(mean - width, 0.0, 1.0)

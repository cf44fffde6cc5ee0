"""PrimalDualBwK: the action with the most reward for its cost, at prices of resources set by multiplicative weights.

Rewards r and the consumption c_j of each resource are scaled to [0, 1], and budgets with them. Time is one more resource,
with consumption one a period and budget T. Consumption of j is then multiplied by B / B_j, so that all d = M + 1 budgets
equal the smallest, B. With N_k pulls of action k and means of the observations,

    rad(v, N) = sqrt(C v / N) + C / N,     C = confidence * log(d T K),
    UCB_k = [r_k + rad(r_k, N_k)] and LCB_kj = [c_kj - rad(c_kj, N_k)], clipped to [0, 1] (time is known: B / T),
    play argmax_k UCB_k / sum_j y_j LCB_kj,     y = v / sum v,
    v_j <- v_j (1 + eps)^LCB_kj for the action played,     eps = sqrt(log(d) / B),     v = 1 at the start,

after every action with a positive margin has been played once. The game stops, and nothing is offered any more, when a
resource cannot serve one unit of every product that uses it. Ties go to the first action.

Departures: the paper leaves the constant in C open; the policy stops one unit early, so that the stock limits no sale.
Poisson demand has no largest value: `largest` sets one, and demand above it is outside the theory.

Regret: O~(sqrt(K OPT) + OPT sqrt(K / B)) against the fluid bound OPT, in scaled units.

Source: A. Badanidiyuru, R. Kleinberg, A. Slivkins (2018), "Bandits with knapsacks", doi:10.1145/3164539.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks
from jaxprice.policies.inventory import stock
from jaxprice.policies.parts import scale, totals
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy


@struct.dataclass
class State:
    """State of the policy; the last of the `M + 1` resources is time.

    Attributes:
      season, books: the problem of the seller, and its records.
      unit: the largest reward of a period, float scalar.
      scale: factor from units of each resource to scaled consumption, float `[M]`.
      tick: scaled consumption of time in a period, B / T, float scalar.
      constant: C, float scalar.
      growth: log(1 + eps), float scalar.
      pulls: number of pulls of each action, int `[K]`.
      sums, lost: sums of scaled rewards and consumption, and rounding errors (`totals`), float `[K, 1 + M]`.
      log_weights: log v, its largest 0, float `[M + 1]`.
    """

    season: stock.Season
    books: stock.Books
    unit: jax.Array
    scale: jax.Array
    tick: jax.Array
    constant: jax.Array
    growth: jax.Array
    pulls: jax.Array
    sums: jax.Array
    lost: jax.Array
    log_weights: jax.Array


@policy_maker(
    source="Badanidiyuru, Kleinberg and Slivkins (2018)",
    regret="sqrt(K OPT) + OPT sqrt(K / B)",
    feedback="reward and consumption",
)
def primal_dual_bwk(confidence=1.0, largest=None):
    """PrimalDualBwK.

    Args:
      confidence: factor of log(d T K) in the radius, above 0; may be traced.
      largest: assumed largest demand for a product in a period; by default the number of buyers.

    Raises:
      ValueError: numbers out of range; at `init`, unlimited stock, no price grid, or demand that is not Bernoulli and no
        `largest`.
    """
    checks.number("confidence", confidence, low=1e-6)
    if largest is not None:
        checks.number("largest", largest, low=1e-6)

    def init(key, problem):
        del key
        season = stock.season(problem, "primal_dual_bwk")
        most = largest_demand(largest, season, "primal_dual_bwk")
        size, resources = season.margins.shape[0], season.stock.shape[0]
        takes = jnp.maximum(jnp.sum(season.units, axis=0) * most, 1e-9)
        budgets = season.stock / takes
        smallest = jnp.maximum(jnp.minimum(jnp.min(budgets), season.horizon), 1.0)
        unit = scale.or_one(jnp.max(jnp.sum(jnp.maximum(season.margins, 0.0), axis=1)) * most)
        zeros = jnp.zeros((size, 1 + resources), jnp.float32)
        return State(
            season=season,
            books=stock.books(season),
            unit=unit,
            scale=jnp.minimum(smallest / jnp.maximum(budgets, 1.0), 1.0) / takes,
            tick=smallest / jnp.maximum(season.horizon, smallest),
            constant=confidence * jnp.log((resources + 1) * season.horizon * size).astype(jnp.float32),
            growth=jnp.log1p(jnp.sqrt(jnp.log(jnp.float32(resources + 1)) / smallest)),
            pulls=jnp.zeros(size, jnp.int32),
            sums=zeros,
            lost=zeros,
            log_weights=jnp.zeros(resources + 1, jnp.float32),
        )

    def act(key, state, observation):
        del key, observation
        season, time = state.season, state.books.time
        inverse = 1 / jnp.maximum(state.pulls.astype(jnp.float32), 1e-6)
        mean = state.sums[:, 0] * inverse
        upper = jnp.clip(mean + radius(mean, state.constant, inverse), 0.0, 1.0)
        weights = jnp.exp(state.log_weights)
        lower = used_at_least(state)
        cost = jnp.sum(lower * weights[None, :-1], axis=1) + state.tick * weights[-1]
        index = upper * jnp.sum(weights) / jnp.maximum(cost, 1e-30)
        index = jnp.where(jnp.any(season.margins > 0, axis=1), index, -1.0)
        choice = jnp.where(time < season.offers, season.explore(time), jnp.argmax(index).astype(jnp.int32))
        stopped = jnp.any(state.books.left < jnp.max(season.units, axis=0) - 1e-3)
        return jnp.where(stopped, season.idle, choice)

    def update(key, state, transition):
        del key
        season, action = state.season, transition.action
        sold = jnp.asarray(transition.demand, jnp.float32).reshape(-1)
        hot = jnp.arange(state.pulls.shape[0]) == action
        lower = jnp.append(jnp.sum(used_at_least(state) * hot[:, None].astype(jnp.float32), axis=0), state.tick)
        bought = (state.books.time >= season.offers).astype(jnp.float32)
        log_weights = state.log_weights + bought * state.growth * lower
        one = jnp.append(transition.reward / state.unit, season.take(sold) * state.scale)
        pulls, one = state.pulls + hot.astype(jnp.int32), jnp.where(hot[:, None], jnp.minimum(one, 1.0)[None], 0.0)
        sums, lost = totals.plus(state.sums, state.lost, one, (pulls >= totals.LONG)[:, None])
        return state.replace(
            books=state.books.add(season, transition),
            pulls=pulls,
            sums=sums,
            lost=lost,
            log_weights=log_weights - jnp.max(log_weights),
        )

    return Policy(init, act, update)


def radius(mean, constant, inverse):
    """rad(mean, N), with `inverse` 1 / N."""
    spread = constant * inverse
    return jnp.sqrt(spread * jnp.maximum(mean, 0.0)) + spread


def used_at_least(state):
    """LCB of the scaled consumption of each resource except time, float `[K, M]`."""
    inverse = 1 / jnp.maximum(state.pulls.astype(jnp.float32), 1e-6)[:, None]
    mean = state.sums[:, 1:] * inverse
    return jnp.clip(mean - radius(mean, state.constant, inverse), 0.0, 1.0)


def largest_demand(largest, season, name):
    """The largest demand for a product in a period.

    Raises:
      ValueError: demand has no largest value and the seller sets none.
    """
    if largest is None and not season.most:
        raise ValueError(f"{name} needs bounded demand: name the largest in a period, largest=...")
    return jnp.float32(season.most if largest is None else largest)

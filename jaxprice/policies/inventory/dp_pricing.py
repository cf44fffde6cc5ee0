"""Pricing by dynamic programming: the exact optimum for an assumed demand, one product and at most one sale a period.

With h periods to go after this one, the worth of the n-th unit in stock is D_h(n), where

    D_0(n) = s,   D_{h+1}(n) = D_h(n) + g(D_h(n)) - g(D_h(n - 1)),   g(x) = max(0, max_k d_k (w_k - x)),   g(D_h(0)) = 0,

with margins w, purchase probabilities d and the salvage value s (`details["salvage"]`, 0 if the market has none). The seller
plays argmax_k d_k (w_k - D_h(n)); ties go to the larger demand. d is the table `demand`; with the true table this is the
optimal policy. Without a table, d is the mean of uniform purchase probabilities in decreasing order, which a seller may
assume before any data: d_k = (K + 1 - k) / (K + 1) for the k-th of K prices. The policy does not learn from sales.

D_h(n) is nondecreasing in h, so with n units left the best action moves towards less demand as h grows. For every n and
every place in that order, the state stores the h at which the action changes: K integers a unit, for any horizon. `init`
takes T N K operations, once for all lanes if they share the table and the problem, otherwise per lane. N is `capacity`. With
more units left the seller prices as with N, which is optimal if the N-th unit is worth nothing.

Regret with the true table: 0 against the optimal policy; against the fluid bound at most of order sqrt(T). With a wrong
table it is linear in T.

Source: G. Gallego, G. van Ryzin (1994), "Optimal dynamic pricing of inventories with stochastic demand over finite
horizons", doi:10.1287/mnsc.40.8.999.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks
from jaxprice.policies.inventory import stock
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy


@struct.dataclass
class State:
    """State of the policy.

    Attributes:
      left: units left, float scalar.
      periods: periods to go after the next one, int scalar.
      moves: number of periods to go from which the action is later in the order than each place, int `[capacity, K]`.
      order: actions by falling demand, int `[K]`.
      idle: the action when the stock is empty, int scalar.
    """

    left: jax.Array
    periods: jax.Array
    moves: jax.Array
    order: jax.Array
    idle: jax.Array


@policy_maker(
    source="Gallego and van Ryzin (1994)",
    regret="0 with the true table",
    feedback="nothing but the stock",
    kinds={"demand": "numbers"},
)
def dp_pricing(demand=None, capacity=256):
    """The optimal policy for a given table of demand.

    Args:
      demand: purchase probability under every action, `[K]`; by default the evenly decreasing ones of the module.
      capacity: largest stock in the table; larger stocks use its last entry.

    Raises:
      ValueError: demand outside [0, 1], a capacity below one; at `init`, unlimited stock, no price grid, several products,
        demand that is not that of one Bernoulli buyer, a table of a wrong shape.
    """
    if demand is not None:
        checks.number("demand", demand, low=0, high=1)
    size = checks.positive_int("capacity", capacity)

    def init(key, problem):
        del key
        season = stock.season(problem, "dp_pricing", one_product=True)
        if season.most != 1:
            raise ValueError(f"dp_pricing needs one bernoulli buyer a period, got {problem.buyers}, {problem.noise}")
        margins = season.margins[:, 0]
        if demand is None:
            earns = (margins > 0).astype(jnp.float32)
            table = earns * (1 - jnp.cumsum(earns) / (jnp.sum(earns) + 1))
        else:
            table = stock.table(demand, season, "dp_pricing")[:, 0]
        order = jnp.argsort(-table, stable=True).astype(jnp.int32)
        moves = _moves(table[order], margins[order], season.horizon, problem.details.get("salvage", 0.0), size)
        periods = season.horizon.astype(jnp.int32) - 1
        return State(season.stock[0], periods, moves, order, season.idle)

    def act(key, state, observation):
        del key, observation
        row = state.moves[jnp.clip(state.left.astype(jnp.int32) - 1, 0, size - 1)]
        place = jnp.sum((state.periods >= row[:-1]).astype(jnp.int32))
        return jnp.where(state.left < 1, state.idle, state.order[place])

    def update(key, state, transition):
        del key
        left = jnp.maximum(state.left - jnp.asarray(transition.demand, jnp.float32).reshape(()), 0.0)
        return state.replace(left=left, periods=jnp.maximum(state.periods - 1, 0))

    return Policy(init, act, update)


def _moves(demand, margins, horizon, salvage, size):
    """`State.moves` for actions by falling demand, `[K]`."""
    places = jnp.arange(demand.shape[0], dtype=jnp.int32)

    def backward(_, carry):
        worth, excess, moves = carry  # Kahan summation, as in jaxprice.oracles.inventory
        each = demand[None] * (margins[None] - worth[:, None])
        moves = moves + (jnp.argmax(each, axis=1)[:, None] <= places[None])
        gains = jnp.append(jnp.float32(0), jnp.maximum(jnp.max(each, axis=1), 0.0))
        change = gains[1:] - gains[:-1] - excess
        new = worth + change
        return new, (new - worth) - change, moves

    worth = jnp.full(size, jnp.float32(salvage))
    start = worth, jnp.zeros_like(worth), jnp.zeros((size, demand.shape[0]), jnp.int32)
    return jax.lax.fori_loop(0, horizon.astype(jnp.int32), backward, start)[2]

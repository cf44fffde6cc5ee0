"""Multinomial logit demand with an outside option: monopoly and Nash prices, assortments, best replies in a repeated game.

A buyer chooses product j with probability q_j = exp((a_j - p_j)/m) / (exp(a_0/m) + sum_k exp((a_k - p_k)/m)), for qualities
a_j, prices p_j, outside quality a_0 and scale m > 0, all in units of money. With unit costs c_j and Lambert's function W:

- monopoly: the same mark-up m (1 + W(X)) on all products, X = sum_j exp((a_j - c_j - a_0)/m - 1); profit m W(X);
- best reply of single-product firm j: p_j = c_j + m (1 + W(exp((a_j - c_j)/m - 1 - L_j))), where
  L_j = log(exp(a_0/m) + sum_{k != j} exp((a_k - p_k)/m));
- Nash equilibrium: p_j = c_j + m / (1 - q_j), a fixed point of the best replies. Best replies increase in the rivals'
  prices, so simultaneous replies of all firms, started at cost, increase to the equilibrium, which is unique. Near the
  equilibrium each round at least halves the error: the Jacobian has the entries q_j q_k / (1 - q_j), and its spectral radius
  is at most 1/2 (for two firms it is the square root of a number below q_1 q_2; for more firms, this was checked on random
  markets).

An assortment of at most s products earns max_S sum_{i in S} v_i r_i / (v_0 + sum_{i in S} v_i). Its value is the root z of
max_{|S| <= s} sum_{i in S} v_i (r_i - z)^+ = v_0 z. Dinkelbach's iteration (Newton's method on z) reaches it after finitely
many sets, each strictly better than the one before.

Sources: H. Li and W. T. Huh (2011), "Pricing multiple products with the multinomial logit and nested logit models",
doi:10.1287/msom.1110.0344; P. Rusmevichientong, Z.-J. M. Shen and D. B. Shmoys (2010), "Dynamic assortment optimization
with a multinomial logit choice model and capacity constraint", doi:10.1287/opre.1100.0866; W. Dinkelbach (1967), "On
nonlinear fractional programming", doi:10.1287/mnsc.13.7.492; E. Calvano, G. Calzolari, V. Denicolo and S. Pastorello
(2020), "Artificial intelligence, algorithmic pricing, and collusion", doi:10.1257/aer.20190623.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int, Num

from jaxprice import checks
from jaxprice.numerics import wright_omega

ROUNDS = 100  # rounds of best replies: each at least halves the error in the end, enough for float64


def choice_probabilities(
    prices: Num[ArrayLike, "*#lanes n"], quality: Num[ArrayLike, "*#lanes n"], scale: ArrayLike, outside: ArrayLike = 0.0
) -> Float[Array, "... n"]:
    """Purchase probability of each product; with the remaining probability the buyer buys nothing.

    Args:
      prices: float `[..., n]`.
      quality: mean valuations, float `[n]` or `[..., n]`, in units of the price.
      scale: spread m > 0 of the valuations, float scalar, in units of the price.
      outside: quality of the outside option, float scalar; minus infinity if there is none.

    Returns:
      float `[..., n]`.
    """
    utility = _utility(prices, quality, scale)
    none = jnp.full_like(utility[..., :1], outside / jnp.asarray(scale, utility.dtype))
    return jax.nn.softmax(jnp.concatenate([utility, none], axis=-1), axis=-1)[..., :-1]


def profits(
    prices: Num[ArrayLike, "*#lanes n"],
    quality: Num[ArrayLike, "*#lanes n"],
    cost: Num[ArrayLike, "..."],
    scale: ArrayLike,
    outside: ArrayLike = 0.0,
) -> Float[Array | np.ndarray, "... n"]:
    """Expected profit of each product from one buyer, (p_j - c_j) q_j.

    Args:
      prices: float `[..., n]`.
      quality, scale, outside: as in `choice_probabilities`.
      cost: unit costs, float scalar or `[n]`.

    Returns:
      float `[..., n]`.
    """
    share = choice_probabilities(prices, quality, scale, outside)
    return (prices - jnp.broadcast_to(jnp.asarray(cost, share.dtype), share.shape)) * share


def monopoly(
    quality: Num[ArrayLike, "*lanes n"], cost: Num[ArrayLike, "..."], scale: ArrayLike, outside: ArrayLike = 0.0
) -> tuple[Float[Array, "... n"], Float[Array | np.ndarray, "..."]]:
    """Prices of a single seller of all products, and its profit.

    Args:
      quality: float `[n]` or `[..., n]`.
      cost: unit costs, float scalar or `[n]`.
      scale, outside: as in `choice_probabilities`; `outside` must be finite.

    Returns:
      prices float `[..., n]`, and expected profit from one buyer, float `[...]`.
    """
    quality, cost = _vectors(quality, cost)
    _check_scale(scale)
    w = wright_omega(jax.nn.logsumexp((quality - cost - outside) / scale - 1, axis=-1))
    return cost + scale * (1 + w[..., None]), scale * w


def best_response(
    prices: Num[ArrayLike, "*#lanes n"],
    quality: Num[ArrayLike, "*#lanes n"],
    cost: Num[ArrayLike, "..."],
    scale: ArrayLike,
    outside: ArrayLike = 0.0,
) -> Float[Array, "... n"]:
    """The best price of every single-product firm, for the given prices of its rivals.

    Args:
      prices: float `[n]` or `[..., n]`.
      quality, cost, scale, outside: as in `profits`.

    Returns:
      float `[..., n]`; entry j does not depend on `prices[..., j]`.
    """
    utility = _utility(prices, quality, scale)
    cost = jnp.broadcast_to(jnp.asarray(cost, utility.dtype), utility.shape)
    rivals = rivals_log_sum(utility, outside / jnp.asarray(scale, utility.dtype))
    return cost + scale * (1 + wright_omega(_utility(cost, quality, scale) - 1 - rivals))


def nash(
    quality: Num[ArrayLike, "*lanes n"], cost: Num[ArrayLike, "..."], scale: ArrayLike, outside: ArrayLike = 0.0
) -> Float[Array, "... n"]:
    """Equilibrium prices of single-product firms, which may differ in quality and cost.

    Args:
      quality: float `[n]` or `[..., n]`.
      cost: unit costs, float scalar or `[n]`.
      scale, outside: as in `choice_probabilities`.

    Returns:
      prices, float `[..., n]`, to a few rounding units of `quality`.
    """
    quality, cost = _vectors(quality, cost)
    _check_scale(scale)
    return jax.lax.fori_loop(0, ROUNDS, lambda _, prices: best_response(prices, quality, cost, scale, outside), cost)


def collusion_index(mean_profit, nash_profit, monopoly_profit):
    """Position of the profit between Nash (0) and monopoly (1), (mean - Nash) / (monopoly - Nash), float `[...]`."""
    return (mean_profit - nash_profit) / (monopoly_profit - nash_profit)


def rivals_log_sum(utility: Float[Array, "*lanes n"], outside: ArrayLike = 0.0) -> Float[Array, "*lanes n"]:
    """log(exp(outside) + sum over k other than j of exp(utility_k)) for every product j.

    Args:
      utility: float `[..., n]`, without unit.
      outside: utility of the outside option, float scalar.

    Returns:
      float `[..., n]`.
    """
    n = utility.shape[-1]
    rivals = jnp.broadcast_to(utility[..., None, :], (*utility.shape, n))
    rivals = jnp.where(jnp.broadcast_to(np.eye(n, dtype=bool), rivals.shape), outside, rivals)  # outside option replaces j
    return jax.nn.logsumexp(rivals, axis=-1)


def assortment(
    revenue: Num[ArrayLike, " n"], weight: Num[ArrayLike, " n"], size: Int[ArrayLike, ""], outside_weight: ArrayLike = 1.0
) -> tuple[Bool[Array, " n"], Float[Array, ""]]:
    """The most profitable set of at most `size` products under multinomial logit.

    Args:
      revenue: price less cost of each product, float `[n]`.
      weight: preference weights v >= 0, float `[n]`.
      size: largest number of products, int of at least one; n or more means no constraint.
      outside_weight: weight v_0 > 0 of buying nothing, float scalar.

    Returns:
      whether a product is offered, bool `[n]`, and expected revenue from one buyer, float scalar.

    Raises:
      ValueError: shapes differ, or a number is out of its range.
    """
    if np.ndim(revenue) != 1 or np.shape(weight) != np.shape(revenue):
        raise ValueError(f"revenue and weight must both be [n], got shapes {np.shape(revenue)} and {np.shape(weight)}")
    if not checks.is_traced(size):
        checks.positive_int("size", size)
    checks.number("revenue", revenue)
    checks.number("weight", weight, low=0)
    checks.number("outside_weight", outside_weight, low=np.finfo(np.float32).tiny)
    dtype = jnp.result_type(revenue, weight, float)
    revenue, weight = jnp.asarray(revenue, dtype), jnp.asarray(weight, dtype)

    def better(value):
        gain = weight * (revenue - value)
        rank = jnp.argsort(jnp.argsort(-gain))
        mask = (rank < size) & (gain > 0)
        chosen = jnp.where(mask, weight, 0.0)
        return mask, (jnp.sum(chosen * revenue) / (outside_weight + jnp.sum(chosen))).astype(dtype)

    def step(loop):
        mask, value, _ = loop
        new_mask, new_value = better(value)
        rises = new_value > value
        return jnp.where(rises, new_mask, mask), jnp.where(rises, new_value, value), rises

    none = (jnp.zeros(revenue.shape, bool), jnp.zeros((), dtype), jnp.asarray(True))
    mask, value, _ = jax.lax.while_loop(lambda loop: loop[2], step, none)
    return mask, value


def dynamic_best_response(
    profit: Num[ArrayLike, "states actions"], next_state: Int[ArrayLike, "states actions"], discount: Num[Array, ""] | float
) -> Float[Array, "states actions"]:
    """Discounted value of every action against rivals with fixed strategies, by value iteration.

    In a repeated game on price grids, the rivals' fixed replies to the state turn the game into a deterministic decision
    process for one firm: Q(s, a) = profit(s, a) + discount max_b Q(next_state(s, a), b). The iteration stops when the
    contraction bound on its error, discount / (1 - discount) max |V' - V|, or the a priori bound discount^k falls to the
    rounding unit of the values. Rounding adds up to 1 / (1 - discount) units of the range of the values.

    Args:
      profit: float `[states, actions]`, units of money.
      next_state: int `[states, actions]`, each in `[0, states)`.
      discount: float scalar in `[0, 1)`.

    Returns:
      float `[states, actions]`; a best response is the argmax over the last axis.

    Raises:
      ValueError: shapes differ, a state does not exist, or the discount is out of range.
    """
    if np.ndim(profit) != 2 or np.shape(next_state) != np.shape(profit):
        shapes = f"{np.shape(profit)} and {np.shape(next_state)}"
        raise ValueError(f"profit and next_state must both be [states, actions], got shapes {shapes}")
    next_state = jnp.asarray(next_state)
    if not jnp.issubdtype(next_state.dtype, jnp.integer):
        raise ValueError(f"next_state must be integer, got {next_state.dtype}")
    states = next_state.shape[0]
    if not checks.is_traced(next_state) and not (np.min(next_state) >= 0 and np.max(next_state) < states):
        raise ValueError(f"next_state must be in [0, {states}), got {np.min(next_state)} to {np.max(next_state)}")
    if not checks.is_traced(discount) and not 0 <= discount < 1:
        raise ValueError(f"discount must be in [0, 1), got {discount!r}")

    profit = jnp.asarray(profit, jnp.result_type(profit, float))
    unit = jnp.finfo(profit.dtype).eps
    level = jnp.mean(profit)  # added at the end, so that rounding acts on differences only
    profit, patience = profit - level, 1 - jnp.asarray(discount, profit.dtype)
    tolerance = unit * jnp.max(jnp.abs(profit)) / patience
    steps = jnp.ceil(jnp.log(unit) / jnp.log1p(-patience))

    def sweep(loop):
        count, values, _ = loop
        new = jnp.max(profit + discount * values[next_state], axis=1)
        return count + 1, new, discount / patience * jnp.max(jnp.abs(new - values))

    start = (0, jnp.zeros_like(profit[:, 0]), jnp.full((), jnp.inf, profit.dtype))
    _, values, _ = jax.lax.while_loop(lambda loop: (loop[0] < steps) & (loop[2] > tolerance), sweep, start)
    return profit + discount * values[next_state] + level / patience


def _utility(prices, quality, scale):
    """(quality - prices) / scale, float `[..., n]`, broadcast over the axes of both."""
    _check_scale(scale)
    prices, quality = _vectors(prices, quality)
    return (quality - prices) / scale


def _vectors(first, second):
    """Both arguments as floats of the same shape `[..., n]`."""
    shape = np.broadcast_shapes(np.shape(first), np.shape(second))
    if not shape:
        raise ValueError("prices, quality and cost must hold one number a product, got scalars only")
    dtype = jnp.result_type(first, second, float)
    return tuple(jnp.broadcast_to(jnp.asarray(x, dtype), shape) for x in (first, second))


def _check_scale(scale):
    checks.number("scale", scale, low=np.finfo(np.float32).tiny)

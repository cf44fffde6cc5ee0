"""A small network of products and resources: the exact optimum of a season, by dynamic programming over the stocks.

There are K actions, n products and M resources. A unit of product i uses A_ij units of resource j (whole numbers), and c_j
units are left. In a period, product i meets a demand N_i with mean d_ki under action k, independently. Products are served
in order: product i sells min(N_i, min_j floor(c_j / A_ij)) units, the later products from what is left. With h periods to
go,

    V_h(c) = max_k E[sum_i p_ki sold_i + V_(h-1)(c - A' sold)],    V_0 = 0.

The number of states is prod_j (c_j + 1) and a table of transitions is dense, so this is for small networks. The fluid
programme (`fluid_lp`) bounds V_T from above for any size.

Source: G. Gallego, G. van Ryzin (1997), "A multiproduct dynamic pricing problem and its applications to network yield
management", doi:10.1287/opre.45.1.24, in discrete time.
"""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Int, Num
from scipy import special, stats

from jaxprice import checks
from jaxprice.oracles import dynamic_programming

NOISES = ("bernoulli", "poisson")


class Network(NamedTuple):
    """The solved network. S states are stocks in the order of `numpy.ndindex`, the last one is the full stock.

    Attributes:
      values: optimal expected revenue with h periods to go, float `[horizon + 1, S]`, in money.
      losses: loss in value of each action with h + 1 periods to go, float `[horizon, S, K]`; zero for the best.
      stocks: units of each resource in each state, int `[S, M]`.
      reward: expected revenue of a period, float `[S, K]`.
      transition: P(s' | s, k), float `[S, K, S]`.
    """

    values: Float[Array, "h S"]
    losses: Float[Array, "H S K"]
    stocks: Int[np.ndarray, "S M"]
    reward: Float[np.ndarray, "S K"]
    transition: Float[np.ndarray, "S K S"]


def network_dp(
    prices: Num[ArrayLike, "K n"],
    demand: Num[ArrayLike, "K n"],
    consumption: Num[ArrayLike, "n M"],
    stock: Num[ArrayLike, " M"],
    horizon: int,
    noise: str = "poisson",
) -> Network:
    """Solve a network exactly.

    Args:
      prices: price of each product under each action, `[K, n]`. An action that offers nothing has zero demand.
      demand: mean demand of each product under each action, `[K, n]`; at most one with Bernoulli noise.
      consumption: units of each resource that a unit of each product uses, whole numbers `[n, M]`; every product uses one.
      stock: units at the start, whole numbers `[M]`.
      horizon: number of periods.
      noise: "bernoulli" or "poisson".

    Raises:
      ValueError: wrong shapes, negative numbers, units that are not whole, or more states than a table can hold.
    """
    prices = checks.array("prices", prices, (None, None), low=0)
    checks.choice("noise", noise, NOISES)
    demand = checks.array("demand", demand, prices.shape, low=0, high=1 if noise == "bernoulli" else checks.LARGEST)
    consumption = checks.array("consumption", consumption, (prices.shape[1], None), low=0)
    stock = checks.array("stock", stock, (consumption.shape[1],), low=0)
    for name, units in (("consumption", consumption), ("stock", stock)):
        if np.any(units != np.round(units)):
            raise ValueError(f"{name} must be whole numbers of units, got {checks.shown(units.tolist())}")
    if not np.all(consumption.any(axis=1)):
        raise ValueError(f"consumption must let every product use a resource, got {checks.shown(consumption.tolist())}")
    horizon = checks.positive_int("horizon", horizon)
    sizes = tuple(int(units) + 1 for units in stock)
    count = int(np.prod(sizes, dtype=float))
    checks.fits(states=count, actions=len(prices), next_states=count)
    checks.fits(states=count, actions=len(prices), horizon=horizon)
    stocks = np.stack(np.unravel_index(np.arange(count), sizes), axis=1)
    reward, transition = _tables(prices.astype(float), demand.astype(float), consumption.astype(int), stocks, sizes, noise)
    reward, transition = reward.astype(np.float32), transition.astype(np.float32)
    values = dynamic_programming.finite_horizon(reward, transition, horizon)

    def losses(ahead):
        q = reward + jnp.matmul(transition, ahead, precision="highest")
        return jnp.max(q, axis=1, keepdims=True) - q

    return Network(values, jax.lax.map(losses, values[:-1]), stocks, reward, transition)


def _tables(prices, demand, consumption, stocks, sizes, noise):
    """Expected revenue `[S, K]` and transitions `[S, K, S]`, in float64."""
    count, (actions, products) = len(stocks), prices.shape
    reward, transition = np.zeros((count, actions)), np.zeros((count, actions, count))
    for state, units in enumerate(stocks):
        most = [_room(units, use) for use in consumption]
        for sold in itertools.product(*(range(room + 1) for room in most)):
            left, probability = units, np.ones(actions)
            for i in range(products):
                room = _room(left, consumption[i])
                if sold[i] > room:
                    break
                probability = probability * _chance(sold[i], room, demand[:, i], noise)
                left = left - sold[i] * consumption[i]
            else:
                reward[state] += probability * (prices @ np.array(sold))
                transition[state, :, np.ravel_multi_index(left, sizes)] += probability
    return reward, transition


def _room(units, use):
    """Number of units of a product that the stocks allow, int."""
    return int(np.min(units[use > 0] // use[use > 0]))


def _chance(sold, room, mean, noise):
    """Probability of selling `sold` units of at most `room`, for means `[K]`."""
    if noise == "bernoulli":
        mean = mean if room else np.zeros_like(mean)
        return mean if sold == 1 else 1 - mean if sold == 0 else np.zeros_like(mean)
    if sold < room:
        return stats.poisson.pmf(sold, mean)
    return special.gammainc(room, mean) if room else np.ones_like(mean)

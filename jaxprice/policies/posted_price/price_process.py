"""The common part of policies with a Gaussian process over the price: the prior, and the posterior after each sale.

The signal of a price (`arms`) is f(x) plus noise of variance s^2, with x the price as a share of the range of the grid and
f a Gaussian process of constant mean and covariance v k(|x - x'|), r = |x - x'| / lengthscale:

| kernel | k |
|---|---|
| "rbf" | exp(-r^2 / 2) |
| "matern52" | (1 + sqrt(5) r + 5 r^2 / 3) exp(-sqrt(5) r) |
| "matern32" | (1 + sqrt(3) r) exp(-sqrt(3) r) |

On the K prices of a grid the posterior is N(m, C) for any number of sales: a state of fixed size holds all information. C is
stored as L L'. A sale of signal y at price k, with row l = L[k], updates (Potter's square root of the Kalman filter)

    u = L l,   a = 1 / (l'l + s^2),   m <- m + a u (y - m_k),   L <- L - a / (1 + sqrt(a) s) u l'.

L L' stays positive definite in spite of rounding, while C itself would not in float32. A draw is m + L z. The first L is the
Cholesky factor of the prior with pivoting (the largest remaining pivot first), without pivots below 1e-5 v, which are
rounding errors. A smooth process on K prices has far fewer than K dimensions: with the RBF kernel and lengthscale .3, L has
10 columns for any number of prices. L has K columns if the lengthscale is traced, and almost K for the Matern kernels.
Memory and time are those of L for each lane and period, so grids should have some 30 prices. The rounding error of m is
stored too (`totals`), because after n sales at a price its steps are of order 1 / n.

s is that of the market's noise if it is Gaussian; otherwise 1 / (2 sqrt(buyers)), the largest deviation of purchases.

Sources: C. E. Rasmussen, C. K. I. Williams (2006), "Gaussian Processes for Machine Learning", chapters 2 and 4; P. S.
Maybeck (1979), "Stochastic Models, Estimation, and Control", volume 1, section 7.3 (Potter).
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Int, Num

from jaxprice import checks
from jaxprice.policies.parts import arms, line, totals
from jaxprice.policies.parts.features import contract, squared_norm
from jaxprice.types import Policy

KERNELS = ("rbf", "matern52", "matern32")
SMALLEST = 1e-5  # pivots of the prior below this, in units of its variance, are left out
QUIET = 1e-3  # smallest standard deviation of noise


@struct.dataclass
class State:
    """The posterior over the signals of all prices.

    Attributes:
      time: number of the next sale, from 1, int scalar.
      signal: the learning signal.
      noise: standard deviation s of a signal, float scalar.
      mean, lost: m, and its rounding error, float `[num_prices]` each.
      root: L, float `[num_prices, rank]`.
    """

    time: jax.Array
    signal: arms.Signal
    noise: jax.Array
    mean: jax.Array
    lost: jax.Array
    root: jax.Array

    @property
    def std(self) -> Float[Array, " num_prices"]:
        """Posterior standard deviations, float `[num_prices]`."""
        return jnp.sqrt(squared_norm(self.root))

    def draw(self, z: Float[Array, " rank"], scale: Num[ArrayLike, ""]) -> Float[Array, " num_prices"]:
        """A draw from N(m, scale^2 C), float `[num_prices]`, from standard normals `[rank]`."""
        return self.mean + scale * contract(z, self.root, axis=1)

    def add(self, action: Int[ArrayLike, ""], signal: Num[ArrayLike, ""]) -> "State":
        """The posterior after one more sale."""
        row, s = self.root[action], self.noise
        variance = jnp.sum(row * row)
        gain = 1 / (variance + s * s)
        towards = contract(row, self.root, axis=1)
        step = gain * (signal - self.mean[action]) * towards
        mean, lost = totals.plus(self.mean, self.lost, step, variance * totals.LONG < s * s)
        shrink = gain / (1 + jnp.sqrt(gain) * s)
        root = self.root - (shrink * towards)[:, None] * row[None, :]
        return State(self.time + 1, self.signal, s, mean, lost, root)


def check(
    kernel: str,
    lengthscale: Any,
    prior_mean: Any,
    prior_sd: Any,
    noise: Any,
    signal: str,
    monotone: bool,
    num_prices: int,
) -> None:
    """Raise if an option is invalid.

    Raises:
      ValueError: an option is out of range or unknown, or rewards are required to decrease with the price.
    """
    checks.choice("kernel", kernel, KERNELS)
    checks.number("lengthscale", lengthscale, low=1e-3, high=1e3)
    checks.number("prior_mean", prior_mean)
    checks.number("prior_sd", prior_sd, low=1e-3)
    if noise is not None:
        checks.number("noise", noise, low=QUIET)
    arms.check_signal(signal)
    if monotone and signal != "demand":
        raise ValueError(f"monotone must be False where the signal is {signal!r}: it is demand that falls with the price")
    checks.positive_int("num_prices", num_prices)


def covariance(kernel: str, distance: Num[Array, "*n"]) -> Float[Array, "*n"]:
    """k at distances in units of the lengthscale, float `[...]`."""
    return _covariance(jnp, kernel, distance)


def _covariance(lib, kernel, distance):
    if kernel == "rbf":
        return lib.exp(-(distance**2) / 2)
    r = math.sqrt(5 if kernel == "matern52" else 3) * distance
    return (1 + r + (r**2 / 3 if kernel == "matern52" else 0)) * lib.exp(-r)


def square_root(matrix: Float[Array, "K K"], smallest: Num[ArrayLike, ""], rank: int) -> Float[Array, "K {rank}"]:
    """An L `[K, rank]` with L L' = `matrix` `[K, K]`: its Cholesky factor, with the largest remaining pivot first.

    Pivots below `smallest` are left out; their columns are zeros.
    """

    def column(j, carry):
        rest, pivots, root = carry
        row = jnp.argmax(pivots)
        pivot = pivots[row]
        new = jnp.where((pivots >= 0) & (pivot > smallest), rest[row] / jnp.sqrt(jnp.maximum(pivot, smallest)), 0.0)
        pivots = jnp.where(pivots >= 0, jnp.maximum(pivots - new * new, 0.0), -1.0).at[row].set(-1.0)
        return rest - new[:, None] * new[None, :], pivots, root.at[j].set(new)

    start = matrix, jnp.diagonal(matrix), jnp.zeros((rank, matrix.shape[0]), jnp.float32)
    return jax.lax.fori_loop(0, rank, column, start)[2].T


def rank_of(kernel: str, lengthscale: Any, size: int) -> int:
    """Number of columns that the root of the prior needs, an int: that for 128 prices plus one, at most `size`."""
    if checks.is_traced(lengthscale):
        return size
    x = np.arange(128) / 127
    rest = _covariance(np, kernel, np.abs(x[:, None] - x[None, :]) / float(lengthscale))
    for rank in range(1, size):
        worst = np.argmax(np.diagonal(rest))
        if rest[worst, worst] <= SMALLEST:
            return rank
        rest = rest - np.outer(rest[worst], rest[worst]) / rest[worst, worst]
    return size


def process_policy(
    name: str,
    choose: Callable,
    *,
    kernel: str,
    lengthscale: Any,
    prior_mean: Any,
    prior_sd: Any,
    noise: Any,
    signal: str,
) -> Policy:
    """Build a policy, for a price grid, that keeps the posterior and plays the action `choose(key, state)`.

    Raises:
      ValueError: at `init`, a market without a grid of one price, or whose prices are all the same.
    """

    def init(key, problem):
        del key
        learned = arms.learn(problem, signal, name)
        line.require_prices(problem, name)
        prices = jnp.asarray(problem.prices, jnp.float32)
        if prices.ndim != 1:
            raise ValueError(f"{name} sets one price, but here an action prices {prices.shape[1]} products")
        span = jnp.maximum(jnp.max(prices) - jnp.min(prices), 1e-30)
        shares = (prices - jnp.min(prices)) / span
        variance = jnp.asarray(prior_sd, jnp.float32) ** 2
        prior = variance * covariance(kernel, jnp.abs(shares[:, None] - shares[None, :]) / lengthscale)
        root = square_root(prior, SMALLEST * variance, rank_of(kernel, lengthscale, problem.num_prices))
        mean = jnp.full(prices.shape, prior_mean, jnp.float32)
        return State(jnp.int32(1), learned, arms.noise_of_signal(problem, noise, QUIET), mean, jnp.zeros_like(mean), root)

    def act(key, state, observation):
        del observation
        return choose(key, state)

    def update(key, state, transition):
        del key
        return state.add(transition.action, state.signal.of(transition))

    return Policy(init, act, update)

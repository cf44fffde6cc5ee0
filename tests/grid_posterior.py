"""A seller of one product who knows its elasticity up to a prior on a grid: the exact posterior, in NumPy.

Sales of a period at log price x are Poisson(A exp(b x)), A ~ Gamma(shape, rate), and b has a prior on a grid. Given b, A is
conjugate, so with S = sum y_t and E_b = rate + sum exp(b x_t),

    P(b | data) is proportional to P(b) exp(b sum y_t x_t) E_b^-(shape + S).
"""

import numpy as np


def log_posterior(log_prior, grid, x, y, shape=2.0, rate=0.4):
    """Log posterior of b on the grid, up to a constant, `[B]`; `x` and `y` are `[T]`."""
    total = rate + np.exp(grid[:, None] * x[None, :]).sum(1)
    return log_prior + grid * (x * y).sum() - (shape + y.sum()) * np.log(total)


def thompson_regret(weights, grid, truth, level, prices, cost, periods, seed, shape=2.0, rate=0.4):
    """Cumulative regret of Thompson sampling in periods of optimal profit, `[N, periods]`.

    Args:
      weights: prior on the grid of each product, `[N, B]`.
      grid: values of b, `[B]`.
      truth, level: true b and A, `[N]`.
      prices: `[K]`, relative to the usual price.
      cost: in the same unit.
    """
    rng = np.random.default_rng(seed)
    x = np.log(prices)
    profit = (prices - cost) * np.exp(truth[:, None] * x) * level[:, None]
    best = profit.max(1)
    demand = np.exp(grid[:, None] * x)  # [B, K]
    choice = np.argmax((prices - cost) * demand, axis=1)
    score, total, sold = np.log(np.maximum(weights, 1e-300)), np.full(weights.shape, rate), np.zeros(len(weights))
    lost = np.zeros((len(weights), periods))
    for t in range(periods):
        logs = score - (shape + sold)[:, None] * np.log(total)
        mass = np.cumsum(np.exp(logs - logs.max(1, keepdims=True)), axis=1)
        draw = (mass < rng.uniform(size=(len(weights), 1)) * mass[:, -1:]).sum(1)
        k = choice[np.minimum(draw, len(grid) - 1)]
        lost[:, t] = 1 - profit[np.arange(len(truth)), k] / best
        y = rng.poisson(level * np.exp(truth * x[k]))
        score = score + grid * (y * x[k])[:, None]
        total = total + demand.T[k]
        sold = sold + y
    return lost.cumsum(1)

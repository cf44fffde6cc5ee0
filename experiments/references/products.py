"""Markets with several products or sellers in vectorised NumPy, as in `markets`."""

import numpy as np

from experiments.references.markets import NumpyMarket


class MultiProduct(NumpyMarket):
    """Linear demand for several products with Gaussian noise."""

    def period(self, t):
        p = self.p
        price = p.low[:, None] + (p.high - p.low)[:, None] * self.uniform(p.low.size)
        mean = p.intercept[:, None] - p.slopes @ price
        demand = mean + p.noise_scale * self.normal(p.low.size)
        return self.oracle["optimal"] - (price * mean).sum(axis=0), (price * demand).sum(axis=0)


class LowRankDemand(NumpyMarket):
    """Many products; prices are scaled back into the ball."""

    def period(self, t):
        p = self.p
        price = p.radius * (2 * self.uniform(p.features.shape[0]) - 1)
        price *= np.minimum(1, p.radius / np.sqrt((price**2).sum(axis=0)))
        x = p.features.T @ price
        mean = p.features @ (p.level[:, None] - p.slopes @ x)
        demand = mean + p.noise_scale * self.normal(p.features.shape[0])
        return self.oracle["optimal"] - (price * mean).sum(axis=0), (price * demand).sum(axis=0)


class MNLPricing(NumpyMarket):
    """Multinomial logit, one buyer a period."""

    def period(self, t):
        p, n = self.p, self.p.low.size
        price = p.low[:, None] + (p.high - p.low)[:, None] * self.uniform(n)
        pull = np.exp((p.quality[:, None] - price) / p.scale)
        share = pull / (np.exp(p.outside / p.scale) + pull.sum(axis=0))
        u = self.uniform()
        chosen = (u >= share.cumsum(axis=0)).sum(axis=0)
        margin = np.append(price - p.cost[:, None], np.zeros((1, self.lanes), np.float32), axis=0)
        return (
            self.oracle["optimal"] - (margin[:-1] * share).sum(axis=0),
            np.take_along_axis(margin, chosen[None], axis=0)[0],
        )


class MNLAssortment(NumpyMarket):
    """Random sets of at most `size` products."""

    def period(self, t):
        p, n, size = self.p, self.p.weights.size, self.env.size
        offered = self.uniform(n) < size / n
        offered &= offered.cumsum(axis=0) <= size
        weights = offered * p.weights[:, None]
        share = weights / (1 + weights.sum(axis=0))
        chosen = (self.uniform() >= share.cumsum(axis=0)).sum(axis=0)
        return self.oracle["optimal"] - p.revenues @ share, np.append(p.revenues, np.float32(0))[chosen]


class LogitOligopoly(NumpyMarket):
    """Sellers with random prices of their grids; profits are computed, not looked up, as noise and sizes may change."""

    def period(self, t):
        p, grid = self.p, self.oracle["grid"]
        n = p.cost.size
        action = self.rng.integers(0, grid.shape[0], (n, self.lanes), np.uint8)
        price = np.stack([grid[action[j], j] for j in range(n)])
        pull = np.exp((p.quality[:, None] - price) / p.scale)
        share = pull / (np.exp(p.outside / p.scale) + pull.sum(axis=0))
        mean = np.minimum(p.size * share, p.capacity[:, None])
        demand = mean + p.noise_scale * self.normal(n)
        margin = price - p.cost[:, None]
        return self.oracle["optimal"] - (margin * mean).mean(axis=0), (margin * demand).mean(axis=0)

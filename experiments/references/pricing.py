"""Pricing and contextual policies in NumPy, vectorised over lanes: references of the throughput script.

Each class contains the market of its row and plays it: `Class(arms, lanes, horizon, seed).run(chance)`. It returns its
earnings, so that no work is optimised away, but they are not compared: the step-for-step comparisons are in the tests.
"""

import numpy as np
from scipy import optimize


def rng_of(seed):
    """NumPy's fastest generator."""
    return np.random.Generator(np.random.SFC64(seed))


class NumpyLinUCB:
    """Disjoint LinUCB in a market with features: inverses `[arms, lanes, d, d]` by Sherman and Morrison, without solves.

    Contexts are d numbers uniform in [1, 2] / sqrt(d), as in the market; rewards are coins.
    """

    share = 0.03

    def __init__(self, arms, lanes, horizon, seed, size=10):
        self.arms, self.lanes, self.horizon, self.size = arms, lanes, horizon, size
        self.rng = rng_of(seed)
        self.inverse = np.tile(np.eye(size, dtype=np.float32), (arms, lanes, 1, 1))
        self.sums = np.zeros((arms, lanes, size), np.float32)
        self.mean = np.zeros((arms, lanes, size), np.float32)
        self.prices = np.linspace(1 / arms, 1, arms, dtype=np.float32)[:, None]
        self.number = np.arange(lanes)

    def values(self, mean, spread):
        """Index of each arm from its mean and standard deviation, `[arms, lanes]`."""
        return mean + spread

    def run(self, chance):
        """Play the horizon with this probability of a reward; returns the mean reward."""
        earned = 0.0
        for _ in range(self.horizon):
            x = (1 + self.rng.random((self.lanes, self.size), np.float32)) * np.float32(self.size**-0.5)
            reach = np.matmul(self.inverse, x[None, :, :, None])[..., 0]
            spread = np.sqrt(np.einsum("kld,ld->kl", reach, x))
            index = self.prices * self.values(np.einsum("kld,ld->kl", self.mean, x), spread)
            action = index.argmax(axis=0)
            reward = (self.rng.random(self.lanes, np.float32) < chance).astype(np.float32)
            one = reach[action, self.number]
            size = 1 + np.einsum("ld,ld->l", one, x)
            inverse = self.inverse[action, self.number] - one[:, :, None] * (one / size[:, None])[:, None, :]
            sums = self.sums[action, self.number] + reward[:, None] * x
            self.inverse[action, self.number], self.sums[action, self.number] = inverse, sums
            self.mean[action, self.number] = np.matmul(inverse, sums[..., None])[..., 0]
            earned += reward.mean()
        return earned


class NumpyLinTS(NumpyLinUCB):
    """Disjoint linear Thompson sampling; the values of the arms are independent normals."""

    def values(self, mean, spread):
        return mean + np.float32(0.5) * spread * self.rng.standard_normal(mean.shape, np.float32)


class NumpyLogisticThompson:
    """Logistic Thompson sampling, joint features, full covariance as a factor `[lanes, D, D]`; Newton until convergence."""

    share = 0.03

    def __init__(self, arms, lanes, horizon, seed, size=10):
        self.lanes, self.horizon, self.size = lanes, horizon, size
        self.rng, both = rng_of(seed), 2 * size
        self.prices = np.linspace(1 / arms, 1, arms, dtype=np.float32)[:, None]
        self.mean = np.zeros((lanes, both), np.float32)
        self.factor = np.tile(np.eye(both, dtype=np.float32), (lanes, 1, 1))

    def run(self, chance):
        """Play the horizon with this probability of a sale; returns the mean revenue."""
        d, earned = self.size, 0.0
        for _ in range(self.horizon):
            x = (1 + self.rng.random((self.lanes, d), np.float32)) * np.float32(d**-0.5)
            z = self.rng.standard_normal((self.lanes, 2 * d), np.float32)
            theta = self.mean + np.matmul(self.factor, z[..., None])[..., 0]
            level, slope = np.einsum("ld,ld->l", x, theta[:, :d]), np.einsum("ld,ld->l", x, theta[:, d:])
            logits = level[None] + self.prices * slope[None]
            price = self.prices[(self.prices / (1 + np.exp(-logits))).argmax(axis=0), 0]
            sold = (self.rng.random(self.lanes, np.float32) < chance).astype(np.float32)
            z = np.concatenate([x, price[:, None] * x], axis=1)
            f = np.matmul(z[:, None], self.factor)[:, 0]
            g = np.matmul(self.factor, f[..., None])[..., 0]
            v, prior = np.einsum("ld,ld->l", f, f), np.einsum("ld,ld->l", z, self.mean)
            u = np.where(prior * (sold - 1 / (1 + np.exp(-prior))) > 0, prior, np.float32(0))
            for _ in range(12):
                p = 1 / (1 + np.exp(-u))
                step = (u - prior - v * (sold - p)) / (1 + v * p * (1 - p))
                u -= step
                if np.abs(step).max() < 1e-6:
                    break
            p = 1 / (1 + np.exp(-u))
            weight = p * (1 - p)
            r = 1 + weight * v
            self.mean += g * (sold - p)[:, None]
            self.factor -= g[:, :, None] * (f * (weight / (r + np.sqrt(r)))[:, None])[:, None, :]
            earned += float((price * sold).mean())
        return earned


class NumpyConstrainedLeastSquares:
    """Constrained iterated least squares on linear demand 1.1 - p / 2 with Gaussian noise .1, prices from .5 to 1.5."""

    share = 1.0

    def __init__(self, arms, lanes, horizon, seed):
        del arms
        self.rng, self.horizon = rng_of(seed), horizon
        self.price, self.demand, self.spread, self.product = (np.zeros(lanes, np.float32) for _ in range(4))

    def run(self, _):
        """Play the horizon; returns the mean revenue."""
        low, high, kappa, earned = np.float32(0.5), np.float32(1.5), np.float32(0.1), 0.0
        for t in range(self.horizon):
            if t < 2:
                price = np.full_like(self.price, low + (t + 1) / 3 * (high - low))
            else:
                slope = self.product / np.maximum(self.spread, np.float32(1e-12))
                level = self.demand - slope * self.price
                falls = slope < 0
                greedy = np.clip(level / np.where(falls, -2 * slope, np.float32(2)), low, high)
                gain = high * (level + slope * high) - low * (level + slope * low)
                greedy = np.where(falls, greedy, np.where(gain > 0, high, low))
                distance = kappa * np.float32(t**-0.25)
                up = np.where(greedy >= self.price, self.price + distance <= high, self.price - distance < low)
                pushed = np.where(up, self.price + distance, self.price - distance)
                price = np.where(np.abs(greedy - self.price) < distance, pushed, greedy)
            sold = np.float32(1.1) - np.float32(0.5) * price
            sold += np.float32(0.1) * self.rng.standard_normal(price.size, np.float32)
            p, d, after = price - self.price, sold - self.demand, np.float32(t + 1)
            self.price += p / after
            self.demand += d / after
            weighted = p * np.float32(t / (t + 1))
            self.spread += weighted * p
            self.product += weighted * d
            earned += float((price * sold).mean())
        return earned


class NumpyEllipsoidPricing:
    """EllipsoidPricing with central cuts on noise-free linear valuations, ten features."""

    share = 0.15

    def __init__(self, arms, lanes, horizon, seed, size=10):
        del arms
        self.rng, self.horizon, self.size = rng_of(seed), horizon, size
        self.theta = self.rng.random((lanes, size), np.float32)
        self.centre = np.zeros((lanes, size), np.float32)
        self.shape = np.tile(9 * np.eye(size, dtype=np.float32), (lanes, 1, 1))

    def run(self, _):
        """Play the horizon; returns the mean revenue."""
        d, earned = self.size, 0.0
        threshold = d * d / 4000
        for _ in range(self.horizon):
            x = self.rng.random(self.theta.shape, np.float32) * np.float32(d**-0.5)
            reach = np.matmul(self.shape, x[..., None])[..., 0]
            width = np.sqrt(np.einsum("ld,ld->l", reach, x))
            middle = np.einsum("ld,ld->l", self.centre, x)
            explore = 2 * width > threshold
            price = np.where(explore, middle, middle - width)
            sold = np.einsum("ld,ld->l", self.theta, x) >= price
            b = reach * np.where(explore, 1 / width, np.float32(0))[:, None]
            self.centre += b * np.where(sold, np.float32(1), np.float32(-1))[:, None] / np.float32(d + 1)
            self.shape -= np.float32(2 / (d + 1)) * b[:, :, None] * b[:, None, :]
            self.shape *= np.where(explore, np.float32(d * d / (d * d - 1)), np.float32(1))[:, None, None]
            earned += float((price * sold).mean())
        return earned


class LinprogTSUpdate:
    """TS-update as usually written: one call of a linear-programme solver (SciPy, HiGHS) for each lane and period."""

    share, lanes = 0.1, 4

    def __init__(self, arms, lanes, horizon, seed):
        del arms
        self.rng, self.horizon, self.number = rng_of(seed), horizon, lanes
        self.prices = np.array([29.9, 34.9, 39.9, 44.9])

    def run(self, _):
        """Play a season with demand .8, .6, .3, .1 and stock for a quarter of it; returns the mean revenue."""
        chance, earned = np.array([0.8, 0.6, 0.3, 0.1]), 0.0
        for _ in range(self.number):
            wins, losses, left = np.ones(4), np.ones(4), self.horizon // 4
            for t in range(self.horizon):
                demand = self.rng.beta(wins, losses)
                bounds = np.stack([demand, np.ones(4)])
                limits = [left / (self.horizon - t), 1.0]
                mix = optimize.linprog(-self.prices * demand, A_ub=bounds, b_ub=limits, method="highs").x
                choice = np.searchsorted(np.cumsum(mix), self.rng.random())
                if choice < 4 and left:
                    sold = self.rng.random() < chance[choice]
                    wins[choice] += sold
                    losses[choice] += 1 - sold
                    left -= sold
                    earned += sold * self.prices[choice]
        return earned / self.number

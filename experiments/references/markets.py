"""The markets in NumPy, vectorised over lanes: references of the throughput script.

Each class plays one market with a random seller, `lanes` at a time, and returns the mean regret of a lane. They are as fast
as we could make them in NumPy: float32, lanes along the last axis, no unnecessary computation, SFC64 random numbers. They
share no code with jaxprice, only the numbers of the market, and the value of its oracle if that is one number a market.
"""

import numpy as np
from scipy import special


class NumpyMarket:
    """A market with params `p`; subclasses compute the regret of the random seller in one period, float `[lanes]`."""

    def __init__(self, env, params, oracle, lanes, horizon, seed):
        self.env, self.p, self.oracle, self.lanes, self.horizon = env, params, oracle, lanes, horizon
        self.rng = np.random.Generator(np.random.SFC64(seed))
        self.begin()

    def begin(self):
        """Prepare everything that does not change."""

    def run(self, periods):
        """Play the given number of periods; returns the mean cumulative regret over lanes."""
        total = np.zeros(self.lanes, np.float32)
        reward = np.zeros(self.lanes, np.float32)
        for t in range(periods):
            regret, earned = self.period(t)
            total += regret
            reward += earned
        return float(total.mean())

    def uniform(self, *shape):
        """Uniform numbers `[*shape, lanes]`."""
        return self.rng.random((*shape, self.lanes), np.float32)

    def normal(self, *shape):
        """Standard normal numbers `[*shape, lanes]`."""
        return self.rng.standard_normal((*shape, self.lanes), np.float32)

    def price(self):
        """A random price of the interval in each lane."""
        return self.p.low + (self.p.high - self.p.low) * self.uniform()

    def index(self, size):
        """A random index below `size` in each lane."""
        return self.rng.integers(0, size, self.lanes, np.uint8)


class Stationary(NumpyMarket):
    """One product with a price grid and Bernoulli sales."""

    def begin(self):
        self.means = self.oracle["means"]
        rewards = (self.p.prices - self.p.cost) * self.means
        self.gaps = rewards.max() - rewards

    def period(self, t):
        action = self.index(self.means.size)
        sale = self.uniform() < self.means[action]
        return self.gaps[action], (self.p.prices[action] - self.p.cost) * sale


class Interval(NumpyMarket):
    """One product, any price of an interval, logit demand and Bernoulli sales."""

    def period(self, t):
        price = self.price()
        mean = special.expit(-(self.p.demand.slope * price + self.p.demand.intercept))
        sale = self.uniform() < mean
        return self.oracle["optimal"] - price * mean, price * sale


class LinearValuation(NumpyMarket):
    """Logistic valuations, Gaussian contexts, any price of an interval; the oracle price by Lambert's function."""

    def period(self, t):
        d = self.p.theta.size
        x = np.clip(self.normal(d), -2, 2) * np.float32(d**-0.5)
        x[0] = 1
        utility = self.p.theta @ x
        price = self.price()
        mean = special.expit((utility - price) / self.p.scale)
        sale = self.uniform() < mean
        best = np.clip(self.p.scale * (1 + special.wrightomega(utility / self.p.scale - 1)), self.p.low, self.p.high)
        optimal = best * special.expit((utility - best) / self.p.scale)
        return optimal - price * mean, price * sale


class GLMDemand(NumpyMarket):
    """Logit link, positive contexts, any price of an interval."""

    def period(self, t):
        d = self.p.alpha.size
        x = (1 + self.uniform(d)) * np.float32(d**-0.5)
        a, b = self.p.alpha @ x, self.p.beta @ x
        price = self.price()
        mean = special.expit(a - b * price)
        sale = self.uniform() < mean
        best = np.clip((1 + special.wrightomega(a - 1)) / b, self.p.low, self.p.high)
        return best * special.expit(a - b * best) - price * mean, price * sale


class FairPricing(NumpyMarket):
    """Two groups with exponential demand."""

    def begin(self):
        self.level, self.rate = self.p.level[:, None], self.p.rate[:, None]
        own = self.oracle["own"]
        self.limit = self.p.fairness * abs(own[1] - own[0])

    def period(self, t):
        price = self.p.low + (self.p.high - self.p.low) * self.uniform(2)
        mean = np.minimum(self.level * np.exp(-self.rate * price), 1)
        sale = self.uniform(2) < mean
        self.violation = np.maximum(np.abs(price[0] - price[1]) - self.limit, 0)
        return np.maximum(self.oracle["optimal"] - (price * mean).sum(axis=0), 0), (price * sale).sum(axis=0)


class Season(NumpyMarket):
    """A sinusoidal mixture of two logit markets with a grid of ten prices."""

    def begin(self):
        curve = self.p.markets.demand
        self.slopes, self.intercepts, self.prices = curve.slope, curve.intercept, self.p.markets.prices[0]

    def period(self, t):
        turn = (t / self.p.path.period + self.p.path.phase) % 1
        weight = 0.5 + 0.5 * np.sin(2 * np.pi * turn)
        slope = self.slopes[0] + weight * (self.slopes[1] - self.slopes[0])
        intercept = self.intercepts[0] + weight * (self.intercepts[1] - self.intercepts[0])
        means = special.expit(-(slope * self.prices + intercept)).astype(np.float32)
        rewards = self.prices * means
        action = self.index(self.prices.size)
        sale = self.uniform() < means[action]
        return (rewards.max() - rewards)[action], self.prices[action] * sale


class Drift(Season):
    """The same with a reflected random walk between the two markets; every lane has its own position."""

    def begin(self):
        super().begin()
        self.weight = np.full(self.lanes, 0.5, np.float32)
        self.gone = np.zeros(self.lanes, np.float32)

    def period(self, t):
        slope = self.slopes[0] + self.weight * (self.slopes[1] - self.slopes[0])
        intercept = self.intercepts[0] + self.weight * (self.intercepts[1] - self.intercepts[0])
        means = special.expit(-(slope * self.prices[:, None] + intercept))
        rewards = self.prices[:, None] * means
        action = self.index(self.prices.size)
        lane = np.arange(self.lanes)
        sale = self.uniform() < means[action, lane]
        there = np.abs(np.mod(self.weight + self.p.path.step * self.normal() + 1, 2) - 1)
        left = np.maximum(self.p.path.budget - self.gone, 0)
        there = self.weight + np.clip(there - self.weight, -left, left)
        self.gone += np.abs(there - self.weight)
        self.weight = there
        return rewards.max(axis=0) - rewards[action, lane], self.prices[action] * sale

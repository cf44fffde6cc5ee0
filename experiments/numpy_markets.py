"""The markets in NumPy, vectorised over lanes: what the throughput script measures ours against.

Each class plays one market with a random seller, `lanes` at a time, and returns the mean regret of a lane. They are written
as well as NumPy allows: float32, lanes along the last axis, nothing computed that is not needed, SFC64 random numbers. They
share no code with jaxprice, only the numbers of the market and the value of its oracle where that is one number a market.
"""

import numpy as np
from scipy import special


class NumpyMarket:
    """A market with params `p`; subclasses say what one period costs the random seller: regret, float `[lanes]`."""

    def __init__(self, env, params, oracle, lanes, horizon, seed):
        self.env, self.p, self.oracle, self.lanes, self.horizon = env, params, oracle, lanes, horizon
        self.rng = np.random.Generator(np.random.SFC64(seed))
        self.begin()

    def begin(self):
        """Prepare what does not change."""

    def run(self, periods):
        """Play so many periods of the horizon; mean cumulative regret over lanes."""
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


class FiniteInventory(NumpyMarket):
    """Four prices, one sale a period at most, marginal values of units from the table."""

    def begin(self):
        self.stock = np.full(self.lanes, self.p.stock, np.int32)

    def period(self, t):
        p, stock = self.p, self.stock
        action = self.index(p.prices.size)
        worth = p.values[self.horizon - t - 1][stock]
        some = stock > 0
        worth = np.where(some, worth, 0)
        gain = p.demand[:, None] * (p.prices[:, None] - worth)
        mean = np.where(some, p.demand[action], 0)
        price = p.prices[action]
        sale = self.uniform() < mean
        best = np.where(some, gain.max(axis=0), 0)
        self.stock = stock - sale
        return best - mean * (price - worth), price * sale


class NetworkRevenue(NumpyMarket):
    """Five price vectors, two products with Poisson demand, three resources."""

    def begin(self):
        p = self.p
        self.stock = np.repeat(p.stock[:, None], self.lanes, axis=1).astype(np.float32)
        self.prices = np.append(p.prices, np.zeros((1, 2), np.float32), axis=0)
        self.demand = np.append(p.demand, np.zeros((1, 2), np.float32), axis=0)
        self.worth = p.consumption @ p.duals
        self.time_worth = p.value - p.duals @ p.stock / self.horizon

    def period(self, t):
        p, action = self.p, self.index(self.demand.shape[0])
        above_of_all, earned = 0, 0
        for i in range(2):
            price, mean, units = self.prices[action, i], self.demand[action, i], p.consumption[i]
            used = np.flatnonzero(units)
            room = np.floor((self.stock[used] / units[used][:, None]).min(axis=0) + 1e-4)
            wanted = self.rng.poisson(mean)
            sold = np.minimum(wanted, room)
            expected = mean
            if room.min() < 40:  # rarely: the sum of P(N > k) over k < room, in the lanes where stock is short
                short = np.flatnonzero(room < 40)
                expected = mean.copy()
                k = np.arange(40)[:, None]
                tails = 1 - special.pdtr(k, mean[short].astype(float))
                expected[short] = np.where(k < room[short], tails, 0).sum(axis=0)
            self.stock[used] = np.maximum(self.stock[used] - sold * units[used][:, None], 0)
            above_of_all = above_of_all + (price - self.worth[i]) * expected
            earned = earned + price * sold
        regret = np.maximum(self.time_worth - above_of_all, 0)
        if t == self.horizon - 1:
            regret = regret + p.duals @ self.stock
        return regret, earned


class Season(NumpyMarket):
    """A sine between two logit markets with a grid of ten prices."""

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
    """The same with a reflected random walk between the two markets: every lane is somewhere else."""

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


class MultiProduct(NumpyMarket):
    """Linear demand for several products with Gaussian noise."""

    def period(self, t):
        p = self.p
        price = p.low[:, None] + (p.high - p.low)[:, None] * self.uniform(p.low.size)
        mean = p.intercept[:, None] - p.slopes @ price
        demand = mean + p.noise_scale * self.normal(p.low.size)
        return self.oracle["optimal"] - (price * mean).sum(axis=0), (price * demand).sum(axis=0)


class LowRankDemand(NumpyMarket):
    """Many products; prices scaled back into the ball."""

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
    """Sellers with random prices of their grids; profits looked up nowhere, as noise and sizes may change."""

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


class ReferencePrice(NumpyMarket):
    """A grid of prices; the oracle's Q by interpolation in its table of biases."""

    def begin(self):
        self.reference = np.full(self.lanes, self.p.start, np.float32)
        self.nodes = np.linspace(self.p.low, self.p.high, self.p.worth.size, dtype=np.float32)

    def period(self, t):
        p, reference, prices = self.p, self.reference, self.p.prices[:, None]
        gap = reference - prices
        mean = p.intercept - p.slope * prices + p.gain * np.maximum(gap, 0) - p.loss * np.maximum(-gap, 0)
        after = p.memory * reference + (1 - p.memory) * prices
        spot = (after - p.low) * ((p.worth.size - 1) / (p.high - p.low))
        cell = np.clip(spot.astype(np.int32), 0, p.worth.size - 2)
        left = p.worth[cell]
        value = (prices - p.cost) * mean + left + (spot - cell) * (p.worth[cell + 1] - left)
        action, lane = self.index(p.prices.size), np.arange(self.lanes)
        price = p.prices[action]
        demand = mean[action, lane] + p.noise_scale * self.normal()
        self.reference = p.memory * reference + (1 - p.memory) * price
        return value.max(axis=0) - value[action, lane], (price - p.cost) * demand


class Replenishment(NumpyMarket):
    """Lost sales, regrets from the oracle's table, demand by inversion."""

    def begin(self):
        self.stock = np.full(self.lanes, self.p.stock, np.int32)
        self.ladder = self.p.pmf.cumsum(axis=1)

    def period(self, t):
        p, levels = self.p, self.env.num_levels
        action = self.rng.integers(0, p.prices.size * levels, self.lanes, np.int32)
        regret = p.regrets[self.stock, action]
        k, level = np.divmod(action, levels)
        have = np.maximum(self.stock, level)
        ordered = have - self.stock
        demand = np.minimum((self.uniform() >= self.ladder[k].T).sum(axis=0), p.pmf.shape[1] - 1)
        sold = np.minimum(have, demand)
        left = have - sold
        reward = p.prices[k] * sold - p.cost * ordered - p.fixed * (ordered > 0) - p.holding * left
        self.stock = left
        return regret, reward - p.shortage * (demand - sold)


class Storefront(NumpyMarket):
    """Customers, offers, a competitor and loyalty; regrets from the oracle's table."""

    def begin(self):
        sizes, p = self.env.sizes, self.p
        self.competitor = np.full(self.lanes, sizes[4] // 2, np.int32)
        self.loyalty = np.full(self.lanes, sizes[5] // 2, np.int32)
        self.types = p.types.cumsum()
        self.customer = self.draw_types()
        self.units = np.arange(1, p.tastes.size + 1, dtype=np.float32)[:, None]
        self.ladder = p.competition.cumsum(axis=2)

    def draw_types(self):
        return np.minimum(np.searchsorted(self.types, self.uniform(), side="right"), self.types.size - 1)

    def period(self, t):
        p, env = self.p, self.env
        phases, levels, loyalties = env.sizes[3:]
        action = self.rng.integers(0, env.num_actions, self.lanes, np.int32)
        k, offer = np.divmod(action, len(env.offers))
        phase = t % phases
        state = (phase * levels + self.competitor) * loyalties + self.loyalty
        regret = p.regrets[state, self.customer, action]
        price, rival, sensitivity = p.prices[k], p.competitor_prices[self.competitor], p.sensitivity[self.customer]
        full = price * self.units
        redeems = self.uniform() < p.redemption[self.customer]
        paid = np.where(offer == 1, full * (1 - p.discount), full)
        paid = np.where((offer == 2) & redeems, np.maximum(full - p.coupon, 0), paid)
        paid = np.where((offer == 3) & (full >= p.threshold), full - p.saving, paid)
        base = p.appeal[self.customer] + p.season[phase] + p.loyalty * self.loyalty + p.fit[self.customer, 0]
        base = base + p.promotion[phase] * (offer > 0)
        pull = np.exp(base + p.tastes[:, None] - sensitivity * paid)
        away = np.exp(p.rival - sensitivity * rival)
        u = self.uniform() * (1 + away + pull.sum(axis=0))
        sums = np.concatenate([np.ones((1, self.lanes), np.float32), (1 + away)[None], (1 + away) + pull.cumsum(axis=0)])
        bought = np.minimum((u >= sums).sum(axis=0), p.tastes.size + 1)
        here, n = bought >= 2, np.maximum(bought - 1, 0)
        money = np.where(here, paid[np.maximum(n - 1, 0), np.arange(self.lanes)], 0)
        unit = money / np.maximum(n, 1)
        content = 1 / (1 + np.exp(-(p.contentment + sensitivity * (rival - unit))))
        satisfied = self.uniform() < np.where(here, content, p.aside)
        share = here.astype(np.float32) - (bought == 1)
        w = p.weights
        reward = w[0] * (money - p.cost * n) + w[1] * here + w[2] * money + w[3] * share + w[4] * satisfied
        step = np.where(satisfied, self.uniform() < p.rise, -(self.uniform() < p.fall).astype(np.int32))
        law = self.ladder[self.competitor, k].T
        self.competitor = np.minimum((self.uniform() >= law).sum(axis=0), levels - 1)
        self.loyalty = np.clip(self.loyalty + step, 0, loyalties - 1)
        self.customer = self.draw_types()
        return regret, reward

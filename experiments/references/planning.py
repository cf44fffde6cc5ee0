"""Markets in which today's price changes the future, in vectorised NumPy as in `markets`: stock, memory, orders."""

import numpy as np
from scipy import special

from experiments.references.markets import NumpyMarket


class FiniteInventory(NumpyMarket):
    """Four prices, at most one sale a period, marginal values of units from the table."""

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
            if room.min() < 40:  # rare: sum of P(N > k) over k < room, in lanes with little stock
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


class ReferencePrice(NumpyMarket):
    """A grid of prices; the oracle's Q is interpolated in its table of biases."""

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
    """Lost sales; regrets from the oracle's table, demand by inversion."""

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

"""NumPy versions of one policy of each further family, vectorised over lanes: references of the throughput script.

The families are tabular learning, several products, related products and posted prices on an interval (for privacy see
`private`). Each class plays the market of its row, `Class(arms, lanes, horizon, seed).run(means)`, with numbers from
jaxprice. Bandits return the mean regret of a lane, the others its mean reward. If the algorithm allows it, they do less work
than ours: best values are stored instead of searched, and only lanes with changes are updated.
"""

import functools

import numpy as np

import jaxprice
from experiments.references.policies import NumpyBandit, NumpyUCB1


@functools.cache
def numbers(name, **options):
    """The params of a market, made once."""
    return jaxprice.make(name, **options)[1]


class NumpyQLearning(NumpyBandit):
    """`jaxprice.policies.q_learning`: states are the bins of the last price, and all prices of a bandit are equal.

    The best price of each state and its value are stored. A row of the table is read only if the best price has lost value.
    Rows are contiguous in memory, so reading one is a copy.
    """

    discount, rate, epsilon = np.float32(0.95), np.float32(0.15), 0.1

    def __init__(self, *args):
        super().__init__(*args)
        self.bins = np.zeros(self.arms, np.int64)  # bin of the price of each arm
        self.table = np.zeros((self.lanes * self.arms, self.arms), np.float32)
        self.best_price = np.zeros(self.lanes * self.arms, np.uint8)
        self.value = np.zeros(self.lanes * self.arms, np.float32)
        self.first = self.number * self.arms
        self.place = self.first.copy()

    def act(self, t):
        chosen = self.best_price[self.place]
        explore = np.flatnonzero(self.rng.random(self.lanes, np.float32) < self.epsilon)
        chosen[explore] = self.rng.integers(0, self.arms, explore.size, np.uint8)
        return chosen

    def update(self, action, flat, reward):
        place, after = self.place, self.first + self.bins[action]
        entry = place * self.arms + action
        old = self.table.ravel()[entry]
        new = old + self.rate * (reward + self.discount * self.value[after] - old)
        self.table.ravel()[entry] = new
        value, price = self.value[place], self.best_price[place]
        lost = np.flatnonzero((action == price) & (new < value))
        wins = (new > value) | ((new == value) & (action <= price))
        value, price = np.where(wins, new, value), np.where(wins, action, price)
        rows = self.table.take(place[lost], axis=0)
        price[lost] = rows.argmax(axis=1)
        value[lost] = rows[np.arange(lost.size), price[lost]]
        self.value[place], self.best_price[place] = value, price
        self.place = after


class NumpyHierarchicalThompson(NumpyBandit):
    """`jaxprice.policies.hierarchical_thompson`, ten products in sequence, noise 1/2.

    For earlier products, two sums for each price are enough. Mean and deviation of the present product are stored, and
    updated for the pulled price.
    """

    products, mean, std, spread, noise = 10, 0.5, 0.5, 0.1, 0.5

    def __init__(self, *args):
        super().__init__(*args)
        self.counts[:] = 0
        self.precision = np.full_like(self.sums, self.std**-2)
        self.weighted = np.full_like(self.sums, self.mean * self.std**-2)
        self.deviation = np.empty_like(self.sums)
        self.starts = {m * self.horizon // self.products for m in range(self.products)}

    def posterior(self, counts, sums, precision, weighted):
        """Mean and deviation of the signal of the present product."""
        s2, n2 = np.float32(self.spread**2), np.float32(self.noise**2)
        inverse = 1 / (counts * s2 + n2)
        common, pulled, share = precision + counts * inverse, sums * inverse, n2 * inverse
        return share * (weighted + pulled) / common + s2 * pulled, np.sqrt(share * (s2 + share / common))

    def act(self, t):
        if t - 1 in self.starts:
            inverse = 1 / (self.counts * np.float32(self.spread**2) + np.float32(self.noise**2))
            self.precision += self.counts * inverse
            self.weighted += self.sums * inverse
            self.counts[:], self.sums[:] = 0, 0
            self.means, self.deviation = self.posterior(self.counts, self.sums, self.precision, self.weighted)
        self.rng.standard_normal(dtype=np.float32, out=self.index)
        self.index *= self.deviation
        self.index += self.means
        return self.largest(self.index)

    def update(self, action, flat, reward):
        counts, sums = self.counts.ravel()[flat] + np.float32(1), self.sums.ravel()[flat] + reward
        self.counts.ravel()[flat], self.sums.ravel()[flat] = counts, sums
        new = self.posterior(counts, sums, self.precision.ravel()[flat], self.weighted.ravel()[flat])
        self.means.ravel()[flat], self.deviation.ravel()[flat] = new


class NumpyKleinbergLeighton(NumpyUCB1):
    """`jaxprice.policies.kleinberg_leighton` for 10,000 buyers: UCB1 on six prices, Gaussian linear demand."""

    def __init__(self, arms, lanes, horizon, seed):
        del arms
        size = int(np.ceil((1e4 / np.log(1e4)) ** 0.25))
        super().__init__(size, lanes, horizon, seed)
        self.p = numbers("ParametricDemand", family="keskin_zeevi")
        self.prices = np.linspace(self.p.low, self.p.high, size + 1, dtype=np.float32)[1:]

    def run(self, _):
        """Play the horizon; returns the mean revenue."""
        curve, noise = self.p.demand, np.float32(self.p.noise_scale)
        mean, unit, earned = (curve.intercept - curve.slope * self.prices).astype(np.float32), self.prices[-1], 0.0
        for t in range(1, self.horizon + 1):
            action = self.act(t)
            sold = self.rng.standard_normal(self.lanes, np.float32)
            sold *= noise
            sold += mean[action]
            sold *= self.prices[action]
            self.update(action, action * np.int64(self.lanes) + self.number, sold / unit)
            earned += float(sold.mean())
        return earned


class NumpyMNLUCB:
    """`jaxprice.policies.mnl_ucb` on ten products, four of which are shown.

    A set is chosen only in lanes whose epoch is over, by Dinkelbach's iteration from the value of their last set. A network
    of comparisons finds the four largest of ten. The thresholds for a customer's choice are stored with the set.
    """

    share, scale, size = 0.3, 48.0, 4

    def __init__(self, arms, lanes, horizon, seed):
        del arms
        self.rng, self.lanes, self.horizon = np.random.Generator(np.random.SFC64(seed)), lanes, horizon
        market = numbers("MNLAssortment")
        self.revenues, self.weights = (np.asarray(x, np.float32)[:, None] for x in (market.revenues, market.weights))
        self.n, self.number = self.revenues.size, np.arange(lanes)
        self.counts, self.sums = (np.zeros((self.n, lanes), np.float32) for _ in range(2))
        self.sold = np.zeros((self.n + 1, lanes), np.float32)  # the last row counts customers who bought nothing
        self.epochs = np.zeros(lanes, np.float32)
        self.offered = np.zeros((self.n, lanes), bool)
        self.reach = np.empty((self.n, lanes), np.float32)
        self.offer(self.number, np.ones((self.n, lanes), np.float32))

    def offer(self, lanes, attractions):
        """Offer the best sets in these lanes, and compute the thresholds for their customers' choices."""
        offered = self.best(attractions, self.offered.take(lanes, axis=1))
        weights = offered * self.weights
        reach = weights.cumsum(axis=0)
        reach /= 1 + reach[-1]
        self.offered[:, lanes], self.reach[:, lanes] = offered, reach

    def value(self, attractions, chosen):
        """Expected revenue of sets."""
        weights = attractions * chosen
        return (self.revenues[:, 0] @ weights) / (1 + weights.sum(axis=0))

    def best(self, attractions, chosen):
        """The best sets, starting from the given sets."""
        value = self.value(attractions, chosen)
        for _ in range(12):
            gains = attractions * (self.revenues - value)
            top = [np.zeros_like(value) for _ in range(self.size)]
            for i, gain in enumerate(gains):
                for j in range(min(i + 1, self.size)):
                    larger = np.maximum(top[j], gain)
                    gain = np.minimum(top[j], gain)
                    top[j] = larger
            chosen = gains >= np.maximum(top[-1], np.float32(1e-30))
            after = self.value(attractions, chosen)
            if (after <= value * np.float32(1 + 1e-6)).all():
                break
            value = np.maximum(value, after)
        return chosen

    def run(self, _):
        """Play the horizon; returns the mean revenue."""
        earned, revenue = 0.0, np.append(self.revenues, np.float32(0))
        root, scale = np.float32(self.n**0.5), np.float32(self.scale)
        wins = np.empty(self.lanes, bool)
        for _ in range(self.horizon):
            u = self.rng.random(self.lanes, np.float32)
            choice = np.zeros(self.lanes, np.uint8)
            for reach in self.reach:
                choice += np.greater_equal(u, reach, out=wins).view(np.uint8)
            earned += float(revenue[choice].mean())
            self.sold.ravel()[choice * np.int64(self.lanes) + self.number] += 1
            over = np.flatnonzero(choice == self.n)
            if not over.size:
                continue
            counts = self.counts.take(over, axis=1) + self.offered.take(over, axis=1)
            sums = self.sums.take(over, axis=1) + self.sold[:-1].take(over, axis=1)
            self.counts[:, over], self.sums[:, over], self.sold[:, over] = counts, sums, 0
            self.epochs[over] += 1
            inverse = 1 / np.maximum(counts, np.float32(1))
            mean, width = sums * inverse, inverse * (scale * np.log(root * self.epochs[over] + 1))
            upper = mean + np.sqrt(mean * width) + width
            self.offer(over, np.where(counts > 0, upper, np.float32(1)))
        return earned

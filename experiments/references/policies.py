"""The policies in NumPy, vectorised over lanes: references of the throughput script.

They are as fast as we could make them in NumPy: float32, arms along the first axis and lanes along the last, a tournament
instead of `argmax` over a short axis, flat fancy indexing, preallocated buffers, and the same solver for KL-UCB.
"""

import numpy as np


class NumpyBandit:
    """A bandit policy on `[arms, lanes]` arrays; subclasses choose and learn."""

    share = 1.0  # share of the periods that is played; smaller for slow policies

    def __init__(self, arms, lanes, horizon, seed):
        self.arms, self.lanes, self.horizon = arms, lanes, horizon
        self.rng = np.random.Generator(np.random.SFC64(seed))
        self.number = np.arange(lanes)
        self.counts = np.full((arms, lanes), 1e-12, np.float32)
        self.sums = np.zeros((arms, lanes), np.float32)
        self.inverse = np.full((arms, lanes), 1e12, np.float32)
        self.means = np.zeros((arms, lanes), np.float32)
        self.index = np.empty((arms, lanes), np.float32)
        self.work = np.empty((arms, lanes), np.float32)
        self.best, self.wins = np.empty(lanes, np.float32), np.empty(lanes, bool)

    def largest(self, index):
        """First index of the largest entry in every lane, by a tournament over arms."""
        best, wins = self.best, self.wins
        best[:] = index[0]
        chosen = np.zeros(self.lanes, np.uint8)
        for arm in range(1, self.arms):
            np.greater(index[arm], best, out=wins)
            np.maximum(best, index[arm], out=best)
            np.maximum(chosen, wins.view(np.uint8) * np.uint8(arm), out=chosen)
        return chosen

    def learn(self, flat, reward):
        """Update counts, sums, means and 1 / count of the pulled arms."""
        counts = self.counts.ravel()[flat] + np.float32(1)
        sums = self.sums.ravel()[flat] + reward
        inverse = np.float32(1) / counts
        self.counts.ravel()[flat], self.sums.ravel()[flat] = counts, sums
        self.inverse.ravel()[flat], self.means.ravel()[flat] = inverse, sums * inverse

    def run(self, means):
        """Play the horizon; returns the mean cumulative regret over lanes."""
        means = np.asarray(means, np.float32)
        gaps = means.max() - means
        regret = np.zeros(self.lanes, np.float32)
        for t in range(1, self.horizon + 1):
            action = self.act(t)
            reward = (self.rng.random(self.lanes, np.float32) < means[action]).astype(np.float32)
            self.update(action, action * np.int64(self.lanes) + self.number, reward)
            regret += gaps[action]
        return float(regret.mean())

    def update(self, action, flat, reward):
        """Learn from a reward."""
        self.learn(flat, reward)


class NumpyUCB1(NumpyBandit):
    """`jaxprice.policies.ucb1`; the square root of 1 / count is stored instead of computed again."""

    def __init__(self, *args):
        super().__init__(*args)
        self.root = np.full((self.arms, self.lanes), 1e6, np.float32)

    def act(self, t):
        np.multiply(self.root, np.float32(np.sqrt(2 * np.log(t))), out=self.index)
        self.index += self.means
        return self.largest(self.index)

    def update(self, action, flat, reward):
        counts = self.counts.ravel()[flat] + np.float32(1)
        sums = self.sums.ravel()[flat] + reward
        self.counts.ravel()[flat], self.sums.ravel()[flat] = counts, sums
        self.means.ravel()[flat], self.root.ravel()[flat] = sums / counts, 1 / np.sqrt(counts)


class NumpyUCBTuned(NumpyBandit):
    """`jaxprice.policies.ucb_tuned`; for rewards of zero and one the variance is m (1 - m), stored for every arm."""

    def __init__(self, *args):
        super().__init__(*args)
        self.variance = np.zeros((self.arms, self.lanes), np.float32)

    def act(self, t):
        width, bonus = self.work, self.index
        np.multiply(self.inverse, np.float32(np.log(t)), out=width)
        np.multiply(width, np.float32(2), out=bonus)
        np.sqrt(bonus, out=bonus)
        bonus += self.variance
        np.minimum(bonus, np.float32(0.25), out=bonus)
        bonus *= width
        np.sqrt(bonus, out=bonus)
        bonus += self.means
        return self.largest(bonus)

    def update(self, action, flat, reward):
        self.learn(flat, reward)
        means = self.means.ravel()[flat]
        self.variance.ravel()[flat] = means * (1 - means)


class NumpyKLUCB(NumpyBandit):
    """`jaxprice.policies.kl_ucb` with the same solver: fitted first guess, one Newton step; NumPy's own log1p and expm1."""

    def act(self, t):
        p = np.clip(self.means, np.float32(1e-9), np.float32(1 - 6e-8))
        d = np.clip(self.inverse * np.float32(np.log(t)), np.float32(1e-12), np.float32(30))
        rest, twice = 1 - p, 2 * d
        guess = d + np.sqrt(twice * (p * rest))
        w = d / guess
        ratio = np.float32(-0.0642977) * p
        ratio += np.float32(0.07500168) * w + np.float32(0.1122936)
        ratio *= p
        ratio += (np.float32(0.6220612) * w - np.float32(0.6776918)) * w - np.float32(0.03365455)
        ratio *= p
        ratio += ((np.float32(0.6800535) * w - np.float32(0.5092626)) * w - np.float32(0.1618449)) * w + np.float32(
            0.9942608
        )
        y = guess * ratio
        y /= rest
        gap = np.expm1(-y)
        gap *= -rest
        h = np.sqrt(np.maximum(2 * (rest * y - p * np.log1p(gap / p)), np.float32(1e-30)))
        step = h * (np.sqrt(twice) - h)
        p += gap
        step *= p / gap
        rest -= gap
        return self.largest(p + rest * step * (1 - step * (np.float32(1 / 2) - step * np.float32(1 / 6))))


class NumpyEpsilonGreedy(NumpyBandit):
    """`jaxprice.policies.epsilon_greedy` with epsilon .1; only the lanes that explore draw an arm."""

    def __init__(self, *args):
        super().__init__(*args)
        self.means += 1000

    def act(self, t):
        chosen = self.largest(self.means)
        explore = np.flatnonzero(self.rng.random(self.lanes, np.float32) < 0.1)
        chosen[explore] = self.rng.integers(0, self.arms, explore.size, np.uint8)
        return chosen

    def update(self, action, flat, reward):
        counts = self.counts.ravel()[flat] + np.float32(1)
        sums = self.sums.ravel()[flat] + reward
        self.counts.ravel()[flat], self.sums.ravel()[flat] = counts, sums
        self.means.ravel()[flat] = sums / counts


class NumpyThompson(NumpyBandit):
    """`jaxprice.policies.thompson`: shapes and draws in float64, as `Generator.beta` requires."""

    def __init__(self, *args):
        super().__init__(*args)
        self.a, self.b = np.ones((self.arms, self.lanes)), np.ones((self.arms, self.lanes))

    def act(self, t):
        return self.largest(self.rng.beta(self.a, self.b))

    def update(self, action, flat, reward):
        self.a.ravel()[flat] += reward
        self.b.ravel()[flat] += 1 - reward


class NumpyGaussianThompson(NumpyBandit):
    """`jaxprice.policies.gaussian_thompson` with prior N(.5, 1) and noise 1/2; posterior mean and deviation are stored."""

    def __init__(self, *args):
        super().__init__(*args)
        self.means += 0.5
        self.deviation = np.ones((self.arms, self.lanes), np.float32)

    def act(self, t):
        self.rng.standard_normal(dtype=np.float32, out=self.index)
        self.index *= self.deviation
        self.index += self.means
        return self.largest(self.index)

    def update(self, action, flat, reward):
        counts = self.counts.ravel()[flat] + np.float32(1)
        sums = self.sums.ravel()[flat] + reward
        precision = 1 + 4 * counts
        self.counts.ravel()[flat], self.sums.ravel()[flat] = counts, sums
        self.means.ravel()[flat] = (np.float32(0.5) + 4 * sums) / precision
        self.deviation.ravel()[flat] = 1 / np.sqrt(precision)


class NumpyExp3(NumpyBandit):
    """`jaxprice.policies.exp3`; weights are multiplied, and rescaled every 50 steps, so one exponential a lane is enough."""

    def __init__(self, *args):
        super().__init__(*args)
        tuned = np.sqrt(self.arms * np.log(self.arms) / ((np.e - 1) * self.horizon))
        self.mixing = np.float32(min(1.0, tuned))
        self.weights = np.ones((self.arms, self.lanes), np.float32)
        self.total = np.full(self.lanes, self.arms, np.float32)

    def act(self, t):
        # mixture: a uniform arm with probability `mixing`, otherwise an arm in proportion to the weights
        u = self.rng.random(self.lanes, np.float32) * self.total
        chosen, reached = np.zeros(self.lanes, np.uint8), np.zeros(self.lanes, np.float32)
        for arm in range(self.arms - 1):
            reached += self.weights[arm]
            chosen += np.greater_equal(u, reached, out=self.wins).view(np.uint8)
        explore = np.flatnonzero(self.rng.random(self.lanes, np.float32) < self.mixing)
        chosen[explore] = self.rng.integers(0, self.arms, explore.size, np.uint8)
        self.time = t
        return chosen

    def update(self, action, flat, reward):
        old = self.weights.ravel()[flat]
        probability = (1 - self.mixing) * old / self.total + self.mixing / self.arms
        new = old * np.exp(self.mixing / self.arms * reward / probability)
        self.weights.ravel()[flat] = new
        self.total += new - old
        if self.time % 50 == 0:
            self.weights /= self.weights.max(axis=0)
            self.total = self.weights.sum(axis=0)


class NumpyDiscountedUCB(NumpyBandit):
    """Discounted UCB: all counts and sums decay in every period."""

    def act(self, t):
        self.counts *= np.float32(0.99)
        self.sums *= np.float32(0.99)
        total = np.log(max(self.counts[:, 0].sum(), 1.0), dtype=np.float32)
        inverse = 1 / np.maximum(self.counts, np.float32(1e-12))
        return self.largest(self.sums * inverse + np.sqrt(np.float32(2.4) * total * inverse))

    def update(self, action, flat, reward):
        self.counts.ravel()[flat] += 1
        self.sums.ravel()[flat] += reward


class NumpyGPUCB(NumpyBandit):
    """GP-UCB on a grid of prices, RBF kernel, with the posterior covariance as a root of rank ten, like ours."""

    share = 0.15

    def __init__(self, arms, lanes, horizon, seed):
        super().__init__(arms, lanes, horizon, seed)
        x = np.linspace(0, 1, arms)
        values, vectors = np.linalg.eigh(0.25 * np.exp(-(((x[:, None] - x[None]) / 0.3) ** 2) / 2))
        root = (vectors * np.sqrt(np.maximum(values, 0)))[:, -10:].astype(np.float32)
        self.root = np.tile(root, (lanes, 1, 1))
        self.mean = np.full((lanes, arms), 0.5, np.float32)

    def act(self, t):
        beta = np.float32(0.4 * np.log(self.arms * t * t * np.pi**2 / 0.6))
        spread = np.sqrt(np.einsum("lkr,lkr->lk", self.root, self.root))
        return (self.mean + np.sqrt(beta) * spread).argmax(axis=1)

    def update(self, action, flat, reward):
        row = self.root[self.number, action]
        gain = 1 / (np.einsum("lr,lr->l", row, row) + np.float32(0.25))
        towards = np.matmul(self.root, row[..., None])[..., 0]
        self.mean += (gain * (reward - self.mean[self.number, action]))[:, None] * towards
        shrink = gain / (1 + np.float32(0.5) * np.sqrt(gain))
        self.root -= (shrink[:, None] * towards)[:, :, None] * row[:, None, :]

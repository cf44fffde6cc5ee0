"""Private pricing in NumPy, vectorised over lanes: a reference of the throughput script.

As in `families`: the class contains the market of the row, `Class(arms, lanes, horizon, seed).run(_)` returns the mean
reward.
"""

import numpy as np

from experiments.references.families import numbers


class NumpyPrivatePricing:
    """`jaxprice.policies.private_pricing` with central trust, ten features, logit demand on a grid.

    The sums of the nodes of the tree are stored for each level, so that a release reads one. No matrix is inverted: forward
    elimination, with b and the two blocks of features on the right, gives everything for the index of a price.
    """

    share, chunk = 0.03, 1024
    epsilon, delta, radius, alpha, ridge, shift = 1.0, 1e-6, 2.0, 2.0, 1.0, 1.0

    def __init__(self, arms, lanes, horizon, seed, size=10):
        self.rng, self.lanes, self.horizon, self.half = np.random.Generator(np.random.SFC64(seed)), lanes, horizon, size
        self.p = numbers("GLMDemand", dimension=size, num_prices=arms)
        self.size = d = 2 * size
        self.rows = [slice(i * (d + 1) - i * (i - 1) // 2, (i + 1) * (d + 1) - (i + 1) * i // 2) for i in range(d)]
        packed, levels = self.rows[-1].stop, horizon.bit_length()
        share = np.full((packed, 1), 0.5**0.5, np.float32)
        share[[row.start for row in self.rows]] = 1
        tail = np.log(1 / self.delta)
        root = np.sqrt(tail + self.epsilon) - np.sqrt(tail)
        self.sigma = 8**0.5 * (levels / 2) ** 0.5 / root
        self.spread = np.float32(self.sigma) * share
        self.sums, self.fresh = (np.zeros((packed, lanes), np.float32) for _ in range(2))
        self.nodes = np.zeros((levels + 1, packed, lanes), np.float32)  # sums from each level up; the last stays zero
        self.work = np.empty((d + 3, self.chunk), np.float32)
        self.table = [np.empty((d - i + 3, self.chunk), np.float32) for i in range(d)]

    def index(self, x, noise, h, lanes):
        """The index of each price, `[arms, chunk]`, for features x and released sums with this noise in the given lanes."""
        d, width = self.size, x.shape[1]
        table = [row[:, :width] for row in self.table]
        largest = np.zeros(width, np.float32)
        for i, (row, place) in enumerate(zip(table, self.rows, strict=True)):
            np.add(self.sums[place, lanes], noise[place, lanes], out=row[:-2])
            row[0] += h
            row[-2], row[-1] = (x[i], 0) if i < self.half else (0, x[i - self.half])
            np.maximum(largest, np.abs(row[: d - i]).max(axis=0), out=largest)
        floor = np.float32(self.ridge)
        unit = 1 / np.maximum(largest, floor)
        found = np.zeros((5, width), np.float32)  # products of b with either block, and between the blocks
        for i, row in enumerate(table):
            pivot = np.maximum(row[0], floor)
            others, right = row[1 : d - i], row[-3:]
            if i + 1 < d:
                np.maximum(pivot, np.square(others, out=self.work[: d - i - 1, :width]).max(axis=0) * unit, out=pivot)
            inverse = 1 / pivot
            scaled = right * inverse
            found[:2] += scaled[0] * right[1:]
            found[2:4] += scaled[1] * right[1:]
            found[4] += scaled[2] * right[2]
            for j, factor in enumerate(others * inverse, start=1):
                product = np.multiply(row[j:], factor, out=self.work[: d - i + 3 - j, :width])
                table[i + j] -= product
        level = (self.p.prices / self.p.prices.max())[:, None]
        square = found[2] + level * (2 * found[3] + level * found[4])
        width = np.float32(self.alpha * h**0.5) * np.sqrt(np.maximum(square, np.float32(0)))
        return self.p.prices[:, None] * (found[0] + level * found[1] + width)

    def run(self, _):
        """Play the horizon; returns the mean revenue."""
        p, d, earned = self.p, self.half, 0.0
        v = np.empty((2 * d + 1, self.lanes), np.float32)
        action = np.empty(self.lanes, np.int64)
        noise = self.nodes[-1]
        for t in range(self.horizon):
            x = self.rng.random((d, self.lanes), np.float32)
            x += 1
            x *= np.float32(d**-0.5)
            u = x / (np.float32(2**0.5) * np.maximum(np.sqrt(np.einsum("dl,dl->l", x, x)), np.float32(self.radius)))
            h = np.float32(self.ridge + self.shift * self.sigma * (t.bit_count() * 2 * self.size) ** 0.5)
            for start in range(0, self.lanes, self.chunk):
                lanes = slice(start, min(start + self.chunk, self.lanes))
                action[lanes] = self.index(u[:, lanes], noise, h, lanes).argmax(axis=0)
            price = p.prices[action]
            utility = p.alpha @ x - (p.beta @ x) * price
            sold = (self.rng.random(self.lanes, np.float32) * (1 + np.exp(-utility)) < 1).astype(np.float32)
            earned += float((price * sold).mean())
            v[:d] = u
            np.multiply(u, price / p.prices.max(), out=v[d:-1])
            v[-1] = sold
            for i, row in enumerate(self.rows):
                self.sums[row] += v[i] * v[i:]
            self.rng.standard_normal(dtype=np.float32, out=self.fresh)
            self.fresh *= self.spread
            level, rest = ((t + 1) & -(t + 1)).bit_length() - 1, (t + 1) & t
            above = (rest & -rest).bit_length() - 1 if rest else -1
            noise = np.add(self.nodes[above], self.fresh, out=self.nodes[level])
        return earned

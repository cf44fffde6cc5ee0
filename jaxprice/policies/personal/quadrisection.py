"""Cubes of features that narrow down a price by quarters, and their data, with or without noise.

For the algorithm see `private_quadrisection`.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

PRICES = 5  # number of prices of a cube
LEVELS = 21  # levels of a tree: horizons up to 5 (2^21 - 1)


@struct.dataclass
class Rule:
    """Numbers that are fixed before the first sale, float scalars.

    Attributes:
      unit: revenue that counts as one, money.
      scale: scale of the Laplace noise.
      width: c1; with local trust, k1 / epsilon.
      slack, least: c1' and the larger of c2 (k2) and 1.
    """

    unit: jax.Array
    scale: jax.Array
    width: jax.Array
    slack: jax.Array
    least: jax.Array


@struct.dataclass
class State:
    """State of the policy; `[C]` is 2 with central trust (revenue, buyers) and 1 with local (revenue).

    Attributes:
      time: number of periods played, int scalar.
      rule: noise and margins.
      low, high: ends of each cube's interval, money, float `[J]`.
      rounds: number of periods with each price since the interval changed, int `[5, J]`.
      sums: sums since then, float `[5, C, J]`; with local trust, noisy.
      noise: noise added to them, float `[5, C, J]`; None with local trust or without noise.
      nodes: noise of the last node of each level of the trees, float `[5, LEVELS, C, J]`; None if `noise` is.
      side, features: number of cubes along a feature, and number d of features.
    """

    time: jax.Array
    rule: Rule
    low: jax.Array
    high: jax.Array
    rounds: jax.Array
    sums: jax.Array
    noise: Any
    nodes: Any
    side: int = struct.field(pytree_node=False)
    features: int = struct.field(pytree_node=False)

    def released(self):
        """The noisy sums, float `[5, C, J]`; prices depend on nothing else."""
        return self.sums if self.noise is None else self.sums + self.noise

    def cube(self, shares):
        """The cube of features in [0, 1], `[d]`: int scalar."""
        digits = jnp.clip(jnp.floor(self.side * shares), 0, self.side - 1).astype(jnp.int32)
        return jnp.sum(digits * jnp.asarray(self.side ** np.arange(self.features), jnp.int32), dtype=jnp.int32)

    def price(self, cube):
        """The present price of a cube, float scalar."""
        low, high = self.low[cube], self.high[cube]
        share = (self.time % PRICES).astype(jnp.float32) / (PRICES - 1)
        return jnp.minimum(low + (high - low) * share, high)

    def add(self, one, fresh):
        """The state after a period with sums `one` and Laplace noise `fresh` (None: none), float `[C, J]` each."""
        k = self.time % PRICES
        offered = self.rounds[k] + 1
        state = dataclasses.replace(self, time=self.time + 1, rounds=self.rounds.at[k].set(offered))
        if self.nodes is None:
            one = one if fresh is None else one + fresh
        else:
            nodes = jnp.where(bits(offered & -offered)[:, None], fresh[None], self.nodes[k])
            total = jnp.sum(jnp.where(bits(offered)[:, None], nodes, 0.0), axis=0)
            state = dataclasses.replace(state, nodes=self.nodes.at[k].set(nodes), noise=self.noise.at[k].set(total))
        return dataclasses.replace(state, sums=self.sums.at[k].add(one))

    def cut(self):
        """The state after the tests of all cubes; a cube that passes gets a new interval and forgets its data."""
        released = self.released()
        up, down = (rises(self.rule, *sides) for sides in ((released, self.rounds), (released[::-1], self.rounds[::-1])))
        quarter, over = (self.high - self.low) / (PRICES - 1), up | down
        sums, noise = jax.tree.map(lambda x: jnp.where(over[None, None], 0.0, x), (self.sums, self.noise))
        return dataclasses.replace(
            self,
            low=jnp.where(up, self.low + quarter, self.low),
            high=jnp.where(down & ~up, self.high - quarter, self.high),
            rounds=jnp.where(over[None], 0, self.rounds),
            sums=sums,
            noise=noise,
        )


def bits(count):
    """Which bits of numbers `[J]` are set, the lowest first, bool `[LEVELS, J]`."""
    return (count[None] >> jnp.arange(LEVELS, dtype=jnp.int32)[:, None]) & 1 == 1


def rises(rule, released, rounds):
    """Whether the estimated revenue rises by the margin along the first three prices, bool `[J]`."""
    revenue = released[:3, 0]
    if released.shape[1] == 1:
        periods = jnp.sum(rounds, axis=0, dtype=jnp.int32)
        n = periods.astype(jnp.float32)
        gap = jnp.min(revenue[1:] - revenue[:-1], axis=0)
        return (gap > 15 * rule.width * jnp.sqrt(n)) & (n >= rule.least) & (periods % PRICES == 0)
    buyers = released[:3, 1]
    means, fewest = revenue / jnp.maximum(buyers, 1.0), jnp.min(buyers, axis=0)
    m = jnp.maximum(fewest, 1.0)
    gap = jnp.min(means[1:] - means[:-1], axis=0)
    return (gap > 3 * rule.width / jnp.sqrt(m) + 3 * rule.slack / m) & (fewest >= rule.least)

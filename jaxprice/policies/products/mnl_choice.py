"""The common part of policies that learn multinomial logit choice from assortments: epochs, and the best set.

An epoch offers one set until a customer buys nothing. Let product i have attraction v_i, and buying nothing attraction one.
Then the number of sales of product i in an epoch is geometric with mean v_i, P(k) = (v_i / (1 + v_i))^k / (1 + v_i), for any
other products in the set. So means over epochs are unbiased estimates of v_i.

The best set of at most s products for attractions w maximises R(S) = sum_S r_i w_i / (1 + sum_S w_i). It consists of the s
products with the largest positive w_i (r_i - z), z = max_S R(S) (as in `jaxprice.oracles.logit_pricing.assortment`).
Dinkelbach's iteration z <- R(S(z)), where S(z) is that set for z, increases to it from the revenue of any set, and stops
when z does not increase. From z = 0, `ROUNDS` rounds are enough: among 400,000 random instances with up to 60 products and
attractions from 1e-4 to 1e4, ten took 10 rounds and none more. Ranks come from all pairs of products, n^2 comparisons a
round, without sorting; without a limit on the size there are no ranks at all.

Source: S. Agrawal, V. Avadhanula, V. Goyal, A. Zeevi (2019), "MNL-bandit: a dynamic learning approach to assortment
selection", doi:10.1287/opre.2018.1832; W. Dinkelbach (1967), doi:10.1287/mnsc.13.7.492.
"""

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Num

from jaxprice.policies.parts import rounds, totals
from jaxprice.types import Problem, Subset

ROUNDS = 12


@struct.dataclass
class Shop:
    """The problem of the seller: revenue of each product, float `[n]`, and the largest number of offered products."""

    revenues: jax.Array
    size: int = struct.field(pytree_node=False)

    def best(
        self,
        attractions: Float[Array, " n"],
        offered: Bool[Array, " n"] | None = None,
        wanted: Bool[ArrayLike, ""] = True,
    ) -> Bool[Array, " n"]:
        """The set with the largest expected revenue for these attractions, float `[n]`, nonnegative: bool `[n]`.

        The iteration starts from the set `offered`, by default the empty set. If no set is `wanted`, the start is the
        answer.
        """

        def rising(carry):
            made, _, _, rises = carry
            return rises & (made < ROUNDS)

        def climb(carry, given):
            made, value, _, _ = carry
            shop, attractions = given
            chosen = shop._top(attractions * (shop.revenues - value))
            new = shop._value(attractions, chosen)
            return made + 1, new, chosen, new > value * (1 + 1e-6)

        offered = jnp.zeros(self.revenues.shape, bool) if offered is None else offered
        start = jnp.int32(0), self._value(attractions, offered), offered, jnp.asarray(wanted)
        return rounds.repeat(rising, climb, start, (self, attractions))[2]

    def _value(self, attractions, chosen):
        """Expected revenue of a set."""
        weights = jnp.where(chosen, attractions, 0.0)
        return jnp.sum(weights * self.revenues) / (1 + jnp.sum(weights))

    def _top(self, gains):
        """The `size` largest of the positive gains; ties go to the first."""
        if self.size >= gains.shape[0]:
            return gains > 0
        product = jnp.arange(gains.shape[0])
        first = product[:, None] < product[None]
        beats = (gains[:, None] > gains[None]) | ((gains[:, None] == gains[None]) & first)
        return (gains > 0) & (jnp.sum(beats.astype(jnp.int32), axis=0) < self.size)


@struct.dataclass
class Epochs:
    """The data of the epochs.

    Attributes:
      number: number of the current epoch, from 1, int scalar.
      offered: the set of this epoch, bool `[n]`.
      sold: units sold in it, float `[n]`.
      epochs: number of earlier epochs that offered each product, int `[n]`.
      sums, lost: units sold in them, and rounding errors (`totals`), float `[n]`.
    """

    number: jax.Array
    offered: jax.Array
    sold: jax.Array
    epochs: jax.Array
    sums: jax.Array
    lost: jax.Array

    @property
    def counts(self) -> Float[Array, " n"]:
        """`epochs` as floats."""
        return self.epochs.astype(jnp.float32)

    def after(self, demand: Num[Array, " n"]) -> tuple["Epochs", Bool[Array, ""]]:
        """The epochs after a customer, and whether the current epoch is over; the offered set does not change."""
        sold, over = self.sold + demand, jnp.sum(demand) < 0.5
        epochs = self.epochs + (over & self.offered).astype(jnp.int32)
        sums = totals.plus(self.sums, self.lost, jnp.where(over, sold, 0.0), epochs >= totals.LONG)
        number = self.number + over.astype(jnp.int32)
        return Epochs(number, self.offered, jnp.where(over, 0.0, sold), epochs, *sums), over


def shop(problem: Problem, name: str) -> Shop:
    """The `Shop` of a problem.

    Raises:
      ValueError: the market has no assortments.
    """
    if not isinstance(problem.action_space, Subset):
        raise ValueError(f"{name} chooses sets of products, but this market sets prices")
    return Shop(jnp.asarray(problem.high - problem.cost, jnp.float32), problem.action_space.size)


def no_epochs(shop: Shop, offered: Bool[Array, " n"]) -> Epochs:
    """The first epoch, which offers the set `offered`, bool `[n]`."""
    zeros = jnp.zeros(shop.revenues.shape, jnp.float32)
    return Epochs(jnp.int32(1), offered, zeros, zeros.astype(jnp.int32), zeros, zeros)

"""The interface of a demand curve: mean demand, the best price, random curves of its family, and rules for its numbers."""

import abc
from typing import ClassVar

import jax
import numpy as np

from jaxprice.numerics import maximise

Leaf = jax.Array | np.ndarray | float


class Curve(abc.ABC):
    """Expected demand of one buyer as a function of the price. Leaves are float scalars; any may be vmapped.

    A family provides `mean` and `sample`; without them its constructor raises a `TypeError`.

    Attributes:
      price_range: default lowest and highest price for markets with this curve.
      unit_cost: default unit cost.
    """

    price_range: ClassVar[tuple[float, float]] = (0.1, 1.0)
    unit_cost: ClassVar[float] = 0.0

    @abc.abstractmethod
    def mean(self, price):
        """Expected demand of one buyer at `price` `[...]`, float `[...]`."""

    def optimal_price(self, cost, low, high):
        """Price in `[low, high]` with the largest expected profit, float scalar."""
        return maximise(lambda price: (price - cost) * self.mean(price), low, high)

    @classmethod
    @abc.abstractmethod
    def sample(cls, key):
        """A random curve of this family."""

    def form(self):
        """The structure that `sample` needs, besides the family, to draw curves like this one: a tuple, () for most."""
        return ()

    def rules(self):
        """The conditions on the curves of a batch, NumPy leaves `[M, ...]`: yields like `Environment.rules`.

        If they hold, demand is nonnegative and nonincreasing in the price.
        """
        return iter(())

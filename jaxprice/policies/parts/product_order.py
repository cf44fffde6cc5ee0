"""The common part of policies that sell several related products and learn what these have in common: the order of products.

N products are sold in T periods, t = 0, 1, ..., in one of three orders:

| order | product of period t | market |
|---|---|---|
| "sequence" | one after another; product m starts at t = floor(m T / N) | `NonStationary`, "piecewise" |
| "turns" | t mod N | `NonStationary`, "calendar" |
| "features" | the index of the (first) largest entry of the context; one feature a product | `GLMDemand`, "unit" contexts |

With default paths the named markets follow these orders; inside them `RelatedProducts` draws products of one kind. T is the
horizon of the seller's problem; later periods belong to the last product.
"""

from typing import Any

import jax.numpy as jnp
from flax import struct
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from jaxprice import checks
from jaxprice.types import Problem

ORDERS = ("sequence", "turns", "features")


@struct.dataclass
class Catalogue:
    """The products and their order.

    Attributes:
      horizon: total number of periods, int scalar.
      size: number of products N.
      order: one of `ORDERS`.
    """

    horizon: Int[Array, ""]
    size: int = struct.field(pytree_node=False)
    order: str = struct.field(pytree_node=False)

    def now(self, time: Int[Array, ""], observation: Any = None) -> Int[Array, ""]:
        """The product that is sold after `time` periods, int scalar; the order "features" needs the observation."""
        if self.order == "features":
            return jnp.argmax(jnp.asarray(observation)[-self.size :]).astype(jnp.int32)
        if self.order == "turns":
            return time % self.size
        each, left = self.horizon // self.size, self.horizon % self.size
        later = jnp.arange(1, self.size, dtype=jnp.int32)
        starts = later * each + later * left // self.size  # floor(m T / N), computed without numbers above N^2 or T
        return jnp.sum(time >= starts, dtype=jnp.int32)


def check(products: int, order: str = "sequence", orders: tuple[str, ...] = ORDERS) -> None:
    """Raise if an option is invalid.

    Raises:
      ValueError: no products, or an unknown order.
    """
    checks.positive_int("products", products)
    checks.choice("order", order, orders)


def catalogue(problem: Problem, products: int, order: str, name: str) -> Catalogue:
    """The `Catalogue` of a problem.

    Raises:
      ValueError: the features of buyers do not identify the product.
    """
    if order == "features" and problem.context_size != products:
        raise ValueError(
            f"{name} needs one feature for each of products={products}, but the context has {problem.context_size}"
        )
    return Catalogue(jnp.asarray(problem.horizon, jnp.int32), products, order)


def level(problem: Problem, mean: ArrayLike, name: str) -> Float[Array, " num_prices"]:
    """A prior mean for each price of a grid, float `[num_prices]`.

    Raises:
      ValueError: an array of another length.
    """
    array = jnp.asarray(mean, jnp.float32)
    if array.shape not in ((), (problem.num_prices,)):
        raise ValueError(f"{name} takes one mean or one for each of the {problem.num_prices} prices, got {array.shape}")
    return jnp.broadcast_to(array, (problem.num_prices,))

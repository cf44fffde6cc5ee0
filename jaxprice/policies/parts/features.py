"""Features of a price, for policies that see a context and choose from a price grid.

The seller sees a context x `[d]` (the last entries of the observation). It models the signal of each price p_k (see `arms`)
by a linear form in features z_k of length D. With s_k = p_k / (highest price):

| form | features z_k | coefficients |
|---|---|---|
| "disjoint" | x | a separate vector for each price, `[K, d]` |
| "joint" | (x, s_k x) | one vector `[2 d]`: a demand level and a price sensitivity for each feature |
| "additive" | (x, s_k) | one vector `[d + 1]`: all buyers have the same price sensitivity |

"joint" is linear (or generalised linear) demand with features. "disjoint" allows any dependence on the price, and has more
to learn. The inputs of networks are "additive", or "arms": (x, e_k) with the k-th unit vector. If all actions have the same
price, as the arms of a plain contextual bandit, "joint" and "additive" cannot distinguish them and are refused. A policy
whose default is one of these then uses "disjoint" or "arms". Whether all prices are equal must be known before tracing, as
it is for `WheelBandit` and `LabelledRows` (`Problem.one_price`). No form adds a constant to x: if demand does not vanish
with x, the market has a constant among its features.
"""

import functools
import operator
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Int, Num

from jaxprice import checks
from jaxprice.policies.parts import arms
from jaxprice.types import Problem

FORMS = ("disjoint", "joint", "additive")
INPUTS = ("additive", "arms")  # forms for networks
SHORT = 32  # largest number of terms of an unrolled sum


@struct.dataclass
class Features:
    """Features of the prices of a grid.

    Attributes:
      levels: prices in units of the highest, float `[num_prices]`.
      form: one of `FORMS` or `INPUTS`.
      size: number of entries of a context.
    """

    levels: Float[Array, " num_prices"]
    form: str = struct.field(pytree_node=False)
    size: int = struct.field(pytree_node=False)

    @property
    def disjoint(self) -> bool:
        """Whether each price has its own coefficients."""
        return self.form == "disjoint"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the coefficients: `(K, d)` in the disjoint form, otherwise `(D,)`."""
        if self.disjoint:
            return self.levels.shape[0], self.size
        if self.form == "arms":
            return (self.size + self.levels.shape[0],)
        return (2 * self.size if self.form == "joint" else self.size + 1,)

    def context(self, observation: Num[Array, " n"]) -> Num[Array, " d"]:
        """The context, float `[d]`."""
        return observation[-self.size :]

    def of(self, context: Num[Array, " d"], action: Int[ArrayLike, ""]) -> Num[Array, " D"]:
        """Features of one price, float `[D]`."""
        if self.disjoint:
            return context
        if self.form == "arms":
            return jnp.concatenate([context, jax.nn.one_hot(action, self.levels.shape[0], dtype=jnp.float32)])
        level = self.levels[action]
        return jnp.concatenate([context, level * context if self.form == "joint" else level[None]])

    def apply(self, coefficients: Num[Array, "n ..."], context: Num[Array, " d"]) -> Num[Array, "K ..."]:
        """Sum over i of z_k[i] times entry i of the coefficients of price k: `[K, d, ...]` or `[D, ...]` -> `[K, ...]`."""
        if self.disjoint:
            return contract(context, coefficients, axis=1)
        base, rest = total(context, coefficients[: self.size]), coefficients[self.size :]
        slope = total(context, rest) if self.form == "joint" else rest[0]
        return base[None] + self.levels.reshape((-1,) + (1,) * base.ndim) * slope[None]

    def pick(self, tree: Any, action: Int[ArrayLike, ""]) -> Any:
        """The coefficients of an action, from arrays `[K, ...]` or from arrays for all prices."""
        return jax.tree.map(lambda x: x[action], tree) if self.disjoint else tree

    def put(self, tree: Any, action: Int[ArrayLike, ""], new: Any) -> Any:
        """The arrays with new coefficients for an action."""
        return jax.tree.map(lambda x, y: x.at[action].set(y), tree, new) if self.disjoint else new


def contract(x: Num[Array, " n"], a: Num[Array, "..."], axis: int = 0) -> Num[Array, "..."]:
    """Sum over i of x[i] times slice i of `a` along an axis: `[n]` and `[..., n, ...]` -> `[...]`.

    The sum is unrolled up to `SHORT` terms, so that one kernel reads a large `a` once. For small arrays whose result several
    kernels read, use `total`, which is computed once (`jaxprice.lanes`).
    """
    if x.shape[0] > SHORT:
        return total(x, jnp.moveaxis(a, axis, 0))
    rows = [jax.lax.index_in_dim(a, i, axis, keepdims=False) for i in range(x.shape[0])]
    return functools.reduce(operator.add, [x[i] * row for i, row in enumerate(rows)])


def total(x: Num[Array, " n"], a: Num[Array, " n *rest"]) -> Num[Array, " *rest"]:
    """`contract` along the first axis, of small arrays."""
    return jnp.sum(x.reshape((-1,) + (1,) * (a.ndim - 1)) * a, axis=0)


def squared_norm(a: Num[Array, "*rest n"]) -> Num[Array, " *rest"]:
    """Sum of squares along the last axis, computed like `total`."""
    if a.shape[-1] > SHORT:
        return jnp.sum(a * a, axis=-1)
    return functools.reduce(operator.add, [a[..., i] ** 2 for i in range(a.shape[-1])])


def check(form: str | None, ridge: ArrayLike) -> None:
    """Raise if an option is invalid.

    Raises:
      ValueError: a form that is neither known nor None, or a ridge that is not positive.
    """
    if form is not None:
        checks.choice("form", form, FORMS)
    checks.number("ridge", ridge, low=1e-6)


def describe(problem: Problem, form: str | None, name: str, usual: str = "joint", alike: str = "disjoint") -> Features:
    """The `Features` of a problem.

    Args:
      problem: the problem of the seller.
      form: one of `FORMS` or `INPUTS`; None: `usual`, or `alike` if all actions have the same price.
      name: name of the policy, for error messages.

    Raises:
      ValueError: the problem has no price grid, no context, or several products; or the form cannot distinguish its actions.
    """
    arms.require_grid(problem, name)
    if not problem.context_size:
        raise ValueError(f"{name} needs the features of the buyer (a context), but this market has none")
    prices = jnp.asarray(problem.prices, jnp.float32)
    if prices.ndim != 1:
        raise ValueError(f"{name} sets one price, but in this market an action prices several products")
    if form is None:
        form = alike if problem.one_price else usual
    elif problem.one_price and form in ("joint", "additive"):
        raise ValueError(
            f"{name} with form={form!r} needs prices that differ, but all are equal in this market: use form={alike!r}"
        )
    return Features(prices / jnp.maximum(jnp.max(prices), 1e-30), form, problem.context_size)

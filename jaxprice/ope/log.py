"""Decision logs: what a seller saw, which price it posted with which probability, and what it earned.

A log has one decision a period, in time order, on its last axis `T`. All axes before it, written `[...]`, are independent
logs. A market with state is logged in selling horizons: its logs are `[..., E, T]`, with `E` horizons of `T` periods.

The propensity of a decision is the probability of the logged action given everything that the seller knew; for a price from
an interval it is a density. Every estimator that weights decisions needs it.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array
from jaxtyping import Bool, Float, Int, Num

from jaxprice import checks


@struct.dataclass
class DecisionLog:
    """Logged decisions. Build it with `DecisionLog.of`, which checks it, or with `jaxprice.record`.

    Attributes:
      observation: what the seller saw before each decision, a pytree with leaves `[..., T, *shape]`, or None.
      action: indices of the price grid, int `[..., T]`; or prices from an interval, float `[..., T]`.
      price: posted prices, float `[..., T]`.
      demand: units sold, float `[..., T]`.
      reward: profits, float `[..., T]`.
      propensity: probability of the action, or its density if prices come from an interval, float `[..., T]`.
      probabilities: probabilities of all actions, float `[..., T, num_actions]`, or None if they are not known.
      propensity_se: standard error of a propensity that was counted or estimated, float `[..., T]`; None if it is exact.
      allowed: which actions could be taken (stock, legal prices), bool `[..., T, num_actions]`; None means all.
      time: period of each decision, int or float `[..., T]`, never decreasing.
      product: index of the product, int `[..., T]`; None for one product.
      next_observation: what the seller saw after the sale, as `observation`, or None.
      prices: the price grid, float `[num_actions]`; None if prices come from an interval.
    """

    observation: Any
    action: Num[Array, "... T"]
    price: Float[Array, "... T"]
    demand: Float[Array, "... T"]
    reward: Float[Array, "... T"]
    propensity: Float[Array, "... T"]
    probabilities: Float[Array, "... T num_actions"] | None = None
    propensity_se: Float[Array, "... T"] | None = None
    allowed: Bool[Array, "... T num_actions"] | None = None
    time: Num[Array, "... T"] | None = None
    product: Int[Array, "... T"] | None = None
    next_observation: Any = None
    prices: Float[Array, " num_actions"] | None = None

    @classmethod
    def of(cls, *, action, reward, propensity=None, probabilities=None, prices=None, **columns):
        """A checked log.

        Args:
          action, reward, propensity, probabilities, prices: see the attributes. One of `propensity` and `probabilities` is
            needed; the other follows if the actions are indices.
          **columns: the other attributes. `price` follows from `prices`; `demand` defaults to NaN, `time` to 0, 1, ...

        Raises:
          ValueError: shapes differ, a propensity is not in (0, 1], an action is not on the grid or not allowed, times
            decrease, or a number is not finite. The message names the column and the first row.
        """
        return _checked(
            cls,
            dict(columns, action=action, reward=reward, propensity=propensity, probabilities=probabilities, prices=prices),
        )

    @property
    def discrete(self) -> bool:
        """Whether actions are indices of a grid."""
        return jnp.issubdtype(jnp.result_type(self.action), jnp.integer)

    @property
    def num_actions(self) -> int:
        """Number of actions on the grid, 0 for prices from an interval."""
        for known in (self.probabilities, self.allowed, self.prices):
            if known is not None:
                return known.shape[-1]
        return 0

    @property
    def shape(self) -> tuple[int, ...]:
        """`[..., T]`."""
        return jnp.shape(self.action)

    def __getitem__(self, rows):
        """The logs at `rows` of the leading axes, or the decisions of a single log."""
        per_log = {name: getattr(self, name) for name in _decided if getattr(self, name) is not None}
        return self.replace(**jax.tree.map(lambda x: x[rows], per_log))


_decided = tuple(name for name in DecisionLog.__dataclass_fields__ if name != "prices")


def _checked(cls, columns):
    unknown = sorted(set(columns) - set(cls.__dataclass_fields__))
    if unknown:
        raise ValueError(
            f"DecisionLog has no column {', '.join(unknown)}; allowed are {', '.join(cls.__dataclass_fields__)}"
        )
    given = {name: np.asarray(x) for name, x in columns.items() if x is not None and not name.endswith("observation")}
    action, shape = given["action"], given["action"].shape
    if not shape or not shape[-1]:
        raise ValueError(f"action must be [..., T] with at least one decision, got shape {list(shape)}")
    discrete = action.dtype.kind in "iu"
    if not discrete and action.dtype.kind != "f":
        raise ValueError(f"action must hold indices of the grid (int) or prices (float), got {action.dtype}")
    wide = {"probabilities", "allowed"}
    size = next((given[name].shape[-1] for name in (*sorted(wide), "prices") if name in given and given[name].ndim), None)
    for name, x in given.items():
        wanted = (size,) if name == "prices" else (*shape, size) if name in wide else shape
        if x.shape != wanted:
            raise ValueError(f"{name} must have shape {list(wanted)}, as action has {list(shape)}; got {list(x.shape)}")
        if name != "demand" and x.dtype.kind == "f":
            _refuse(name, x, ~np.isfinite(x), "finite numbers")
    for name in ("observation", "next_observation"):
        for leaf in jax.tree.leaves(columns.get(name)):
            if np.shape(leaf)[: len(shape)] != shape:
                raise ValueError(f"{name} must have leaves [{', '.join(map(str, shape))}, ...], got {list(np.shape(leaf))}")
    if discrete and size is not None:
        _refuse("action", action, (action < 0) | (action >= size), f"an index in [0, {size})")
        if "allowed" in given:
            given["allowed"] = given["allowed"].astype(bool)
            _refuse("action", action, ~_at(given["allowed"], action), "an action that the mask `allowed` permits")
    if "probabilities" in given:
        p = given["probabilities"]
        _refuse("probabilities", p, (p < 0) | (p > 1), "a number in [0, 1]")
        _refuse("probabilities", p.sum(-1), np.abs(p.sum(-1) - 1) > 1e-4, "probabilities with sum 1")
        given.setdefault("propensity", _at(p, action))
    if "propensity" not in given:
        raise ValueError(
            "propensity is missing: give it, or the probabilities of all actions, or see ope.estimated_propensities"
        )
    p = given["propensity"]
    _refuse(
        "propensity", p, ~(p > 0) | (discrete & (p > 1)), "a probability in (0, 1]" if discrete else "a positive density"
    )
    if "price" not in given:
        if discrete and "prices" not in given:
            raise ValueError("price is missing: give the price of each decision, or the grid `prices`")
        given["price"] = given["prices"][action] if discrete else action
    given.setdefault("demand", np.full(shape, np.nan, np.float32))
    given.setdefault("time", np.broadcast_to(np.arange(shape[-1]), shape))
    late = np.concatenate([np.zeros((*shape[:-1], 1), bool), np.diff(given["time"], axis=-1) < 0], axis=-1)
    _refuse("time", given["time"], late, "times that never decrease along the last axis; sort the log")
    seen = {name: jax.tree.map(jnp.asarray, columns.get(name)) for name in ("observation", "next_observation")}
    return cls(**{name: jnp.asarray(x) for name, x in given.items()}, **seen)


def _at(table, action):
    """The entry of each decision's action in `[..., T, num_actions]`."""
    return np.take_along_axis(table, action[..., None], axis=-1)[..., 0]


def _refuse(name, values, bad, wanted):
    """Raise if a row is bad; the message names the first ones."""
    if bad.any():
        rows = np.argwhere(bad)
        first = tuple(rows[0].tolist())
        at, came = ", ".join(map(str, first)), checks.shown(values[first].item())
        raise ValueError(f"{name} must hold {wanted}; {len(rows):,} of {bad.size:,} do not, first at [{at}]: {came}")

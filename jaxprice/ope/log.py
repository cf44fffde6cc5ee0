"""Decision logs: what a seller saw, which price it posted with which probability, and what it earned.

A log has one decision a period, in time order, on its last axis `T`. All axes before it, written `[...]`, are independent
logs. A market with state is logged in selling horizons: its logs are `[..., E, T]`, with `E` horizons of `T` periods.

The propensity of a decision is the probability of the logged action given everything that the seller knew; for a price from
an interval it is a density. Every estimator that weights decisions needs it. Where it is not known, it is NaN in every row,
which no estimate survives; `ope.estimated_propensities` fills it in.
"""

import dataclasses
import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array
from jaxtyping import Bool, Float, Int, Num

from jaxprice import checks, exact_sums
from jaxprice.ope.frame import columns_of


@struct.dataclass
class DecisionLog:
    """Logged decisions. Build it with `DecisionLog.of` or `DecisionLog.from_frame`, which check it, or `jaxprice.record`.

    Attributes:
      observation: what the seller saw before each decision, a pytree with leaves `[..., T, *shape]`, or None.
      action: indices of the price grid, int `[..., T]`; or prices from an interval, float `[..., T]`.
      price: posted prices, float `[..., T]`, or `[..., T, n]` if an action prices n products.
      demand: units sold, as `price`.
      reward: profits, float `[..., T]`.
      propensity: probability of the action, or its density if prices come from an interval, float `[..., T]`.
      probabilities: probabilities of all actions, float `[..., T, num_actions]`, or None if they are not known.
      propensity_se: standard error of a propensity that was counted or estimated, float `[..., T]`; None if it is exact.
      allowed: which actions could be taken (stock, legal prices), bool `[..., T, num_actions]`; None means all.
      time: period of each decision, int or float `[..., T]`, never decreasing.
      product: index of the product, int `[..., T]`; None for one product.
      next_observation: what the seller saw after the sale, as `observation`, or None.
      prices: the price grid, float `[num_actions]` or `[num_actions, n]`; None if prices come from an interval, or if logs
        have different grids.
    """

    observation: Any
    action: Num[Array, "... T"]
    price: Float[Array, "..."]
    demand: Float[Array, "..."]
    reward: Float[Array, "... T"]
    propensity: Float[Array, "... T"]
    probabilities: Float[Array, "... T num_actions"] | None = None
    propensity_se: Float[Array, "... T"] | None = None
    allowed: Bool[Array, "... T num_actions"] | None = None
    time: Num[Array, "... T"] | None = None
    product: Int[Array, "... T"] | None = None
    next_observation: Any = None
    prices: Float[Array, "num_actions ..."] | None = None

    @classmethod
    def of(cls, *, action, reward, propensity=None, probabilities=None, prices=None, **columns):
        """A checked log.

        Args:
          action, reward, propensity, probabilities, prices: see the attributes. One of `propensity` and `probabilities` is
            needed; the other follows if the actions are indices. One number as `propensity` is that of every decision. NaN
            says that propensities are not known.
          **columns: the other attributes. `price` follows from `prices`; `demand` defaults to NaN, `time` to 0, 1, ...

        Raises:
          ValueError: shapes differ, a propensity is not in (0, 1], probabilities do not belong to it or to the mask, an
            action is not on the grid or not allowed, times decrease, or a number is not finite. The message names the
            column, the number of rows and the first one.
        """
        exact_sums.ensure()
        return _checked(
            cls,
            dict(columns, action=action, reward=reward, propensity=propensity, probabilities=probabilities, prices=prices),
        )

    @classmethod
    def from_frame(cls, frame, columns=None, **more):
        """A checked log of the rows of a table: one log, `[T]`.

            log = DecisionLog.from_frame(
                sales,
                columns={"action": "tier", "reward": "profit", "propensity": "p", "observation": ["age", "income"]},
                prices=[0.9, 1.0, 1.1],
            )

        Args:
          frame: a pandas or polars frame, a mapping from names to arrays `[T]`, or a list of mappings, one a decision.
          columns: attribute -> name of its column, or a list of names for `observation`, `next_observation` (float
            `[T, len(names)]`), `probabilities` and `allowed` (one name an action). Attributes that are left out come from
            columns of their own name.
          **more: attributes that are no columns, such as `prices` or one `propensity` for all decisions.

        Returns:
          The log. Dates become days since the first one, and texts (of products) the rank of each in sorted order.

        Raises:
          ValueError: an attribute or column does not exist (the message names the nearest), a number is missing or cannot be
            read, or as in `of`.
        """
        return cls.of(**columns_of(frame, columns, cls.__dataclass_fields__, more))

    @property
    def known(self) -> bool:
        """Whether propensities are known, that is, no row is NaN."""
        return not bool(jnp.any(jnp.isnan(self.propensity)))

    @property
    def discrete(self) -> bool:
        """Whether actions are indices of a grid."""
        return jnp.issubdtype(jnp.result_type(self.action), jnp.integer)

    @property
    def num_actions(self) -> int:
        """Number of actions on the grid, 0 for prices from an interval."""
        for known in (self.probabilities, self.allowed):
            if known is not None:
                return known.shape[-1]
        return 0 if self.prices is None else self.prices.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """`[..., T]`."""
        return jnp.shape(self.action)

    def __repr__(self):
        """The shape, and a digest of all columns, which tells logs apart."""
        if checks.is_traced(self):
            return f"DecisionLog({list(self.shape)}, traced)"
        digest = hashlib.sha256()
        for name, leaf in jax.tree_util.tree_flatten_with_path(self)[0]:
            array = np.ascontiguousarray(leaf)
            digest.update(f"{name}{array.dtype}{array.shape}".encode() + array.tobytes())
        return f"DecisionLog({list(self.shape)}, sha256={digest.hexdigest()[:16]})"

    def __getitem__(self, rows):
        """The logs at `rows` of the leading axes, or the decisions of a single log."""
        per_log = {name: getattr(self, name) for name in _decided if getattr(self, name) is not None}
        return dataclasses.replace(self, **jax.tree.map(lambda x: x[rows], per_log))


_decided = tuple(name for name in DecisionLog.__dataclass_fields__ if name != "prices")


def _checked(cls, columns):
    for name in columns:
        checks.choice("column of a DecisionLog", name, cls.__dataclass_fields__)
    given = {name: np.asarray(x) for name, x in columns.items() if x is not None and not name.endswith("observation")}
    for name in ("action", "reward"):
        if name not in given:
            raise ValueError(f"{name} must be given, got None")
    action, shape = given["action"], given["action"].shape
    if not shape or not shape[-1]:
        raise ValueError(f"action must be [..., T] with at least one decision, got shape {list(shape)}")
    discrete = action.dtype.kind in "iu"
    if not discrete and action.dtype.kind != "f":
        raise ValueError(f"action must hold indices of the grid (int) or prices (float), got {action.dtype}")
    size = _check_shapes(given, columns, shape)
    if discrete and size is not None:
        _refuse("action", action, (action < 0) | (action >= size), f"an index in [0, {size})")
    if discrete and "allowed" in given:
        given["allowed"] = given["allowed"].astype(bool)
        _refuse("action", action, ~_at(given["allowed"], action), "an action that the mask `allowed` permits")
    _check_propensities(given, action, discrete)
    if "price" not in given:
        if discrete and "prices" not in given:
            raise ValueError("price is missing: give the price of each decision, or the grid `prices`")
        given["price"] = given["prices"][action] if discrete else action
    given.setdefault("demand", np.full(given["price"].shape, np.nan, np.float32))
    given.setdefault("time", np.broadcast_to(np.arange(shape[-1], dtype=np.int32), shape))
    late = np.concatenate([np.zeros((*shape[:-1], 1), bool), np.diff(given["time"], axis=-1) < 0], axis=-1)
    _refuse("time", given["time"], late, "times that never decrease along the last axis; sort the log")
    seen = {name: jax.tree.map(jnp.asarray, columns.get(name)) for name in ("observation", "next_observation")}
    return cls(**{name: _array(x) for name, x in given.items()}, **seen)


def _check_shapes(given, columns, shape):
    """Check shapes and finite numbers; return the number of actions, or None."""
    wide = {"probabilities", "allowed"}
    size = next((given[name].shape[-1] for name in sorted(wide) if name in given and given[name].ndim), None)
    if size is None and "prices" in given and given["prices"].ndim:
        size = len(given["prices"])
    if "propensity" in given and given["propensity"].ndim == 0:
        given["propensity"] = np.broadcast_to(given["propensity"], shape)
    for name, x in given.items():
        if x.dtype.kind not in "iufb":
            raise ValueError(f"{name} must hold numbers, got {x.dtype}: {checks.shown(x.ravel()[:1].tolist())}")
        wanted = (size,) if name == "prices" else (*shape, size) if name in wide else shape
        products = name in ("price", "demand", "prices") and x.ndim == len(wanted) + 1
        if x.shape[: len(wanted)] != wanted or x.ndim != len(wanted) + products:
            raise ValueError(f"{name} must have shape {list(wanted)}, as action has {list(shape)}; got {list(x.shape)}")
        unknown = name == "propensity" and np.isnan(x).all()
        if name != "demand" and x.dtype.kind == "f" and not unknown:
            _refuse(name, x, ~np.isfinite(x), "finite numbers")
    for name in ("observation", "next_observation"):
        for leaf in jax.tree.leaves(columns.get(name)):
            if np.shape(leaf)[: len(shape)] != shape:
                raise ValueError(f"{name} must have leaves [{', '.join(map(str, shape))}, ...], got {list(np.shape(leaf))}")
            if (values := np.asarray(leaf)).dtype.kind == "f":
                _refuse(name, values, ~np.isfinite(values), "finite numbers")
    return size


def _check_propensities(given, action, discrete):
    """Check propensities and probabilities, and add the propensities that follow from probabilities."""
    if "probabilities" in given:
        if not discrete:
            raise ValueError("probabilities must be None if prices come from an interval; give the densities as propensity")
        p = given["probabilities"]
        _refuse("probabilities", p, (p < 0) | (p > 1), "a number in [0, 1]")
        _refuse("probabilities", p.sum(-1), np.abs(p.sum(-1) - 1) > 1e-4, "probabilities with sum 1")
        if "allowed" in given:
            _refuse("probabilities", p, ~given["allowed"] & (p > 1e-6), "zero for actions that the mask `allowed` forbids")
        its = _at(p, action)
        apart = np.abs(given.setdefault("propensity", its) - its) > 1e-4
        _refuse("propensity", given["propensity"], apart, "the entry of `probabilities` at the action")
    if "propensity" not in given:
        raise ValueError(
            "propensity is missing: give it, or the probabilities of all actions; or NaN where it is not known, for "
            "ope.estimated_propensities"
        )
    p = given["propensity"]
    wanted = "a probability in (0, 1]" if discrete else "a positive density"
    _refuse("propensity", p, (p <= 0) | (discrete & (p > 1)), wanted)
    if "propensity_se" in given:
        _refuse("propensity_se", given["propensity_se"], given["propensity_se"] < 0, "a standard error of at least 0")


def _array(x):
    """An array in JAX's width; whole numbers that do not fit are refused by NumPy's cast to a wider float."""
    if x.dtype.kind in "iu" and x.dtype.itemsize == 8 and x.size and np.abs(x).max() > checks.LARGEST:
        x = x.astype(float)
    return jnp.asarray(x)


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

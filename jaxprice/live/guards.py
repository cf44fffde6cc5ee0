"""Guard rails at the door: what no price of a session may break, whatever the policy proposes.

| rail | posted prices |
|---|---|
| `low`, `high` | no price outside [low, high] |
| `step` | the price of a product differs from its last one by at most this |
| `stock` | a product whose stock is gone is not quoted; a sale above the stock is refused |
| switch (`Session.halt`) | the fallback price, until `Session.resume` |

The rails of a quote are one band of prices. `step` narrows the band of `low` and `high` around the last price; where the two
do not meet, `step` gives way, because bounds may be law. The switch makes the band one price. On a grid, the price nearest
to the proposal among those in the band is posted, or, if the band has none, among those nearest to the band. On an interval,
the proposal is clipped.

The propensity of a quote is that of the posted price. On a grid it is the sum of the probabilities of all proposals that
lead to it. On an interval, a price that was moved to an end of the band has a positive probability and no density, so its
propensity is NaN; the others keep their density. The policy learns from the posted price, as with `policies.guarded`.
"""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float32, Int, UInt8

from jaxprice import checks
from jaxprice.types import Problem

SWITCH, BOUND, STEP = 1, 2, 3  # why a posted price is not the proposed one; 0 if it is
REASONS = ("", "switch", "bound", "step")


@dataclasses.dataclass(frozen=True)
class Guards:
    """The guard rails of a session.

    Attributes:
      low, high: lowest and highest price; None: those of the problem.
      step: largest change of a product's price from one quote to the next; None: no limit.
      stock: units of every product at the start, one number or `[products]`; None: no limit.

    Raises:
      ValueError: a number is negative or not finite, or `low` is above `high`.
    """

    low: float | None = None
    high: float | None = None
    step: float | None = None
    stock: Any = None

    def __post_init__(self):
        for name in ("low", "high", "step"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, float(checks.number(name, getattr(self, name), low=0, scalar=True)))
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low must be at most high, got low={self.low!r} and high={self.high!r}")
        if self.stock is not None:
            checks.number("stock", self.stock, low=0)
            object.__setattr__(self, "stock", tuple(np.ravel(np.asarray(self.stock, np.float32)).tolist()))

    @property
    def about(self) -> dict:
        """The rails as plain data; the stock counts as the start of the session, so it is told by its numbers."""
        return dataclasses.asdict(self)


class Door:
    """The rails at work, with what they remember of each product.

    Args:
      guards: the rails.
      problem: the problem, whose prices they limit.
      products: number of products.

    Attributes:
      last: last posted price of each product, float `[products]`; NaN before the first.
      stock: units left, float `[products]`; infinity if there is no limit.
      fallback: price that is posted while the switch is on, float `[products]`; NaN while it is off.

    Raises:
      ValueError: no price of the problem is within the bounds, or stock has another length.
    """

    def __init__(self, guards: Guards, problem: Problem, products: int):
        self.guards, self.prices = guards, np.asarray(problem.prices, np.float32)
        bottom, top = float(np.min(problem.low)), float(np.max(problem.high))
        if len(self.prices):
            bottom, top = float(self.prices.min()), float(self.prices.max())
        self.low = np.float32(bottom if guards.low is None else max(guards.low, bottom))
        self.high = np.float32(top if guards.high is None else min(guards.high, top))
        rounding = 1e-6 * top
        inside = (self.prices >= self.low - rounding) & (self.prices <= self.high + rounding)
        if self.low > self.high or (len(self.prices) and not inside.any()):
            raise ValueError(
                f"guards must leave a price, got low={guards.low!r} and high={guards.high!r} where prices are "
                f"{checks.shown(self.prices.tolist()) if len(self.prices) else f'in [{bottom:g}, {top:g}]'}"
            )
        self.last = np.full(products, np.nan, np.float32)
        self.fallback = np.full(products, np.nan, np.float32)
        self.stock = np.full(products, np.inf, np.float32)
        if guards.stock is not None:
            if len(guards.stock) not in (1, products):
                raise ValueError(f"stock must be one number or {products}, one a product, got {len(guards.stock)}")
            self.stock[:] = guards.stock

    def band(self, product: Int[np.ndarray, " count"]) -> Float32[np.ndarray, "count 2"]:
        """Lowest and highest price of a quote for each of some products."""
        out = np.empty((len(product), 2), np.float32)
        out[:, 0], out[:, 1] = self.low, self.high
        if self.guards.step is not None:
            last, step = self.last[product], np.float32(self.guards.step)
            known = ~np.isnan(last)
            ends = np.clip(np.stack([last - step, last + step], axis=1), self.low, self.high)
            out[known] = ends[known]
        fallback = self.fallback[product]
        on = ~np.isnan(fallback)
        if on.any():
            out[on] = fallback[on, None]
        return out

    def reasons(self, product, proposed, price) -> UInt8[np.ndarray, " count"]:
        """Why each posted price differs from the proposed one: `SWITCH`, `BOUND`, `STEP`, or 0 where it does not.

        Args:
          product: products, int `[count]`.
          proposed, price: proposed and posted prices, float `[count]`.
        """
        out = np.zeros(len(product), np.uint8)
        moved = proposed != price
        if moved.any():
            out[moved] = STEP
            out[moved & ((proposed < self.low) | (proposed > self.high))] = BOUND
        out[~np.isnan(self.fallback[product])] = SWITCH
        return out

    def needs_rounds(self) -> bool:
        """Whether the quote of a product depends on its last one, so that quotes of one call must be made in turn."""
        return self.guards.step is not None

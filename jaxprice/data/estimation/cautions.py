"""What a reader of a fitted demand must be told: warnings with the numbers that raise them.

| caution | why |
|---|---|
| few sales at moving prices | purchases alone show the price; between them it is a guess, so slopes shrink to zero |
| demand that rises with the price | a seller who believes it raises its price without end; often the price followed demand |
| purchases and no visits | the model is one of shares among buyers; who left because of a price is not in the data |
| a price outside the data | the curve is not known there; the price is clipped to the range of the fit |
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

SLOW = 2.0  # units a week
MOVING = 0.3  # share of price changes among periods in which the price is seen twice in a row
PURCHASES = 0.95  # share of visits with a purchase of a modelled product, from which on visits are purchases


def few_sales(panel: Any) -> None:
    """Warn about products that sell less than `SLOW` units a week while their price moves fast."""
    if panel.price_seen[panel.valid].all():
        return
    price = np.where(panel.valid & panel.price_seen, panel.price, np.nan)
    both = np.isfinite(price[:, 1:]) & np.isfinite(price[:, :-1])
    moved = both & (np.abs(np.log(np.where(both, price[:, 1:] / np.where(both, price[:, :-1], 1), 1))) > 0.01)
    share = moved.sum((1, 2)) / np.maximum(both.sum((1, 2)), 1)
    weekly = panel.units_per_week
    slow = (weekly < SLOW) & (share > MOVING)
    if slow.any():
        tell(
            f"{int(slow.sum())} of {len(slow)} products sell less than {SLOW:g} units a week (median "
            f"{np.median(weekly[slow]):.2g}) while their price moves in {np.mean(share[slow]):.0%} of periods: between "
            "purchases their price is not seen, and their elasticities are biased toward zero (a planted -2 came out as "
            "about -1 at 0.5 units a week). Pass a price list as `prices`, or leave them out"
        )


def shares_only(panel: Any) -> None:
    """Warn if almost every visit holds a purchase, so that demand is a share of purchases."""
    if panel.buyers_only and panel.share_buying > PURCHASES:
        tell(
            f"{panel.share_buying:.1%} of the visits hold a purchase of one of the {len(panel.products)} products, since no "
            "table of visits was given: the fit shows shares of purchases, not demand, and elasticities are too small. Pass "
            "`visits`"
        )


def rising(products: Sequence[Any], slopes: Float[np.ndarray, " G"]) -> None:
    """Warn about products whose fitted demand does not fall with the price; `slopes` `[G]`."""
    up = slopes >= 0
    if up.any():
        worst = int(np.argmax(slopes))
        tell(
            f"demand rises with the price for {int(up.sum())} of {len(up)} products (largest slope {slopes[worst]:.3g}, "
            f"product {products[worst]!r}): prices probably followed demand. Use instruments or pool the products; "
            "`market` refuses these curves unless allow_rising=True"
        )


def clipped(outside: int, total: int, low: float, high: float) -> None:
    """Warn if prices lie outside the range of the fit and were clipped to it; numbers of prices, and the range reached."""
    if outside:
        tell(
            f"{outside} of {total} prices lie outside those of the fit and were clipped to them (furthest {low:.3g} and "
            f"{high:.3g} times the ends of the range)"
        )


def tell(text: str) -> None:
    """A UserWarning at the caller of the package."""
    warnings.warn(text, UserWarning, stacklevel=4)

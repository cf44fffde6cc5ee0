"""What the page of a server shows: the latest quotes of each product, since the server started."""

import collections
from typing import Any

import numpy as np

KEPT = 400  # quotes of a product


class History:
    """The latest quotes of each product.

    Args:
      truth: expected profit of every action for every product, float `[products, num_prices]`, where the market is a
        simulated one; None: no regret is shown.
      kept: number of quotes that are kept of each product.
    """

    def __init__(self, truth: Any = None, kept: int = KEPT):
        self.kept, self.truth = kept, None if truth is None else np.asarray(truth, float)
        self._rows: dict[int, collections.OrderedDict[int, dict]] = {}
        self._product: dict[int, int] = {}
        self._regret: dict[int, float] = {}

    def quoted(self, quote: Any, reason: str = "") -> None:
        """A quote was made; `reason` says which guard rail moved its price, or is ""."""
        row = {"id": quote.id, "time": quote.time, "price": quote.price, "demand": None, "guard": reason}
        if self.truth is not None:
            its = self.truth[quote.product]
            self._regret[quote.product] = self._regret.get(quote.product, 0.0) + float(its.max() - its[quote.action])
            row["regret"] = self._regret[quote.product]
        rows = self._rows.setdefault(quote.product, collections.OrderedDict())
        rows[quote.id], self._product[quote.id] = row, quote.product
        if len(rows) > self.kept:
            del self._product[rows.popitem(last=False)[0]]

    def sold(self, quote_id: int, demand: float) -> None:
        """A sale became known."""
        product = self._product.get(quote_id)
        if product is not None:
            self._rows[product][quote_id]["demand"] = float(demand)

    def of(self, product: int) -> list[dict]:
        """The rows of a product, the oldest first."""
        return list(self._rows.get(product, {}).values())

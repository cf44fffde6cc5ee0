"""Reports of sales, checked against the open quotes before anything is done."""

from typing import Any

import numpy as np

from jaxprice import checks
from jaxprice.live.ledger import EXPIRED, OPEN, SALE
from jaxprice.live.shelf import Shelf


class Reports:
    """Checks what is reported of the quotes of a `Shelf`."""

    def __init__(self, shelf: Shelf):
        self.shelf, self.cost = shelf, np.float32(shelf.programs.problem.cost)

    def checked(self, ids: np.ndarray, demand: Any, reward: Any) -> tuple[np.ndarray, np.ndarray]:
        """Which reports are news, bool `[count]`, and these as `SALE` rows.

        A report that repeats an earlier one is no news. Of a quote that has left memory (all before the oldest open one may)
        any report counts as a repetition.

        Args:
          ids: numbers of quotes, int64 `[count]`.
          demand, reward: float `[count]`, or None for the reward.

        Raises:
          ValueError: an unknown quote, a demand that is negative, not finite or above the stock, or a quote that was
            reported with other numbers or has run out.
        """
        ledger, count = self.shelf.ledger, len(ids)
        if count == 0:
            return np.zeros(0, bool), np.zeros(0, SALE)
        bad = (ids < 0) | (ids >= ledger.last)
        if bad.any():
            wanted = (
                f"the number of a quote, 0 to {ledger.last - 1}"
                if ledger.last
                else "the number of a quote, but none was made"
            )
            raise ValueError(f"quote_id must be {wanted}, got {int(ids[bad][0])}")
        demand = checks.array("demand", demand, (count,), low=0)
        told = reward is not None
        reward = checks.array("reward", reward, (count,)) if told else np.zeros(count, np.float32)
        here = ids >= ledger.first
        at = np.where(here, ids - ledger.first, 0)
        price = ledger.quotes["price"][at]
        if not told:
            reward = (price - self.cost) * demand
        sales = np.zeros(count, SALE)
        sales["id"], sales["demand"], sales["reward"] = ids, demand, reward
        status = ledger.status[at]
        news = here & (status == OPEN)
        self._compare(sales[here & ~news], status[here & ~news], ledger.sales[at[here & ~news]], told)
        if count > 1:
            _, first = np.unique(ids, return_index=True)
            again = np.ones(count, bool)
            again[first] = False
            again &= news
            if again.any():
                firsts = first[np.searchsorted(ids[first], ids[again])]
                self._compare(sales[again], np.full(int(again.sum()), OPEN), sales[firsts], told)
                news &= ~again
        sales = sales[news]
        self._check_stock(ledger.quotes["product"][at[news]], sales["demand"])
        return news, sales

    def _compare(self, sales, status, before, told):
        """Raise if a report contradicts an earlier one."""
        if not len(sales):
            return
        gone = status == EXPIRED
        if gone.any():
            raise ValueError(f"quote_id {sales['id'][gone][0]} has run out and was learned as no sale")
        other = sales["demand"] != before["demand"]
        if told:
            other |= sales["reward"] != before["reward"]
        if other.any():
            was, now = before[other][0], sales[other][0]
            raise ValueError(
                f"quote_id {now['id']} was reported with demand {was['demand']:g} and reward {was['reward']:g}, got "
                f"{now['demand']:g} and {now['reward']:g}"
            )

    def _check_stock(self, product, demand):
        stock = self.shelf.door.stock
        if not np.isinf(stock[product]).all():
            chosen, index = np.unique(product, return_inverse=True)
            wanted = np.bincount(index, demand.astype(float))
            short = wanted > stock[chosen]
            if short.any():
                one = chosen[short][0]
                raise ValueError(
                    f"demand must be at most the stock of product {one}, {stock[one]:g}, got {wanted[short][0]:g}"
                )


def product_numbers(products: Any, count: int) -> np.ndarray:
    """Indices of products, int32 `[n]`.

    Raises:
      ValueError: they are not integers in [0, count).
    """
    array = np.asarray(products)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(f"products must be integers [count], got {checks.shown(products)}")
    bad = (array < 0) | (array >= count)
    if bad.any():
        raise ValueError(f"products must be in [0, {count - 1}], got {array[bad][0]} at {int(np.argmax(bad))}")
    return array.astype(np.int32)

"""Quotes in memory: those that are still open, and later ones, by their numbers.

The quotes of a session are numbered 0, 1, 2, ... in the order in which they were made. The ledger holds the columns of the
quotes from the oldest open one on, so its memory does not grow if quotes are answered or run out. What came before is in the
journal.
"""

import numpy as np

QUOTE = np.dtype(
    [
        ("product", "<i4"),
        ("number", "<u4"),
        ("time", "<f8"),
        ("action", "<u4"),
        ("proposed", "<u4"),
        ("price", "<f4"),
        ("propensity", "<f4"),
        ("reason", "u1"),
    ]
)
SALE = np.dtype([("id", "<i8"), ("demand", "<f4"), ("reward", "<f4"), ("expired", "u1")])
OPEN, SOLD, EXPIRED = range(3)  # what became of a quote
SMALLEST = 1024


class Ledger:
    """Columns of the quotes `first`, `first + 1`, ..., `last - 1`.

    Args:
      words: length of an observation in words.
      first: number of the first quote.

    Attributes:
      quotes: `QUOTE`, one row a quote.
      seen: what the seller saw before each, uint32 `[quotes, words]`.
      status: `OPEN`, `SOLD` or `EXPIRED`.
      sales: `SALE`, of those that are not open.
    """

    def __init__(self, words: int, first: int = 0):
        self.first = self.last = self.oldest = first
        self.quotes, self.seen = np.zeros(SMALLEST, QUOTE), np.zeros((SMALLEST, words), np.uint32)
        self.status, self.sales = np.zeros(SMALLEST, np.uint8), np.zeros(SMALLEST, SALE)

    @property
    def open(self) -> int:
        """Number of open quotes."""
        return int(np.count_nonzero(self.status[self.oldest - self.first : self.last - self.first] == OPEN))

    def add(self, quotes: np.ndarray, seen: np.ndarray) -> None:
        """Append quotes, all of them open."""
        at, count = self._room(len(quotes)), len(quotes)
        self.quotes[at : at + count], self.seen[at : at + count] = quotes, seen
        self.status[at : at + count] = OPEN
        self.last += count

    def close(self, sales: np.ndarray) -> None:
        """Mark quotes as sold or expired."""
        at = sales["id"] - self.first
        self.status[at] = np.where(sales["expired"], EXPIRED, SOLD)
        self.sales[at] = sales
        here, end = self.oldest - self.first, self.last - self.first
        if here < end and self.status[here] != OPEN:
            still = self.status[here:end] == OPEN
            self.oldest += int(np.argmax(still)) if still.any() else end - here

    def late(self, before: float) -> np.ndarray:
        """Numbers of the open quotes made at or before a time, int64 `[late]`; times never decrease."""
        here, end = self.oldest - self.first, self.last - self.first
        if here >= end or self.quotes["time"][here] > before:
            return np.zeros(0, np.int64)
        end = here + int(np.searchsorted(self.quotes["time"][here:end], before, side="right"))
        return self.first + here + np.flatnonzero(self.status[here:end] == OPEN)

    def _room(self, count):
        """The place of the next quote, after making room for `count` of them."""
        used, gone = self.last - self.first, self.oldest - self.first
        if used + count <= len(self.quotes):
            return used
        size = SMALLEST
        while size < 2 * (used - gone + count):
            size *= 2
        for name in ("quotes", "seen", "status", "sales"):
            old = getattr(self, name)
            new = np.zeros((size, *old.shape[1:]), old.dtype)
            new[: used - gone] = old[gone:used]
            setattr(self, name, new)
        self.first = self.oldest
        return used - gone

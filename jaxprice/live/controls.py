"""What a person does with a session besides selling: the switch, new stock, reading it, closing it."""

from typing import Any

import jax
import numpy as np

from jaxprice import checks
from jaxprice.live import events, logs
from jaxprice.live.sales import product_numbers
from jaxprice.ope.log import DecisionLog
from jaxprice.types import Problem


class Controls:
    """The part of `Session` that quotes nothing and learns nothing."""

    products: int
    about: dict
    _shelf: Any
    _journal: Any
    _lock: Any
    _closed: bool
    _failed: str
    _since: int

    def _now(self) -> float:
        raise NotImplementedError

    def _commit(self, kind, now, data):
        if self._journal is not None:
            self._journal.append(kind, now, data)

    def halt(self, price: float, products: Any = None) -> None:
        """The switch: from now on post the fallback price (on a grid, the nearest), for some products or all.

        Raises:
          ValueError: a bad price, which must be within the prices of the problem, or an unknown product.
        """
        door = self._shelf.door
        price = float(checks.number("price", price, low=door.low, high=door.high, scalar=True))
        self._switch(products, price)

    def resume(self, products: Any = None) -> None:
        """Turn the switch off again, for some products or all."""
        self._switch(products, np.nan)

    def _switch(self, products, price):
        chosen = np.arange(self.products) if products is None else product_numbers(products, self.products)
        with self._lock:
            if not self.about["guarded"]:
                raise ValueError("session has no guards: make it with guards=live.Guards()")
            price = np.full(len(chosen), price, np.float32)
            self._commit("switch", self._now(), events.numbers(chosen, price))
            self._shelf.switched(chosen, price)

    def restock(self, products: Any, units: Any) -> None:
        """Add units, at least 0, to the stock of some products; both `[count]`."""
        chosen = product_numbers(products, self.products)
        units = checks.array("units", units, (len(chosen),), low=0)
        with self._lock:
            self._commit("stock", self._now(), events.numbers(chosen, units))
            self._shelf.stocked(chosen, units)

    def expire(self) -> int:
        """Turn quotes that are older than `timeout` into no sales, as every call does first; returns their number."""
        with self._lock:
            before = self._shelf.counts["expired"]
            self._now()
            return self._shelf.counts["expired"] - before

    def snapshot(self) -> None:
        """Write the state into the journal, so that opening it is quick; the session does so by itself as well."""
        with self._lock:
            self._since = 0
            if self._journal is not None:
                self._journal.save(self._shelf.save())

    def log(self, product: int | None = None) -> DecisionLog:
        """The answered quotes as a `DecisionLog`, see `jaxprice.live.logs`."""
        with self._lock:
            if self._journal is None:
                raise ValueError("session has no journal, so there is nothing to read: make it with a path")
            return logs.decisions(self._journal, self._shelf, self._chosen(product))

    def _chosen(self, product):
        return None if product is None else checks.whole("product", product, 0, self.products - 1)

    @property
    def problem(self) -> Problem:
        """What the seller knows."""
        return self._shelf.programs.problem

    def reason(self, quote_id: int) -> int:
        """Which guard rail moved the price of a quote that is held in memory, an index of `guards.REASONS`."""
        with self._lock:
            ledger = self._shelf.ledger
            return int(
                ledger.quotes["reason"][checks.whole("quote_id", quote_id, ledger.first, ledger.last - 1) - ledger.first]
            )

    def seen(self, product: int) -> Any:
        """What a product showed last, an observation of NumPy arrays."""
        product = checks.whole("product", product, 0, self.products - 1)
        with self._lock:
            rows = self._shelf.programs.seen.trees(self._shelf.seen[product : product + 1])
        return jax.tree.map(lambda x: x[0], rows)

    def warm(self) -> None:
        """Compile the code of single quotes and sales now, so that the first buyer does not wait; nothing changes."""
        with self._lock:
            self._shelf.warm()

    def state(self, product: int) -> Any:
        """The policy's state for a product, NumPy arrays."""
        product = checks.whole("product", product, 0, self.products - 1)
        with self._lock:
            return self._shelf.state(product)

    def about_product(self, product: int) -> dict:
        """What is known of a product: quotes, sales, open quotes, last price, stock, switch; plain data."""
        product = checks.whole("product", product, 0, self.products - 1)
        with self._lock:
            return self._shelf.about(product)

    def metrics(self) -> dict:
        """Numbers of quotes, sales, expired quotes, interventions, refusals and open quotes."""
        with self._lock:
            return {**self._shelf.counts, "open": self._shelf.ledger.open, "products": self.products}

    @property
    def nbytes(self) -> int:
        """Memory of the products and of the quotes that are held, in bytes, without compiled code."""
        return self._shelf.nbytes

    def digest(self) -> str:
        """A digest of every bit of the state and the open quotes (not of times); equal digests, equal sessions."""
        with self._lock:
            return self._shelf.digest()

    def close(self) -> None:
        """Write a snapshot and free the journal; a second call does nothing."""
        with self._lock:
            if not self._closed:
                self._closed = True
                if self._journal is not None:
                    try:
                        if not self._failed:
                            self.snapshot()
                    finally:
                        self._journal.close()

    def __enter__(self):
        """The session."""
        return self

    def __exit__(self, *error):
        """Close it."""
        self.close()

"""The products of a session: all that follows from its journal, and from nothing else.

Only `made`, `sold`, `switched` and `stocked` change it, each by one journalled event. A session calls them when an event has
been committed; a session that is opened again calls them for the events after the last snapshot. Neither the clock nor the
random numbers of a machine enter, so both come to the same bits.
"""

import hashlib
import io
from typing import Any

import jax
import numpy as np

from jaxprice.live import events
from jaxprice.live.guards import Door
from jaxprice.live.journal import Event
from jaxprice.live.ledger import OPEN, QUOTE, Ledger
from jaxprice.live.programs import Programs

COUNTS = ("quotes", "sales", "expired", "interventions", "refused")


class Shelf:
    """States and counters of all products.

    Attributes:
      states: state of each product, uint32 `[products, words]`.
      shared: leaves that all have in common.
      numbers: quotes of each product so far, uint32 `[products]`; learned: sales that it has learned from.
      seen: what each product showed last, uint32 `[products, words of an observation]`.
      counts: name -> number, see `COUNTS`.
    """

    def __init__(self, programs: Programs, door: Door, products: int):
        self.programs, self.door, self.products = programs, door, products
        self.states = np.zeros((0, programs.state.words), np.uint32)
        self.shared: Any = []
        self.numbers, self.learned = np.zeros(products, np.uint32), np.zeros(products, np.uint32)
        first = jax.tree.map(lambda x: np.asarray(x)[None], programs.problem.observation)
        self.seen = np.repeat(programs.seen.rows("problem.observation", first, 1), products, axis=0)
        self.ledger = Ledger(programs.seen.words)
        self.counts, self.time = dict.fromkeys(COUNTS, 0), 0.0

    def start(self) -> None:
        """Let the policy start for every product."""
        self.shared, self.states = self.programs.shared(), np.array(self.programs.start(self.products))

    def warm(self) -> None:
        """Compile the code of one quote and of one sale."""
        programs, row = self.programs, self.states[:1]
        programs.act(self.shared, row, np.zeros((1, 4 + programs.seen.words), np.uint32))
        programs.learn(self.shared, row, np.zeros((1, 6 + 2 * programs.seen.words), np.uint32))

    def answer(self, product: np.ndarray, seen: np.ndarray | None, time: float) -> tuple[np.ndarray, np.ndarray]:
        """The quotes for some products, `QUOTE` `[count]`, and what the seller saw, uint32 `[count, words]`; no change."""
        seen = self.seen[product] if seen is None else seen
        turn = turns(product)
        quotes = np.zeros(len(product), QUOTE)
        quotes["product"], quotes["time"] = product, time
        quotes["number"] = self.numbers[product] + turn
        before = self.door.last
        if self.door.needs_rounds() and turn.any():
            self.door.last = before.copy()
            for k in range(int(turn.max()) + 1):
                now = np.flatnonzero(turn == k)
                quotes[now] = self._answered(quotes[now], seen[now])
                self.door.last[product[now]] = quotes["price"][now]
            self.door.last = before
            return quotes, seen
        return self._answered(quotes, seen), seen

    def _answered(self, quotes, seen):
        """Quotes with their prices."""
        product, programs = quotes["product"], self.programs
        band = self.door.band(product)
        given = np.empty((len(quotes), 4 + programs.seen.words), np.uint32)
        given[:, 0], given[:, 1] = product, quotes["number"]
        given[:, 2:4], given[:, 4:] = band.view(np.uint32), seen
        out = programs.act(self.shared, self.states[product], given)
        quotes["action"], quotes["proposed"] = out[:, 0], out[:, 1]
        floats = np.ascontiguousarray(out[:, 2:]).view(np.float32)
        quotes["price"], quotes["propensity"] = floats[:, 0], floats[:, 1]
        if programs.choices.guarded:
            if programs.grid:
                proposed = programs.prices[out[:, 1].astype(np.int64)]
            else:
                proposed = np.ascontiguousarray(out[:, 1]).view(np.float32)
                proposed = np.clip(proposed, np.float32(programs.problem.low), np.float32(programs.problem.high))
            quotes["reason"] = self.door.reasons(product, proposed, quotes["price"])
        return quotes

    def made(self, quotes: np.ndarray, seen: np.ndarray) -> None:
        """Quotes were made."""
        product = quotes["product"]
        self.ledger.add(quotes, seen)
        self.seen[product], self.door.last[product] = seen, quotes["price"]
        if len(product) == 1:
            self.numbers[product] += 1
        else:
            np.add.at(self.numbers, product, 1)
        self.time = float(quotes["time"][-1])
        self.counts["quotes"] += len(quotes)
        self.counts["interventions"] += int(np.count_nonzero(quotes["reason"]))

    def sold(self, sales: np.ndarray, after: np.ndarray | None) -> None:
        """Quotes were answered, in this order: the policy learns from each."""
        ledger, programs = self.ledger, self.programs
        at = sales["id"] - ledger.first
        quotes, before = ledger.quotes[at], ledger.seen[at]
        product = quotes["product"]
        if after is not None:
            newest = quotes["number"] + np.uint32(1) == self.numbers[product]
            self.seen[product[newest]] = after[newest]
        given = np.empty((len(sales), 6 + 2 * programs.seen.words), np.uint32)
        given[:, 0], given[:, 1], given[:, 2] = product, quotes["number"], quotes["action"]
        for k, column in ((3, quotes["price"]), (4, sales["demand"]), (5, sales["reward"])):
            given[:, k] = np.ascontiguousarray(column).view(np.uint32)
        given[:, 6 : 6 + before.shape[1]] = before
        given[:, 6 + before.shape[1] :] = self.seen[product] if after is None else after
        turn = turns(product)
        for k in range(int(turn.max(initial=0)) + 1):
            now = slice(None) if not turn.any() else np.flatnonzero(turn == k)
            its = product[now]
            self.states[its] = programs.learn(self.shared, self.states[its], given[now])
        ledger.close(sales)
        np.add.at(self.learned, product, 1)
        np.subtract.at(self.door.stock, product, sales["demand"])
        late = int(np.count_nonzero(sales["expired"]))
        self.counts["sales"] += len(sales) - late
        self.counts["expired"] += late

    def switched(self, product: np.ndarray, fallback: np.ndarray) -> None:
        """The switch was turned for some products; NaN turns it off."""
        self.door.fallback[product] = fallback

    def stocked(self, product: np.ndarray, units: np.ndarray) -> None:
        """Units were added to the stock of some products."""
        np.add.at(self.door.stock, product, units)

    def apply(self, event: Event) -> None:
        """Apply a journalled event.

        Raises:
          ValueError: it does not follow from those before.
        """
        words, data = self.programs.seen.words, event.data
        if event.kind == "quotes":
            first, quotes, seen = events.read_quotes(data, words)
            self._fits(event, first == self.ledger.last and bool((quotes["product"] < self.products).all()))
            self.made(quotes, seen)
        elif event.kind == "sales":
            sales, after = events.read_sales(data, words)
            at, ledger = sales["id"], self.ledger
            self._fits(event, bool(((at >= ledger.oldest) & (at < ledger.last)).all()))
            self._fits(event, bool((ledger.status[at - ledger.first] == OPEN).all()))
            self.sold(sales, after)
        elif event.kind in ("switch", "stock"):
            product, numbers = events.read_numbers(data, 1)
            self._fits(event, bool(((product >= 0) & (product < self.products)).all()))
            (self.switched if event.kind == "switch" else self.stocked)(product, numbers)
        elif event.kind == "refused":
            self.counts["refused"] += len(events.read_numbers(data, 0)[0])
        else:
            self._fits(event, False)
        self.time = max(self.time, event.time)

    def _fits(self, event, holds):
        if not holds:
            raise ValueError(f"event {event.number} of the journal ({event.kind}) does not follow from those before it")

    def _arrays(self):
        """All that a snapshot holds, name -> array."""
        ledger, door = self.ledger, self.door
        window = slice(ledger.oldest - ledger.first, ledger.last - ledger.first)
        held = {"states": self.states, "numbers": self.numbers, "learned": self.learned, "seen": self.seen}
        held |= {"last": door.last, "stock": door.stock, "fallback": door.fallback}
        held |= {f"shared_{k}": np.asarray(x) for k, x in enumerate(self.shared)}
        held |= {f"ledger_{name}": getattr(ledger, name)[window] for name in ("quotes", "seen", "status", "sales")}
        return held | {"counts": np.array([*self.counts.values(), ledger.oldest], np.int64), "time": np.float64(self.time)}

    @property
    def nbytes(self) -> int:
        """Memory of all this in bytes, without compiled code."""
        ledger, door = self.ledger, self.door
        held = [self.states, self.numbers, self.learned, self.seen, door.last, door.stock, door.fallback, *self.shared]
        return sum(x.nbytes for x in (*held, ledger.quotes, ledger.seen, ledger.status, ledger.sales))

    def save(self) -> bytes:
        """The snapshot, as NumPy writes arrays."""
        file = io.BytesIO()
        np.savez(file, **self._arrays())
        return file.getvalue()

    def load(self, data: bytes) -> None:
        """Stand where the snapshot stood.

        Raises:
          ValueError: it does not belong to these products.
        """
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            held = dict(file)
        for name in ("numbers", "learned", "seen"):
            if held[name].shape != getattr(self, name).shape:
                raise ValueError(f"the snapshot has {name} of shape {held[name].shape}, wanted {getattr(self, name).shape}")
            setattr(self, name, held[name])
        if held["states"].shape != (self.products, self.programs.state.words):
            raise ValueError(f"the snapshot has states of shape {held['states'].shape}")
        self.states = held["states"]
        for name in ("last", "stock", "fallback"):
            setattr(self.door, name, held[name])
        self.shared = [jax.numpy.asarray(held[f"shared_{k}"]) for k in range(self.programs.own.count(False))]
        *counts, oldest = held["counts"].tolist()
        self.counts, self.time = dict(zip(COUNTS, counts, strict=True)), float(held["time"])
        self.ledger = Ledger(self.programs.seen.words, oldest)
        self.ledger.add(held["ledger_quotes"], held["ledger_seen"])
        if len(closed := held["ledger_sales"][held["ledger_status"] != OPEN]):
            self.ledger.close(closed)

    def state(self, product: int) -> Any:
        """The policy's state for a product, NumPy arrays."""
        mine, common = iter(self.programs.state.trees(self.states[product : product + 1])), iter(self.shared)
        leaves = [next(mine)[0] if flag else np.asarray(next(common)) for flag in self.programs.own]
        return self.programs.structure.unflatten(leaves)

    def about(self, product: int) -> dict:
        """What is known of a product, plain data; None where there is no number."""
        ledger, door = self.ledger, self.door
        window = slice(ledger.oldest - ledger.first, ledger.last - ledger.first)
        waiting = (ledger.quotes["product"][window] == product) & (ledger.status[window] == OPEN)
        numbers = {"last_price": door.last[product], "stock": door.stock[product], "fallback": door.fallback[product]}
        counts = {"product": product, "quotes": int(self.numbers[product]), "learned": int(self.learned[product])}
        return (
            counts
            | {"open": int(waiting.sum())}
            | {name: float(x) if np.isfinite(x) else None for name, x in numbers.items()}
        )

    def digest(self) -> str:
        """A digest of every bit of the products and the open quotes, except for times; text."""
        found = hashlib.sha256()
        for name, array in sorted(self._arrays().items()):
            if name == "time":
                continue
            if name == "ledger_quotes":
                array = array.copy()
                array["time"] = 0
            found.update(f"{name} {array.dtype} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
        return found.hexdigest()


def turns(product: np.ndarray) -> np.ndarray:
    """How often each product came before in the same call, int `[count]`."""
    if len(product) < 2:
        return np.zeros(len(product), np.int64)
    order = np.argsort(product, kind="stable")
    ordered = product[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    place = np.arange(len(product)) - np.repeat(starts, np.diff(np.append(starts, len(product))))
    out = np.empty(len(product), np.int64)
    out[order] = place
    return out

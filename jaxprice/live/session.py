"""A session: it quotes one buyer at a time, learns when sales become known, and loses nothing when it is killed.

    session = live.Session(policies.thompson(), problem, "shop.sqlite", products=1000)
    quote = session.quote(17)                       # quote.price is on paper before it is returned
    session.observe(quote.id, demand=1)             # at once, late, out of order, twice
    session = live.Session.open("shop.sqlite", policies.thompson(), problem)

**What a policy learns from.** A product is a lane and its quote number is the period, so the random numbers of a quote have
the address (seed, product, quote number). If each quote is answered before the next one, a session gives the prices of
`simulate`. If several quotes of a product are open, `act` has used the same state for them, with other random numbers. When
the sale of one of them becomes known, `update` receives the state of that moment, which may have learned from later quotes,
and the transition of that very quote: what the seller saw then, the action and the price that were posted. No policy of this
package hands more than that from `act` to `update`. This is what `policies.delayed` does in the simulator. A policy that
computes in `update` with which probability it chose (Exp3) uses the probability under the later state.

`next_observation` is what the seller sees after the sale. It matters to policies that plan ahead and to trained agents.
Where it is not given, it is what the product showed last.

**Order.** A call checks its arguments, computes, commits one event to the journal, and then changes the state. A call that
fails has changed nothing.
"""

import threading
import time as clocks
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxprice import checks
from jaxprice.live import events, opening
from jaxprice.live.controls import Controls
from jaxprice.live.guards import Guards
from jaxprice.live.journal import JournalError
from jaxprice.live.ledger import SALE
from jaxprice.live.sales import Reports, product_numbers
from jaxprice.types import Policy, Problem


class Quote(NamedTuple):
    """A price for a buyer; of `quote_many`, every attribute is an array `[count]`.

    Attributes:
      id: number of the quote in the session, 0, 1, 2, ...
      product: index of the product.
      price: posted price.
      action: index of the price on the grid, or the price.
      propensity: probability of this price under policy and guard rails, or its density on an interval; NaN if not computed.
      time: when it was made, in seconds as `clock` gives them.
    """

    id: Any
    product: Any
    price: Any
    action: Any
    propensity: Any
    time: Any


class OutOfStock(ValueError):
    """A product without stock was asked for; the refusal is journalled."""


class Session(Controls):
    """A policy at work on many products, with a journal.

    Args:
      policy: a `Policy` for one price of a grid or an interval: of this package, a combinator, a trained agent, or your own.
      problem: what the seller knows, the same for all products, with its first observation (`Problem.with_observation`).
      path: of the journal, a new file; None: no journal, and nothing survives.
      products: number of products N, addressed 0, ..., N - 1.
      seed: of all random numbers.
      guards: rails that no price may break, see `Guards`.
      timeout: seconds after which an unanswered quote counts as no sale; None leaves quotes open for ever, and in
        memory with all later ones.
      sync: how durable a commit is: "full", "normal" or "off", see `jaxprice.live.journal`.
      propensity: whether quotes have their propensity.
      draws: number of draws for the propensity of a policy that has no formula of it; 0 leaves it NaN.
      snapshot_every: sales between two snapshots.
      clock: function that returns the time in seconds. Times of a session never decrease: if the clock goes back, the last
        time counts until it has caught up.

    Raises:
      ValueError: an argument is wrong, or the path exists or cannot be written.
    """

    def __init__(
        self,
        policy: Policy,
        problem: Problem,
        path: Any = None,
        *,
        products: int = 1,
        seed: int = 0,
        guards: Guards | None = None,
        timeout: float | None = None,
        sync: str = "full",
        propensity: bool = True,
        draws: int = 0,
        snapshot_every: int = 50_000,
        clock: Callable[[], float] = clocks.time,
    ):
        made = opening.new(policy, problem, path, products, seed, guards, sync, propensity, draws)
        self._begin(*made, timeout, snapshot_every, clock)

    @classmethod
    def open(cls, path, policy, problem, *, seed=None, timeout=None, sync="full", snapshot_every=50_000, clock=clocks.time):
        """Go on with a journal: the session stands where it stood, bit for bit.

        Args:
          path: the journal.
          policy, problem: those of the journal.
          seed: None, or the seed of the journal, which is compared.
          timeout, sync, snapshot_every, clock: as in the constructor; they may change.

        Raises:
          ValueError: there is no journal, it is damaged or of another version, a policy, problem or seed is another one than
            the journal's, or another session has it open.
        """
        made = opening.old(path, policy, problem, seed, sync)
        session = cls.__new__(cls)
        session._begin(*made, timeout, snapshot_every, clock)
        return session

    def _begin(self, shelf, journal, about, timeout, snapshot_every, clock):
        self._shelf, self._journal, self.about = shelf, journal, about
        self.products, self.seed = about["products"], about["seed"]
        self.timeout = None if timeout is None else float(checks.positive("timeout", timeout))
        self.snapshot_every, self._since, self._clock = checks.positive_int("snapshot_every", snapshot_every), 0, clock
        self._lock, self._closed, self._failed = threading.RLock(), False, ""
        self._reports = Reports(shelf)

    def quote(self, product: int, observation: Any = None) -> Quote:
        """A price for one buyer of a product; it is in the journal before it is returned.

        Args:
          product: index of the product.
          observation: what the seller sees; None: what the product showed last, at first `problem.observation`.

        Raises:
          ValueError: an unknown product, or an observation of another form.
          OutOfStock: there is nothing to sell.
          JournalError: it could not be written, as on a full disk; no quote was made.
        """
        product = checks.whole("product", product, 0, self.products - 1)
        if observation is not None:
            observation = jax.tree.map(lambda x: np.asarray(x)[None], observation)
        first, made = self._quote(np.array([product], np.int32), observation)
        row = made[0]
        action, price = self._action(made["action"])[0].item(), row["price"].item()
        return Quote(first, product, price, action, row["propensity"].item(), row["time"].item())

    def quote_many(self, products: Any, observations: Any = None) -> Quote:
        """Prices for many buyers, committed together.

        Args:
          products: index of each buyer's product, int `[count]`; a product may occur several times.
          observations: what the seller sees, leaves `[count, ...]`, or None as in `quote`.

        Raises:
          ValueError, OutOfStock, JournalError: as in `quote`; then no quote was made.
        """
        first, made = self._quote(product_numbers(products, self.products), observations)
        ids = first + np.arange(len(made), dtype=np.int64)
        action = self._action(made["action"])
        return Quote(ids, made["product"], made["price"], action, made["propensity"], made["time"])

    def _quote(self, products, observations):
        seen = None
        if observations is not None:
            seen = self._shelf.programs.seen.rows("observation", observations, len(products))
        with self._lock:
            now = self._now()
            if not len(products):
                return self._shelf.ledger.last, self._shelf.ledger.quotes[:0]
            gone = self._shelf.door.stock[products] <= 0
            if gone.any():
                self._commit("refused", now, events.numbers(products[gone]))
                self._shelf.counts["refused"] += int(gone.sum())
                raise OutOfStock(f"product {products[gone][0]} has no stock left: session.restock adds units")
            quotes, seen = self._shelf.answer(products, seen, now)
            first = self._shelf.ledger.last
            self._commit("quotes", now, events.quotes(first, quotes, seen))
            self._shelf.made(quotes, seen)
            return first, quotes

    def observe(self, quote_id: int, demand: float, reward: float | None = None, next_observation: Any = None) -> bool:
        """What became of a quote; the policy learns from it.

        Args:
          quote_id: `id` of the quote.
          demand: units sold, at least 0.
          reward: profit; None: (price - cost) * demand.
          next_observation: what the seller sees after the sale; None: what the product showed last.

        Returns:
          True if it is news; False if the same was reported before, and nothing changes.

        Raises:
          ValueError: an unknown quote, an impossible demand, a quote that was reported with other numbers or has run out, or
            an observation of another form.
          JournalError: it could not be written; the policy has not learned.
        """
        quote_id = checks.whole("quote_id", quote_id, 0, 2**63 - 1)
        if next_observation is not None:
            next_observation = jax.tree.map(lambda x: np.asarray(x)[None], next_observation)
        rewards = None if reward is None else [reward]
        return bool(self._observe(np.array([quote_id], np.int64), [demand], rewards, next_observation)[0])

    def observe_many(self, quote_ids: Any, demand: Any, reward: Any = None, next_observation: Any = None) -> np.ndarray:
        """What became of many quotes, committed together; the policy learns in the given order.

        Args:
          quote_ids: int `[count]`.
          demand, reward: float `[count]`; `reward` may be None, as in `observe`.
          next_observation: leaves `[count, ...]`, or None.

        Returns:
          bool `[count]`, as in `observe`.

        Raises:
          ValueError, JournalError: as in `observe`; then nothing was learned.
        """
        ids = np.asarray(quote_ids)
        if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
            raise ValueError(f"quote_ids must be integers [count], got {checks.shown(quote_ids)}")
        return self._observe(ids.astype(np.int64), demand, reward, next_observation)

    def _observe(self, ids, demand, reward, after):
        if after is not None:
            after = self._shelf.programs.seen.rows("next_observation", after, len(ids))
        with self._lock:
            now = self._now()
            news, sales = self._reports.checked(ids, demand, reward)
            if news.any():
                after = None if after is None else after[news]
                self._commit("sales", now, events.sales(sales, after))
                self._learn(sales, after)
            return news

    def _learn(self, sales, after):
        try:
            self._shelf.sold(sales, after)
        except BaseException as error:
            self._failed = f"the policy could not learn ({error}); the journal has the sale, so open it again"
            raise
        self._since += len(sales)
        if self._since >= self.snapshot_every:
            try:
                self.snapshot()
            except JournalError as error:  # the sale itself is in the journal
                warnings.warn(f"no snapshot could be written: {error}", stacklevel=3)

    def _now(self):
        """The time of a call, after what has run out by then has been learned as no sale."""
        if self._closed or self._failed:
            raise ValueError(f"session is closed{': ' + self._failed if self._failed else ''}")
        now = max(float(self._clock()), self._shelf.time)
        if self.timeout is not None and len(late := self._shelf.ledger.late(now - self.timeout)):
            sales = np.zeros(len(late), SALE)
            sales["id"], sales["expired"] = late, 1
            self._commit("sales", now, events.sales(sales, None))
            self._learn(sales, None)
        return now

    def _action(self, words):
        return words.astype(np.int32) if self._shelf.programs.grid else np.ascontiguousarray(words).view(np.float32)

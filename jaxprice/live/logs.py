"""The journal as a `DecisionLog`: what `ope` reads.

A row is an answered quote, in the order in which quotes were made; open quotes are left out, and quotes that ran out count
as answered with no sale. The columns are those of the journal: what the seller saw, the posted price, what was sold, and the
propensity of the posted price, after the guard rails (`jaxprice.live.guards`). `time` is in seconds since the first quote.
If one propensity of the rows is not known, all are NaN, which no estimate survives.
"""

import numpy as np

from jaxprice.live import events
from jaxprice.live.journal import Journal
from jaxprice.live.ledger import QUOTE, SALE
from jaxprice.live.shelf import Shelf
from jaxprice.ope.log import DecisionLog


def decisions(journal: Journal, shelf: Shelf, product: int | None = None) -> DecisionLog:
    """The log of a journal, of all products or one.

    Raises:
      ValueError: no quote was answered, or the journal is damaged.
    """
    words, programs = shelf.programs.seen.words, shelf.programs
    quotes, seen, sales, after = [np.zeros(0, QUOTE)], [np.zeros((0, words), np.uint32)], [np.zeros(0, SALE)], []
    for event in journal.events():
        if event.kind == "quotes":
            _, rows, saw = events.read_quotes(event.data, words)
            quotes.append(rows)
            seen.append(saw)
        elif event.kind == "sales":
            rows, then = events.read_sales(event.data, words)
            sales.append(rows)
            after.append((len(rows), then))
    quotes, seen, sales = np.concatenate(quotes), np.concatenate(seen), np.concatenate(sales)
    known = bool(after) and all(then is not None for _, then in after)
    then = np.concatenate([then for _, then in after]) if known else None
    order = np.argsort(sales["id"], kind="stable")
    sales, then = sales[order], None if then is None else then[order]
    at = sales["id"]
    if product is not None:
        mine = quotes["product"][at] == product
        sales, at, then = sales[mine], at[mine], None if then is None else then[mine]
    if not len(at):
        raise ValueError("session has no answered quote yet, so there is no decision to log")
    rows = quotes[at]
    propensity = np.ascontiguousarray(rows["propensity"])
    if np.isnan(propensity).any() or not (propensity > 0).all():
        propensity = np.full(len(rows), np.nan, np.float32)
    action = rows["action"].astype(np.int32) if programs.grid else np.ascontiguousarray(rows["action"]).view(np.float32)
    return DecisionLog.of(
        observation=programs.seen.trees(seen[at]),
        next_observation=None if then is None else programs.seen.trees(then),
        action=action,
        price=rows["price"].copy(),
        demand=sales["demand"].copy(),
        reward=sales["reward"].copy(),
        propensity=propensity,
        time=rows["time"] - quotes["time"][0],
        product=rows["product"].copy(),
        prices=programs.prices if programs.grid else None,
    )

"""The sales log of a shop that does not exist: its demand is known, and it is as dirty as real logs are.

In week t, n_t visitors meet the price p_it of product i, and buy

    units_it ~ Poisson(n_t exp(a_i + b_i log(p_it / usual_i) + lift * display_it)).

The shop draws its prices at random around the usual ones, and knows with which probabilities. A product on display (one week
in four) is cheap more often than others, as in most shops. A display sells by itself, so the weeks of a low price sell more
than the price explains: whoever compares them with other weeks takes the effect of the display for one of the price.

The log is the one that a till writes. It starts and ends inside of a week, holds rows twice, misses numbers, mixes two
currencies, counts gasoline in thousandths of a gallon, and so on. `DIRT` has the share of each fault.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

RATIOS = np.array([0.8, 0.9, 1.0, 1.1, 1.2])  # of the usual price
PROBABILITIES = np.array([[0.05, 0.15, 0.5, 0.2, 0.1], [0.35, 0.3, 0.2, 0.1, 0.05]])  # without and with a display
DISPLAYED, LIFT, COST_SHARE = 0.25, 0.5, 0.5
FIRST = np.datetime64("2024-01-01")  # a Monday
DIRT = (  # rule that has to find it -> share of the rows
    ("duplicates", 0.004),
    ("unreadable", 0.0005),
    ("missing_product", 0.001),
    ("missing_units", 0.002),
    ("returns", 0.01),
    ("no_units", 0.0005),
    ("no_price", 0.002),
    ("excluded_department", 0.005),
    ("outlier", 0.001),
)
RATE = 1.05  # euros for a franc


@dataclass(frozen=True, eq=False)
class Truth:
    """What made the log.

    Attributes:
      products: identifiers, in the order of the arrays.
      coefficients: (a, b) of each product, `[G, 2]`.
      usual: usual prices, `[G]`.
      lift: effect of a display on the logarithm of demand.
      dirt: rule -> number of rows that it has to find.
    """

    products: tuple[str, ...]
    coefficients: np.ndarray
    usual: np.ndarray
    lift: float
    dirt: dict[str, int]

    def rows(self, products):
        """Positions of some products, int `[n]`."""
        return np.array([self.products.index(product) for product in products])

    def at(self, products, usual):
        """(a, b) of some products `[n, 2]`, where `a` belongs to other usual prices `[n]`."""
        rows = self.rows(products)
        a, b = self.coefficients[rows].T
        return np.stack([a + b * np.log(usual / self.usual[rows]), b], axis=1)


class Planted(NamedTuple):
    """A log: the till's table, visitors a week, and the truth."""

    table: Any
    visitors: Any
    truth: Truth


def shop(products=24, weeks=104, visitors=1000, seed=0):
    """A log of `products` in `weeks`, with about `visitors` a week."""
    import pandas as pd

    random = np.random.default_rng([seed, 18])
    names = tuple(f"P{number:03d}" for number in range(1, products + 1))
    usual = np.round(np.exp(random.normal(1.0, 0.5, products)), 2) + 0.5
    weekly = np.exp(random.normal(np.log(20.0), 0.4, products))
    truth = np.stack([np.log(weekly / visitors), np.minimum(random.normal(-2.2, 0.6, products), -1.1)], axis=1)
    came = np.round(visitors * (1 + 0.1 * np.sin(np.arange(weeks) / 52 * 2 * np.pi)) + random.normal(0, 20, weeks))
    display = random.uniform(size=(products, weeks)) < DISPLAYED
    draw = random.uniform(size=(products, weeks, 1))
    tier = (draw > np.cumsum(PROBABILITIES, axis=1)[display.astype(int)]).sum(-1)
    price = np.round(usual[:, None] * RATIOS[tier], 2)
    mean = came * np.exp(truth[:, :1] + truth[:, 1:] * np.log(price / usual[:, None]) + LIFT * display)
    units = random.poisson(mean)
    g, t = (np.repeat(index.ravel(), units.ravel()) for index in np.indices(units.shape))
    visit = random.integers(0, came[t].astype(int))
    most = int(came.max()) + 1
    rows, count = np.unique((t * most + visit) * products + g, return_counts=True)
    t, visit, g = rows // products // most, rows // products % most, rows % products
    hour = random.integers(8 * 60, 20 * 60, len(t))
    household = np.random.default_rng([seed, 19]).integers(0, 3 * visitors, (weeks, most))
    when = FIRST + t * np.timedelta64(7, "D") + (visit * 7 // came[t].astype(int)) * np.timedelta64(1, "D")
    pieces = {
        "sold_at": when.astype("datetime64[m]") + hour * np.timedelta64(1, "m"),
        "article": np.array(names)[g],
        "customer": household[t, visit],
        "receipt": t * most + visit,
        "department": "GROCERY",
        "quantity": count,
        "amount": np.round(price[g, t] * count, 2),
        "reduction": np.round((np.maximum(usual[g], price[g, t]) - price[g, t]) * count, 2),
        "money": "EUR",
        "display": display[g, t].astype(int),
    }
    table = pd.DataFrame(pieces).sort_values(["sold_at", "receipt", "article"], kind="stable").reset_index(drop=True)
    day = table["sold_at"].to_numpy("datetime64[D]")
    inside = (day >= FIRST + np.timedelta64(2, "D")) & (day < FIRST + np.timedelta64(7 * weeks - 2, "D"))
    table = table[inside].reset_index(drop=True)
    table, dirt = _dirtied(table, random, pd)
    made = Truth(names, truth, usual, LIFT, dirt)
    mondays = FIRST + np.arange(weeks) * np.timedelta64(7, "D")
    return Planted(table, pd.DataFrame({"time": mondays, "visits": came}), made)


def _dirtied(table, random, pd):
    """The table with its faults, all texts as a till writes them; and how many rows have which fault."""
    count = len(table)
    francs = random.uniform(size=count) < 0.01
    for name in ("amount", "reduction"):
        table.loc[francs, name] = table.loc[francs, name] / RATE
    table.loc[francs, "money"] = "CHF"
    table["sold_at"] = table["sold_at"].dt.strftime("%Y-%m-%d %H:%M")
    table["quantity"], table["amount"] = table["quantity"].astype(object), table["amount"].astype(object)
    order, first = random.permutation(np.flatnonzero(~francs)), 0
    dirt, groups = {}, {}
    for rule, share in DIRT:
        dirt[rule] = max(round(share * count), 2)
        groups[rule] = order[first : first + dirt[rule]]
        first += dirt[rule]
    table.loc[groups["unreadable"], "amount"] = "#REF!"
    table.loc[groups["missing_product"], "article"] = ""
    table.loc[groups["missing_units"], "quantity"] = ""
    table.loc[groups["no_units"], "quantity"] = 0
    table.loc[groups["no_price"], "amount"] = 0.0
    outlier = groups["outlier"]
    table.loc[outlier, "amount"] = table.loc[outlier, "amount"] * 10
    for kind, factor in (("returns", -1), ("excluded_department", 1)):
        more = table.loc[groups[kind]].copy()  # the sale stays in the log
        more["receipt"] += 10_000_000
        for name in ("quantity", "amount", "reduction"):
            more[name] = more[name] * factor
        if kind == "excluded_department":
            more = more.assign(article="FUEL-95", department="FUEL", reduction=0.0, display=0)
            gallons = random.integers(4000, 15000, len(more))
            more["quantity"], more["amount"] = gallons, np.round(gallons * 0.0031, 2)
        table = pd.concat([table, more])
    table = pd.concat([table, table.loc[groups["duplicates"]]])
    return table.sort_values("sold_at", kind="stable").reset_index(drop=True), dirt

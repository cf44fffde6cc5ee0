"""From raw files to known numbers: test likelihoods of Ta-Feng and of the Complete Journey, beside those of another program.

The references were measured once with plain NumPy, pandas and SciPy, by other code. They are no published numbers.

**Ta-Feng.** Each of 119,578 visits buys a product or does not. Bernoulli log loss a visit and product, days 0-69, 70-94 and
95-119, for 40 products: of the 400 in most rows, those whose daily median price, carried over days without a sale, has a
standard deviation of its logarithm above .04; of these the first 40 by their codes. The model has an effect of each product
and of each weekday, then a slope in log price of each product too, drawn to a common normal population. Later prices are
clipped to the range of the training part.

**Complete Journey** (educational data, possibly simulated). 2,323 products with at least 100 rows, a standard deviation of
log price above .05, and 26 weeks from the first to the last sale; the reference has 2,320. Poisson demand a visit, product
and fold of households; gain in nats a cell over the mean demand of each product, in the last nine weeks. Display and mailer
are shares of stores, weighted by their baskets of the week. Their effects, too, differ by product.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import xlogy

from jaxprice import data
from jaxprice.data import estimation

DAYS = (70, 95)  # first days of validation and test
WEEKS = ("2017-08-28", "2017-10-30")  # the same for the Complete Journey


class Known(NamedTuple):
    """A number, and that of the reference."""

    name: str
    ours: float
    reference: float


def ta_feng_products(records):
    """The 40 products."""
    daily, _ = _daily(records)
    spread = np.log(daily).std(axis=1)
    return sorted(spread.index[spread > 0.04])[:40]


def ta_feng(records):
    """The six log losses, and the median slope."""
    daily, day = _daily(records)
    products = ta_feng_products(records)
    visits = np.bincount(_days(records.visits["time"], day), minlength=daily.shape[1]).astype(float)
    sales = records.sales[records.sales["product"].isin(products)]
    once = sales.drop_duplicates(["basket", "product"])
    buyers = np.zeros((len(products), len(visits)))
    place = {name: k for k, name in enumerate(products)}
    np.add.at(buyers, (once["product"].map(place).to_numpy(int), _days(once["time"], day)), 1.0)
    x = np.log(daily.loc[products].to_numpy())
    days = np.arange(len(visits))
    train = days < DAYS[0]
    x = x - np.median(x[:, train], axis=1, keepdims=True)
    x = np.clip(x, x[:, train].min(1, keepdims=True), x[:, train].max(1, keepdims=True))
    weekday = np.broadcast_to(np.eye(7)[days % 7][:, 1:], (*x.shape, 6))
    parts = train, (days >= DAYS[0]) & (days < DAYS[1]), days >= DAYS[1]
    references = (0.02952, 0.03703, 0.03595), (0.02909, 0.03689, 0.03500)
    rows = []
    for name, own, known in zip(
        ("product + weekday", "+ log price per product"),
        (np.ones((*x.shape, 1)), np.stack([np.ones_like(x), x], -1)),
        references,
        strict=True,
    ):
        use = train & (visits > 0)
        came = np.broadcast_to(visits, x.shape)[:, use]
        never = np.zeros(came.shape, bool)
        cells = estimation.Cells(own[:, use], weekday[:, use], buyers[:, use], came, never, np.ones(came.shape))
        fit = estimation.fit_pooled(cells, family="bernoulli", link="logit")
        eta = np.einsum("gtq,gq->gt", own, fit.coefficients) + weekday @ fit.shared
        loss = buyers * np.logaddexp(0, -eta) + (visits - buyers) * np.logaddexp(0, eta)
        for part, inside, reference in zip(("train", "validation", "test"), parts, known, strict=True):
            rows.append(Known(f"log loss, {name}, {part}", loss[:, inside].sum() / visits[inside].sum() / len(x), reference))
    return [*rows, Known("median slope in log price", float(np.median(fit.coefficients[:, 1])), -3.6)]


def _daily(records):
    """Daily median price of the 400 products in most rows, carried over days without a sale; and the first day."""
    day = records.sales["time"].min().normalize()
    top = records.sales["product"].value_counts().index[:400]
    sales = records.sales[records.sales["product"].isin(top)]
    sales = sales.assign(product=sales["product"].astype(str), day=_days(sales["time"], day))
    daily = sales.groupby(["product", "day"])["posted_price"].median().unstack()
    last = int(_days(records.sales["time"], day).max())
    return daily.reindex(columns=range(last + 1)).ffill(axis=1).bfill(axis=1), day


def _days(times, first):
    return (times - first).dt.days.to_numpy()


def journey_products(records):
    """The products of the Complete Journey, in the order of their numbers."""
    whole = records.sales[~records.sales["partial_week"]]
    by = whole.assign(log=np.log(whole["posted_price"])).groupby("product")
    weeks = (by["week"].max() - by["week"].min()).dt.days // 7 + 1
    rows, spread = by.size(), by["log"].std()
    return sorted(rows.index[(rows >= 100) & (spread > 0.05) & (weeks >= 26)])


def journey_promotions(records, products, path=None):
    """In which share of the visits a product was on display, or in the mailer, by product and week.

    Returns:
      A frame with `product`, `time` (the Monday of the week), `display` and `mailer`. A store counts by its baskets of the
      week.
    """
    table = data.loaders.complete_journey_promotions(products, path)
    visits = records.visits
    week = visits["time"].dt.to_period("W-SUN").dt.start_time.astype(table["week"].dtype)
    came = visits.groupby([week.rename("week"), "store"]).size()
    weight = (came / came.groupby("week").transform("sum")).rename("weight")
    table = table.join(weight, on=["week", "store"], how="inner")
    for name in ("display", "mailer"):
        table[name] = table[name] * table["weight"]
    table = table.groupby(["product", "week"], as_index=False)[["display", "mailer"]].sum()
    return table.rename(columns={"week": "time"})


def complete_journey(panel):
    """Elasticities and gains, with the price alone, and with display and mailer."""
    past, later = panel.between(None, WEEKS[1]), panel.between(WEEKS[1], None)
    price = np.where(past.valid, past.price, np.nan)
    usual, low, high = (how(price, axis=(1, 2))[:, None, None] for how in (np.nanmedian, np.nanmin, np.nanmax))
    sold, came = (np.where(past.valid, x, 0.0).sum((1, 2)) for x in (past.units, past.visits))
    rows = []
    for name, promoted, known in (
        ("price", False, (-2.02, 1.29, 0.161)),
        ("price, display and mailer", True, (-1.20, 0.84, 0.228)),
    ):

        def own(part, promoted=promoted):
            price = np.clip(np.where(part.valid, part.price, usual), low, high)
            x = np.log(price / usual)
            columns = [np.ones_like(x), x, *(np.moveaxis(part.promotion, -1, 0) if promoted else ())]
            return np.stack(columns, -1)

        fit = estimation.fit_pooled(_flat(past, own(past)))
        mean = later.visits * np.exp(np.einsum("gtfq,gq->gtf", own(later), fit.coefficients))
        plain = (sold / came)[:, None, None] * later.visits
        gain = np.mean((xlogy(later.units, mean / plain) - mean + plain)[later.valid])
        ours = fit.mean[1], np.sqrt(fit.population[1, 1]), gain
        texts = "population elasticity", "its standard deviation over products", "test gain, nats a cell"
        rows += [Known(f"{name}: {text}", float(x), at) for text, x, at in zip(texts, ours, known, strict=True)]
    return rows


def _flat(panel, own):
    """Cells of all products, `[G, T * F]`."""
    shape = len(own), -1
    valid = panel.valid
    units, visits = np.where(valid, panel.units, 0.0), np.where(valid, panel.visits, 1.0)
    rows = [x.reshape(shape) for x in (units, visits, np.zeros(valid.shape, bool), valid.astype(float))]
    own = own.reshape(*shape, own.shape[-1])
    return estimation.Cells(own, np.zeros((*own.shape[:2], 0)), *rows)

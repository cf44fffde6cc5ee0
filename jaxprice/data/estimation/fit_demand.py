"""Demand of the products of a panel, with its uncertainty: from a `Panel` to a `DemandFit` to a market.

    y ~ family(visits, D),    link(D) = a_i + b_i h(p / usual_i) + promotion' beta (+ gamma v),

where `usual_i` is the median price of product i, and h(r) = log r (price="log") or r - 1 (price="level"). With link "log"
and price "log", b is the elasticity. All four combinations have slope b in the logarithm (or the log odds) of demand per
relative change of price, at the usual price. `a_i` and `b_i` are pooled (`jaxprice.data.estimation.pooling`) or fitted
product by product. With instruments, `v` is the residual of h on them (`jaxprice.data.estimation.instruments`), and demand
is that at v = 0; the standard errors then take v as known, so they are somewhat too small. Periods that sold out count with
their survival probability.

Sources: those of the estimators. The panel model is that of A. C. Cameron, P. K. Trivedi (2013), chapter 9.
"""

import numpy as np

from jaxprice import checks
from jaxprice.data.estimation import cautions, likelihoods
from jaxprice.data.estimation.demand_fit import DemandFit, relative
from jaxprice.data.estimation.glm import fit_glm
from jaxprice.data.estimation.instruments import price_residual
from jaxprice.data.estimation.panel import Panel
from jaxprice.data.estimation.pooling import Cells, fit_pooled

FORMS = ("log", "level")
EFFECTS = ("pooled", "separate")


def fit_demand(
    panel: Panel,
    *,
    family: str = "poisson",
    link: str = "log",
    price: str = "log",
    effects: str | None = None,
    promotions: bool = True,
    instruments: bool = True,
    stock_outs: bool = True,
    nodes: int = 1,
) -> DemandFit:
    """Fits the demand of every product of a panel.

    Args:
        panel: the training part of the data.
        family: "bernoulli" (each visit buys one unit or none), "poisson" or "negative_binomial".
        link: "log" or "logit".
        price: "log" or "level".
        effects: "pooled" or "separate"; by default pooled from ten products on, since a population of few
            is hardly known.
        promotions: whether the promotions of the panel are in the model. Without them the slope is that of price and
            promotion together, which is what a seller sees who always advertises its low prices.
        instruments: whether the instruments of the panel, if it has any, are used.
        stock_outs: whether sold-out periods count as lower bounds; false takes their sales as demand, which is biased.
        nodes: quadrature points of the pooled fit.

    Returns:
        The fit.

    Raises:
        ValueError: an unknown option, no usable product, or an estimator that finds no maximum.
    """
    checks.choice("family", family, likelihoods.FAMILIES)
    checks.choice("link", link, likelihoods.LINKS)
    checks.choice("price", price, FORMS)
    effects = ("pooled" if len(panel.products) >= 10 else "separate") if effects is None else effects
    pooled = checks.choice("effects", effects, EFFECTS) == "pooled"
    cautions.few_sales(panel)
    cautions.shares_only(panel)
    valid = panel.valid
    prices = np.where(valid, panel.price, np.nan)
    sold = np.where(valid, panel.units, 0).sum((1, 2)) > 0
    if not sold.any():
        raise ValueError(f"panel: nothing was sold in the valid cells of {len(panel.products)} products")
    usual = np.array([np.nanmedian(p) if s else 1.0 for p, s in zip(prices, sold, strict=True)])
    ends = np.array([(np.nanmin(p), np.nanmax(p)) if s else (1.0, 1.0) for p, s in zip(prices, sold, strict=True)])
    moves = sold & (ends[:, 1] > ends[:, 0] * (1 + 1e-9))
    kept = np.flatnonzero(sold if pooled else moves)
    if len(kept) < len(sold):
        lost = [panel.products[i] for i in np.setdiff1d(np.arange(len(sold)), kept)]
        cautions.tell(f"{len(lost)} of {len(sold)} products are left out, without sales or price changes: {lost[:5]}")
    if not len(kept) or not moves.any():
        raise ValueError(f"panel: none of {len(panel.products)} products has sales at two prices, so no slope can be fitted")
    names = panel.promotions if promotions else ()
    cells = _cells(panel, kept, usual, price, names, stock_outs and family != "bernoulli")
    if instruments and panel.instruments:
        names, cells = (*names, "price residual"), price_residual(cells, panel, kept)
    fit = _pooled(cells, family, link, nodes) if pooled else _separate(cells, names, family, link, panel.products, kept)
    on = np.maximum(panel.on_sale[kept].sum(1), 1)
    visits = np.where(panel.on_sale[kept], panel.visits[kept].sum(2), 0).sum(1) / on
    kept_products = tuple(panel.products[i] for i in kept[fit.pop("rows")])
    rows = np.array([panel.products.index(p) for p in kept_products])
    keep = np.isin(kept, rows)
    cautions.rising(kept_products, fit["coefficients"][:, 1])
    if "price residual" in names:  # demand is that at a residual of zero
        names = names[:-1]
        fit["effects"], fit["effect_errors"] = fit["effects"][:, :-1], fit["effect_errors"][:, :-1]
    return DemandFit(
        products=kept_products,
        family=family,
        link=link,
        price=price,
        pooled=pooled,
        usual=usual[rows],
        price_range=ends[rows],
        visits=visits[keep],
        promotions=tuple(names),
        period_days=panel.period_days,
        **fit,
    )


def _cells(panel, kept, usual, form, names, stock_outs):
    """The panel's cells by product, `[G, T * F, ...]`, padded with weight 0 where they are not valid."""
    shape = (len(kept), -1)
    valid = panel.valid[kept]
    price = np.where(valid, panel.price[kept], usual[kept][:, None, None])
    x = relative(price / usual[kept][:, None, None], form).reshape(shape)
    order = [panel.promotions.index(name) for name in names]
    out = np.broadcast_to(panel.stock_out[kept][:, :, None], valid.shape) & stock_outs
    return Cells(
        own=np.stack([np.ones_like(x), x], -1),
        shared=np.where(valid[..., None], panel.promotion[kept][..., order], 0.0).reshape(*x.shape, len(order)),
        units=np.where(valid, panel.units[kept], 0.0).reshape(shape),
        visits=np.where(valid, panel.visits[kept], 1.0).reshape(shape),
        censored=(out & valid).reshape(shape),
        weights=valid.reshape(shape).astype(float),
    )


def _pooled(cells, family, link, nodes):
    """Fields of a `DemandFit` from the pooled estimator."""
    fit = fit_pooled(cells, family=family, link=link, nodes=nodes)
    count = len(fit.coefficients)
    return {
        "rows": np.arange(count),
        "coefficients": fit.coefficients,
        "covariance": fit.covariance,
        "mean": fit.mean,
        "population": fit.population,
        "mean_covariance": fit.mean_covariance,
        "effects": np.broadcast_to(fit.shared, (count, len(fit.shared))),
        "effect_errors": np.broadcast_to(np.sqrt(np.diag(fit.shared_covariance)), (count, len(fit.shared))),
        "dispersion": np.full(count, fit.dispersion),
        "log_likelihood": fit.log_likelihood,
        "observations": fit.observations,
    }


def _separate(cells, names, family, link, products, kept):
    """Fields of a `DemandFit` from one fit a product; those without a maximum are left out, with a warning."""
    fits, rows, failed = [], [], []
    for i in range(len(kept)):
        design = np.concatenate([cells.own[i], cells.shared[i]], axis=1)
        used = np.ptp(design[cells.weights[i] > 0], axis=0) > 0
        used[0] = True
        titles = [name for name, u in zip(("constant", "price", *names), used, strict=True) if u]
        data = {"visits": cells.visits[i], "censored": cells.censored[i], "weights": cells.weights[i]}
        try:
            fit = fit_glm(design[:, used], cells.units[i], titles, family=family, link=link, **data)
        except ValueError as error:
            failed.append((products[kept[i]], error))
            continue
        full = np.zeros(design.shape[1]), np.zeros((design.shape[1],) * 2)
        at = np.flatnonzero(used)
        full[0][at], full[1][np.ix_(at, at)] = fit.coefficients[: len(at)], fit.covariance[: len(at), : len(at)]
        fits.append((*full, fit))
        rows.append(i)
    if not fits:
        raise ValueError(f"panel: no product could be fitted; the first, {failed[0][0]!r}: {failed[0][1]}")
    if failed:
        cautions.tell(
            f"{len(failed)} of {len(kept)} products are left out, whose likelihood has no maximum, such as {failed[0][0]!r} "
            f"({failed[0][1]})"
        )
    points, spreads = np.stack([f[0] for f in fits]), np.stack([f[1] for f in fits])
    own, spread = points[:, :2], spreads[:, :2, :2]
    count = len(own)
    mean, between = moments(own, spread)
    return {
        "rows": np.array(rows),
        "coefficients": own,
        "covariance": spread,
        "mean": mean,
        "population": between,
        "mean_covariance": (between + spread.mean(0)) / count,
        "effects": points[:, 2:],
        "effect_errors": np.sqrt(np.stack([np.diag(s)[2:] for s in spreads]).reshape(count, -1)),
        "dispersion": np.array([f[2].dispersion for f in fits]),
        "log_likelihood": float(sum(f[2].log_likelihood for f in fits)),
        "observations": int(sum(f[2].observations for f in fits)),
    }


def moments(estimates, covariances):
    """Mean `[q]` and between-product covariance `[q, q]` of estimates with errors: theirs, less the mean error."""
    mean = estimates.mean(0)
    if len(estimates) < 2:
        return mean, covariances.mean(0)
    values, vectors = np.linalg.eigh(np.cov(estimates.T) - covariances.mean(0))
    return mean, (vectors * np.maximum(values, 1e-6)) @ vectors.T

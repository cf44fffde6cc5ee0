"""What other price rules would have earned in the periods after the training part, from the shop's own decisions.

A decision is a product in a period. Its action is the tier of its price, the nearest of `TIERS` relative to the usual price;
its reward the profit of the period in percent of the product's mean revenue a period in the training part, so that products
count alike. What the shop saw before it chose the price is the promotion of the period and the tier of the last one. The
reward model of the doubly robust estimates is the demand that was fitted to earlier periods, so no decision is predicted by
a fit that saw it.

Where the shop drew its prices with known probabilities, these are the propensities. Elsewhere they are estimated by
`ope.estimated_propensities` from the promotion, the last tier, and the shares of the tiers in the product's training part.
They hold only if nothing else moved price and demand together, which no log can show.

Standard errors sum influences over the products of a period, since these share its luck.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from experiments.from_logs import planted
from jaxprice import ope

TIERS = planted.RATIOS
FEW = 50  # effective decisions below which an interval is not to be trusted
DRAWS = 200  # of (a, b) of all products, for the error of the model
ESTIMATED = ", propensities estimated"


class Decisions(NamedTuple):
    """Decisions in order of time, `[N]`, and what belongs to them.

    Attributes:
      log: the `ope.DecisionLog`; its propensities are those that are known, else those estimated.
      estimated: the same log with estimated propensities.
      model: predicted profit of each tier, `[N, K]`.
      draws: the same for drawn (a, b), `[DRAWS, N, K]`.
      product, period: positions in the fit and in the panel, int `[N]`.
      true: expected profit of each tier, `[N, K]`, or None.
    """

    log: ope.DecisionLog
    estimated: ope.DecisionLog
    model: np.ndarray
    draws: np.ndarray
    product: np.ndarray
    period: np.ndarray
    true: np.ndarray | None


class Value(NamedTuple):
    """Mean reward of a rule: estimate, standard error, effective number of decisions, and the truth."""

    rule: str
    estimator: str
    value: float
    se: float
    effective: float
    truth: float


def decisions(panel, fit, start, costs, usual=None, truth=None, known=None, seed=0):
    """The decisions of the periods from `start` on.

    Args:
      panel: of all periods.
      fit: demand, fitted to periods before `start`.
      start: first period.
      costs: product -> cost.
      usual: product -> price that tiers are relative to; by default the median price of the fit.
      truth: a `planted.Truth`, or None.
      known: probabilities of the tiers without and with a promotion, `[2, K]`, or None.
      seed: of the draws.

    Raises:
      ValueError: there is no decision.
    """
    rows = np.array([panel.products.index(product) for product in fit.products])
    price = np.where(panel.price_seen, panel.price, np.nan)[rows]
    seen = np.isfinite(price).any(2) & panel.on_sale[rows] & (panel.visits[rows].sum(2) > 0)
    price = np.nanmedian(np.where(seen[..., None], price, 1.0), axis=2)
    base = fit.usual if usual is None else np.array([usual[name] for name in fit.products])
    tier = np.abs(np.log(price / base[:, None])[..., None] - np.log(TIERS)).argmin(2)
    promoted = panel.promotion[rows].mean(2)  # [G, T, P]
    last = np.concatenate([tier[:, :1], tier[:, :-1]], axis=1)
    use = seen & (panel.periods >= start)
    period, product = np.nonzero(use.T)  # in order of time
    if not len(period):
        raise ValueError(f"panel has no decision from {start} on")
    at = product, period
    cost = np.array([costs[name] for name in fit.products])
    past = np.where(panel.valid & (panel.periods < start)[:, None], panel.units * panel.price, 0.0)[rows].sum((1, 2))
    unit = 100 / (past / (panel.on_sale[rows] & (panel.periods < start)).sum(1))  # percent of the revenue of a period
    units, visits = panel.units[rows].sum(2)[at], panel.visits[rows].sum(2)[at]
    shift = _shift(fit, panel, promoted)[at]
    random = np.random.default_rng([seed, 7])
    drawn = np.stack(
        [random.multivariate_normal(c, v, DRAWS) for c, v in zip(fit.coefficients, fit.covariance, strict=True)], axis=1
    )
    every = np.concatenate([fit.coefficients[None], drawn])  # [1 + DRAWS, G, 2]
    offered = base[:, None] * TIERS  # [G, K]
    inside = np.clip(offered, *fit.price_range.T[..., None])  # demand is not known beyond
    x, margin = np.log(inside / fit.usual[:, None]), (offered - cost[:, None]) * unit[:, None]
    model = visits[:, None] * _profits(every, x, margin)[:, product] * np.exp(shift)[:, None]
    true = None
    if truth is not None:
        numbers = truth.at(fit.products, fit.usual)[None]
        lift = truth.lift * promoted[at][:, 0]
        x = np.log(offered / fit.usual[:, None])
        true = visits[:, None] * _profits(numbers, x, margin)[0][product] * np.exp(lift)[:, None]
    shown = (promoted > 0.5).any(2).astype(int) if promoted.shape[2] else np.zeros(tier.shape, int)
    before = seen & (panel.periods < start)
    shares = ((tier[..., None] == np.arange(len(TIERS))) & before[..., None]).sum(1) / np.maximum(before.sum(1), 1)[:, None]
    knew = np.concatenate([shown[at][:, None], np.eye(len(TIERS))[last[at]], shares[product]], axis=1)
    log = ope.DecisionLog.of(
        action=tier[at].astype(np.int32),
        price=price[at].astype(np.float32),
        demand=units.astype(np.float32),
        reward=(units * (price[at] - cost[product]) * unit[product]).astype(np.float32),
        propensity=math.nan if known is None else None,
        probabilities=None if known is None else known[shown[at]].astype(np.float32),
        time=period.astype(np.int32),
        product=product.astype(np.int32),
        observation=knew.astype(np.float32),
        prices=TIERS.astype(np.float32),
    )
    estimated = ope.estimated_propensities(log)
    return Decisions(estimated if known is None else log, estimated, model[0], model[1:], product, period, true)


def _profits(numbers, x, margin):
    """Expected profit of a visit, `[n, G, K]`, of (a, b) `[n, G, 2]` at logarithms x of relative prices `[G, K]`."""
    return np.exp(numbers[..., :1] + numbers[..., 1:] * x) * margin


def _shift(fit, panel, promoted):
    """Effect of promotions on the logarithm of demand, `[G, T]`."""
    order = [panel.promotions.index(name) for name in fit.promotions]
    return np.einsum("gtp,gp->gt", promoted[..., order], fit.effects)


def rules(made):
    """Name -> tier of each decision, int `[N]`: fixed tiers, and the tier that the fit thinks best for each product."""
    count = len(made.product)
    found = {
        "usual price" if ratio == 1 else f"{100 * (ratio - 1):+.0f} %": np.full(count, k) for k, ratio in enumerate(TIERS)
    }
    mean = np.zeros((made.product.max() + 1, len(TIERS)))
    np.add.at(mean, made.product, made.model)
    return found | {"best by the fit": mean.argmax(1)[made.product]}


def values(made, known):
    """The shop itself, and every rule by every estimator: a list of `Value`.

    Args:
      made: the decisions.
      known: whether the propensities of the log are known; then the doubly robust estimate is also made from estimated ones.
    """
    log, own = made.log, np.asarray(made.log.reward, float)
    action = np.asarray(log.action)
    mean, error = float(own.mean()), _clustered(own - own.mean(), made.period)
    found = [Value("as the shop did", "mean", mean, error, float(len(own)), _mean_at(made.true, action))]
    logs = {"": log} | ({ESTIMATED: made.estimated} if known else {})
    for name, tiers in rules(made).items():
        truth = _mean_at(made.true, tiers)
        spread = np.take_along_axis(made.draws, tiers[None, :, None], 2)[..., 0].mean(1).std()
        found.append(Value(name, "model alone", _mean_at(made.model, tiers), float(spread), math.nan, truth))
        for label, one in logs.items():
            target = ope.target(one, jnp.asarray(tiers, jnp.int32))
            effective = float(ope.diagnostics(one, target).effective_sample_size)
            for estimator, estimate in _estimates(one, target, made.model, not label):
                error = _clustered(np.asarray(estimate.influence, float), made.period)
                found.append(Value(name, estimator + label, float(estimate.value), error, effective, truth))
    return found


def doubts(found):
    """Texts about rules whose decisions are worth fewer than `FEW`, by the propensities of the log; a list of 0 or 1."""
    worth = {}
    for value in found:
        if not math.isnan(value.effective):
            worth.setdefault(value.rule, value.effective)
    few = {rule: number for rule, number in worth.items() if number < FEW}
    if not few:
        return []
    rules = ", ".join(f"{rule} ({number:.0f})" for rule, number in few.items())
    return [f"too little overlap for intervals that hold, fewer than {FEW} decisions' worth: {rules}"]


def _estimates(log, target, model, every):
    """`(name, estimate)` of the estimators that weight decisions; only the doubly robust one unless `every`."""
    if every:
        yield "periods at that price", ope.replay(log, target)
        yield "IPS", ope.ips(log, target)
        yield "self-normalised IPS", ope.snips(log, target)
    yield "doubly robust", ope.doubly_robust(log, target, jnp.asarray(model, jnp.float32))


def _mean_at(table, tiers):
    """Mean over decisions of a table `[N, K]` at their tiers; NaN without a table."""
    return math.nan if table is None else float(np.take_along_axis(table, tiers[:, None], 1).mean())


def _clustered(influence, period):
    """Standard error of a mean whose terms are independent between periods."""
    sums = np.bincount(period, weights=influence)
    groups = len(np.unique(period))
    return float(np.sqrt((sums**2).sum() * groups / max(groups - 1, 1))) / len(influence)

"""Prices that follow demand: two-stage least squares, and the control function.

A seller who sees a busy day coming raises its price. Then the price is correlated with the demand shock u, and a regression
of demand on price mixes the buyers' response with the seller's. In the linear model y = b p + x'c + u, with p = z'd + x'e +
v, standard deviations s_u, s_v and correlation rho between u and v, least squares converges to

    b + rho s_u s_v / (var(z'd | x) + s_v^2),

and not to b. An instrument z moves the price (a cost, the weather at sea) and not demand.

* **Two-stage least squares**: b = (P'W)^-1 P'y with W = [p, x], P its projection on [z, x], and covariance s^2 (P'P)^-1.
* **Control function**: the residual of p on (z, x) becomes a regressor beside p. In the linear model the coefficients of p
  and x are those of two-stage least squares; unlike them it holds for a Poisson or logit mean too, if u is linear in v. A
  coefficient of the residual away from zero says that the price followed demand (Hausman's test).

Sources: J. M. Wooldridge (2010), Econometric Analysis of Cross Section and Panel Data, chapters 5 and 18. A. Petrin, K.
Train (2010), "A control function approach to endogeneity in consumer choice models", doi:10.1509/jmkr.47.1.3. J. Terza, A.
Basu, P. Rathouz (2008), "Two-stage residual inclusion estimation", doi:10.1016/j.jhealeco.2007.09.009. K. Graddy (1995),
"Testing for imperfect competition at the Fulton fish market", doi:10.2307/2556036 (the data `fish`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike
from scipy import special

from jaxprice.data.arrays import finite_array
from jaxprice.data.discrete_choice import Fit
from jaxprice.data.estimation import cautions
from jaxprice.data.estimation.glm import fit_glm, inverse_link
from jaxprice.data.estimation.pooling import Cells

WEAK = 10.0  # first-stage F below which instruments are called weak (Staiger and Stock 1997, doi:10.2307/2171753)


@dataclass(frozen=True, eq=False)
class InstrumentFit(Fit):
    """A fit with instruments; the price is the first coefficient. The likelihood of two-stage least squares is NaN.

    Attributes:
        first_stage_f: F statistic of the instruments in the regression of the price.
        naive: coefficient of the price without instruments.
        endogeneity: (t statistic, p value) of the residual in the control function: whether the price followed demand.
        overidentification: (Sargan's statistic, p value): whether the instruments agree; NaN with one instrument.
    """

    first_stage_f: float = float("nan")
    naive: float = float("nan")
    endogeneity: tuple[float, float] = (float("nan"), float("nan"))
    overidentification: tuple[float, float] = (float("nan"), float("nan"))


def two_stage_least_squares(
    outcome: ArrayLike,
    price: ArrayLike,
    instruments: ArrayLike,
    controls: ArrayLike | None = None,
    names: Sequence[str] = (),
) -> InstrumentFit:
    """Linear demand with a price that may follow it.

    Args:
        outcome: `[N]`, such as log units.
        price: `[N]`, such as its logarithm.
        instruments: `[N, Q]`, one or more columns.
        controls: `[N, K]`, columns that move demand. A constant is added.
        names: of the controls.

    Returns:
        The fit: coefficients "price", "constant", and the controls; homoskedastic covariance with divisor N.

    Raises:
        ValueError: a wrong shape, columns that are combinations of others, fewer rows than columns.
    """
    y, p, z, x, names = _columns(outcome, price, instruments, controls, names)
    own, all_exogenous = np.column_stack([p, x]), np.column_stack([z, x])
    fitted = all_exogenous @ _least_squares(all_exogenous, p)[0]
    projected = np.column_stack([fitted, x])
    coefficients, inverse = _least_squares(projected, y)
    error = y - own @ coefficients
    variance = error @ error / len(y)
    naive = _least_squares(own, y)[0]
    v = p - fitted
    augmented = np.column_stack([own, v])
    both, spread = _least_squares(augmented, y)
    rest = y - augmented @ both
    t = both[-1] / np.sqrt(spread[-1, -1] * (rest @ rest) / (len(y) - len(both)))
    extra = z.shape[1] - 1
    explained = all_exogenous @ _least_squares(all_exogenous, error)[0]
    sargan = len(y) * (explained @ explained) / (error @ error)
    return InstrumentFit(
        names=names,
        coefficients=coefficients,
        covariance=variance * inverse,
        log_likelihood=float("nan"),
        observations=len(y),
        first_stage_f=_strength(p, x, all_exogenous, z.shape[1]),
        naive=float(naive[0]),
        endogeneity=(float(t), float(2 * special.stdtr(len(y) - len(both), -abs(t)))),
        overidentification=(float(sargan), float(special.chdtrc(extra, sargan))) if extra else (float("nan"), float("nan")),
    )


def control_function(
    units: ArrayLike,
    price: ArrayLike,
    instruments: ArrayLike,
    controls: ArrayLike | None = None,
    names: Sequence[str] = (),
    *,
    family: str = "poisson",
    link: str = "log",
    visits: ArrayLike | None = None,
) -> InstrumentFit:
    """A model of counts with a price that may follow demand: the residual of the first stage is one of its columns.

    The covariance is that of both stages together (the sandwich of the stacked first-order conditions), so it contains the
    error of the residual, and it holds under a wrong family. It takes the dispersion of a negative binomial as known.

    Args:
        units: `[N]`, units sold.
        price: `[N]`, the regressor, such as the log price.
        instruments: `[N, Q]`.
        controls: `[N, K]`. A constant is added.
        names: of the controls.
        family, link, visits: as in `fit_glm`.

    Returns:
        The fit: coefficients "price", "constant", the controls, and "price residual".

    Raises:
        ValueError: as in `fit_glm`.
    """
    y, p, z, x, names = _columns(units, price, instruments, controls, names)
    first = np.column_stack([z, x])
    d, inverse = _least_squares(first, p)
    v = p - first @ d
    design = np.column_stack([p, x, v])
    names = (*names, "price residual")
    fit = fit_glm(design, y, names, family=family, link=link, visits=visits)
    naive = fit_glm(design[:, :-1], y, names[:-1], family=family, link=link, visits=visits)
    theta = fit.coefficients[: len(names)]
    n = np.ones(len(y)) if visits is None else np.asarray(visits, float)
    # quasi-likelihood scores s = w (y - n D) x; their derivative in the first stage comes through v = p - z'd
    mean = inverse_link(design @ theta, link)
    slope = mean if link == "log" else mean * (1 - mean)
    variance = mean * (1 - mean) if family == "bernoulli" else mean * (1 + fit.dispersion * n * mean)
    score = ((y - n * mean) * slope / variance)[:, None] * design
    bread = np.linalg.inv((design * (n * slope**2 / variance)[:, None]).T @ design)
    cross = (design * (n * slope**2 / variance)[:, None]).T @ (theta[-1] * first)
    influence = score + (first * v[:, None]) @ inverse @ cross.T
    covariance = bread @ (influence.T @ influence) @ bread
    t = theta[-1] / np.sqrt((bread @ (score.T @ score) @ bread)[-1, -1])
    return InstrumentFit(
        names=names,
        coefficients=theta,
        covariance=covariance,
        log_likelihood=fit.log_likelihood,
        observations=len(y),
        first_stage_f=_strength(p, x, first, z.shape[1]),
        naive=float(naive.coefficients[0]),
        endogeneity=(float(t), float(2 * special.ndtr(-abs(t)))),
    )


def price_residual(cells: Cells, panel, kept) -> Cells:
    """Cells with the residual of the price on instruments, promotions and a constant, product by product, as last column."""
    z = np.where(panel.valid[kept][..., None], panel.instrument[kept], 0.0)
    z = z.reshape(len(kept), -1, z.shape[-1])
    residual, strength = np.zeros(z.shape[:2]), []
    for i in range(len(kept)):
        used = cells.weights[i] > 0
        rest = np.column_stack([np.ones(used.sum()), cells.shared[i][used]])
        first = np.column_stack([z[i][used], rest])
        if not np.isfinite(first).all():
            raise ValueError(f"instruments: NaN for product {panel.products[kept[i]]!r}; they must be known in every period")
        p = cells.own[i][used, 1]
        residual[i, used] = p - first @ np.linalg.lstsq(first, p, rcond=None)[0]
        without = p - rest @ np.linalg.lstsq(rest, p, rcond=None)[0]
        left = max(used.sum() - first.shape[1], 1)
        strength.append(
            (without @ without - residual[i] @ residual[i]) / z.shape[2] / max(residual[i] @ residual[i] / left, 1e-300)
        )
    if np.median(strength) < WEAK:
        cautions.tell(
            f"the instruments {list(panel.instruments)} are weak: first-stage F {np.median(strength):.1f} for the median of "
            f"{len(strength)} products, at least {WEAK:g} is asked for"
        )
    return cells._replace(shared=np.concatenate([cells.shared, residual[..., None]], axis=-1))


def linear_bias(rho: float, sd_demand: float, sd_price: float, sd_instrument: float) -> Float64[np.ndarray, ""]:
    """Asymptotic bias of the least-squares slope: rho s_u s_v / (var(z'd) + s_v^2).

    Args:
        rho: correlation between the shocks of demand and price.
        sd_demand, sd_price: their standard deviations s_u and s_v.
        sd_instrument: standard deviation of z'd, the part of the price that the instruments move.
    """
    return np.asarray(rho * sd_demand * sd_price / (sd_instrument**2 + sd_price**2), np.float64)


def _columns(outcome, price, instruments, controls, names):
    """`(y, p, z [N, Q], x [N, 1 + K], names)`, checked."""
    y, p = finite_array("outcome", outcome, 1), finite_array("price", price, 1)
    z = np.asarray(instruments, np.float64)
    z = finite_array("instruments", z[:, None] if z.ndim == 1 else z, 2)
    x = np.ones((len(y), 1))
    if controls is not None:
        extra = np.asarray(controls, np.float64)
        x = np.column_stack([x, finite_array("controls", extra[:, None] if extra.ndim == 1 else extra, 2)])
    for name, value in (("price", p), ("instruments", z), ("controls", x)):
        if len(value) != len(y):
            raise ValueError(f"{name}: expected {len(y)} rows as the outcome, got {len(value)}")
    names = tuple(map(str, names)) or tuple(f"control {k}" for k in range(1, x.shape[1]))
    if len(names) != x.shape[1] - 1:
        raise ValueError(f"names: expected {x.shape[1] - 1}, one a control, got {names!r}")
    for name, block in (("instruments", np.column_stack([z, x])), ("price", np.column_stack([p, x]))):
        scale = np.sqrt(np.mean(block**2, 0))
        values = np.linalg.svd(block / np.where(scale > 0, scale, 1), compute_uv=False)
        if len(block) <= block.shape[1] or values[-1] < 1e-10 * values[0]:
            raise ValueError(f"{name}: a column is a combination of the others and the controls, in {len(block)} rows")
    return y, p, z, x, ("price", "constant", *names)


def _least_squares(x, y):
    """Coefficients, and the inverse of x'x."""
    root = np.linalg.qr(x, mode="r")
    inverse = np.linalg.inv(root)
    return np.linalg.lstsq(x, y, rcond=None)[0], inverse @ inverse.T


def _strength(p, x, first, count):
    """F statistic of the instruments in the first stage."""
    without = p - x @ _least_squares(x, p)[0]
    rest = p - first @ _least_squares(first, p)[0]
    return float((without @ without - rest @ rest) / count / (rest @ rest / (len(p) - first.shape[1])))

"""Generalised linear models of demand by maximum likelihood: Bernoulli, Poisson and negative binomial.

    y_i ~ family(visits_i, D_i),    link(D_i) = x_i' theta,

with the families and links of `jaxprice.data.estimation.likelihoods`. The Poisson model with log link is also a consistent
estimator of the mean if the counts are not Poisson; its standard errors are then too small, unless they are `robust`:

    H^-1 (sum_g s_g s_g') H^-1,

where `H` is the observed information and `s_g` the sum of the scores of a cluster (of one row without clusters). The
negative binomial estimates the logarithm of its dispersion as the last coefficient, "log_dispersion".

Sources: P. McCullagh, J. A. Nelder (1989), Generalized Linear Models, doi:10.1007/978-1-4899-3242-6. A. C. Cameron, P. K.
Trivedi (2013), Regression Analysis of Count Data, doi:10.1017/CBO9781139013567. H. White (1982), "Maximum likelihood
estimation of misspecified models", doi:10.2307/1912526 (robust covariance).
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike

from jaxprice import checks, exact_sums
from jaxprice.data.arrays import finite_array
from jaxprice.data.discrete_choice import Fit
from jaxprice.data.estimation import likelihoods, newton


@dataclass(frozen=True, eq=False)
class GLMFit(Fit):
    """A fitted generalised linear model; coefficients, covariance and the rest as in `Fit`.

    Attributes:
        family: "bernoulli", "poisson" or "negative_binomial".
        link: "log" or "logit".
        dispersion: `a` of the variance m + a m^2; 0 for the other families.
    """

    family: str = "poisson"
    link: str = "log"
    dispersion: float = 0.0

    def mean(self, design: ArrayLike) -> Float64[np.ndarray, " n"]:
        """Mean demand of one visit for the rows of a design `[n, K]`, without the dispersion."""
        design = np.asarray(design, np.float64)
        return inverse_link(design @ self.coefficients[: design.shape[-1]], self.link)


def inverse_link(eta: np.ndarray | float, link: str) -> np.ndarray:
    """Mean demand of one visit from the linear predictor, same shape."""
    return np.exp(eta) if link == "log" else 1 / (1 + np.exp(-eta))


def fit_glm(
    design: ArrayLike,
    units: ArrayLike,
    names: Sequence[str],
    *,
    family: str = "poisson",
    link: str = "log",
    visits: ArrayLike | None = None,
    censored: ArrayLike | None = None,
    clusters: ArrayLike | None = None,
    robust: bool = False,
    weights: ArrayLike | None = None,
) -> GLMFit:
    """Fits a model of demand by maximum likelihood.

    Args:
        design: `[N, K]`, finite. A constant is one of its columns if you want one.
        units: `[N]`, units sold; for "bernoulli", at most `visits`.
        names: names of the `K` columns.
        family: "bernoulli", "poisson" or "negative_binomial".
        link: "log" or "logit".
        visits: `[N]`, above 0; by default 1 each.
        censored: `[N]`, true where the period sold out, so that `units` is a lower bound of demand; counts only.
        clusters: `[N]`, labels of rows that depend on each other, such as those of one household; implies `robust`.
        robust: whether the covariance holds under a wrong family, as long as the mean is right.
        weights: `[N]`, how often each row counts, at least 0; by default once.

    Returns:
        The fit. A negative binomial whose dispersion is zero at the maximum is returned with dispersion 0 and the Poisson
        coefficients, with a warning.

    Raises:
        ValueError: an argument has a wrong shape or wrong values, columns are combinations of others, or the likelihood has
            no maximum (a rule of the columns separates sales from no sales).
    """
    checks.choice("family", family, likelihoods.FAMILIES)
    checks.choice("link", link, likelihoods.LINKS)
    design, units, visits, censored, weights = checked_rows(design, units, visits, censored, weights, family)
    counted = weights > 0
    names = tuple(map(str, names))
    if len(names) != design.shape[1] or len(set(names)) < len(names):
        raise ValueError(f"names: expected {design.shape[1]} different names, one a column of design, got {names!r}")
    scale = np.sqrt(np.mean(design[counted] ** 2, axis=0))
    if (scale == 0).any():
        raise ValueError(f"design: columns of zeros: {[n for n, s in zip(names, scale, strict=True) if s == 0]}")
    values = np.linalg.svd(design[counted] / scale, compute_uv=False)
    if values[-1] < 1e-8 * values[0] or counted.sum() < design.shape[1]:
        raise ValueError(f"design: some columns are combinations of others, among {list(names)}")
    clusters = None if clusters is None else _clusters(clusters, len(design))
    exact_sums.ensure()
    with jax.enable_x64(True):
        point, value, information, scores = _maximum(design / scale, units, visits, censored, weights, names, family, link)
        inverse = np.linalg.inv(information)
        if robust or clusters is not None:
            sums = scores() if clusters is None else _summed(scores(), clusters)
            inverse = inverse @ (sums.T @ sums) @ inverse
    if family == "negative_binomial":
        if point[-1] <= newton.SMALLEST:
            warnings.warn(
                f"the units vary no more than a Poisson law allows (dispersion below {np.exp(newton.SMALLEST):.1g}): "
                "this is the Poisson fit",
                UserWarning,
                stacklevel=2,
            )
            rows = {"visits": visits, "censored": censored, "weights": weights}
            return fit_glm(design, units, names, link=link, clusters=clusters, robust=robust, **rows)
        names, scale = (*names, "log_dispersion"), np.append(scale, 1.0)
    covariance = inverse / np.outer(scale, scale)
    dispersion = float(np.exp(point[-1])) if family == "negative_binomial" else 0.0
    return GLMFit(names, point / scale, (covariance + covariance.T) / 2, value, int(counted.sum()), family, link, dispersion)


def _maximum(design, units, visits, censored, weights, names, family, link):
    """`(point, value, information, scores)` of a design with columns of unit size; `scores()` is `[N, K']`."""
    largest = likelihoods.largest_bound(units, censored & (weights > 0))
    fixed = {"family": family, "link": link, "largest": largest}
    data = [jnp.asarray(x) for x in (design, units, visits, censored, weights)]

    def at(point):
        value, gradient, information = newton.derivatives(jnp.asarray(point), *data, **fixed)
        return float(value), np.asarray(gradient), np.asarray(information)

    start = first_guess(design[weights > 0], units[weights > 0], visits[weights > 0], link)
    if family == "negative_binomial":
        start = np.append(start, -1.0)
    if not np.isfinite(at(start)[0]):
        raise ValueError(
            f"design: no start was found at which all probabilities are below 1; link={link!r} needs a constant"
        )
    point, value, information, converged = newton.maximise(at, start)
    if family == "negative_binomial" and point[-1] <= newton.SMALLEST:
        return point, value, np.eye(len(point)), lambda: np.zeros((len(units), len(point)))
    eigenvalues = np.linalg.eigvalsh(information) if np.isfinite(information).all() else np.zeros(1)
    if not converged or eigenvalues[0] <= 1e-10 * eigenvalues[-1]:
        reached = dict(zip(names, point[: len(names)].round(2).tolist(), strict=True))
        raise ValueError(
            f"design: not converged, the likelihood has no maximum because the columns separate sales from no sales; "
            f"coefficients reached, for columns of unit size: {reached}"
        )
    return point, value, information, lambda: np.asarray(newton.scores(jnp.asarray(point), *data, **fixed))


def first_guess(design: np.ndarray, units: np.ndarray, visits: np.ndarray, link: str) -> np.ndarray:
    """Coefficients `[K]` whose predictor is nearest to a constant mean: the start of Newton's method."""
    mean = units.sum() / visits.sum()
    constant = np.log(mean) if link == "log" else np.log(mean / max(1 - mean, 0.01))
    return np.linalg.lstsq(design, np.full(len(design), constant), rcond=None)[0]


def checked_rows(design, units, visits, censored, weights, family):
    """The data of a fit as float64 and bool arrays: `(design [N, K], units [N], visits [N], censored [N], weights [N])`.

    Raises:
        ValueError: a wrong shape or value; the message names the argument.
    """
    design, units = finite_array("design", design, 2), finite_array("units", units, 1)
    visits = np.ones(len(design)) if visits is None else finite_array("visits", visits, 1)
    censored = np.zeros(len(design), bool) if censored is None else np.asarray(censored)
    weights = np.ones(len(design)) if weights is None else finite_array("weights", weights, 1)
    for name, value in (("units", units), ("visits", visits), ("censored", censored), ("weights", weights)):
        if value.shape != (len(design),):
            raise ValueError(f"{name}: expected length {len(design)} as design, got shape {list(value.shape)}")
    if censored.dtype != bool:
        raise ValueError(f"censored: expected bools, true where a period sold out, got {censored.dtype}")
    if (visits <= 0).any():
        raise ValueError(
            f"visits: expected numbers above 0, got {int(np.sum(visits <= 0))} others, at row {np.argmin(visits)}"
        )
    if (weights < 0).any() or not weights.any():
        raise ValueError(f"weights: expected numbers of at least 0, some above, got {checks.shown(np.unique(weights)[:5])}")
    if (units < 0).any():
        raise ValueError(f"units: expected numbers of at least 0, got {units.min():g} at row {np.argmin(units)}")
    if (units * weights).sum() == 0:
        raise ValueError(f"units: nothing was sold in {len(units)} rows, so no demand can be fitted")
    if family == "bernoulli":
        if censored.any():
            raise ValueError("censored: a bernoulli model counts visits that could buy; leave out those after the stock-out")
        if (units > visits).any():
            row = int(np.argmax(units - visits))
            got = f"{units[row]:g} of {visits[row]:g} visits in row {row}"
            raise ValueError(f"units: at most one unit a visit in a bernoulli model, got {got}")
        if (units == visits)[weights > 0].all():
            raise ValueError(f"units: all {len(units)} visits bought; such data show shares of purchases, and no demand")
    if censored[weights > 0].all():
        raise ValueError(f"censored: all {len(units)} periods sold out, so demand has no upper bound in these data")
    return design, units, visits, censored, weights


def _clusters(value, count):
    labels = np.asarray(value)
    if labels.shape != (count,):
        raise ValueError(f"clusters: expected {count} labels, one a row, got shape {list(labels.shape)}")
    return np.unique(labels, return_inverse=True)[1]


def _summed(scores, clusters):
    sums = np.zeros((clusters.max() + 1, scores.shape[1]))
    np.add.at(sums, clusters, scores)
    return sums

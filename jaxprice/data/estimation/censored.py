"""Demand behind stock-outs: the expectation-maximisation of airline practice.

Bookings that reach their limit b are a lower bound of demand. Salch's method takes demand as normal with mean x'theta and
standard deviation s, the same in all periods, and repeats

    E: replace a censored y by m1 = E[Y | Y >= b] = mu + s lambda(a),   a = (b - mu) / s,   lambda = phi / (1 - Phi),
       and its square by m2 = E[Y^2 | Y >= b] = mu^2 + s^2 + s lambda(a) (b + mu),
    M: theta by least squares on m1,   s^2 = mean(m2 - 2 mu m1 + mu^2),

until nothing moves. The limit is the maximum of the likelihood in which a censored period counts as P(Y >= b) (the Tobit
model). The likelihood of `fit_glm(..., censored=...)` is the same statement for counts; it needs no normal approximation,
which is poor below some ten sales a period.

Sources: J. Salch (1997), "Unconstraining passenger demand using the EM algorithm", INFORMS Dallas. K. T. Talluri, G. J. van
Ryzin (2004), The Theory and Practice of Revenue Management, section 9.4, doi:10.1007/b139000. P. Guo, B. Xiao, J. Li (2012),
"Unconstraining methods in revenue management systems", doi:10.1155/2012/270910. A. P. Dempster, N. M. Laird, D. B. Rubin
(1977), doi:10.1111/j.2517-6161.1977.tb01600.x.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike
from scipy import special

from jaxprice import checks
from jaxprice.data.arrays import finite_array


@dataclass(frozen=True, eq=False)
class Unconstrained:
    """Demand before stock-outs.

    Attributes:
        coefficients: theta `[K]`; the mean demand without a design.
        sd: standard deviation of demand in a period.
        demand: expected demand of each period given its sales, `[N]`: the sales themselves where stock was left.
        log_likelihood: of the censored normal model, after each iteration; it never falls.
        iterations: number of iterations.
    """

    coefficients: Float64[np.ndarray, " k"]
    sd: float
    demand: Float64[np.ndarray, " n"]
    log_likelihood: Float64[np.ndarray, " i"]
    iterations: int


def unconstrain(
    sales: ArrayLike,
    sold_out: ArrayLike,
    design: ArrayLike | None = None,
    *,
    tolerance: float = 1e-9,
    iterations: int = 10_000,
) -> Unconstrained:
    """Demand from sales and stock-outs.

    Args:
        sales: `[N]`, sales of each period.
        sold_out: `[N]`, bools: whether the sales are a lower bound of demand.
        design: `[N, K]`, columns that move the mean; by default a constant.
        tolerance: largest change of the coefficients and the deviation at which to stop, relative to the deviation.
        iterations: largest number.

    Returns:
        The maximum likelihood estimate.

    Raises:
        ValueError: a wrong shape; fewer open periods than coefficients and one; no variation among them; no convergence.
    """
    sales = finite_array("sales", sales, 1)
    design = np.ones((len(sales), 1)) if design is None else finite_array("design", design, 2)
    sold_out = np.asarray(sold_out)
    if sold_out.shape != sales.shape or sold_out.dtype != bool:
        raise ValueError(f"sold_out: expected {len(sales)} bools, got {sold_out.dtype} of shape {list(sold_out.shape)}")
    if len(design) != len(sales):
        raise ValueError(f"design: expected {len(sales)} rows as sales, got {len(design)}")
    checks.positive_int("iterations", iterations)
    opened = ~sold_out
    if opened.sum() <= design.shape[1] or np.linalg.matrix_rank(design[opened]) < design.shape[1]:
        raise ValueError(
            f"sold_out: {int(opened.sum())} of {len(sales)} periods had stock left, which is too few for {design.shape[1]} "
            "coefficients and a deviation"
        )
    theta = np.linalg.lstsq(design[opened], sales[opened], rcond=None)[0]
    sd = float(np.std(sales[opened] - design[opened] @ theta))
    if sd <= 1e-12 * np.abs(sales).max():
        raise ValueError("sales: no variation among the periods with stock left, so no deviation can be fitted")
    solve = np.linalg.pinv(design)
    path = []
    for step in range(1, iterations + 1):
        mean = design @ theta
        hidden = _hazard((sales - mean) / sd)
        first = np.where(sold_out, mean + sd * hidden, sales)
        second = np.where(sold_out, mean**2 + sd**2 + sd * hidden * (sales + mean), sales**2)
        new = solve @ first
        fitted = design @ new
        spread = float(np.sqrt(np.mean(second - 2 * fitted * first + fitted**2)))
        moved = max(np.abs(design @ (new - theta)).max(), abs(spread - sd))
        theta, sd = new, spread
        path.append(_log_likelihood(sales, sold_out, design @ theta, sd))
        if moved < tolerance * sd:
            mean = design @ theta
            demand = np.where(sold_out, mean + sd * _hazard((sales - mean) / sd), sales)
            return Unconstrained(theta, sd, demand, np.array(path), step)
    raise ValueError(f"iterations: not converged after {iterations}, still moving by {moved / sd:.2g} standard deviations")


def _hazard(a):
    """phi(a) / (1 - Phi(a)), without loss of digits far out."""
    return np.exp(-0.5 * a**2 - 0.5 * np.log(2 * np.pi) - special.log_ndtr(-a))


def _log_likelihood(sales, sold_out, mean, sd):
    a = (sales - mean) / sd
    return float(np.sum(np.where(sold_out, special.log_ndtr(-a), -0.5 * a**2 - 0.5 * np.log(2 * np.pi) - np.log(sd))))

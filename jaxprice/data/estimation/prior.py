"""A prior for products that were never sold, from those that were: ridge on attributes, calibrated by held-out groups.

Product i has an estimate e_i (an elasticity, say) with standard error s_i, and features x_i. With w_i = 1 / (tau^2 + s_i^2),

    theta = argmin sum_i w_i (e_i - c - x_i'theta)^2 + penalty |theta|^2,       mean of a new product: c + x'theta,
    sd^2  = max(sum_i w_i (r_i^2 - s_i^2) / sum_i w_i, floor),

where r_i is the error of the fit that did not see the group of product i. tau^2 is the variance of the true values around
their mean, by moments. The penalty, infinity among its candidates, has the smallest held-out error. The groups must mirror
the use: whole categories if new products come from new categories. Leave-one-out on products that share a text or an
attribute with others gives an sd that is far too small, and a prior that is too narrow costs more than no prior at all.

A half-and-half mixture of this prior with that of all products (`mixture`) bounds the harm of misleading features.

Sources: A. E. Hoerl, R. W. Kennard (1970), doi:10.1080/00401706.1970.10488634 (ridge). R. DerSimonian, N. Laird (1986),
doi:10.1016/0197-2456(86)90046-2 (tau^2). D. R. Roberts et al. (2017), "Cross-validation strategies for data with temporal,
spatial, hierarchical, or phylogenetic structure", doi:10.1111/ecog.02881 (held-out groups).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike

from jaxprice import checks
from jaxprice.data.arrays import finite_array

FOLDS = 5
PENALTIES = tuple(10.0**k for k in np.arange(-3, 4.5, 0.5))  # per hundred products of mean weight


@dataclass(frozen=True, eq=False)
class DemandPrior:
    """A normal prior for products with features `[D]`.

    Attributes:
        constant, coefficients: c and theta `[D]`.
        sd: standard deviation of a new product's true value around its mean, from held-out groups.
        global_mean, global_sd: mean of all products, and the sd of a new product's value around it, from held-out groups.
        penalty: the chosen one; infinity if the features do not help.
        r_squared: share of the variance of the true values that held-out groups show to be explained; negative if none is.
        fitted: means of the products it was made from, each by the fit that did not see its group, `[N]`.
    """

    constant: float
    coefficients: Float64[np.ndarray, " d"]
    sd: float
    global_mean: float
    global_sd: float
    penalty: float
    r_squared: float
    fitted: Float64[np.ndarray, " n"]

    def predict(self, features: ArrayLike) -> tuple[Float64[np.ndarray, " m"], Float64[np.ndarray, " m"]]:
        """Mean and sd of products with features `[M, D]`."""
        features = finite_array("features", features, 2)
        if features.shape[1] != len(self.coefficients):
            raise ValueError(f"features: expected {len(self.coefficients)} columns, got {features.shape[1]}")
        mean = self.constant + features @ self.coefficients
        return mean, np.full(len(mean), self.sd)

    def weights(self, features: ArrayLike, grid: ArrayLike, mixture: float = 0.0) -> Float64[np.ndarray, "m b"]:
        """Prior probabilities of the values of a grid `[B]` for products with features `[M, D]`.

        Args:
            features: `[M, D]`.
            grid: increasing, evenly spaced.
            mixture: share of the prior of all products, in [0, 1]; .5 is a robust choice.
        """
        share = float(checks.number("mixture", mixture, low=0, high=1, scalar=True))
        mean, sd = self.predict(features)
        own = _normal(np.asarray(grid, float)[None], mean[:, None], sd[:, None])
        return (1 - share) * own + share * _normal(np.asarray(grid, float)[None], self.global_mean, self.global_sd)


def fit_demand_prior(
    features: ArrayLike,
    estimates: ArrayLike,
    std_errors: ArrayLike,
    groups: ArrayLike,
    *,
    floor: float = 0.05,
    seed: int = 0,
) -> DemandPrior:
    """A prior for products never sold, from `N` products with estimates.

    Args:
        features: `[N, D]`, such as `product_features(...).matrix`.
        estimates: `[N]`, such as `fit.slopes` of a separate (not pooled) fit.
        std_errors: `[N]`, above 0.
        groups: `[N]`, labels of what is held out together: the product, type or category of a new product.
        floor: smallest variance of the prior, in squared units of the estimates.
        seed: of the random assignment of groups to five folds.

    Returns:
        The prior.

    Raises:
        ValueError: a wrong shape, a standard error that is not above 0, or fewer than two groups.
    """
    x, e = finite_array("features", features, 2), finite_array("estimates", estimates, 1)
    s, groups = finite_array("std_errors", std_errors, 1), np.asarray(groups)
    for name, value in (("estimates", e), ("std_errors", s), ("groups", groups)):
        if value.shape != (len(x),):
            raise ValueError(f"{name}: expected length {len(x)} as features, got shape {list(value.shape)}")
    if (s <= 0).any():
        raise ValueError(f"std_errors: expected numbers above 0, got {s.min():g} for product {int(np.argmin(s))}")
    checks.positive("floor", floor)
    labels, group = np.unique(groups, return_inverse=True)
    if len(labels) < 2:
        raise ValueError(f"groups: at least 2 are needed to hold one out, got {len(labels)}")
    fold = (np.random.default_rng(seed).permutation(len(labels)) % min(FOLDS, len(labels)))[group]
    weight = 1 / (between_variance(e, s) + s**2)
    held = np.stack([_held_out(x, e, weight, fold, penalty) for penalty in PENALTIES])
    everywhere = _held_out(np.zeros((len(x), 0)), e, weight, fold, 1.0)
    errors = np.average((e - np.concatenate([held, everywhere[None]])) ** 2, weights=weight, axis=1)
    noise = np.average(s**2, weights=weight)
    best = int(np.argmin(errors))
    infinite = best == len(PENALTIES)
    constant, theta = _ridge(x, e, weight, 1.0 if infinite else PENALTIES[best])
    if infinite:
        constant, theta = float(np.average(e, weights=weight)), np.zeros(x.shape[1])
    spread = max(errors[-1] - noise, floor)
    return DemandPrior(
        constant=constant,
        coefficients=theta,
        sd=float(np.sqrt(max(errors[best] - noise, floor))),
        global_mean=float(np.average(e, weights=weight)),
        global_sd=float(np.sqrt(spread)),
        penalty=float("inf") if infinite else PENALTIES[best],
        r_squared=float(1 - (errors[:-1].min() - noise) / spread),
        fitted=everywhere if infinite else held[best],
    )


def between_variance(estimates: np.ndarray, std_errors: np.ndarray) -> float:
    """Variance of the true values around their mean, by DerSimonian and Laird's moments; at least 1 % of the total."""
    w = 1 / std_errors**2
    mean = np.average(estimates, weights=w)
    excess = np.sum(w * (estimates - mean) ** 2) - (len(estimates) - 1)
    return float(max(excess / (w.sum() - (w**2).sum() / w.sum()), 0.01 * np.var(estimates)))


def _ridge(x, e, weight, penalty):
    """`(constant, theta [D])`; the constant is not penalised."""
    center, level = np.average(x, weights=weight, axis=0), np.average(e, weights=weight)
    if not x.shape[1]:
        return float(level), np.zeros(0)
    root = np.sqrt(weight / weight.mean())[:, None]
    a, b = root * (x - center), root[:, 0] * (e - level)
    strength = penalty * len(x) / 100
    if x.shape[1] <= len(x):
        theta = np.linalg.solve(a.T @ a + strength * np.eye(x.shape[1]), a.T @ b)
    else:
        theta = a.T @ np.linalg.solve(a @ a.T + strength * np.eye(len(x)), b)
    return float(level - center @ theta), theta


def _held_out(x, e, weight, fold, penalty):
    """Prediction of each product by the fit without its fold, `[N]`."""
    out = np.empty(len(e))
    for k in np.unique(fold):
        rest = fold != k
        constant, theta = _ridge(x[rest], e[rest], weight[rest], penalty)
        out[~rest] = constant + x[~rest] @ theta
    return out


def _normal(grid, mean, sd):
    """Normal probabilities of the values of a grid, `[M, B]`; rows sum to one."""
    logs = -0.5 * ((grid - mean) / sd) ** 2
    mass = np.exp(logs - logs.max(axis=1, keepdims=True))
    return mass / mass.sum(axis=1, keepdims=True)

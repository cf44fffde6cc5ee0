"""Products that lend each other strength: coefficients by product with a normal population, by empirical Bayes.

Product `i` has its own coefficients u_i for the columns z (an intercept and a price slope, say), and shares the coefficients
beta of the columns x (promotions) with all products:

    y_it ~ family(visits_it, D_it),   link(D_it) = z_it' u_i + x_it' beta,   u_i ~ N(mu, Sigma) independent.

(beta, mu, Sigma) and the dispersion maximise the marginal likelihood. Its integral over u_i is computed by adaptive
Gauss-Hermite quadrature around the mode of the integrand, with `nodes` points in each dimension; one node is the Laplace
approximation,

    log L_i = l_i(m_i) + log N(m_i; mu, Sigma) + q/2 log(2 pi) - 1/2 log|H_i|,

where m_i is the mode and H_i the negative Hessian there. Gradients are exact: the mode is differentiated through one Newton
step, whose derivative is that of the implicit function. The estimate of u_i is m_i. Its covariance is H_i^-1 plus the part
that comes from the estimation of the common numbers. A product with few sales is thus drawn to the population, and one that
sells much is left where its own data put it.

Sources: J. C. Pinheiro, D. M. Bates (1995), "Approximations to the log-likelihood function in the nonlinear mixed-effects
model", doi:10.1080/10618600.1995.10474663. R. E. Kass, D. Steffey (1989), "Approximate Bayesian inference in conditionally
independent hierarchical models", doi:10.1080/01621459.1989.10478825 (covariance of m_i).
"""

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64

from jaxprice import checks, exact_sums
from jaxprice.data.estimation import likelihoods

SMALLEST_SD = 1e-3  # of a population; below, products do not differ
STEPS = 10  # Newton steps to the mode, from the mode of the last evaluation


class Cells(NamedTuple):
    """Data by product: `own` `[G, N, q]`, `shared` `[G, N, P]`, the others `[G, N]`; a weight of 0 marks padding."""

    own: Any
    shared: Any
    units: Any
    visits: Any
    censored: Any
    weights: Any


@dataclass(frozen=True, eq=False)
class PooledFit:
    """Coefficients of products and of their population.

    Attributes:
        coefficients: of each product, `[G, q]`.
        covariance: of each product's coefficients, `[G, q, q]`.
        mean: of the population, `[q]`.
        population: covariance of the population, `[q, q]`.
        mean_covariance: uncertainty of `mean`, `[q, q]`.
        shared: coefficients of the common columns, `[P]`.
        shared_covariance: `[P, P]`.
        dispersion: of the negative binomial, else 0.
        log_likelihood: marginal, at the estimate.
        observations: cells with a positive weight.
    """

    coefficients: Float64[np.ndarray, "g q"]
    covariance: Float64[np.ndarray, "g q q"]
    mean: Float64[np.ndarray, " q"]
    population: Float64[np.ndarray, "q q"]
    mean_covariance: Float64[np.ndarray, "q q"]
    shared: Float64[np.ndarray, " p"]
    shared_covariance: Float64[np.ndarray, "p p"]
    dispersion: float
    log_likelihood: float
    observations: int


def fit_pooled(cells: Cells, *, family: str = "poisson", link: str = "log", nodes: int = 1) -> PooledFit:
    """Fits the products and their population.

    Args:
        cells: the data by product; a product without cells has the population's coefficients.
        family, link: as in `fit_glm`.
        nodes: quadrature points in each dimension of u_i; 1 is Laplace's approximation, enough from about five units a
            product on.

    Raises:
        ValueError: fewer than three products, an unknown family or link, no sales, or no maximum.
    """
    from scipy import optimize

    checks.choice("family", family, likelihoods.FAMILIES)
    checks.choice("link", link, likelihoods.LINKS)
    checks.whole("nodes", nodes, 1, 25)
    cells = Cells(*(np.asarray(x, bool if x.dtype == bool else float) for x in cells))
    groups, q, shared = len(cells.own), cells.own.shape[2], cells.shared.shape[2]
    if groups < 3:
        raise ValueError(f"cells: a population needs at least 3 products, got {groups}")
    sold, seen = (cells.weights * cells.units).sum(), (cells.weights * cells.visits).sum()
    if not sold > 0:
        raise ValueError(f"cells: nothing was sold in {int((cells.weights > 0).sum())} cells, so no demand can be fitted")
    largest = likelihoods.largest_bound(cells.units, cells.censored & (cells.weights > 0))
    size = Sizes(shared, q, family, link, largest, nodes)
    start = np.zeros(size.total)
    mean = min(sold / seen, 0.9)
    start[shared] = np.log(mean) if link == "log" else np.log(mean / (1 - mean))
    start[shared + q : shared + 2 * q] = np.log(0.5)
    exact_sums.ensure()
    with jax.enable_x64(True):
        data = Cells(*map(jnp.asarray, cells))
        modes = jnp.broadcast_to(start[shared : shared + q], (groups, q))
        count = float((cells.weights > 0).sum())

        def objective(theta):
            nonlocal modes
            value, gradient, modes = _value(jnp.asarray(theta), modes, data, size)
            return -float(value) / count, -np.asarray(gradient) / count

        low, high = np.full(size.total, -np.inf), np.full(size.total, np.inf)
        low[shared + q : shared + 2 * q], high[shared + q : shared + 2 * q] = np.log(SMALLEST_SD), 5.0
        if family == "negative_binomial":
            low[-1], high[-1] = -14.0, 5.0
        bounds = np.stack([low, high], axis=1).tolist()
        options = {"maxiter": 500, "ftol": 1e-14, "gtol": 1e-8}
        found = optimize.minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        if not np.isfinite(found.fun) or np.abs(found.x).max() > 50:
            raise ValueError(
                f"cells: not converged, the likelihood has no maximum; reached {found.x.round(2).tolist()} ({found.message})"
            )
        theta = found.x
        free = (theta > low + 1e-6) & (theta < high - 1e-6)
        covariance = _inverse_information(lambda t: count * objective(t)[1], theta, free)
        objective(theta)
        own, spread, slope = map(np.asarray, _products(jnp.asarray(theta), modes, data, size))
    beta, mu, root, _ = map(np.asarray, _parts(theta, size))
    return PooledFit(
        coefficients=own,
        covariance=spread + slope @ covariance @ slope.transpose(0, 2, 1),
        mean=mu,
        population=root @ root.T,
        mean_covariance=covariance[shared : shared + q, shared : shared + q],
        shared=beta,
        shared_covariance=covariance[:shared, :shared],
        dispersion=float(np.exp(theta[-1])) if family == "negative_binomial" else 0.0,
        log_likelihood=-float(found.fun) * count,
        observations=int(count),
    )


class Sizes(NamedTuple):
    """Static facts of a fit: numbers of common and own columns, the law, and quadrature points."""

    shared: int
    own: int
    family: str
    link: str
    largest: int
    nodes: int

    @property
    def total(self):
        """Length of the vector of common numbers: beta, mu, log diagonal and lower triangle of the root, log dispersion."""
        return self.shared + 2 * self.own + self.own * (self.own - 1) // 2 + (self.family == "negative_binomial")


def _parts(theta, size):
    """`(beta [P], mu [q], root of Sigma [q, q], log dispersion)`."""
    p, q = size.shared, size.own
    root = jnp.diag(jnp.exp(theta[p + q : p + 2 * q]))
    rows, columns = np.tril_indices(q, -1)
    root = root.at[rows, columns].set(theta[p + 2 * q : p + 2 * q + len(rows)])
    return theta[:p], theta[p : p + q], root, theta[-1] if size.family == "negative_binomial" else jnp.zeros(())


def _joint(u, theta, cell, size):
    """Log of likelihood times population density of one product at its coefficients `u` `[q]`."""
    beta, mu, root, shape = _parts(theta, size)
    eta = cell.own @ u + cell.shared @ beta
    fixed = {"family": size.family, "link": size.link, "largest": size.largest}
    rows = jax.vmap(lambda e, y, n, c: likelihoods.log_likelihood(e, shape, y, n, c, **fixed))(
        eta, cell.units, cell.visits, cell.censored
    )
    away = jax.scipy.linalg.solve_triangular(root, u - mu, lower=True)
    density = -0.5 * jnp.sum(away**2) - jnp.sum(jnp.log(jnp.diag(root))) - 0.5 * size.own * jnp.log(2 * jnp.pi)
    return jnp.sum(jnp.where(cell.weights > 0, cell.weights * rows, 0.0)) + density


def _curvature(u, theta, cell, size):
    """Negative Hessian of `_joint` in u, `[q, q]`, made positive definite."""
    return -jax.jacfwd(jax.grad(_joint))(u, theta, cell, size)


def _mode(u, theta, cell, size):
    """The mode of `_joint`, by Newton steps of at most 2 that are halved until they climb."""

    def climb(_, u):
        step = jnp.linalg.solve(_curvature(u, theta, cell, size), jax.grad(_joint)(u, theta, cell, size))
        step = step * jnp.minimum(1.0, 2.0 / jnp.maximum(jnp.max(jnp.abs(step)), 1e-12))
        sizes = jnp.asarray([1.0, 0.5, 0.25, 0.0625, 0.0])
        values = jax.vmap(lambda s: _joint(u + s * step, theta, cell, size))(sizes)
        return u + sizes[jnp.argmax(jnp.where(jnp.isfinite(values), values, -jnp.inf))] * step

    return jax.lax.fori_loop(0, STEPS, climb, u)


def _newton_step(mode, theta, cell, size):
    """The mode, with the derivative in `theta` of the implicit function."""
    mode = jax.lax.stop_gradient(mode)
    curvature = jax.lax.stop_gradient(_curvature(mode, theta, cell, size))
    return mode + jnp.linalg.solve(curvature, jax.grad(_joint)(mode, theta, cell, size))


def _marginal(theta, mode, cell, size):
    """Log marginal likelihood of one product."""
    u = _newton_step(mode, theta, cell, size)
    root = jnp.linalg.cholesky(_curvature(u, theta, cell, size))
    spread = -jnp.sum(jnp.log(jnp.diag(root)))
    if size.nodes == 1:
        return _joint(u, theta, cell, size) + 0.5 * size.own * jnp.log(2 * jnp.pi) + spread
    points, weights = np.polynomial.hermite.hermgauss(size.nodes)
    grid = np.stack(np.meshgrid(*[points] * size.own, indexing="ij"), -1).reshape(-1, size.own)
    logs = np.log(weights)
    mass = np.sum(np.stack(np.meshgrid(*[logs] * size.own, indexing="ij"), -1).reshape(-1, size.own), 1)
    away = jax.scipy.linalg.solve_triangular(root.T, jnp.sqrt(2.0) * grid.T, lower=False).T
    values = jax.vmap(lambda d: _joint(u + d, theta, cell, size))(away)
    return jax.nn.logsumexp(values + mass + np.sum(grid**2, 1)) + 0.5 * size.own * jnp.log(2.0) + spread


@functools.partial(jax.jit, static_argnames="size")
def _value(theta, modes, data, size):
    """Log marginal likelihood, its gradient, and the modes `[G, q]`."""
    modes = jax.vmap(_mode, in_axes=(0, None, 0, None))(modes, theta, data, size)

    def total(theta):
        return jnp.sum(jax.vmap(lambda mode, cell: _marginal(theta, mode, cell, size))(modes, data))

    return *jax.value_and_grad(total)(theta), modes


@functools.partial(jax.jit, static_argnames="size")
def _products(theta, modes, data, size):
    """Coefficients `[G, q]`, their covariance given theta `[G, q, q]`, and their derivative in theta `[G, q, K]`."""

    def one(mode, cell):
        spread = jnp.linalg.inv(_curvature(mode, theta, cell, size))
        return mode, spread, jax.jacfwd(lambda t: _newton_step(mode, t, cell, size))(theta)

    return jax.vmap(one)(modes, data)


def _inverse_information(gradient, theta, free):
    """Inverse of the Hessian of the negative log likelihood, from central differences; zero where a number is at a bound."""
    index = np.flatnonzero(free)
    hessian = np.zeros((len(index), len(index)))
    for k, i in enumerate(index):
        step = np.zeros(len(theta))
        step[i] = 1e-4
        hessian[k] = (gradient(theta + step) - gradient(theta - step))[index] / 2e-4
    values, vectors = np.linalg.eigh((hessian + hessian.T) / 2)
    inverse = np.where(values > 1e-8 * values.max(), 1 / np.maximum(values, 1e-300), 0.0)
    covariance = np.zeros((len(theta), len(theta)))
    covariance[np.ix_(index, index)] = (vectors * inverse) @ vectors.T
    return covariance

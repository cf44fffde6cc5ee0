"""Maximum likelihood for binary and multinomial (conditional) logit.

Buyer `n` assigns utility `V[n, j] = x[n, j] @ theta` plus independent standard Gumbel noise to alternative `j`, and chooses
the best alternative. Hence

    P(n takes j) = exp(V[n, j]) / sum_k exp(V[n, k]),    log L = sum_n -log(1 + sum_{k != c} exp(V[n, k] - V[n, c])),

where `c` is the chosen alternative. Only differences of utility matter: the binary logit is the case of two alternatives,
one with utility zero. `log L` is concave, so Newton's method with the exact Hessian finds the maximum if it exists. It does
not exist if a linear rule of the attributes predicts every choice (separation, Albert and Anderson 1984). The covariance is
the inverse of the observed information, that is, of the negative Hessian at the maximum. It assumes independent choices, so
it is too small if the same household chooses many times.

jax computes derivatives in float64 inside a local context; the caller's precision setting does not change.

Sources: McFadden (1974), Conditional logit analysis of qualitative choice behavior, in Frontiers in Econometrics,
105-142. Train (2009), Discrete Choice Methods with Simulation, chapters 2-3 and 8, doi:10.1017/CBO9780511805271.
Albert and Anderson (1984), Biometrika 71, 1-10, doi:10.1093/biomet/71.1.1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxprice import exact_sums
from jaxprice.data.arrays import finite_array


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted choice model.

    Attributes:
        names: names of the `K` coefficients.
        coefficients: estimates `[K]`, float64, in utility per unit of the attribute.
        covariance: inverse observed information `[K, K]`, float64.
        log_likelihood: natural log likelihood at the estimates.
        observations: number of choices `N`.
    """

    names: tuple[str, ...]
    coefficients: np.ndarray
    covariance: np.ndarray
    log_likelihood: float
    observations: int

    @property
    def standard_errors(self) -> np.ndarray:
        """Square roots of the diagonal of the covariance, `[K]`."""
        return np.sqrt(np.diag(self.covariance))


def fit_binary_logit(features: ArrayLike, outcome: ArrayLike, names: Sequence[str], *, constant: bool = True) -> Fit:
    """Fits `P(outcome = 1) = 1 / (1 + exp(-features @ theta))`.

    Args:
        features: `[N, K]`, finite; without a column of ones when `constant` is true.
        outcome: `[N]`, zeros and ones.
        names: names of the `K` features.
        constant: whether to put a coefficient named "constant" before the others.

    Returns:
        The fit, with coefficients in the order of `names`, after the constant.

    Raises:
        ValueError: an argument has a wrong shape or wrong values, a feature is a linear combination of the others, or no
            maximum exists because the features separate the outcomes.
    """
    features = finite_array("features", features, 2)
    outcome = finite_array("outcome", outcome, 1)
    names = _names(names, features.shape[1])
    if len(outcome) != len(features):
        raise ValueError(f"outcome: expected length {len(features)} as features, got {len(outcome)}")
    if not np.isin(outcome, (0.0, 1.0)).all():
        raise ValueError(f"outcome: allowed values are 0 and 1, got {np.unique(outcome)[:5].tolist()}")
    if constant:
        features = np.column_stack([np.ones(len(features)), features])
        names = ("constant", *names)
        if outcome.min() == outcome.max():
            raise ValueError(f"outcome: a constant needs both outcomes, got only {outcome[0]:.0f}")
    not_taken_minus_taken = (features * (1.0 - 2.0 * outcome)[:, None])[:, None, :]
    return _maximise(not_taken_minus_taken, names, "features")


def fit_multinomial_logit(
    attributes: ArrayLike,
    choice: ArrayLike,
    names: Sequence[str],
    *,
    alternatives: Sequence[str] | None = None,
    constants: bool = True,
) -> Fit:
    """Fits `P(choice = j)` proportional to `exp(constant[j] + attributes[:, j] @ theta)`.

    The last alternative is the base: its constant is zero. The other constants are the first coefficients, with names
    "constant:<alternative>". All alternatives share `theta`.

    Args:
        attributes: `[N, J, K]`, finite, for every alternative of every choice.
        choice: `[N]`, index of the chosen alternative, `0..J-1`.
        names: names of the `K` attributes.
        alternatives: names of the `J` alternatives; by default their indices.
        constants: whether to fit alternative-specific constants.

    Returns:
        The fit, the `J - 1` constants before the `K` generic coefficients.

    Raises:
        ValueError: an argument has a wrong shape or wrong values, an attribute is a linear combination of the others, or no
            maximum exists because the attributes separate the choices.
    """
    attributes = finite_array("attributes", attributes, 3)
    choice = finite_array("choice", choice, 1)
    count = attributes.shape[1]
    names = _names(names, attributes.shape[2])
    if len(choice) != len(attributes):
        raise ValueError(f"choice: expected length {len(attributes)} as attributes, got {len(choice)}")
    if count < 2:
        raise ValueError(f"attributes: at least 2 alternatives are needed, got shape {attributes.shape}")
    if not np.isin(choice, np.arange(count)).all():
        raise ValueError(f"choice: allowed values are integers 0..{count - 1}, got {np.unique(choice)[:8].tolist()}")
    alternatives = _names(range(count) if alternatives is None else alternatives, count, "alternatives")
    choice = choice.astype(int)
    if constants:
        never = [a for a, taken in zip(alternatives, np.bincount(choice, minlength=count), strict=True) if not taken]
        if never:
            raise ValueError(f"choice: constants need every alternative to be chosen, never chosen: {never}")
        attributes = add_constants(attributes)
        names = (*(f"constant:{a}" for a in alternatives[:-1]), *names)
    taken = np.take_along_axis(attributes, choice[:, None, None], axis=1)
    others = np.arange(count)[None, :] != choice[:, None]
    differences = (attributes - taken)[others].reshape(len(choice), count - 1, -1)
    return _maximise(differences, names, "attributes")


def add_constants(attributes: np.ndarray) -> np.ndarray:
    """Puts the indicators of the constants before attributes `[..., J, K]`: the design `[..., J, J - 1 + K]`."""
    count = attributes.shape[-2]
    indicators = np.broadcast_to(np.eye(count)[:, :-1], (*attributes.shape[:-1], count - 1))
    return np.concatenate([indicators, attributes], axis=-1)


def own_price_curve(fit: Fit, design: ArrayLike, *, seller: int, price: str = "price") -> tuple[np.ndarray, np.ndarray]:
    """The demand curve of one seller if all rivals and all other attributes stay constant.

    With utilities linear in price, the logit share of the seller at its price `p` is
    `D(p) = 1 / (1 + exp(intercept + slope * p))`, where

        slope = -theta[price],    intercept = log(sum over rivals of exp(V)) - V of the seller at price 0.

    Args:
        fit: the choice model.
        design: `[J, K]`, one row for each alternative, columns as in `fit.names`; the seller's own price in it is not used.
            An outside option of utility zero is a row of zeros.
        seller: row of the seller.
        price: name of the price coefficient.

    Returns:
        `(intercept, slope)` as an array `[2]`, and their covariance `[2, 2]` by the delta method. The slope is per unit
        of price, and positive if demand decreases in the price. The design is taken as known.

    Raises:
        ValueError: `design` has a wrong shape, `seller` is not one of its rows, or `price` is not a coefficient.
    """
    design = finite_array("design", design, 2).copy()
    if design.shape[0] < 2 or design.shape[1] != len(fit.names):
        raise ValueError(f"design: expected shape [2 or more, {len(fit.names)}], got {design.shape}")
    if not 0 <= seller < len(design):
        raise ValueError(f"seller: allowed rows are 0..{len(design) - 1}, got {seller}")
    if price not in fit.names:
        raise ValueError(f"price: allowed names are {list(fit.names)}, got {price!r}")
    column = fit.names.index(price)
    design[seller, column] = 0.0
    utility = design @ fit.coefficients
    rivals = np.arange(len(design)) != seller
    inclusive = np.logaddexp.reduce(utility[rivals])
    rival_mean = np.exp(utility[rivals] - inclusive) @ design[rivals]
    jacobian = np.stack([rival_mean - design[seller], -np.eye(len(fit.names))[column]])
    curve = np.array([inclusive - utility[seller], -fit.coefficients[column]])
    return curve, jacobian @ fit.covariance @ jacobian.T


def _log_likelihood(coefficients: jax.Array, differences: jax.Array) -> jax.Array:
    """Log likelihood, from the attributes of the other alternatives minus those of the chosen one, `[N, J-1, K]`."""
    utility = jnp.pad(differences @ coefficients, ((0, 0), (1, 0)))
    return -jnp.sum(jax.nn.logsumexp(utility, axis=1))


@jax.jit
def _derivatives(coefficients: jax.Array, differences: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Log likelihood, gradient `[K]` and observed information `[K, K]`."""
    value, gradient = jax.value_and_grad(_log_likelihood)(coefficients, differences)
    return value, gradient, -jax.hessian(_log_likelihood)(coefficients, differences)


def _maximise(
    differences: np.ndarray, names: tuple[str, ...], argument: str, iterations: int = 100, tolerance: float = 1e-6
) -> Fit:
    """Newton's method with step halving, on columns scaled to unit root mean square.

    Convergence is tested on the step, not on the likelihood. On separated data the likelihood converges while the
    coefficients keep growing by about one unit of utility per step, so the step never converges. The error after the last
    step is of the order of its square.
    """
    scale = np.sqrt(np.mean(differences**2, axis=(0, 1)))
    if (scale == 0.0).any():
        still = [name for name, s in zip(names, scale, strict=True) if s == 0.0]
        raise ValueError(f"{argument}: nothing differs between the alternatives in {still}")

    exact_sums.ensure()
    with jax.enable_x64(True):
        data = jnp.asarray(differences / scale)

        def at(point: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
            value, gradient, information = _derivatives(jnp.asarray(point), data)
            return float(value), np.asarray(gradient), np.asarray(information)

        point = np.zeros(len(names))
        value, gradient, information = at(point)
        if not _well_conditioned(information):
            raise ValueError(f"{argument}: some columns are combinations of others, among {list(names)}")
        for _ in range(iterations):
            step = np.linalg.solve(information, gradient)
            converged = np.abs(step).max() < tolerance
            new = at(point + step)
            while not converged and not new[0] >= value - 1e-12 * abs(value):
                step = step / 2.0
                new = at(point + step)
            point, (value, gradient, information) = point + step, new
            if converged or not _well_conditioned(information):
                break
    if not converged or not _well_conditioned(information):
        raise ValueError(
            f"{argument}: not converged, the likelihood has no maximum because the columns separate the choices; "
            f"largest coefficients reached: {dict(zip(names, (point / scale).round(2).tolist(), strict=True))}"
        )
    covariance = np.linalg.inv(information) / np.outer(scale, scale)
    return Fit(names, point / scale, (covariance + covariance.T) / 2.0, value, len(differences))


def _well_conditioned(information: np.ndarray) -> bool:
    """Whether float64 rounding errors of the Newton step are below the tolerance of `_maximise`."""
    eigenvalues = np.linalg.eigvalsh(information)
    return bool(np.isfinite(eigenvalues).all() and eigenvalues[0] > 1e-10 * eigenvalues[-1])


def _names(value: Sequence[object], count: int, argument: str = "names") -> tuple[str, ...]:
    names = tuple(map(str, value))
    if isinstance(value, str) or len(names) != count or len(set(names)) != count:
        raise ValueError(f"{argument}: expected {count} different names, got {value!r}")
    return names

"""Logistic regression of sales on features, one period at a time: a sequential Laplace approximation.

A sale happens with probability sigma(z'theta), sigma(u) = 1 / (1 + exp(-u)). The belief about theta is N(m, S). After y of n
buyers have bought, the new mean is the mode of the posterior, the minimiser of

    (theta - m)' S^-1 (theta - m) / 2 + n log(1 + exp(z'theta)) - y z'theta,

and the new precision is the curvature there, S^-1 + n sigma'(u) z z'. The mode is m + S z (y - n sigma(u)),
where u = z'theta solves

    u = z'm + v (y - n sigma(u)),      v = z'S z,

one equation in one unknown, for any dimension. Newton's method starts at the inflection point 0, or at z'm if the solution
lies beyond it. From there it never crosses the solution and cannot diverge. `STEPS` steps leave only rounding errors for n v
up to 1e4; beyond that the mean moves slightly less than it should. Then S changes by a rank-one update. The prior keeps the
mode finite even if sales are separable.

Sources: O. Chapelle, L. Li (2011), "An empirical evaluation of Thompson sampling", algorithm 3, for batches of one period;
L. Faury, M. Abeille, K.-S. Jun, C. Calauzenes (2022), "Jointly efficient and optimal algorithms for logistic bandits",
arXiv:2201.01985, whose online estimate differs by a factor before the first term.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Num

from jaxprice.policies.parts import arms, features
from jaxprice.policies.parts.linear_model import Model
from jaxprice.types import Problem

STEPS = 12


def mode(
    prior: Num[Array, ""] | float,
    variance: Num[Array, ""] | float,
    sales: Num[Array, ""] | float,
    trials: Num[Array, ""] | float,
) -> Float[Array, ""]:
    """The solution of u = prior + variance (sales - trials sigma(u)), by `STEPS` Newton steps.

    Args:
      prior: float scalar.
      variance: at least 0, float scalar.
      sales: between 0 and `trials`, float scalar.
      trials: number of buyers.
    """

    def step(_, u):
        p = jax.nn.sigmoid(u)
        slope = 1 + variance * trials * p * jax.nn.sigmoid(-u)
        return u - (u - prior - variance * (sales - trials * p)) / slope

    beyond = prior * (sales - trials * jax.nn.sigmoid(prior)) > 0
    return jax.lax.fori_loop(0, STEPS, step, jnp.where(beyond, prior, 0.0))


def curvature(u: Num[Array, "*n"]) -> Float[Array, " *n"]:
    """sigma'(u), to full relative precision."""
    return jax.nn.sigmoid(u) * jax.nn.sigmoid(-u)


def revise(model: Model, z: Float[Array, " D"], sales: Num[Array, ""] | float, trials: Num[Array, ""] | float) -> Model:
    """The `Model` of one vector of coefficients after a period with `sales` among `trials` buyers."""
    f, g, _ = model.gain(z)
    v = jnp.sum(f * f)
    u = mode(features.total(z, model.mean), v, sales, trials)
    weight = trials * curvature(u)
    mean, lost = model.move(g * (sales - trials * jax.nn.sigmoid(u)), 1 + weight * v)
    return Model(mean, model.shrink(f, g, 1 + weight * v, weight), lost)


def learn(problem: Problem, name: str) -> arms.Signal:
    """The learning signal for a problem that suits a logistic model.

    Raises:
      ValueError: demand is not a number of buyers who each buy or not, or there is no price grid.
    """
    if problem.noise != "bernoulli":
        raise ValueError(f"{name} needs buyers who buy or not, but demand in this market is {problem.noise}")
    return arms.learn(problem, "demand", name)

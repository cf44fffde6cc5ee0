"""What policies believe that regress the signal of all prices on features: linear, logistic, neural, Gaussian processes.

With features z_k of price p_k and the posterior N(m, S) of the coefficients (`parts.linear_model`), the signal of price k is
normal with mean z_k'm and deviation e sqrt(z_k'S z_k), e the noise of a signal; with a logistic link this is the law of its
logit. Prices with coefficients of their own are independent, and integrals are exact. Prices that share coefficients are
drawn together: means and deviations stay exact (or Gauss-Hermite sums for the logistic link), the probability of being best
and the value of exploring have standard errors. Factors by which a policy inflates its draws or bounds are exploration, not
belief, and are left out.
"""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from jaxprice.explain.laws import Independent, Normals, Students, Weighted
from jaxprice.explain.readers import Reading, reader
from jaxprice.policies.contextual import bayesian_linear, bootstrapped, glm_ucb, logistic_thompson, network
from jaxprice.policies.parts import arms

NODES, MASSES = np.polynomial.hermite_e.hermegauss(40)
MASSES = MASSES / MASSES.sum()
LEAST = 1e-9  # least standard deviation


def of_values(view, signal, values, weights, outcome, moments=None, drawn=True, assumes=""):
    """The `Reading` of candidates for the mean signals, float64 `[M, K]`; moments `(mean, std)` `[K]` of them if exact."""
    worth, units = scales(view, signal)
    law = Weighted(values, weights, worth, drawn, moments)
    mean, std = law.signals()
    return Reading(law, outcome, assumes, units * mean, np.abs(units) * std)


def scales(view, signal):
    """Profit and demand of a signal of one, float64 `[K]` each."""
    weights, unit = np.asarray(signal.weights, float) * view.unit, float(signal.unit)
    if signal.source == "demand":
        return weights * unit, np.full_like(weights, unit)
    worth = np.full_like(weights, unit * view.unit)
    return worth, worth / np.where(view.margins == 0, np.nan, view.margins)


def of_rows(view, signal, mean, roots, outcome, assumes="", link=None):
    """The `Reading` for signals `mean + roots z`, z standard normal, with `roots` `[K, D]`, through a link."""
    std = np.maximum(np.sqrt(np.sum(roots**2, axis=1)), LEAST)
    values = mean + view.normals((roots.shape[1],)) @ roots.T
    weights = np.full(len(values), 1 / len(values))
    if link is None:
        return of_values(view, signal, values, weights, outcome, (mean, std), True, assumes)
    return of_values(view, signal, link(values), weights, outcome, linked(mean, std, link), True, assumes)


def linked(mean, std, link):
    """Mean and standard deviation of `link(x)` for x ~ N(mean, std^2), `[K]` each."""
    nodes = link(mean[:, None] + std[:, None] * NODES)
    first = nodes @ MASSES
    return first, np.sqrt(np.maximum((nodes - first[:, None]) ** 2 @ MASSES, 0))


def of_independent(view, signal, law, outcome, assumes=""):
    """The `Reading` of independent laws of the signals."""
    worth, units = scales(view, signal)
    return Reading(Independent(law, worth), outcome, assumes, units * law.mean, np.abs(units) * law.std)


def rows_of(form, context):
    """Features of all prices that share coefficients, float64 `[K, D]`."""
    levels = jnp.arange(form.levels.shape[0], dtype=jnp.int32)
    return np.asarray(jax.vmap(lambda k: form.of(context, k))(levels), float)


def moments(state, view):
    """Mean `[K]`, and roots of the covariance: `[K, D]` if coefficients are shared, otherwise deviations `[K]`."""
    context = view.context(state.form)
    mean, factor = np.asarray(state.model.mean, float), np.asarray(state.model.factor, float)
    if state.form.disjoint:
        x = np.asarray(context, float)
        return mean @ x, np.sqrt(np.sum(np.einsum("d,kde->ke", x, factor) ** 2, axis=1))
    rows = rows_of(state.form, context)
    return rows @ mean, rows @ factor


@reader("signal", "form", "model", "noise", of=bayesian_linear.State, names=("bayesian_linear",))
def unknown_noise(state, view):
    """Normal-inverse-gamma posteriors: Student's t for each price."""
    mean, roots = moments(state, view)
    a, b = np.asarray(state.noise.a, float), np.asarray(state.noise.b, float)
    noise = float(np.mean(np.sqrt(b / np.maximum(a - 1, 0.5))))
    if state.form.disjoint:
        law = Students(mean, np.sqrt(b / a) * np.maximum(roots, LEAST), 2 * a)
        return of_independent(view, state.signal, law, noise)
    freedom = 2 * float(a)
    z = view.normals((roots.shape[1] + 1,))
    uniform = np.clip(special.ndtr(z[:, -1]), 1e-12, 1 - 1e-12)
    shrunk = np.sqrt(freedom / (2 * special.gammaincinv(freedom / 2, uniform)))
    values = mean + np.sqrt(b / a) * shrunk[:, None] * (z[:, :-1] @ roots.T)
    std = np.sqrt(b / a * freedom / (freedom - 2)) * np.sqrt(np.sum(roots**2, axis=1))
    return of_values(view, state.signal, values, np.full(len(z), 1 / len(z)), noise, (mean, std))


@reader("signal", "form", "model", of=bootstrapped.State, names=("bootstrapped",))
def replicates(state, view):
    """Replicates, each as likely as the others."""
    values = np.asarray(state.model.predict(state.form, view.context(state.form)), float).T
    noise = float(arms.noise_of_signal(view.problem))
    return of_values(view, state.signal, values, np.full(len(values), 1 / len(values)), noise, drawn=False)


@reader(
    "signal",
    "form",
    "model",
    of=(glm_ucb.State, logistic_thompson.State),
    names=("glm_ucb", "logistic_thompson"),
)
def logistic(state, view):
    """Laplace's approximation of a logistic regression."""
    if isinstance(state.model, logistic_thompson.Diagonal):
        roots = np.sqrt(1 / np.asarray(state.model.precision, float))
        model = state.replace(model=_Factored(state.model.mean, roots[..., None] * np.eye(roots.shape[-1])))
        mean, roots = moments(model, view)
    else:
        mean, roots = moments(state, view)
    roots = np.diag(roots) if roots.ndim == 1 else roots
    return of_rows(view, state.signal, mean, roots, "bernoulli", "Laplace's approximation", special.expit)


class _Factored:
    """Mean and factor of a model."""

    def __init__(self, mean, factor):
        self.mean, self.factor = mean, factor


@reader("signal", "form", "model", "noise", names=("contextual_epsilon_greedy", "lin_ts", "lin_ucb"))
def linear(state, view):
    """Ridge regression with a known noise: normal posteriors."""
    mean, roots = moments(state, view)
    noise = float(state.noise)
    if state.form.disjoint:
        return of_independent(view, state.signal, Normals(mean, np.maximum(noise * roots, LEAST)), noise)
    return of_rows(view, state.signal, mean, noise * roots, noise)


@reader("signal", "form", "model", "frequencies", names=("random_features",))
def fourier(state, view):
    """Ridge regression on random features."""
    context, noise = view.context(state.form), float(arms.noise_of_signal(view.problem))
    mean, factor = np.asarray(state.model.mean, float), np.asarray(state.model.factor, float)
    if state.form.disjoint:
        phi = np.asarray(state.map(context), float)
        std = noise * np.sqrt(np.sum(np.einsum("d,kde->ke", phi, factor) ** 2, axis=1))
        return of_independent(view, state.signal, Normals(mean @ phi, np.maximum(std, LEAST)), noise)
    rows = np.asarray(jax.vmap(state.map, (None, 0))(context, state.form.levels), float)
    return of_rows(view, state.signal, rows @ mean, noise * rows @ factor, noise)


@reader("learned", "used", "model", "noise", names=("neural_linear",))
def last_layer(state, view):
    """Bayesian regression on the last hidden layer of a network."""
    inputs, noise = state.learned.prices(jnp.asarray(view.observation)), float(state.noise)
    hidden = np.asarray(_network(state.used).apply({"params": state.used}, inputs, method="hidden"), float)
    rows = np.concatenate([hidden, np.ones((len(hidden), 1))], axis=1)
    mean, factor = rows @ np.asarray(state.model.mean, float), rows @ np.asarray(state.model.factor, float)
    return of_rows(view, state.learned.signal, mean, noise * factor, noise, "the features of the network as they are")


@reader("learned", "gram", names=("neural_thompson", "neural_ucb"))
def tangent(state, view):
    """Ridge regression on the gradients of a network, with a diagonal Gram matrix."""
    inputs, weights, net = state.learned.prices(jnp.asarray(view.observation)), state.learned.weights, None
    net = _network(weights)
    slopes = jax.vmap(jax.grad(lambda w, x: net.apply({"params": w}, x)), (None, 0))(weights, inputs)
    parts = jax.tree.map(
        lambda g, u: np.sum(np.asarray(g, float) ** 2 / np.asarray(u), axis=tuple(range(1, g.ndim))), slopes, state.gram
    )
    noise, mean = float(arms.noise_of_signal(view.problem)), np.asarray(net.apply({"params": weights}, inputs), float)
    std = noise * np.sqrt(sum(jax.tree.leaves(parts)))
    assumes = "independent prices, with the deviations of the diagonal Gram matrix"
    return of_independent(view, state.learned.signal, Normals(mean, np.maximum(std, LEAST)), noise, assumes)


def _network(weights):
    """The network of `contextual.network` that these weights belong to."""
    return network.Network(weights["hidden_0"]["kernel"].shape[1], len(weights) - 1)


@reader("signal", "noise", "mean", "root", names=("gp_thompson", "gp_ucb"))
def process(state, view):
    """The posterior of a Gaussian process on the grid, in both directions exact."""
    mean, root = np.asarray(state.mean, float), np.asarray(state.root, float)
    return of_rows(view, state.signal, mean, root, float(state.noise))

"""Policies that price by the features of the buyer, against batch solutions in float64 NumPy and SciPy."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from harness import (
    HORIZON,
    LANES,
    assert_choices,
    assert_index,
    learn,
    play,
    problem_of,
)
from scipy import optimize, special, stats

from jaxprice import policies
from jaxprice.policies.parts import features, linear_model, logistic_model
from jaxprice.types import Transition

LOGIT = "features"
LINEAR = ("GLMDemand", (("link", "linear"), ("dimension", 3), ("num_prices", 4), ("low", 0.5), ("cost", 0.2)))
ONE = ("LinearValuation", (("dimension", 1), ("num_prices", 4), ("low", 0.3), ("high", 1.5), ("cost", 0.1)))
SOME = range(0, LANES, 3)  # lanes that a reference follows
FORMS = ["disjoint", "joint", "additive"]
NAMES = [
    "bayesian_linear",
    "bootstrapped",
    "contextual_epsilon_greedy",
    "exp4",
    "glm_ucb",
    "lin_ts",
    "lin_ucb",
    "logistic_thompson",
]


def margins_of(name):
    problem = problem_of(name)
    return np.asarray(problem.prices, float) - float(problem.cost)


def context_of(name, observation):
    return np.asarray(observation, float)[..., -problem_of(name).context_size :]


class Arms:
    """Feature vectors, written from the table: `z(x, k)` belongs to coefficients number `owner(k)`."""

    def __init__(self, name, form):
        self.prices = np.asarray(problem_of(name).prices, float)
        self.form, self.d = form, problem_of(name).context_size
        self.size = {"disjoint": self.d, "joint": 2 * self.d, "additive": self.d + 1}[form]
        self.owners = len(self.prices) if form == "disjoint" else 1

    def owner(self, k):
        return k if self.form == "disjoint" else 0

    def z(self, x, k):
        share = self.prices[k] / self.prices[-1]
        return {"disjoint": x, "joint": [*x, *(share * x)], "additive": [*x, share]}[self.form]


class Ridge:
    """Ridge regression of each vector of coefficients on all its data: normal equations, solved whenever asked."""

    def __init__(self, arms, ridge):
        self.arms, self.ridge = arms, ridge
        self.matrix = np.tile(ridge * np.eye(arms.size), (arms.owners, 1, 1))
        self.target = np.zeros((arms.owners, arms.size))
        self.counts, self.squares = np.zeros(arms.owners), np.zeros(arms.owners)

    def learn(self, x, k, y, weight=1.0):
        owner, z, y = self.arms.owner(k), np.array(self.arms.z(x, k)), float(y)
        self.matrix[owner] += weight * np.outer(z, z)
        self.target[owner] += weight * z * y
        self.counts[owner] += 1
        self.squares[owner] += y**2

    def solve(self, owner, start=0.0):
        """Covariance, mean, number of data and sum of squares left, for a prior mean `start`."""
        covariance = np.linalg.inv(self.matrix[owner])
        mean = covariance @ (self.target[owner] + self.ridge * start)
        return covariance, mean, self.counts[owner], self.squares[owner] - mean @ self.matrix[owner] @ mean

    def values(self, x):
        """Mean and standard deviation of each price, for a noise of one."""
        out = []
        for k in range(len(self.arms.prices)):
            z = np.array(self.arms.z(x, k))
            covariance, mean, *_ = self.solve(self.arms.owner(k))
            out.append((z @ mean, math.sqrt(z @ covariance @ z)))
        return np.array(out).T


def stacked(model, arms):
    """Means and covariances of a `Model` of one lane and time, with an axis of owners: float64."""
    mean, factor = np.asarray(model.mean, float), np.asarray(model.factor, float)
    mean, factor = mean.reshape(arms.owners, arms.size), factor.reshape(arms.owners, arms.size, arms.size)
    return mean, factor @ factor.swapaxes(1, 2)


def assert_model(model, reference, tolerance=2e-5):
    mean, covariance = stacked(model, reference.arms)
    for owner in range(reference.arms.owners):
        exact = reference.solve(owner)
        np.testing.assert_allclose(covariance[owner], exact[0], rtol=0, atol=tolerance * exact[0].max())
        np.testing.assert_allclose(mean[owner], exact[1], rtol=0, atol=tolerance * (1 + np.abs(exact[1]).max()))


def signal_of(name, sale, signal):
    return float(sale.demand) if signal == "demand" else float(sale.reward) / margins_of(name).max()


def weights_of(name, signal="demand"):
    margins = margins_of(name)
    return margins if signal == "demand" else np.full(margins.size, margins.max())


@pytest.mark.parametrize(
    ("name", "form", "signal", "alpha", "clip"),
    [
        (LOGIT, "disjoint", "demand", 2.0, True),
        (LOGIT, "joint", "demand", 0.7, False),
        (LOGIT, "additive", "demand", 0.7, False),
        (LINEAR, "disjoint", "reward", 0.7, False),
    ],
)
def test_lin_ucb_step_for_step(name, form, signal, alpha, clip):
    played = play(policies.lin_ucb(alpha=alpha, ridge=0.5, form=form, signal=signal, clip=clip), name)
    compared, weights = 0, weights_of(name, signal)
    for lane in SOME:
        reference = Ridge(Arms(name, form), 0.5)
        for _, sale in played.lane(lane):
            x = context_of(name, sale.observation)
            mean, std = reference.values(x)
            bound = mean + alpha * std
            compared += assert_index(sale.action, weights * (np.minimum(bound, 1) if clip else bound))
            reference.learn(x, int(sale.action), signal_of(name, sale, signal))
        assert_model(jax.tree.map(lambda a, lane=lane: a[lane], played.last.model), reference)
    assert compared > 0.5 * len(SOME) * HORIZON
    assert len(np.unique(played.sales.action)) > 1


def test_lin_ucb_with_a_constant_context_is_ucb_with_ridge_counts():
    played = play(policies.lin_ucb(alpha=0.6, ridge=2.0), ONE)
    np.testing.assert_array_equal(context_of(ONE, played.sales.observation), 1.0)
    compared = 0
    for lane in SOME:
        counts, sums = np.full(4, 2.0), np.zeros(4)
        for _, sale in played.lane(lane):
            compared += assert_index(sale.action, margins_of(ONE) * (sums / counts + 0.6 / np.sqrt(counts)))
            counts[sale.action] += 1
            sums[sale.action] += sale.demand
    assert compared > 0.8 * len(SOME) * HORIZON


def best_probabilities(laws, weights):
    """P(k has the largest weight * value) for independent laws, by the trapezoidal rule; weights above 0."""
    low = min(w * law.ppf(1e-7) for law, w in zip(laws, weights, strict=True))
    high = max(w * law.isf(1e-7) for law, w in zip(laws, weights, strict=True))
    middle = [w * law.mean() + w * law.std() * np.linspace(-9, 9, 4001) for law, w in zip(laws, weights, strict=True)]
    v = np.unique(np.concatenate([*middle, np.linspace(low, high, 4001)]))
    below = [law.cdf(v / w) for law, w in zip(laws, weights, strict=True)]
    out = []
    for k, (law, w) in enumerate(zip(laws, weights, strict=True)):
        others = math.prod(cdf for j, cdf in enumerate(below) if j != k)
        out.append(np.trapezoid(law.pdf(v / w) / w * others, v))
    assert abs(sum(out) - 1) < 1e-4
    return np.array(out) / sum(out)


def some_state(policy, name, form, periods=40, seed=0):
    """A state after random prices and contexts, with the reference that saw the same, and an observation."""
    rng = np.random.default_rng(seed)
    arms, problem = Arms(name, form), problem_of(name)
    contexts = rng.uniform(0.3, 1.2, (periods, arms.d)).astype(np.float32)
    actions = rng.integers(0, len(arms.prices), periods)
    demands = (rng.random(periods) < 0.75 - 0.15 * actions).astype(np.float32)
    state = told(policy, problem, contexts, actions, demands)
    return (
        state,
        (contexts.astype(float), actions, demands),
        jnp.array([0.1, 0.2, 0.3, 0.9, 0.5, 0.7][: 3 + arms.d], jnp.float32),
    )


def told(policy, problem, contexts, actions, demands):
    """The state after contexts `[time, d]`, actions and demands `[time]`."""
    contexts, actions = np.asarray(contexts, np.float32), np.asarray(actions, np.int32)
    observations = np.concatenate([np.zeros((len(actions), 3), np.float32), contexts], axis=1)
    prices, demands = np.asarray(problem.prices)[actions], np.asarray(demands, np.float32)
    rewards = ((prices - np.asarray(problem.cost)) * demands).astype(np.float32)
    sales = Transition(observations, actions, prices, demands, rewards, observations)
    return learn(policy, policy.init(jax.random.key(0), problem), sales)


def reference_of(arms, ridge, history):
    reference = Ridge(arms, ridge)
    for x, k, y in zip(*history, strict=True):
        reference.learn(x, k, y)
    return reference


def linear_map(draw, size):
    """Center and matrix of a map that is linear in its `size` normals."""
    center = np.asarray(draw(jnp.zeros(size)), float)
    columns = [np.asarray(draw(jnp.eye(size, dtype=jnp.float32)[i]), float) - center for i in range(size)]
    return center, np.array(columns).T


@pytest.mark.parametrize("form", FORMS)
def test_lin_ts_draws_have_the_covariance_of_the_posterior(form):
    """Not its inverse, and nothing divided by the number of periods."""
    policy = policies.lin_ts(scale=1.5, ridge=0.5, noise=0.4, form=form)
    state, history, observation = some_state(policy, LINEAR, form)
    arms = Arms(LINEAR, form)
    reference, x = reference_of(arms, 0.5, history), context_of(LINEAR, observation)
    assert_model(state.model, reference)
    size = linear_model.draws(state.form)[0]
    assert size == (4 if form == "disjoint" else arms.size)
    center, matrix = linear_map(lambda z: state.model.draw(z, state.form, state.form.context(observation), 0.6), size)
    rows = np.array([arms.z(x, k) for k in range(4)])
    np.testing.assert_allclose(center, reference.values(x)[0], atol=2e-5)
    if form == "disjoint":
        exact = np.diag([row @ reference.solve(k)[0] @ row for k, row in enumerate(rows)])
    else:
        exact = rows @ reference.solve(0)[0] @ rows.T
    np.testing.assert_allclose(matrix @ matrix.T, 0.36 * exact, atol=1e-5)


def test_lin_ts_chooses_by_its_posterior():
    policy = policies.lin_ts(scale=1.5, noise=0.4)
    state, history, observation = some_state(policy, LINEAR, "disjoint")
    mean, std = reference_of(Arms(LINEAR, "disjoint"), 1.0, history).values(context_of(LINEAR, observation))

    def choices(std):
        return best_probabilities([stats.norm(*law) for law in zip(mean, std, strict=True)], margins_of(LINEAR))

    wrong = [0.6 / std, 0.6 * std**2, 0.6 * std / math.sqrt(2), std]
    assert_choices(policy, state, choices(0.6 * std), [choices(s) for s in wrong], observation)


def test_lin_ts_takes_the_noise_of_the_market():
    key = jax.random.key(0)
    assert policies.lin_ts().init(key, problem_of(LOGIT)).noise == 0.5
    assert float(policies.lin_ts().init(key, problem_of(LINEAR)).noise) == pytest.approx(0.1)
    assert float(policies.lin_ts(noise=0.3).init(key, problem_of(LINEAR)).noise) == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("epsilon", "decay", "time", "rate"),
    [(1.0, 1 / 3, 1, 1.0), (1.0, 1 / 3, 8, 0.5), (1.0, 1 / 3, 8000, 0.05), (0.2, 0.0, 999, 0.2), (3.0, 0.5, 4, 1.0)],
)
def test_contextual_epsilon_greedy_explores_at_its_rate(epsilon, decay, time, rate):
    policy = policies.contextual_epsilon_greedy(epsilon=epsilon, decay=decay)
    state, history, observation = some_state(policy, LINEAR, "disjoint")
    mean, _ = reference_of(Arms(LINEAR, "disjoint"), 1.0, history).values(context_of(LINEAR, observation))
    greedy = np.eye(4)[np.argmax(margins_of(LINEAR) * mean)]
    state = dataclasses.replace(state, time=jnp.int32(time))
    assert_choices(policy, state, rate / 4 + (1 - rate) * greedy, observation=observation)


def test_contextual_epsilon_greedy_learns_from_every_period():
    played = play(policies.contextual_epsilon_greedy(), LOGIT)
    for lane in SOME:
        reference = Ridge(Arms(LOGIT, "disjoint"), 1.0)
        for t, (state, sale) in enumerate(played.lane(lane), start=1):
            assert state.time == t
            reference.learn(context_of(LOGIT, sale.observation), int(sale.action), sale.demand)
        assert_model(jax.tree.map(lambda a, lane=lane: a[lane], played.last.model), reference)
    assert len(np.unique(played.sales.action)) == 4


@pytest.mark.parametrize("form", ["disjoint", "joint"])
def test_bayesian_linear_posterior_is_the_textbooks(form):
    played = play(policies.bayesian_linear(a=2.0, b=0.3, ridge=0.5, form=form), LINEAR)
    for lane in SOME:
        arms = Arms(LINEAR, form)
        reference = Ridge(arms, 0.5)
        for _, sale in played.lane(lane):
            reference.learn(context_of(LINEAR, sale.observation), int(sale.action), sale.demand)
        last = jax.tree.map(lambda a, lane=lane: a[lane], played.last)
        assert_model(last.model, reference)
        a, b = (np.reshape(np.asarray(x, float), arms.owners) for x in (last.noise.a, last.noise.b))
        for owner in range(arms.owners):
            _, _, n, left = reference.solve(owner)
            assert a[owner] == 2 + n / 2
            assert b[owner] == pytest.approx(0.3 + left / 2, rel=1e-4)
    assert len(np.unique(played.sales.action)) > 1


def test_bayesian_linear_chooses_by_student_laws():
    """Integrating the variance out leaves a Student law with 2 a degrees of freedom for the value of each price."""
    policy = policies.bayesian_linear(a=1.5, b=0.2, ridge=0.5)
    state, history, observation = some_state(policy, LINEAR, "disjoint", periods=14)
    reference = reference_of(Arms(LINEAR, "disjoint"), 0.5, history)
    mean, std = reference.values(context_of(LINEAR, observation))
    a, b = (
        np.array([f(*reference.solve(k)[2:]) for k in range(4)])
        for f in (lambda n, s: 1.5 + n / 2, lambda n, s: 0.2 + s / 2)
    )

    def choices(laws):
        return best_probabilities(laws, margins_of(LINEAR))

    scale = np.sqrt(b / a) * std
    expected = choices([stats.t(2 * a[k], mean[k], scale[k]) for k in range(4)])
    wrong = [
        choices([stats.norm(mean[k], b[k] / a[k] * std[k]) for k in range(4)]),
        choices([stats.norm(mean[k], std[k]) for k in range(4)]),
        choices([stats.norm(mean[k], np.sqrt(a[k] / b[k]) * std[k]) for k in range(4)]),
    ]
    assert_choices(policy, state, expected, wrong, observation)


def exact_mode(prior, variance, sales, trials):
    """By bisection, in float64."""
    low, high = prior + variance * (sales - trials), prior + variance * sales
    if high - low < 1e-12:
        return low
    return optimize.brentq(lambda u: u - prior - variance * (sales - trials * special.expit(u)), low, high, xtol=1e-12)


def test_the_mode_of_one_period_is_exact():
    rng = np.random.default_rng(0)
    prior = np.concatenate([rng.normal(0, 3, 300), rng.normal(0, 15, 300), [0, 0, 30, -30]]).astype(np.float32)
    variance = np.concatenate([np.exp(rng.uniform(-12, 5.5, 600)), [0, 1e4, 1e4, 1e4]]).astype(np.float32)
    trials = np.concatenate([rng.choice([1, 3, 40], 600), [1, 1, 1, 1]]).astype(np.float32)
    sales = np.concatenate([np.floor(rng.random(600) * (trials[:600] + 1)), [1, 0, 0, 1]]).astype(np.float32)
    u = np.asarray(jax.jit(jax.vmap(logistic_model.mode))(prior, variance, sales, trials), float)
    exact = np.array([exact_mode(*row) for row in np.stack([prior, variance, sales, trials], 1).astype(float)])
    np.testing.assert_allclose(u, exact, rtol=2e-5, atol=2e-5)


class Laplace:
    """Laplace's approximation carried from period to period, its mode by a general minimiser or by bisection."""

    def __init__(self, arms, ridge, diagonal=False):
        self.arms, self.diagonal = arms, diagonal
        self.mean = np.zeros((arms.owners, arms.size))
        self.precision = np.tile(ridge * np.eye(arms.size), (arms.owners, 1, 1))

    def learn(self, x, k, sales, trials=1, minimise=False):
        z, owner = np.array(self.arms.z(x, k)), self.arms.owner(k)
        mean, precision = self.mean[owner], self.precision[owner]
        step = np.linalg.solve(precision, z)
        u = exact_mode(z @ mean, z @ step, float(sales), trials)
        new = mean + step * (sales - trials * special.expit(u))
        if minimise:

            def loss(theta):
                u, gap = z @ theta, theta - mean
                return gap @ precision @ gap / 2 + trials * np.logaddexp(0, u) - sales * u

            np.testing.assert_allclose(new, optimize.minimize(loss, mean, tol=1e-12).x, atol=1e-5)
        p = special.expit(z @ new)
        gained = trials * p * (1 - p) * np.outer(z, z)
        self.mean[owner], self.precision[owner] = new, precision + (np.diag(np.diag(gained)) if self.diagonal else gained)

    def values(self, x):
        out = []
        for k in range(len(self.arms.prices)):
            z, owner = np.array(self.arms.z(x, k)), self.arms.owner(k)
            out.append((z @ self.mean[owner], math.sqrt(z @ np.linalg.solve(self.precision[owner], z))))
        return np.array(out).T


@pytest.mark.parametrize("form", ["joint", "disjoint"])
def test_glm_ucb_step_for_step(form):
    played = play(policies.glm_ucb(alpha=0.5, ridge=0.5, form=form), LOGIT)
    compared, arms = 0, Arms(LOGIT, form)
    for lane in SOME[:2]:
        reference = Laplace(arms, 0.5)
        for t, (_, sale) in enumerate(played.lane(lane)):
            x = context_of(LOGIT, sale.observation)
            mean, std = reference.values(x)
            compared += assert_index(sale.action, margins_of(LOGIT) * special.expit(mean + 0.5 * std))
            reference.learn(x, int(sale.action), sale.demand, minimise=lane == 0 and t % 30 == 5)
        mean, covariance = stacked(jax.tree.map(lambda a, lane=lane: a[lane], played.last.model), arms)
        np.testing.assert_allclose(mean, reference.mean, atol=1e-4)
        np.testing.assert_allclose(covariance, np.linalg.inv(reference.precision), atol=1e-4)
    assert compared > 0.5 * 2 * HORIZON


def test_glm_ucb_estimates_what_all_data_say():
    """The estimate carried along stays within a fraction of a standard error of the mode on all data at once."""
    policy, arms = policies.glm_ucb(), Arms(LOGIT, "joint")
    rng = np.random.default_rng(1)
    n = 3000
    x, k = rng.uniform(0.3, 1.2, (n, 3)), rng.integers(0, 4, n)
    z = np.array([arms.z(*row) for row in zip(x, k, strict=True)])
    y = rng.random(n) < special.expit(z @ np.array([1.5, 0.5, 1.0, -1.0, -2.0, -1.0]))
    state = told(policy, problem_of(LOGIT), x, k, y)
    theta = np.zeros(6)
    for _ in range(20):
        p = special.expit(z @ theta)
        information = np.eye(6) + (z * (p * (1 - p))[:, None]).T @ z
        theta = theta + np.linalg.solve(information, z.T @ (y - p) - theta)
    gap = np.asarray(state.model.mean, float) - theta
    assert math.sqrt(gap @ information @ gap / 6) < 0.3
    _, covariance = stacked(state.model, arms)
    assert np.abs(np.linalg.eigvals(covariance[0] @ information) - 1).max() < 0.1


@pytest.mark.parametrize(("covariance", "form"), [("full", "disjoint"), ("diagonal", "joint")])
def test_logistic_thompson_posterior_step_for_step(covariance, form):
    played = play(policies.logistic_thompson(ridge=0.5, covariance=covariance, form=form), LOGIT)
    arms = Arms(LOGIT, form)
    for lane in SOME[:2]:
        reference = Laplace(arms, 0.5, covariance == "diagonal")
        for t, (_, sale) in enumerate(played.lane(lane)):
            x = context_of(LOGIT, sale.observation)
            reference.learn(x, int(sale.action), sale.demand, minimise=lane == 0 and t % 30 == 5)
        last = jax.tree.map(lambda a, lane=lane: a[lane], played.last.model)
        if covariance == "full":
            mean, exact = stacked(last, arms)
            np.testing.assert_allclose(exact, np.linalg.inv(reference.precision), atol=1e-4)
        else:
            mean = np.reshape(np.asarray(last.mean, float), reference.mean.shape)
            diagonal = np.diagonal(reference.precision, axis1=1, axis2=2)
            np.testing.assert_allclose(np.reshape(last.precision, diagonal.shape), diagonal, rtol=1e-4)
        np.testing.assert_allclose(mean, reference.mean, atol=1e-4)
    assert len(np.unique(played.sales.action)) > 1


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_logistic_thompson_chooses_by_its_posterior(covariance):
    policy = policies.logistic_thompson(scale=1.2, ridge=0.5, covariance=covariance, form="disjoint")
    state, history, observation = some_state(policy, LOGIT, "disjoint")
    reference = Laplace(Arms(LOGIT, "disjoint"), 0.5, covariance == "diagonal")
    for x, k, y in zip(*history, strict=True):
        reference.learn(x, k, y)
    mean, std = reference.values(context_of(LOGIT, observation))
    rng = np.random.default_rng(0)
    margins = margins_of(LOGIT)

    def choices(std):
        draws = margins * special.expit(mean + std * rng.standard_normal((400_000, 4)))
        return np.bincount(np.argmax(draws, axis=1), minlength=4) / len(draws)

    assert_choices(policy, state, choices(1.2 * std), [choices(std / 1.2), choices(3 / std)], observation)


@pytest.mark.parametrize("form", ["joint", "additive"])
def test_diagonal_draws_are_of_independent_coefficients(form):
    policy = policies.logistic_thompson(covariance="diagonal", form=form)
    state, _, observation = some_state(policy, LOGIT, form)
    arms, x = Arms(LOGIT, form), context_of(LOGIT, observation)
    context = state.form.context(observation)
    center, matrix = linear_map(lambda z: state.model.draw(z, state.form, context, 2.0), arms.size)
    rows = np.array([arms.z(x, k) for k in range(4)])
    np.testing.assert_allclose(center, rows @ np.asarray(state.model.mean, float), atol=1e-5)
    np.testing.assert_allclose(
        matrix @ matrix.T, 4 * rows @ np.diag(1 / np.asarray(state.model.precision, float)) @ rows.T, atol=1e-4
    )


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("glm_ucb", {"form": "joint"}),
        ("glm_ucb", {"form": "disjoint"}),
        ("logistic_thompson", {"form": "joint", "covariance": "diagonal"}),
    ],
)
def test_separable_sales_leave_estimates_finite(name, options):
    """A sale at every price below the third and none above: the likelihood has no maximum."""
    policy = policies.make(name, ridge=1e-3, **options)
    actions, x = np.arange(4000) % 4, np.array([0.6, 0.9, 0.3], np.float32)
    state = told(policy, problem_of(LOGIT), np.tile(x, (4000, 1)), actions, actions < 2)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(state))
    logits = np.asarray(state.form.apply(state.model.mean, jnp.asarray(x)))
    assert np.all(logits[:2] > 2.5) and np.all(logits[2:] < -2.5) and np.abs(logits).max() < 50


def test_small_variances_survive_many_periods():
    """Two nearly equal features over 20,000 periods: their sum is a million times as certain as their difference."""
    form = features.Features(jnp.ones(1), "additive", 1)
    start, n = linear_model.no_data(form, 1e-3), 20_000
    rng = np.random.default_rng(0)
    z = np.stack([np.ones(n), 1 + 1e-3 * rng.standard_normal(n)], 1).astype(np.float32)
    y = (z @ [0.3, 0.2] + 0.1 * rng.standard_normal(n)).astype(np.float32)
    model = jax.jit(lambda: jax.lax.scan(lambda m, now: (m.revise(*now)[0], None), start, (z, y))[0])()
    z, y = z.astype(float), y.astype(float)
    matrix = 1e-3 * np.eye(2) + z.T @ z
    _, covariance = stacked(model, type("", (), {"owners": 1, "size": 2}))
    along = np.ones(2)
    exact = along @ np.linalg.inv(matrix) @ along
    assert along @ covariance[0] @ along == pytest.approx(exact, rel=0.02)
    assert along @ np.asarray(model.mean, float) == pytest.approx(
        along @ np.linalg.solve(matrix, z.T @ y), abs=0.2 * math.sqrt(exact)
    )


@pytest.mark.parametrize("name", NAMES)
def test_odd_contexts_do_no_harm(name):
    policy = policies.make(name)
    act = jax.jit(policy.act)
    for size in (0.0, 1e-12, 1e4):
        contexts = size * np.tile([1.0, 0.0, -1.0], (50, 1))
        state = told(policy, problem_of(LOGIT), contexts, np.arange(50) % 4, np.arange(50) % 3 == 0)
        action = act(jax.random.key(1), state, jnp.asarray(np.append(np.zeros(3), contexts[0]), jnp.float32))
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(state))
        assert 0 <= action < 4


@pytest.mark.parametrize("name", NAMES)
def test_refusals_name_the_policy(name):
    markets = ["bandit", "features, interval"] + (["features, linear"] if name in ("glm_ucb", "logistic_thompson") else [])
    for label in markets:
        with pytest.raises(ValueError, match=name):
            policies.make(name).init(jax.random.key(0), problem_of(LINEAR if label == "features, linear" else label))


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("lin_ucb", {"alpha": -1.0}),
        ("lin_ucb", {"ridge": 0.0}),
        ("lin_ucb", {"form": "product"}),
        ("lin_ucb", {"signal": "sales"}),
        ("lin_ts", {"scale": 0.0}),
        ("lin_ts", {"noise": -1.0}),
        ("contextual_epsilon_greedy", {"epsilon": -0.1}),
        ("contextual_epsilon_greedy", {"decay": 1.5}),
        ("bayesian_linear", {"a": 0.5}),
        ("bayesian_linear", {"b": 0.0}),
        ("glm_ucb", {"alpha": math.nan}),
        ("glm_ucb", {"ridge": -1.0}),
        ("logistic_thompson", {"scale": -1.0}),
        ("logistic_thompson", {"covariance": "block"}),
        ("exp4", {"mixing": 1.5}),
        ("bootstrapped", {"replicates": 0}),
        ("bootstrapped", {"weights": "gamma"}),
        ("bootstrapped", {"spread": -1.0}),
    ],
)
def test_bad_options_are_named(name, option):
    with pytest.raises(ValueError, match=next(iter(option))):
        policies.make(name, **option)

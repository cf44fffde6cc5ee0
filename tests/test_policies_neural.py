"""Policies with a network or random features of the context, against float64 NumPy without flax, optax or autodiff."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from harness import HORIZON, LANES, assert_choices, assert_index, play, problem_of, state_after
from rows import some
from scipy import stats

from jaxprice import policies
from jaxprice.policies.contextual import network

pytestmark = pytest.mark.optimised

MARKET = "features"
MEMORY, BATCH = 64, 16
SMALL = {"width": 4, "depth": 2, "memory": MEMORY, "batch": BATCH}  # the buffer is full after half the horizon
OPTIONS = {
    "neural_ucb": {**SMALL, "scale": 0.2, "ridge": 0.5, "rate": 0.02, "steps": 2},
    "neural_thompson": {**SMALL, "scale": 0.4, "ridge": 0.3, "rate": 0.01, "signal": "reward"},
    "neural_linear": {**SMALL, "scale": 0.8, "ridge": 0.7, "rate": 0.01, "every": 40, "noise": 0.4},
}
NAMES = list(OPTIONS)
SOME = range(0, LANES, 4)  # lanes that a reference follows


@functools.cache
def played(name):
    return play(policies.make(name, **OPTIONS[name]), MARKET)


def at(tree, *index):
    """One lane and time of a tree."""
    return jax.tree.map(lambda x: x[index], tree)


def inputs_of(observations, actions=None):
    """(context, price in units of the highest), float64 `[..., 4]`: of all prices, or of those posted."""
    prices = np.asarray(problem_of(MARKET).prices, float)
    context = np.asarray(observations, float)[..., -3:]
    if actions is not None:
        return np.append(context, (prices / prices[-1])[actions][..., None], axis=-1)
    return np.stack([np.append(context, p / prices[-1]) for p in prices])


def signals_of(sales, signal):
    prices = np.asarray(problem_of(MARKET).prices, float)  # no cost
    return np.asarray(sales.demand, float) if signal == "demand" else np.asarray(sales.reward, float) / prices[-1]


def weights_of(signal):
    prices = np.asarray(problem_of(MARKET).prices, float)
    return prices if signal == "demand" else np.full(prices.size, prices[-1])


def flat(tree):
    """Weights in a fixed order, float64: `[(kernel, bias), ...]`, the output last."""
    names = [*sorted(name for name in tree if name != "output"), "output"]
    return [(np.asarray(tree[name]["kernel"], float), np.asarray(tree[name]["bias"], float)) for name in names]


def forward(layers, z):
    """All layers' values, of inputs `[rows, n]`, and f `[rows]`."""
    values = [z]
    for kernel, bias in layers[:-1]:
        values.append(np.maximum(values[-1] @ kernel + bias, 0))
    kernel, bias = layers[-1]
    return values, values[-1] @ kernel[:, 0] + bias[0]


def backward(layers, z, cotangent):
    """Gradient of sum_i cotangent_i f(z_i), by the chain rule."""
    values, _ = forward(layers, z)
    delta, grads = np.asarray(cotangent, float)[:, None], []
    for (kernel, _), below in zip(layers[::-1], values[::-1], strict=True):
        grads.append((below.T @ delta, delta.sum(axis=0)))
        delta = (delta @ kernel.T) * (below > 0)
    return grads[::-1]


def spreads(layers, gram, z, ridge):
    """sigma of each input."""
    out = []
    for row in z:
        grads = backward(layers, row[None], [1.0])
        out.append(
            sum((g**2 / u).sum() for pair, us in zip(grads, gram, strict=True) for g, u in zip(pair, us, strict=True))
        )
    return np.sqrt(ridge * np.array(out))


def test_the_reference_gradient_by_differences():
    rng = np.random.default_rng(0)
    layers = [(rng.normal(size=(4, 6)), rng.normal(size=6)), (rng.normal(size=(6, 6)), rng.normal(size=6))]
    layers.append((rng.normal(size=(6, 1)), rng.normal(size=1)))
    z, cotangent, step = rng.normal(size=(5, 4)), rng.normal(size=5), 1e-6
    for pair, grads in zip(layers, backward(layers, z, cotangent), strict=True):
        for array, grad in zip(pair, grads, strict=True):
            for index in np.ndindex(array.shape):
                values, middle = [], array[index]
                for shift in (step, -step):
                    array[index] = middle + shift
                    values.append(cotangent @ forward(layers, z)[1])
                array[index] = middle
                assert abs((values[0] - values[1]) / (2 * step) - grad[index]) < 1e-6


@pytest.mark.parametrize("depth", [1, 3])
def test_start(depth):
    """f is zero whatever the key, its gradient is not; entries have the variances of the paper's kind of start."""
    size, width, count = 4, 16, 400
    weights = jax.jit(jax.vmap(lambda key: network.start(key, size, width, depth)))(
        jax.random.split(jax.random.key(1), count)
    )
    for k in range(0, count, 40):
        layers, z = flat(at(weights, k)), np.random.default_rng(k).normal(size=(20, size))
        assert np.abs(forward(layers, z)[1]).max() < 1e-6
        assert all(np.abs(grads[0]).max() > 1e-2 for grads in backward(layers, z, np.ones(20)))
        module = network.Network(width, depth).apply({"params": at(weights, k)}, z.astype(np.float32))
        assert np.abs(module).max() < 1e-5
    half = width // 2
    for i, (kernel, bias) in enumerate(flat(weights)):
        fan = size if i == 0 else half
        block, scale = (kernel[:, :fan, :half], 2 / fan) if i < depth else (kernel[:, :half], 1 / half)
        squares = (block**2).reshape(count, -1).mean(axis=1)
        assert abs(squares.mean() - scale) < 4 * squares.std() / math.sqrt(count)
        assert not bias.any()
        if 0 < i < depth:
            assert not kernel[:, half:, :half].any() and not kernel[:, :half, half:].any()
            np.testing.assert_array_equal(kernel[:, half:, half:], block)


@pytest.mark.parametrize("name", NAMES)
def test_training_step_for_step(name):
    """Adam on the blocks of the last sales, in turn; each step from the weights recorded before it."""
    options, out = OPTIONS[name], played(name)
    learned = out.states.learned
    rate, ridge, steps = options["rate"], options["ridge"], options.get("steps", 1)
    z = inputs_of(out.sales.observation, np.asarray(out.sales.action))
    y = signals_of(out.sales, options.get("signal", "demand"))
    for lane in SOME:
        origin = flat(at(learned.weights, 0, lane))
        for t in [*range(0, 20, 3), *range(20, HORIZON - 1, 11)]:
            sales, held = range(max(0, t + 1 - MEMORY), t + 1), min(t + 1, MEMORY)
            rows = np.zeros((MEMORY, 4)), np.zeros(MEMORY)
            for i in sales:
                rows[0][i % MEMORY], rows[1][i % MEMORY] = z[i, lane], y[i, lane]
            after = at(learned, t + 1, lane)
            np.testing.assert_allclose(after.inputs, rows[0], atol=1e-6)
            np.testing.assert_allclose(after.signals, rows[1], atol=1e-6)
            before = at(learned, t, lane)
            layers, adam = flat(before.weights), before.optimiser[0]
            first, second, count = flat(adam.mu), flat(adam.nu), int(adam.count)
            blocks = math.ceil(held / BATCH)
            for i in range(steps):
                start = ((t + 1) * steps + i) % blocks * BATCH
                chosen = slice(start, min(start + BATCH, held))
                error = forward(layers, rows[0][chosen])[1] - rows[1][chosen]
                grads = backward(layers, rows[0][chosen], error / BATCH)
                count += 1
                new = []
                for j, pair in enumerate(grads):
                    for k, grad in enumerate(pair):
                        slope = grad + ridge / blocks / BATCH * (layers[j][k] - origin[j][k])
                        m, v = first[j][k], second[j][k]
                        m += 0.1 * (slope - m)
                        v += 0.001 * (slope**2 - v)
                        change = rate * (m / (1 - 0.9**count)) / (np.sqrt(v / (1 - 0.999**count)) + 1e-4)
                        new.append(layers[j][k] - change)
                layers = list(zip(new[::2], new[1::2], strict=True))
            for exact, got in zip(layers, flat(after.weights), strict=True):
                for a, b in zip(exact, got, strict=True):
                    np.testing.assert_allclose(b, a, rtol=0, atol=2e-2 * rate)


@pytest.mark.parametrize("name", NAMES)
def test_training_lowers_the_objective(name):
    options, learned, costs, before = OPTIONS[name], played(name).last.learned, [], []
    for lane in range(LANES):
        last, layers = at(learned, lane), flat(at(learned.weights, lane))
        pairs = zip(layers, flat(last.origin), strict=True)
        moved = sum(((a - b) ** 2).sum() for new, old in pairs for a, b in zip(new, old, strict=True))
        z, y = np.asarray(last.inputs, float), np.asarray(last.signals, float)
        costs.append(((forward(layers, z)[1] - y) ** 2).sum() + options["ridge"] * moved)
        before.append((y**2).sum())  # f is zero at the start
    assert sum(costs) < 0.8 * sum(before)
    assert np.mean(np.array(costs) < before) > 0.7


@pytest.mark.parametrize("name", ["neural_ucb", "neural_thompson"])
def test_diagonal_of_the_gram_matrix(name):
    options, out = OPTIONS[name], played(name)
    z = inputs_of(out.sales.observation, np.asarray(out.sales.action))
    for lane in SOME:
        gram = [[np.full(a.shape, options["ridge"]) for a in pair] for pair in flat(at(out.states.learned.weights, 0, lane))]
        for t in range(HORIZON):
            grads = backward(flat(at(out.states.learned.weights, t, lane)), z[t, lane][None], [1.0])
            gram = [[u + g**2 for u, g in zip(us, gs, strict=True)] for us, gs in zip(gram, grads, strict=True)]
        for exact, got in zip(gram, flat(at(out.last.gram, lane)), strict=True):
            for a, b in zip(exact, got, strict=True):
                np.testing.assert_allclose(b, a, rtol=1e-4)


def test_neural_ucb_choices():
    options, out, compared = OPTIONS["neural_ucb"], played("neural_ucb"), 0
    for lane in SOME:
        for t in range(0, HORIZON, 3):
            state, z = at(out.states, t, lane), inputs_of(out.sales.observation[t, lane])
            layers = flat(state.learned.weights)
            bound = forward(layers, z)[1] + options["scale"] * spreads(layers, flat(state.gram), z, options["ridge"])
            compared += assert_index(out.sales.action[t, lane], weights_of("demand") * bound)
    assert compared > 0.8 * len(SOME) * HORIZON / 3
    assert len(np.unique(out.sales.action)) > 2


def best_of(mean, covariance):
    """Probability that each of jointly normal values is the largest."""
    mean, covariance, law = np.asarray(mean, float), np.asarray(covariance, float), []
    for k in range(len(mean)):
        others = [j for j in range(len(mean)) if j != k]
        turn = np.zeros((len(others), len(mean)))
        turn[range(len(others)), others], turn[:, k] = 1.0, -1.0
        lead = stats.multivariate_normal(turn @ mean, turn @ covariance @ turn.T, allow_singular=True)
        law.append(lead.cdf(np.zeros(len(others)), rng=np.random.default_rng(0)))
    return np.array(law) / np.sum(law)


@pytest.mark.parametrize("t", [2, 60])
def test_neural_thompson_choices(t):
    """Independent normals around f; signals of rewards, so that all prices have the same scale."""
    options, out = OPTIONS["neural_thompson"], played("neural_thompson")
    state, observation = at(out.states, t, 5), jnp.asarray(out.sales.observation[t, 5])
    layers, z = flat(state.learned.weights), inputs_of(out.sales.observation[t, 5])
    mean, std = forward(layers, z)[1], options["scale"] * spreads(layers, flat(state.gram), z, options["ridge"])
    law, doubled = (best_of(mean, np.diag((s * std) ** 2)) for s in (1.0, 2.0))
    against = [doubled] if t == 60 else []  # where the mean is nearly zero, the scale does not show
    assert_choices(policies.neural_thompson(**options), state, law, against, observation)


def ridge_fit(rows, targets, ridge):
    """Covariance for a noise of one, and mean."""
    covariance = np.linalg.inv(ridge * np.eye(rows.shape[1]) + rows.T @ rows)
    return covariance, covariance @ rows.T @ targets


def assert_model(model, rows, targets, ridge):
    covariance, mean = ridge_fit(rows, targets, ridge)
    factor = np.asarray(model.factor, float)
    np.testing.assert_allclose(factor @ factor.T, covariance, rtol=0, atol=1e-4 * covariance.max())
    np.testing.assert_allclose(model.mean, mean, rtol=0, atol=1e-4 * (1 + np.abs(mean).max()))


def phis_of(layers, z):
    return np.column_stack([forward(layers, z)[0][-1], np.ones(len(z))])


def test_neural_linear_regression():
    """Ridge regression, on the features of the last renewal, of the sales in the buffer then and of those since."""
    options, out = OPTIONS["neural_linear"], played("neural_linear")
    z, y = inputs_of(out.sales.observation, np.asarray(out.sales.action)), signals_of(out.sales, "demand")
    every, renewed = options["every"], 0
    for lane in SOME:
        for t in (0, 1, 17, 39, 40, 41, 79, 80, 95, 119):
            state, last = at(out.states, t, lane), t // every * every
            layers = flat(state.used)
            kept = list(range(max(0, last - MEMORY), t))
            for exact, got in zip(flat(at(out.states.learned.weights, last, lane)), layers, strict=True):
                np.testing.assert_array_equal(exact[0], got[0])
            assert_model(state.model, phis_of(layers, z[kept, lane]), y[kept, lane], options["ridge"])
            renewed += last > 0 and np.abs(layers[0][0] - flat(at(out.states.learned.origin, 0, lane))[0][0]).max() > 1e-3
    assert renewed == 6 * len(SOME)


def turned(state):
    """The state with another factor of the same covariance: a draw with its transpose in place of it has another law."""
    size = state.model.mean.size
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(size, size)))[0]
    factor = (np.asarray(state.model.factor, float) @ turn).astype(np.float32)
    return dataclasses.replace(state, model=dataclasses.replace(state.model, factor=jnp.asarray(factor)))


def test_neural_linear_choices():
    options, out = OPTIONS["neural_linear"], played("neural_linear")
    t, lane, prices = 90, 2, weights_of("demand")
    state, observation = turned(at(out.states, t, lane)), jnp.asarray(out.sales.observation[t, lane])
    rows = phis_of(flat(state.used), inputs_of(out.sales.observation[t, lane])) * prices[:, None]
    factor = np.asarray(state.model.factor, float)
    noise = options["scale"] * options["noise"]
    law, wrong = (
        best_of(rows @ np.asarray(state.model.mean, float), s * rows @ factor @ factor.T @ rows.T) for s in (noise**2, 1.0)
    )
    assert_choices(policies.neural_linear(**options), state, law, [wrong], observation)


def test_bounds_shrink_as_they_must():
    """With weights that stay (rate 0), n sales at one input leave sigma^2 = ridge sum_i g_i^2 / (ridge + n g_i^2)."""
    ridge, n = 0.5, 30
    policy = policies.neural_ucb(**SMALL, ridge=ridge, rate=0.0)
    observation = jnp.asarray([0.1, 1.0, 0.0, 0.6, 0.7, 0.8], jnp.float32)
    state = state_after(policy, problem_of(MARKET), [2] * n, [1.0, 0.0] * (n // 2), observation)
    layers, z = flat(state.learned.weights), inputs_of(observation)
    squares = np.concatenate([g.ravel() ** 2 for pair in backward(layers, z[2][None], [1.0]) for g in pair])
    exact = math.sqrt(ridge * np.sum(squares / (ridge + n * squares)))
    assert abs(spreads(layers, flat(state.gram), z, ridge)[2] - exact) < 1e-4 * exact
    for new, old in zip(layers, flat(state.learned.origin), strict=True):
        np.testing.assert_array_equal(new[0], old[0])


def angles(state, z):
    """Features written from the formula."""
    frequencies, phases = np.asarray(state.frequencies, float), np.asarray(state.phases, float)
    return np.sqrt(2 / phases.size) * np.cos(z @ frequencies + phases)


@functools.cache
def featured(method):
    return play(policies.random_features(method=method, size=12, bandwidth=0.8, scale=0.6, ridge=0.4), MARKET)


@pytest.mark.parametrize("method", ["ucb", "thompson"])
def test_random_features_regression(method):
    out = featured(method)
    z, y = inputs_of(out.sales.observation, np.asarray(out.sales.action)), signals_of(out.sales, "demand")
    for lane in SOME:
        assert_model(at(out.last.model, lane), angles(at(out.last, lane), z[:, lane]), y[:, lane], 0.4)
    assert len({float(x) for x in out.last.phases[:, 0]}) == LANES


def test_random_features_bounds():
    out, compared = featured("ucb"), 0
    for lane in SOME:
        for t in range(0, HORIZON, 3):
            state = at(out.states, t, lane)
            rows, factor = angles(state, inputs_of(out.sales.observation[t, lane])), np.asarray(state.model.factor, float)
            bound = rows @ np.asarray(state.model.mean, float) + 0.6 * np.linalg.norm(rows @ factor, axis=1)
            compared += assert_index(out.sales.action[t, lane], weights_of("demand") * bound)
    assert compared > 0.8 * len(SOME) * HORIZON / 3


def test_random_features_draws():
    out, prices, t, lane = featured("thompson"), weights_of("demand"), 40, 1
    state, observation = turned(at(out.states, t, lane)), jnp.asarray(out.sales.observation[t, lane])
    rows = angles(state, inputs_of(out.sales.observation[t, lane])) * prices[:, None]
    factor, mean = np.asarray(state.model.factor, float), rows @ np.asarray(state.model.mean, float)
    law, precision = best_of(mean, 0.36 * rows @ factor @ factor.T @ rows.T), np.linalg.inv(factor @ factor.T)
    wrong = best_of(mean, 0.36 * rows @ precision @ rows.T)  # a public sampler draws from the precision
    policy = policies.random_features(method="thompson", size=12, bandwidth=0.8, scale=0.6, ridge=0.4)
    assert_choices(policy, state, law, [wrong], observation)


def test_random_features_are_a_gaussian_kernel():
    """In the mean over frequencies and phases, phi(z)'phi(z') is exp(-|z - z'|^2 / (2 bandwidth^2))."""
    bandwidth, count = 0.7, 4000
    policy, problem = policies.random_features(size=8, bandwidth=bandwidth), problem_of(MARKET)
    state = jax.jit(jax.vmap(lambda key: policy.init(key, problem)))(jax.random.split(jax.random.key(3), count))
    z = np.random.default_rng(0).uniform(0, 1, (5, 4))
    phi = np.sqrt(2 / 8) * np.cos(
        np.einsum("in,knd->kid", z, np.asarray(state.frequencies, float)) + np.asarray(state.phases)[:, None]
    )
    products = np.einsum("kid,kjd->kij", phi, phi)
    exact = np.exp(-((z[:, None] - z[None]) ** 2).sum(-1) / (2 * bandwidth**2))
    assert np.all(np.abs(products.mean(0) - exact) < 4 * products.std(0) / math.sqrt(count))
    assert exact.min() < 0.75
    assert stats.kstest(np.ravel(state.phases) / (2 * math.pi), "uniform").pvalue > 1e-3  # the mean is blind to these


@pytest.mark.parametrize(
    ("name", "options"),
    [
        (name, options)
        for name in NAMES
        for options in (
            {"width": 5},
            {"width": 0},
            {"depth": 0},
            {"memory": 100, "batch": 32},
            {"batch": 1.5},
            {"steps": 0},
            {"rate": -1.0},
            {"ridge": 0.0},
            {"scale": -1.0},
            {"signal": "sales"},
        )
    ]
    + [("neural_linear", {"every": 0}), ("neural_linear", {"noise": 0.0})]
    + [
        ("random_features", options)
        for options in (
            {"method": "greedy"},
            {"size": 0},
            {"bandwidth": 0.0},
            {"scale": -1.0},
            {"ridge": 0.0},
            {"signal": "sales"},
        )
    ],
)
def test_refuses_bad_options(name, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        policies.make(name, **options)


@pytest.mark.parametrize("name", [*NAMES, "random_features"])
@pytest.mark.parametrize("label", ["bandit", "features, interval"])
def test_refuses_markets_without_grid_or_context(name, label):
    with pytest.raises(ValueError, match=name):
        policies.make(name).init(jax.random.key(0), problem_of(label))


@pytest.mark.parametrize("name", some(NAMES, "neural_ucb"))
def test_one_context_over_and_over(name):
    """The same sale for ever, with huge steps: everything stays finite."""
    policy = policies.make(name, **SMALL, rate=1.0)
    observation = jnp.asarray([0.0, 0.0, 0.0, 0.0, 0.0, 0.0], jnp.float32)
    state = state_after(policy, problem_of(MARKET), [3] * 200, [1.0] * 200, observation)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(state))
    assert 0 <= int(policy.act(jax.random.key(1), state, observation)) < 4

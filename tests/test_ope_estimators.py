"""Off-policy estimators: expectations by enumeration, NumPy references, limits, reward models, diagnostics, bad input."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import genpareto

from jaxprice import ope
from jaxprice.ope.diagnostics import pareto_k
from jaxprice.ope.estimate import by_gradient

actions = 3


def planted(seed=0, logs=4, decisions=200, mask=False):
    """Logs of a random policy with one context, as NumPy arrays: rewards are mean plus noise."""
    rng = np.random.default_rng(seed)
    shape = (logs, decisions)
    context = rng.normal(size=shape)
    logging = rng.dirichlet(np.ones(actions), size=shape) * 0.7 + 0.1
    action = (rng.uniform(size=(*shape, 1)) > np.cumsum(logging, -1)[..., :-1]).sum(-1)
    truth = 1.0 + 0.5 * context[..., None] * np.array([1.0, 0.0, -1.0]) + np.array([0.0, 0.3, 0.1])
    reward = np.take_along_axis(truth, action[..., None], -1)[..., 0] + 0.2 * rng.normal(size=shape)
    return {
        "log": ope.DecisionLog.of(
            action=action, reward=reward, probabilities=logging, prices=[1.0, 2.0, 3.0], observation=context
        ),
        "target": jnp.asarray(rng.dirichlet(np.ones(actions), size=shape), jnp.float32),
        "truth": truth,
    }


def enumerated(logging, means, decisions):
    """All sequences of actions and of 0/1 rewards as one batch of logs, and the probability of each."""
    outcomes = list(itertools.product(itertools.product(range(actions), (0, 1)), repeat=decisions))
    action = np.array([[a for a, _ in row] for row in outcomes])
    reward = np.array([[float(r) for _, r in row] for row in outcomes])
    rows = np.arange(decisions)
    chance = logging[rows, action] * np.where(reward == 1, means[rows, action], 1 - means[rows, action])
    wide = np.broadcast_to(logging, (*action.shape, actions))
    log = ope.DecisionLog.of(action=action, reward=reward, probabilities=wide, prices=np.arange(1.0, 1 + actions))
    return log, chance.prod(axis=1)


def test_expectations_over_all_logs_are_exact():
    """Two decisions in two contexts: every log that can occur, weighted with its probability."""
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        logging, target = rng.dirichlet(np.ones(actions), size=(2, 2))
        means, model = rng.uniform(size=(2, 2, actions))
        log, chance = enumerated(logging, means, 2)
        np.testing.assert_allclose(chance.sum(), 1.0, rtol=1e-12)
        wide = jnp.broadcast_to(target, (*log.shape, actions))
        predicted = jnp.broadcast_to(model, (*log.shape, actions))
        truth = np.mean(np.sum(target * means, axis=1))
        np.testing.assert_allclose(chance @ ope.ips(log, wide).value, truth, rtol=1e-10)
        np.testing.assert_allclose(chance @ ope.doubly_robust(log, wide, predicted).value, truth, rtol=1e-10)
        clipped = np.minimum(target / logging, 1.2) * logging
        np.testing.assert_allclose(
            chance @ ope.clipped_ips(log, wide, 1.2).value, np.mean(np.sum(clipped * means, axis=1)), rtol=1e-10
        )
        direct = np.mean(np.sum(target * model, axis=1))
        np.testing.assert_allclose(chance @ ope.direct_method(log, wide, predicted).value, direct, rtol=1e-10)
        kept = np.where(target / logging <= 1.2, target, 0.0)
        np.testing.assert_allclose(
            chance @ ope.switch_dr(log, wide, predicted, 1.2).value,
            direct + np.mean(np.sum(kept * (means - model), axis=1)),
            rtol=1e-10,
        )


def test_doubly_robust_with_the_exact_model_varies_with_the_contexts_alone():
    data = planted()
    log, truth = data["log"], jnp.asarray(data["truth"], jnp.float32)
    noiseless = log.replace(reward=jnp.take_along_axis(truth, log.action[..., None], -1)[..., 0])
    found, direct = ope.doubly_robust(noiseless, data["target"], truth), ope.direct_method(log, data["target"], truth)
    np.testing.assert_allclose(found.terms, direct.terms, rtol=1e-5, atol=1e-5)
    same_context = noiseless.replace(reward=jnp.full_like(log.reward, 2.0))
    constant = ope.doubly_robust(same_context, data["target"], jnp.full_like(truth, 2.0))
    np.testing.assert_allclose(constant.se, 0.0, atol=1e-7)
    assert np.all(ope.ips(same_context, data["target"]).se > 0.01)


def test_limits_of_the_tuning_parameters():
    data = planted()
    log, target = data["log"], data["target"]
    model = jnp.asarray(data["truth"], jnp.float32) * 0.5
    direct, robust = ope.direct_method(log, target, model), ope.doubly_robust(log, target, model)
    close = functools.partial(np.testing.assert_allclose, rtol=2e-5, atol=2e-5)
    close(ope.switch_dr(log, target, model, 0.0).terms, direct.terms)
    close(ope.switch_dr(log, target, model, 1e6).terms, robust.terms)
    close(ope.shrunk_dr(log, target, model, 0.0).terms, direct.terms)
    close(ope.shrunk_dr(log, target, model, 1e10).terms, robust.terms)
    close(ope.clipped_ips(log, target, 1e6).terms, ope.ips(log, target).terms)
    zero = jnp.zeros_like(model)
    close(ope.doubly_robust(log, target, zero).terms, ope.ips(log, target).terms)
    close(ope.self_normalised_dr(log, target, zero).value, ope.snips(log, target).value)
    one_hot = ope.target(log, 1)
    uniform = log.replace(propensity=jnp.full_like(log.propensity, 1 / 3), probabilities=None)
    close(ope.replay(uniform, one_hot).value, ope.snips(uniform, one_hot).value)


@pytest.mark.parametrize("name", ["snips", "self_normalised_dr", "replay", "doubly_robust"])
def test_influence_is_the_derivative_in_the_weight_of_a_decision(name):
    """Delta method in closed form against automatic differentiation of the weighted estimate."""
    with jax.enable_x64(True):
        data = planted(logs=2, decisions=30)
        log, target = data["log"], jnp.asarray(np.asarray(data["target"], float))
        model = jnp.asarray(data["truth"] * 0.7)
        if name == "replay":
            target = jax.nn.one_hot(jnp.argmax(target, -1), actions)
        options = () if name in ("snips", "replay") else (model,)
        found = getattr(ope, name)(log, target, *options)
        weights = ope.importance_weights(log, target)
        weights = (weights > 0) * 1.0 if name == "replay" else weights
        base = jnp.sum(target * model, -1) if options else jnp.zeros_like(weights)
        residual = log.reward - (jnp.take_along_axis(model, log.action[..., None], -1)[..., 0] if options else 0.0)

        def value(counts):
            below = counts.sum(-1) if name == "doubly_robust" else (counts * weights).sum(-1)
            return (counts * base).sum(-1) / counts.sum(-1) + (counts * weights * residual).sum(-1) / below

        expected = by_gradient(value, jnp.ones(log.shape))
        np.testing.assert_allclose(found.value, expected.value, rtol=1e-10)
        np.testing.assert_allclose(found.influence, expected.influence, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(found.terms.mean(-1), found.value, rtol=1e-10)


def test_a_vector_target_is_the_same_as_the_table():
    log = planted()["log"]
    vector = jnp.array([0.2, 0.5, 0.3])
    wide = jnp.broadcast_to(vector, (*log.shape, actions))
    model = jnp.ones_like(wide) * jnp.arange(actions)
    for run in (ope.ips, ope.snips, *(functools.partial(f, model=model) for f in (ope.doubly_robust, ope.direct_method))):
        np.testing.assert_allclose(run(log, vector).value, run(log, wide).value, rtol=1e-6)


def test_targets_from_rules():
    log = planted()["log"]
    np.testing.assert_array_equal(ope.target(log, 2), np.eye(3)[2])
    np.testing.assert_array_equal(ope.target(log, log.action), np.eye(3)[np.asarray(log.action)])
    rule = ope.target(log, lambda x: jax.nn.softmax(x * jnp.arange(3.0)))
    np.testing.assert_allclose(rule, jax.nn.softmax(log.observation[..., None] * jnp.arange(3.0)), rtol=1e-6)
    greedy = ope.target(log, lambda x: jnp.where(x > 0, 2, 0))
    np.testing.assert_array_equal(greedy[..., 2] == 1, np.asarray(log.observation) > 0)
    allowed = np.ones((*log.shape, 3), bool)
    allowed[..., 1] = np.asarray(log.action) == 1
    masked = ope.target(log.replace(allowed=jnp.asarray(allowed)), jnp.array([0.5, 0.25, 0.25]), renormalise=True)
    np.testing.assert_allclose(masked[~allowed[..., 1]], np.tile([2 / 3, 0, 1 / 3], (int((~allowed[..., 1]).sum()), 1)))


def numpy_ridge(x, y, ridge):
    """Ridge regression around the mean of `y`, with a constant."""
    x = np.column_stack([np.ones(len(x)), x])
    return lambda new: (
        y.mean()
        + np.column_stack([np.ones(len(new)), new])
        @ np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ (y - y.mean()))
    )


def test_cross_fitted_models_are_those_of_a_loop_over_folds():
    data = planted(logs=2, decisions=90)
    log = data["log"]
    with jax.enable_x64(True):
        log64 = jax.tree.map(lambda x: jnp.asarray(np.asarray(x, float)) if x.dtype == np.float32 else x, log)
        for order in ("interleaved", "past"):
            found = np.asarray(ope.reward_model(log64, lambda x: jnp.array([x, x**2]), folds=3, order=order, ridge=2.0))
            prices = np.asarray(
                ope.reward_model(log64, price_features=lambda x, p: jnp.array([p, x * p]), folds=3, order=order, ridge=0.5)
            )
            fold = np.arange(90) % 3 if order == "interleaved" else np.arange(90) // 30
            for lane, k in itertools.product(range(2), range(3)):
                context, reward, action = (
                    np.asarray(part[lane], float) for part in (log64.observation, log64.reward, log64.action)
                )
                train = fold < k if order == "past" else fold != k
                if not train.any():
                    np.testing.assert_array_equal(found[lane, fold == k], 0.0)
                    continue
                new = context[fold == k]
                for a in range(actions):
                    mine = train & (action == a)
                    x, y = np.column_stack([context, context**2])[mine], reward[mine]
                    design = np.column_stack([np.ones(len(x)), x])
                    theta = np.linalg.solve(design.T @ design + 2.0 * np.eye(3), design.T @ (y - reward[train].mean()))
                    expected = reward[train].mean() + np.column_stack([np.ones(len(new)), new, new**2]) @ theta
                    np.testing.assert_allclose(found[lane, fold == k, a], expected, rtol=1e-8)
                price = action + 1.0
                model = numpy_ridge(np.column_stack([price, context * price])[train], reward[train], 0.5)
                for a in range(actions):
                    expected = model(np.column_stack([np.full(len(new), a + 1.0), new * (a + 1.0)]))
                    np.testing.assert_allclose(prices[lane, fold == k, a], expected, rtol=1e-8)


def test_logistic_demand_model_agrees_with_scikit_learn():
    """On demand that a planted curve made, without a penalty."""
    linear = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(3)
    prices = np.array([1.0, 2.0, 3.0, 4.0])
    action = rng.integers(4, size=600)
    sold = (rng.uniform(size=600) < 1 / (1 + np.exp(-2 + prices[action]))).astype(float)
    with jax.enable_x64(True):
        log = ope.DecisionLog.of(
            action=action, reward=sold * (prices[action] - 0.5), propensity=np.full(600, 0.25), prices=prices, demand=sold
        )
        options = {"price_features": lambda _, p: p[None], "outcome": "demand", "cost": 0.5, "link": "logit"}
        found = np.asarray(ope.reward_model(log, folds=1, ridge=1e-8, **options))[0]
    reference = linear.LogisticRegression(C=1e10, tol=1e-10, max_iter=1000).fit(prices[action][:, None], sold)
    np.testing.assert_allclose(found, reference.predict_proba(prices[:, None])[:, 1] * (prices - 0.5), rtol=1e-4)
    truth = (prices - 0.5) / (1 + np.exp(prices - 2))
    np.testing.assert_allclose(found, truth, atol=0.25)


def test_a_fitted_direct_method_has_the_error_of_its_fit_in_the_interval():
    """Fixed contexts: only the fit is noisy. Over many logs the stated error is that of the values; the naive one is 0."""
    rng = np.random.default_rng(5)
    shape, target = (400, 150), jnp.array([0.1, 0.1, 0.8])
    action = rng.integers(actions, size=shape)
    log = ope.DecisionLog.of(
        action=action, reward=action + rng.normal(size=shape), propensity=np.full(shape, 1 / 3), prices=[1.0, 2.0, 3.0]
    )
    fitted = ope.direct_method(log, target, lambda w: ope.reward_model(log, folds=1, weights=w, ridge=1e-3))
    naive = ope.direct_method(log, target, ope.reward_model(log, folds=1, ridge=1e-3))
    np.testing.assert_allclose(fitted.value, naive.value, rtol=1e-5)
    assert np.all(naive.se < 1e-6)
    spread = np.std(fitted.value, ddof=1)
    assert abs(np.mean(fitted.se) / spread - 1) < 4 / np.sqrt(2 * 400)


def box_log(decisions=400, bins=5, seed=0):
    """Prices from [0, bins] with a density that is constant on unit bins, and rewards that depend on the bin."""
    rng = np.random.default_rng(seed)
    chance = rng.dirichlet(np.ones(bins) * 3)
    cell = rng.choice(bins, p=chance, size=decisions)
    price = cell + rng.uniform(size=decisions)
    reward = cell + rng.normal(size=decisions)
    log = ope.DecisionLog.of(action=price.astype(np.float32), reward=reward, propensity=chance[cell])
    return log, cell, chance


def test_kernel_estimators_with_a_box_over_one_bin_are_those_of_the_grid():
    log, cell, chance = box_log()
    grid = ope.DecisionLog.of(action=cell, reward=log.reward, propensity=chance[cell], prices=np.arange(5.0))
    price = ope.target(log, 2.5)
    found = ope.kernel_ips(log, price, bandwidth=0.5, kernel="box")
    np.testing.assert_allclose(found.terms, ope.ips(grid, ope.target(grid, 2)).terms, rtol=1e-5, atol=1e-6)
    found = ope.kernel_ips(log, price, bandwidth=0.5, kernel="box", self_normalised=True)
    np.testing.assert_allclose(found.value, ope.snips(grid, ope.target(grid, 2)).value, rtol=1e-5)
    model = jnp.broadcast_to(jnp.arange(5.0) * 0.9, (400, 5))
    found = ope.kernel_dr(log, price, (model[:, 2], model[0, cell]), bandwidth=0.5, kernel="box")
    np.testing.assert_allclose(found.terms, ope.doubly_robust(grid, ope.target(grid, 2), model).terms, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kernel", ["box", "epanechnikov", "gaussian"])
def test_kernels_integrate_to_one_also_at_the_ends(kernel):
    """Uniform prices with reward 1: the mean kernel weight is 1, at the end only if the support is known."""
    rng = np.random.default_rng(1)
    log = ope.DecisionLog.of(action=rng.uniform(1, 3, 40_000), reward=np.ones(40_000), propensity=np.full(40_000, 0.5))
    for price, support in ((2.0, None), (2.0, (1.0, 3.0)), (1.0, (1.0, 3.0)), (2.95, (1.0, 3.0))):
        found = ope.kernel_ips(log, ope.target(log, price), bandwidth=0.2, kernel=kernel, support=support)
        assert abs(found.value - 1) < 4 * found.se
    assert abs(ope.kernel_ips(log, ope.target(log, 1.0), bandwidth=0.2, kernel=kernel).value - 0.5) < 0.05


def test_kernel_dr_removes_the_bias_of_a_wide_bandwidth():
    """Reward p (3 - p): curvature biases kernel IPS by about -h^2 / 5; a model with features p and p^2 knows it."""
    rng = np.random.default_rng(2)
    price = rng.uniform(0, 3, (20, 2000))
    log = ope.DecisionLog.of(
        action=price, reward=price * (3 - price) + 0.1 * rng.normal(size=price.shape), propensity=np.full(price.shape, 1 / 3)
    )
    goal = ope.target(log, 1.5)
    model = ope.price_model(log, goal, lambda _, p: jnp.array([p, p**2]), ridge=1e-3)
    plain = ope.kernel_ips(log, goal, bandwidth=0.7)
    robust = ope.kernel_dr(log, goal, model, bandwidth=0.7)
    standard = np.std(plain.value) / np.sqrt(20)
    assert abs(np.mean(plain.value) - (2.25 - 0.7**2 / 5)) < 4 * standard
    assert abs(np.mean(robust.value) - 2.25) < 4 * np.std(robust.value) / np.sqrt(20) < 0.01


def test_density_targets_for_prices_from_an_interval():
    rng = np.random.default_rng(4)
    log = ope.DecisionLog.of(action=rng.uniform(0, 1, 20_000), reward=np.zeros(20_000), propensity=np.ones(20_000))
    log = log.replace(reward=log.price)
    found = ope.ips(log, 2 * log.price)  # density 2 p: mean price 2/3
    assert abs(found.value - 2 / 3) < 4 * found.se


def test_diagnostics():
    data = planted(logs=3, decisions=500)
    log = data["log"]
    found = ope.diagnostics(log, data["target"])
    weights = np.asarray(ope.importance_weights(log, data["target"]), float)
    np.testing.assert_allclose(found.effective_sample_size, weights.sum(1) ** 2 / (weights**2).sum(1), rtol=1e-5)
    np.testing.assert_allclose(found.max_weight, weights.max(1), rtol=1e-6)
    np.testing.assert_allclose(found.top_share, np.sort(weights, 1)[:, -5:].sum(1) / weights.sum(1), rtol=1e-5)
    np.testing.assert_allclose(found.mean_weight_se, weights.std(1, ddof=1) / np.sqrt(500), rtol=1e-4)
    np.testing.assert_allclose(found.missing, 0.0)
    few = np.sort(weights, 1)[:, -69:]  # ceil(3 sqrt(500)) = 68 and the threshold
    np.testing.assert_allclose(found.hill, np.log(few[:, 1:] / few[:, :1]).mean(1), rtol=1e-4)


@pytest.mark.parametrize("shape", [-0.3, 0.2, 0.6, 1.1])
def test_pareto_shape_of_planted_tails(shape):
    draws = np.sort(genpareto.rvs(shape, size=(50, 400), random_state=1), axis=1)[:, ::-1]
    found = np.asarray(pareto_k(jnp.asarray(draws.copy())))
    expected = (400 * shape + 5) / 410  # drawn to one half
    assert abs(found.mean() - expected) < 4 * found.std() / np.sqrt(50) + 0.01
    by_likelihood = np.array([genpareto.fit(row, floc=0)[0] for row in draws[:5]])
    np.testing.assert_allclose(found[:5], (400 * by_likelihood + 5) / 410, atol=0.05)


def no_support():
    data = planted(logs=1, decisions=50)
    log = data["log"]
    probabilities = np.asarray(log.probabilities).copy()
    probabilities[..., 2] = 0.0
    probabilities /= probabilities.sum(-1, keepdims=True)
    return ope.DecisionLog.of(
        action=np.asarray(log.action) % 2, reward=log.reward, probabilities=probabilities, prices=log.prices
    )


@pytest.mark.parametrize("run", [ope.ips, ope.snips, ope.replay])
def test_targets_without_support_are_refused_with_their_share(run):
    log = no_support()
    target = jnp.array([0.0, 0.0, 1.0]) if run is ope.replay else jnp.array([0.5, 0.25, 0.25])
    with pytest.raises(ValueError, match=r"target has (1|0.25) of its probability on actions which the logging policy took"):
        run(log, target)
    run(log, target, allow_missing=True)
    with pytest.raises(ValueError, match="which occur nowhere in the log"):
        run(log.replace(probabilities=None), target)
    assert ope.clipped_ips(log, target, 5.0).value.shape == (1,)
    np.testing.assert_allclose(ope.diagnostics(log, target).missing, target[2], rtol=1e-6)
    np.testing.assert_allclose(ope.diagnostics(log, target).unseen, target[2], rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": [0.5, 0.6, 0.0]}, r"target must hold probabilities with sum 1; 1 of 1 do not: 1.1"),
        ({"target": [-0.5, 1.0, 0.5]}, r"target must hold probabilities of at least 0; 1 of 3"),
        ({"target": [0.5, 0.5]}, r"target must have shape \[4, 200, 3\] or \[3\].*got \[2\]"),
        ({"target": np.full((4, 199, 3), 1 / 3)}, r"target must have shape \[4, 200, 3\]"),
        ({"target": [np.nan, 0.5, 0.5]}, "target must hold probabilities of at least 0"),
        ({"target": 3}, r"target must be an action in \[0, 3\), got \[3\]"),
        (
            {"masked": True, "target": [0.2, 0.3, 0.5]},
            r"probability 0 on actions outside the mask `allowed`.*\[0, 0, 2\]: 0.5",
        ),
    ],
)
def test_bad_targets(change, message):
    log = planted()["log"]
    if change.get("masked"):
        log = log.replace(allowed=jnp.asarray(np.eye(3, dtype=bool)[np.asarray(log.action)] | [True, True, False]))
        log = log.replace(allowed=log.allowed.at[0, 0, 2].set(False), action=log.action.at[0, 0].set(0))
    with pytest.raises(ValueError, match=message):
        ope.target(log, change["target"])


def test_bad_options():
    data = planted(logs=1, decisions=20)
    log, target = data["log"], data["target"]
    model = jnp.zeros((1, 20, 3))
    for run, message in (
        (lambda: ope.clipped_ips(log, target, -1.0), "clip must be in"),
        (lambda: ope.switch_dr(log, target, model, -1.0), "threshold must be in"),
        (lambda: ope.shrunk_dr(log, target, model, np.inf), "shrinkage must be in"),
        (lambda: ope.doubly_robust(log, target, model[..., :2]), r"model must hold predicted rewards \[1, 20, 3\]"),
        (lambda: ope.replay(log, target), "target must be deterministic"),
        (lambda: ope.reward_model(log, folds=21), r"folds must be an integer in \[1, 20\]"),
        (lambda: ope.reward_model(log, order="future"), "unknown order 'future'"),
        (lambda: ope.reward_model(log, outcome="demand"), "outcome='demand' must be finite"),
        (lambda: ope.reward_model(log, link="logit"), r"link='logit' needs outcomes in \[0, 1\]"),
        (lambda: ope.reward_model(log, lambda x: x[None], price_features=lambda x, p: p[None]), "not both"),
        (lambda: ope.kernel_ips(log, log.price), "log has a price grid"),
        (lambda: ope.kernel_ips(box_log()[0], jnp.zeros(400), support=(1.0, 5.0)), "price must lie in support"),
        (lambda: ope.kernel_ips(box_log()[0], jnp.zeros(400), bandwidth=0.0), "bandwidth must be above 0"),
        (lambda: ope.kernel_ips(box_log()[0], jnp.zeros(400), kernel="gausian"), "did you mean 'gaussian'"),
    ):
        with pytest.raises(ValueError, match=message):
            run()

"""Beliefs against SciPy, NumPy, Monte Carlo, closed forms and the tables themselves; which policies have one."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from every_policy import CARDS, NAMES, first_fit, first_seen
from harness import market, play, problem_of, state_after, sums_of
from scipy import special, stats

import jaxprice
from jaxprice import agents, explain, policies
from jaxprice.explain import laws, readers
from jaxprice.policies.parts import features, linear_model
from jaxprice.types import Transition

ACTIONS = [0, 1, 2, 3, 1, 1, 3, 2, 1, 0, 3, 1]
DEMANDS = [0, 1, 0, 1, 1, 1, 1, 1, 0, 0, 0, 1]
DRAWS = 400_000


def drawn(law, seed=0):
    """P(best), regret and E[x_k | best] by NumPy, for independent laws of SciPy, with standard errors of the first two."""
    rng = np.random.default_rng(seed)
    x = np.stack([one.rvs(DRAWS, random_state=rng) for one in law[0]], axis=1)
    values = x * law[1]
    first = np.argmax(values, axis=1)
    best = np.bincount(first, minlength=x.shape[1]) / DRAWS
    lost = values.max(axis=1, keepdims=True) - values
    means = np.stack([x[first == j].mean(axis=0) if np.any(first == j) else x.mean(axis=0) for j in range(x.shape[1])])
    return best, np.sqrt(best * (1 - best) / DRAWS) + 1e-6, lost.mean(axis=0), lost.std(axis=0) / DRAWS**0.5, means


CASES = {
    "beta": (laws.Betas(np.array([1.0, 8, 3, 40]), np.array([1.0, 3, 1, 30])), [1.0, 0.7, 0.5, 0.9], "bernoulli"),
    "below cost": (laws.Betas(np.array([2.0, 8, 3]), np.array([1.0, 3, 9])), [-0.2, 0.0, 0.5], "bernoulli"),
    "all lose": (laws.Betas(np.array([2.0, 8, 3]), np.array([1.0, 3, 9])), [-0.2, -0.1, -0.5], "bernoulli"),
    "gamma": (laws.Gammas(np.array([1.0, 8, 3]), np.array([1.0, 6, 2])), [1.0, 0.7, 0.5], "poisson"),
    "normal": (laws.Normals(np.array([0.1, 0.3, 0.2]), np.array([0.2, 0.05, 0.1])), [1.0, 0.7, -0.5], 0.3),
    "student": (
        laws.Students(np.array([0.1, 0.3, 0.2]), np.array([0.2, 0.1, 0.1]), np.array([5.0, 9, 30])),
        [1, 0.7, 1.0],
        0.3,
    ),
}


def frozen(law):
    """The same laws in SciPy."""
    if isinstance(law, laws.Betas):
        return [stats.beta(a, b) for a, b in zip(law.a, law.b, strict=True)]
    if isinstance(law, laws.Gammas):
        return [stats.gamma(a, scale=1 / b) for a, b in zip(law.shape, law.rate, strict=True)]
    if isinstance(law, laws.Normals):
        return [stats.norm(a, b) for a, b in zip(law.mean, law.std, strict=True)]
    return [stats.t(c, a, b) for a, b, c in zip(law.centre, law.scale, law.freedom, strict=True)]


@pytest.mark.parametrize("name", CASES)
def test_laws_are_those_of_scipy_and_integrals_those_of_monte_carlo(name):
    law, worth, outcome = CASES[name]
    known = frozen(law)
    np.testing.assert_allclose(law.mean, [one.mean() for one in known], rtol=1e-12)
    np.testing.assert_allclose(law.std, [one.std() for one in known], rtol=1e-12)
    at = law.mean + 0.3 * law.std
    partial = [one.expect(lambda x: x, lb=one.ppf(0), ub=point) for one, point in zip(known, at, strict=True)]
    np.testing.assert_allclose(law.partial(at), partial, rtol=1e-6)
    independent = laws.Independent(law, np.asarray(worth, float))
    found, (p, means) = independent.exploration(outcome), independent.given_best()
    best, best_se, regret, regret_se, given = drawn((known, np.asarray(worth)))
    assert np.all(np.abs(found.best - best) < 4 * best_se) and abs(found.best.sum() - 1) < 1e-9
    assert np.all(np.abs(found.regret - regret) < 4 * regret_se + 1e-9)
    seen = best > 0.02
    error = 4 * law.std / np.sqrt(np.maximum(best[seen, None], 1e-9) * DRAWS)
    assert np.all(np.abs(means[seen] - given[seen]) < error + 1e-9)
    np.testing.assert_allclose(p @ means, law.mean, rtol=1e-6)  # the mean of conditional means is the mean


def test_two_beta_posteriors_have_the_closed_form():
    """P(x_1 > x_2) for Beta(a, b) and Beta(c, d) with whole a is a finite sum (E. Miller 2015)."""
    a, b, c, d = 5, 3, 4, 6
    i = np.arange(a)
    exact = np.sum(np.exp(special.betaln(c + i, d + b) - np.log(b + i) - special.betaln(1 + i, b) - special.betaln(c, d)))
    found = laws.Independent(laws.Betas(np.array([a, c]), np.array([b, d])), np.ones(2)).exploration("bernoulli")
    assert found.best[0] == pytest.approx(exact, abs=1e-9)
    assert found.information[0] > 0


def test_information_of_two_known_arms_is_that_of_the_table():
    """Two candidates: the best arm is known from one outcome exactly as much as the outcome tells the candidate."""
    x, weights = np.array([[0.8, 0.5], [0.2, 0.5]]), np.array([0.4, 0.6])
    found = laws.Weighted(x, weights, np.ones(2)).exploration("bernoulli")
    joint = np.array([[w * p, w * (1 - p)] for w, p in zip(weights, x[:, 0], strict=True)])
    mutual = np.sum(joint * np.log(joint / joint.sum(0) / joint.sum(1)[:, None]))
    np.testing.assert_allclose(found.best, weights)
    np.testing.assert_allclose(found.information, [mutual, 0], atol=1e-12)
    np.testing.assert_allclose(found.regret, [0.6 * 0.3, 0.4 * 0.3])


def test_thompson_sampling_believes_its_beta_posterior_and_plays_the_chance_to_be_best():
    policy, problem = policies.thompson(), problem_of("crowd")
    state = state_after(policy, problem, ACTIONS, 2 * np.asarray(DEMANDS))
    found = explain.belief(policy, state, problem)
    counts = np.bincount(ACTIONS, minlength=4)
    sold = np.bincount(ACTIONS, 2 * np.asarray(DEMANDS), minlength=4)
    law, margins = stats.beta(1 + sold, 1 + 3 * counts - sold), np.asarray(problem.margins, float)
    np.testing.assert_allclose(found.demand, 3 * law.mean(), rtol=1e-6)
    np.testing.assert_allclose(found.profit, 3 * margins * law.mean(), rtol=1e-6)
    np.testing.assert_allclose(found.profit_std, 3 * margins * law.std(), rtol=1e-6)
    np.testing.assert_allclose(found.counts, counts, atol=1e-5)
    np.testing.assert_allclose(found.best, found.chosen, atol=2e-4)  # by another quadrature, in float32
    assert found.assumes == "" and "profit_std" in found.table()


def test_ucb_is_read_with_a_uniform_prior_and_gaussian_noise_with_the_policys_own():
    ucb, crowd = policies.ucb1(), problem_of("crowd")
    state = state_after(ucb, crowd, ACTIONS, DEMANDS)
    found, thompson = explain.belief(ucb, state, crowd), policies.thompson()
    other = explain.belief(thompson, state_after(thompson, crowd, ACTIONS, DEMANDS), crowd)
    np.testing.assert_allclose(found.profit_std, other.profit_std, rtol=1e-6)
    np.testing.assert_allclose(found.chosen.sum(), 1)
    assert "uniform prior" in found.assumes
    policy, noisy = policies.gaussian_thompson(mean=0.2, std=0.5, noise=0.3), problem_of("noisy")
    start = policy.init(jax.random.key(0), noisy)
    state = start.replace(arms=sums_of([2, 0, 5, 1], [0.9, 0, 1.5, 0.6]))
    found = explain.belief(policy, state, noisy, chosen=False)
    precision = 4 + np.array([2, 0, 5, 1]) / 0.09
    np.testing.assert_allclose(found.profit, (0.8 + np.array([0.9, 0, 1.5, 0.6]) / 0.09) / precision, rtol=1e-5)
    np.testing.assert_allclose(found.profit_std, precision**-0.5, rtol=1e-5)


@pytest.mark.parametrize("form", ["disjoint", "joint"])
def test_a_linear_model_has_the_moments_of_ridge_regression(form):
    """Against NumPy's normal equations, and P(best) against draws from the same posterior."""
    policy, problem = policies.lin_ts(form=form, noise=0.3), problem_of("features")
    rng = np.random.default_rng(0)
    state = policy.init(jax.random.key(0), problem)
    prices = np.asarray(problem.prices, float)
    contexts, acts = rng.normal(size=(40, 3)), rng.integers(0, 4, 40)
    y = rng.normal(size=40)
    rows = features.Features(jnp.asarray(prices / prices.max(), jnp.float32), form, 3)
    one = np.stack([np.asarray(rows.of(jnp.asarray(x, jnp.float32), k)) for x, k in zip(contexts, acts, strict=True)])
    model = linear_model.no_data(rows, 1.0)
    for z, k, target in zip(one, acts, y, strict=True):
        part, _ = rows.pick(model, int(k)).revise(jnp.asarray(z), jnp.float32(target))
        model = rows.put(model, int(k), part)
    seen = jnp.asarray([0, 0, 0, 1.0, -0.5, 0.3], jnp.float32)
    found = explain.belief(policy, state.replace(model=model), problem, seen, chosen=False, draws=100_000)
    new = np.stack([np.asarray(rows.of(seen[-3:], k)) for k in range(4)])
    mean, std = np.empty(4), np.empty(4)
    for k in range(4):
        mine = acts == k if form == "disjoint" else np.ones(40, bool)
        covariance = np.linalg.inv(np.eye(one.shape[1]) + one[mine].T @ one[mine])
        mean[k], std[k] = new[k] @ covariance @ one[mine].T @ y[mine], 0.3 * np.sqrt(new[k] @ covariance @ new[k])
    margins = np.asarray(problem.margins, float)
    np.testing.assert_allclose(found.profit, margins * mean, rtol=2e-4, atol=1e-5)
    np.testing.assert_allclose(found.profit_std, np.abs(margins) * std, rtol=2e-4)
    if form == "joint":
        covariance = np.linalg.inv(np.eye(6) + one.T @ one)
        theta = rng.multivariate_normal(covariance @ one.T @ y, 0.09 * covariance, size=100_000)
        best = np.bincount(np.argmax(margins * (theta @ new.T), axis=1), minlength=4) / 1e5
        assert np.all(np.abs(best - found.best) < 4 * np.sqrt(2) * found.best_se + 1e-4) and found.best_se.max() > 0


def test_a_line_has_the_moments_of_least_squares():
    policy, problem = policies.iterated_least_squares(), problem_of("interval")
    low, high = float(problem.low), float(problem.high)
    prices, sold = np.linspace(low, high, 9), np.array([9, 7, 7, 6, 6, 4, 4, 2, 3]) / 10
    sums = type(state := policy.init(jax.random.key(0), problem))
    unit, inner = float(state.unit), state.inner
    line = inner.line
    for n, (p, d) in enumerate(zip(prices / unit, sold, strict=True)):
        line = line.add(jnp.float32(p), jnp.float32(d), jnp.float32(n))
    state = sums(state.unit, inner.replace(line=line, time=jnp.int32(9)))
    found = explain.belief(policy, state, problem, prices=prices)
    fit = stats.linregress(prices, sold)
    noise = float(problem.noise_scale) or 0.5
    spread = noise * np.sqrt(1 / 9 + (prices - prices.mean()) ** 2 / np.sum((prices - prices.mean()) ** 2))
    np.testing.assert_allclose(found.demand, fit.intercept + fit.slope * prices, rtol=1e-4)
    np.testing.assert_allclose(found.demand_std, spread, rtol=1e-4)
    assert found.chosen is None
    with pytest.raises(ValueError, match="two different prices"):
        explain.belief(policy, policy.init(jax.random.key(0), problem), problem)


def test_a_table_is_read_at_its_state():
    policy, problem = policies.q_learning(power=1.0), problem_of("pricing")
    seen = jnp.asarray([0.1, float(problem.prices[2]), 1.0], jnp.float32)
    start = policy.init(jax.random.key(0), problem.with_observation(seen))
    table = jnp.asarray(np.random.default_rng(0).normal(size=start.table.shape), jnp.float32)
    found = explain.belief(policy, start.replace(table=table), problem, seen)
    np.testing.assert_allclose(found.profit, table[2])
    assert found.best[np.argmax(table[2])] == 1 and found.profit_std is None and found.demand is None
    np.testing.assert_allclose(found.regret, table[2].max() - table[2], rtol=1e-6)
    assert found.chosen.sum() == pytest.approx(1)


def test_asked_thompson_sampling_answers_with_its_posterior_mean():
    """Its law of actions is a martingale, so the implied conversion rate is the posterior mean."""
    policy, problem = policies.thompson(), problem_of("pricing")
    state = state_after(policy, problem, ACTIONS, DEMANDS)
    answers = explain.counterfactual(policy, state, problem)
    taught = np.isfinite(answers.implied)  # the lowest price, just above cost, is never best
    assert taught[1:].all()
    np.testing.assert_allclose(answers.implied[taught], (state.a / (state.a + state.b))[taught], atol=2e-3)
    assert answers.misfit.max() < 1e-3
    exact = laws.Independent(
        laws.Betas(np.asarray(state.a, float), np.asarray(state.b, float)), np.asarray(problem.margins, float)
    )
    np.testing.assert_allclose(answers.information, exact.exploration("bernoulli").information, rtol=0.02, atol=1e-5)


def test_a_trained_agent_is_asked():
    """Its law is the softmax of its logits; after sales at one arm, that arm has the highest implied rate."""
    env, params = jaxprice.make("BernoulliBandit", num_arms=5)
    policy, problem = agents.load("bandit_rl2"), dataclasses.replace(env.problem(params), horizon=jnp.int32(10))
    seen = jnp.zeros(3, jnp.float32)
    state = policy.init(jax.random.key(0), problem.with_observation(seen))
    for action, demand in ((0, 0), (1, 1), (1, 1), (2, 0)):
        seen = seen.at[0].add(0.1).at[2].set(demand)
        sale = Transition(seen, jnp.int32(action), jnp.float32(1), jnp.float32(demand), jnp.float32(demand), seen)
        state = policy.update(jax.random.key(0), state, sale)
    found = explain.belief(policy, state, problem, seen)
    np.testing.assert_allclose(found.best, np.asarray(jax.nn.softmax(state.logits)), rtol=1e-5)
    assert found.chosen[1] == 1 and found.best.argmax() == 1 and np.all((found.demand >= 0) & (found.demand <= 1))
    assert all(np.all(np.isfinite(column)) for column in found.columns().values()) and "posterior" in found.assumes
    assert explain.of_action(found, 1).startswith("arm 1: expected profit")


def reads(name):
    """Whether a state of the policy has a reader, from shapes alone."""
    label, policy = first_fit(name), policies.make(name)
    problem = problem_of(label)
    shapes = jax.eval_shape(
        lambda key, seen: policy.init(key, problem.with_observation(seen)), jax.random.key(0), first_seen(label)
    )
    state = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
    while getattr(state, "inner", None) is not None:
        state = state.inner
    return readers.find(state) is not None


def test_the_catalogue_is_read_as_it_says(capsys):
    read = [name for name in NAMES if reads(name)]
    with capsys.disabled():
        print(f"\n{len(read)} of {len(NAMES)} policies have a belief")
    assert {*read, "prior_thompson"} == set(readers.names())
    assert len(read) >= 0.7 * len(NAMES)
    refused = [name for name in NAMES if name not in read]
    assert {CARDS[name].family for name in refused} <= {
        *("adversarial", "benchmarks", "gradient", "products", "personal", "related", "inventory", "posted_price"),
        *("parametric", "contextual", "moving", "stochastic"),
    }


@pytest.mark.slow
@pytest.mark.many
def test_wrappers_are_opened():
    problem = problem_of("features").with_observation(jnp.asarray([0, 0, 0, 1.0, -0.5, 0.3], jnp.float32))
    inner, key = policies.thompson(), jax.random.key(0)
    alone = explain.belief(inner, inner.init(key, problem), problem)
    wrapped = {
        "delayed": policies.delayed(inner, 3),
        "batched": policies.batched(inner, 4),
        "per_product": policies.per_product(inner, 2),
        "guarded": policies.guarded(inner, step=0.5),
        "per_context": policies.per_context(inner, bins=2),
        "restart_on": policies.restart_on(inner, policies.cusum()),
        "discounted": policies.discounted(policies.ucb1(), 0.9),
    }
    for name, policy in wrapped.items():
        found = explain.belief(policy, policy.init(key, problem), problem, problem.observation, chosen=name != "discounted")
        np.testing.assert_allclose(found.profit_std, alone.profit_std, rtol=1e-6, err_msg=name)
        assert found.policy == ("ucb1" if name == "discounted" else "thompson"), name
    both = policies.mixture(inner, policies.ucb1())
    with pytest.raises(ValueError, match="no belief is known"):
        explain.belief(both, both.init(key, problem), problem)


@pytest.mark.slow
@pytest.mark.many
@pytest.mark.parametrize("name", readers.names())
def test_every_belief_is_finite_after_forty_periods(name):
    if name == "prior_thompson":
        return  # below
    label, policy = first_fit(name), policies.make(name)
    state, sale = play(policy, label, 56 if name == "slow_moving" else 40).lane(3)[-1]
    found = explain.belief(policy, state, problem_of(label), sale.observation, chosen=False, draws=2000)
    assert all(np.all(np.isfinite(column)) for column in found.columns().values()), found.table()
    assert abs(found.best.sum() - 1) < 1e-9 and np.all(found.regret >= 0) and np.all(found.information >= 0)


def test_a_posterior_over_known_markets_is_summed():
    env, _ = market("pricing")
    policy, problem = policies.prior_thompson(env, markets=50), problem_of("pricing")
    state = policy.init(jax.random.key(0), problem)
    weights = np.random.default_rng(0).normal(size=50).astype(np.float32)
    state = state.replace(log_weights=jnp.asarray(weights))
    found = explain.belief(policy, state, problem)
    np.testing.assert_allclose(found.best, found.chosen, atol=1e-5)
    tables = policy.act.markets.means.astype(float)
    share = np.exp(weights.astype(float)) / np.exp(weights.astype(float)).sum()
    np.testing.assert_allclose(found.demand, share @ tables, rtol=1e-5)
    np.testing.assert_allclose(found.demand_std, np.sqrt(share @ (tables - share @ tables) ** 2), rtol=1e-4)


def test_a_policy_without_a_belief_is_refused_with_the_list_of_those_with_one():
    policy, problem = policies.exp3(), problem_of("pricing")
    with pytest.raises(ValueError, match=r"no belief is known for the state of exp3.* thompson, .*ucb1"):
        explain.belief(policy, policy.init(jax.random.key(0), problem), problem)
    with pytest.raises(ValueError, match="must be a Policy"):
        explain.belief("ucb1", None, problem)
    with pytest.raises(ValueError, match="problem must be a Problem"):
        explain.belief(policies.ucb1(), None, "shop")
    with pytest.raises(ValueError, match="prices must be None"):
        explain.belief(policies.ucb1(), None, problem, prices=[1.0])


SENTENCE = explain.Belief(
    policy="test",
    prices=np.array([2.0, 2.1, 2.4]),
    demand=None,
    demand_std=None,
    profit=np.array([0.5, 0.83, 0.81]),
    profit_std=np.array([0.1, 0.03, 0.09]),
    best=np.array([0.0, 0.6, 0.4]),
    best_se=np.zeros(3),
    regret=np.array([0.4, 0.02, 0.04]),
    information=np.array([0.0, 0.1, 0.2]),
    counts=np.array([3.0, 80, 12]),
)


def test_a_decision_is_one_sentence():
    said = explain.sentence(SENTENCE, 2.4, bound=("the largest step",))
    assert said == (
        "2.40: expected profit 0.81 +- 0.09, second to 2.10 by 0.02, chosen because it was tried 12 times only; "
        "bound by the largest step"
    )
    assert explain.of_action(SENTENCE, 1) == (
        "2.10: expected profit 0.83 +- 0.03, ahead of 2.40 by 0.02, chosen because it is expected to earn most"
    )
    with pytest.raises(ValueError, match=r"between 2 and 2\.4"):
        explain.sentence(SENTENCE, 7.0)


def test_the_guard_that_moved_a_price_is_named_and_the_belief_inside_is_read():
    problem = problem_of("pricing")
    policy = policies.guarded(policies.fixed_price(0.9), step=0.25)
    state = policy.init(jax.random.key(0), problem)
    assert explain.bounds(policy, state, problem) == ()
    state = state.replace(last=jnp.full(1, 0.35, jnp.float32), age=jnp.int32(1))
    assert explain.bounds(policy, state, problem) == ("the largest step",)
    learning = policies.guarded(policies.ucb1(), step=0.25)
    inner = state_after(policies.ucb1(), problem, ACTIONS, DEMANDS)
    found = explain.belief(learning, state.replace(inner=inner), problem, chosen=False)
    assert found.policy == "ucb1" and found.counts[1] == 5


def test_the_picture_shows_every_price():
    axes = SENTENCE.plot()
    assert len(axes.figure.axes) == 2 and axes.get_title() == "test"
    np.testing.assert_allclose(axes.lines[0].get_xdata(), SENTENCE.prices)

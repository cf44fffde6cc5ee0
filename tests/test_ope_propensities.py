"""Propensities: every formula against counted actions, integrals against closed forms, counts against what they count."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from harness import assert_choices, problem_of, state_after
from scipy import stats
from scipy.special import betaln, ndtr

import jaxprice
from jaxprice import agents, fingerprint, ope, policies
from jaxprice.ope import propensities as module_function
from jaxprice.policies.parts import best_arm
from jaxprice.types import Policy

ACTIONS = [0, 1, 2, 3, 2, 1, 2, 3, 0, 2, 1, 2, 2, 3]
DEMANDS = [1, 1, 0, 0, 1, 1, 0, 1, 1, 1, 0, 1, 0, 0]
CONTEXT = np.array([0.4, -0.3, 0.5], np.float32)
MADE = {name: policies.make(name) for name in policies.list()}
WITH = [name for name, policy in MADE.items() if policy.probabilities is not None]
CONTEXTUAL = {"contextual_epsilon_greedy", "exp4", "lin_ts"}


def played(policy, context=False):
    """A state, what the seller sees there, and the number of actions."""
    problem = problem_of("features" if context else "pricing")
    observation = jnp.asarray(CONTEXT if context else np.array([0.1, 0.5, 1.0], np.float32))
    return state_after(policy, problem.with_observation(observation), ACTIONS, DEMANDS, observation), observation


def test_policies_with_a_formula():
    assert {
        *("epsilon_greedy", "boltzmann", "gradient_bandit", "exp3", "exp3_p", "exp3_s", "exp3_ix", "rexp3", "tsallis_inf"),
        *("random_price", "contextual_epsilon_greedy", "thompson", "gaussian_thompson", "lin_ts", "exp4", "q_learning"),
    } <= set(WITH)


@pytest.mark.parametrize("name", WITH)
def test_formulas_are_the_frequencies_of_actions(name):
    state, seen = played(MADE[name], name in CONTEXTUAL)
    found, error = ope.propensities(MADE[name], state, seen)
    assert_choices(MADE[name], state, np.asarray(found, float) / float(found.sum()), observation=seen)
    assert abs(float(found.sum()) - 1) < 1e-5 and not np.any(error)


OTHERS = {
    "boltzmann, log": (policies.boltzmann(schedule="log"), False),
    "boltzmann, gumbel": (policies.boltzmann(schedule="gumbel"), False),
    "epsilon_greedy, decay": (policies.epsilon_greedy(epsilon=1.5, decay=True), False),
    "thompson, reward": (policies.thompson(signal="reward"), False),
    "mixture": (policies.mixture(policies.exp3(), policies.thompson(), weights=(0.3, 0.7)), False),
    "guarded": (policies.guarded(policies.thompson(), step=0.16), False),
    "per_context": (policies.per_context(policies.gradient_bandit(step=2.0)), True),
    "delayed": (policies.delayed(policies.exp3(mixing=0.2), 3), False),
    "batched": (policies.batched(policies.thompson(), 4), False),
    "discounted": (policies.discounted(policies.boltzmann(), 0.8), False),
    "restart_on": (policies.restart_on(policies.thompson(), policies.cusum()), False),
    "per_product": (policies.per_product(policies.thompson(), 2), False),
}


@pytest.mark.parametrize("name", OTHERS)
def test_formulas_of_other_options_and_of_wrappers(name):
    policy, context = OTHERS[name]
    state, seen = played(policy, context)
    assert_choices(policy, state, np.asarray(ope.propensities(policy, state, seen)[0], float), observation=seen)


def test_the_formula_of_the_true_prior():
    env, _ = jaxprice.make("PostedPrice", demand="linear", num_prices=4)
    policy = policies.prior_thompson(env, markets=50)
    state, seen = played(policy)
    assert_choices(policy, state, np.asarray(ope.propensities(policy, state, seen)[0], float), observation=seen)
    assert policies.prior_thompson(env, markets=50, greedy=True).probabilities is None


def test_the_formula_of_a_trained_agent_that_samples():
    agent = agents.load_agent("pricing_rl2")
    policy = dataclasses.replace(agent, deploy="sample").policy()
    env, params = jaxprice.make("PostedPrice", demand="linear", num_prices=10)
    seen, _ = env.reset(jax.random.key(0), params)
    problem = jax.tree.map(jnp.asarray, env.problem(params)).with_observation(seen)
    state = state_after(policy, problem, ACTIONS, DEMANDS, seen)
    assert_choices(policy, state, np.asarray(ope.propensities(policy, state, seen)[0], float), observation=seen)
    assert dataclasses.replace(agent, deploy="argmax").policy().probabilities is None


def beats(a1, b1, a2, b2):
    """P(X > Y) of independent Beta variables with a whole a1."""
    i = np.arange(a1)
    return np.exp(betaln(a2 + i, b1 + b2) - np.log(b1 + i) - betaln(1 + i, b1) - betaln(a2, b2)).sum()


@pytest.mark.parametrize(
    "shapes", [(1, 1, 1, 1), (3, 5, 4, 4), (1, 1, 700, 500), (40, 3, 60, 2), (5, 300, 20, 400), (2, 900, 90, 9)]
)
def test_two_beta_arms_have_a_closed_form(shapes):
    a, b = np.float32(shapes[::2]), np.float32(shapes[1::2])
    found = np.asarray(best_arm.of_betas(np.ones(2, np.float32), a, b), float)
    assert abs(found[0] - beats(*shapes)) < 2e-5, found
    np.testing.assert_allclose(found, np.asarray(best_arm.of_betas(np.full(2, 7e-3, np.float32), a, b)), atol=1e-6)


def test_weights_below_zero_and_of_zero():
    a, b = np.float32([1, 1, 1]), np.float32([1, 1, 1])
    assert np.allclose(best_arm.of_betas(np.float32([-1, 0.5, 0]), a, b), [0, 1, 0], atol=1e-6)
    assert np.allclose(best_arm.of_betas(np.float32([-1, 0, 0]), a, b), [0, 1, 0], atol=1e-6)
    # of two uniform losses, that of twice the size is the smaller with probability 1/4
    assert np.allclose(best_arm.of_betas(np.float32([-1, -2]), a[:2], b[:2]), [0.75, 0.25], atol=1e-5)


@pytest.mark.parametrize(
    ("means", "stds"), [([0.0, 0.3], [1.0, 0.5]), ([0.0, 0.01], [1.0, 1e-3]), ([0.5, 0.0], [0.1, 0.05])]
)
def test_two_normal_arms_have_a_closed_form(means, stds):
    found = np.asarray(best_arm.of_normals(np.float32(means), np.float32(stds)), float)
    exact = ndtr((means[0] - means[1]) / math.hypot(*stds))
    assert abs(found[0] - exact) < 2e-5 and found[1] == pytest.approx(1 - exact, rel=2e-3)


def test_gumbel_arms_of_one_scale_are_softmax():
    v = np.float32([0.1, 0.7, 0.4])
    np.testing.assert_allclose(best_arm.of_gumbels(v, np.full(3, 0.2, np.float32)), jax.nn.softmax(v / 0.2), atol=2e-5)


def test_many_arms_against_draws():
    rng = np.random.default_rng(1)
    a, b, w = rng.uniform(1, 40, 6), rng.uniform(1, 40, 6), rng.uniform(0.5, 1.5, 6)
    best = (w * rng.beta(a, b, (200_000, 6))).argmax(1)
    found = np.asarray(best_arm.of_betas(*map(np.float32, (w, a, b))), float)
    seen = np.bincount(best, minlength=6) / best.size
    assert np.all(np.abs(seen - found) < 4 * np.sqrt(found * (1 - found) / best.size) + 2e-5)


def test_prices_from_an_interval_have_a_density():
    problem = problem_of("interval")
    state = policies.random_price().init(jax.random.key(0), problem)
    density = policies.random_price().probabilities(state, None)
    inside, outside = float(density(0.5 * (problem.low + problem.high))), float(density(problem.high + 1))
    assert inside == pytest.approx(1 / float(problem.high - problem.low)) and outside == 0


@pytest.mark.parametrize("name", ["ucb1", "fixed_price", "explore_then_commit", "kl_ucb", "gittins", "moss"])
def test_a_policy_that_reads_no_key_is_certain(name):
    state, seen = played(MADE[name])
    found, error = ope.propensities(MADE[name], state, seen, num_actions=4)
    np.testing.assert_array_equal(found, np.arange(4) == int(MADE[name].act(jax.random.key(3), state, seen)))
    assert not np.any(error)


def test_counts_have_their_standard_error():
    policy = MADE["thompson"]
    state, seen = played(policy)
    exact = np.asarray(policy.probabilities(state, seen), float)
    found, error = ope.propensities(
        policy._replace(probabilities=None), state, seen, num_actions=4, key=jax.random.key(5), draws=2500
    )
    np.testing.assert_allclose(error[1:], np.sqrt(exact * (1 - exact) / 2501)[1:], rtol=0.1)
    assert np.all(np.abs(np.asarray(found) - exact) < 4 * np.asarray(error) + 1e-3)
    assert abs(float(found.sum()) - 1) < 1e-5
    logged, _ = ope.propensities(
        policy._replace(probabilities=None), state, seen, num_actions=4, key=jax.random.key(5), draws=2500, action=3
    )
    np.testing.assert_allclose((logged - found) * 2501, [-0.25, -0.25, -0.25, 0.75], atol=2e-3)


def test_the_inverse_of_a_smoothed_count_is_nearly_unbiased():
    p, draws, size = 0.05, 30, 4000

    def act(key, state, observation):
        return (jax.random.uniform(key) < p).astype(jnp.int32)

    rare = Policy(lambda key, problem: jnp.int32(0), act, lambda key, state, sale: state)

    def inverse(key):
        return 1 / ope.propensities(rare, 0, None, num_actions=2, key=key, draws=draws, action=1)[0][1]

    inverses = np.asarray(jax.vmap(inverse)(jax.random.split(jax.random.key(0), size)))
    counts = np.arange(draws + 1)
    exact = (stats.binom.pmf(counts, draws, p) * (draws + 1) / (counts + 1)).sum()
    assert exact == pytest.approx((1 - (1 - p) ** (draws + 1)) / p)
    assert abs(inverses.mean() - exact) < 4 * inverses.std() / np.sqrt(size)


def test_a_run_counts_the_formula_and_does_not_use_it():
    policy = MADE["exp3"]
    bare = policy._replace(probabilities=None)
    assert (
        len({fingerprint.of(one) for one in (policy, bare, policy._replace(probabilities=lambda state, seen: state))}) == 3
    )
    env, params = jaxprice.make("BernoulliBandit", means=[0.2, 0.9])
    both = {"policy": policy, "bare": bare}
    result = jaxprice.simulate(env, both, lanes=8, horizon=20, params=params, traces=True)
    for name in ("trace_action", "trace_reward", "regret"):
        np.testing.assert_array_equal(result[name].sel(policy="policy"), result[name].sel(policy="bare"))
    with pytest.raises(
        ValueError, match=r"policies\['policy'\] must be a Policy of three functions, and of a fourth or None"
    ):
        jaxprice.simulate(env, policy._replace(probabilities=3), lanes=8, horizon=20, params=params)


def test_what_propensities_refuse():
    policy = MADE["optimistic_thompson"]
    state, seen = played(policy)
    for arguments, options, message in [
        (("ucb1", state, seen), {}, "policy must be a Policy, got 'ucb1'"),
        ((policies.oracle(), None, None), {}, "policy must act from what a seller knows"),
        ((policy, state, seen), {"draws": 0}, "draws must be"),
        ((policy, state, seen), {}, "num_actions must be given"),
        ((policy, state, seen), {"num_actions": 4}, "key must be given"),
        (
            (MADE["random_price"], *played(MADE["random_price"])),
            {"num_actions": 5},
            "num_actions must be that of the policy",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            module_function(*arguments, **options)

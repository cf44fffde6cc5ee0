"""Details of policies, oracles, random numbers and training, from formulas, brute force and SciPy."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from harness import problem_of, state_after
from scipy import optimize

import jaxprice
from jaxprice import agents, policies, program_cache, random, stats
from jaxprice.agents import learning
from jaxprice.oracles import bayes_bandit, gittins


def module(name):
    """The module of a policy."""
    return inspect.getmodule(inspect.unwrap(getattr(policies, name)))


@pytest.mark.parametrize("horizon", [1, 2, 30])
def test_exp3_p_is_tuned_to_short_horizons_too(horizon):
    """Auer et al. (2002): alpha = 2 sqrt(log(K T / delta)), over sqrt(K T); the mixing at most 3/5."""
    rates = policies.exp3_p(failure=0.2).init(jax.random.key(0), problem_of("bandit", horizon)).rates
    np.testing.assert_allclose(rates.bonus, 2 * np.sqrt(np.log(4 * horizon / 0.2) / (4 * horizon)), rtol=1e-5)
    np.testing.assert_allclose(rates.mixing, min(0.6, 2 * np.sqrt(0.6 * 4 * np.log(4) / horizon)), rtol=1e-5)


def test_bounds_on_a_signal_are_cut_at_one():
    """After a sale at price 1, without exploration: what is not known to sell is worth nothing, not everything."""
    policy = policies.lin_ucb(alpha=0.0, clip=True)
    state = state_after(policy, problem_of("features"), [1, 1, 1], [1.0, 1.0, 1.0], jnp.full(6, 0.5))
    assert policy.act(jax.random.key(0), state, jnp.full(6, 0.5)) == 1


def test_places_of_bits():
    """Against Python's integers, over words of 32 bits; -1 where none is set."""
    ucb_pi, rng = module("ucb_pi"), np.random.default_rng(0)
    words = rng.integers(0, 2**32, (3, 60), np.uint64) >> rng.integers(0, 33, (3, 60)).astype(np.uint64)
    words[:, rng.random(60) < 0.3] = 0
    words[1:, :20] = 0
    words[0, 0] = 1
    whole = [sum(int(words[i, j]) << (32 * i) for i in range(3)) for j in range(60)]
    highest, lowest = ucb_pi._highest(words.astype(np.uint32)), ucb_pi._lowest(words.astype(np.uint32))
    np.testing.assert_array_equal(highest, [n.bit_length() - 1 for n in whole])
    np.testing.assert_array_equal(lowest, [(n & -n).bit_length() - 1 for n in whole])


def test_newton_moves_in_a_box():
    """Against SciPy, for maxima inside the box, on its sides and in its corners."""
    rng, move, kinds = np.random.default_rng(2), jax.jit(module("mle_cycle").newton_move), set()
    for _ in range(60):
        root, gradient = rng.normal(size=(2, 2)), 3 * rng.normal(size=2)
        curvature = root @ root.T + 0.1 * np.eye(2)
        low, high = -rng.uniform(0.1, 2, 2), rng.uniform(0.1, 2, 2)

        def loss(d, g=gradient, a=curvature):
            return d @ a @ d / 2 - g @ d

        box = list(zip(low, high, strict=True))
        best = optimize.minimize(loss, np.zeros(2), jac=lambda d, g=gradient, a=curvature: a @ d - g, bounds=box).x
        a, b, c = curvature[0, 0], curvature[0, 1], curvature[1, 1]
        mine = np.array(move(*(tuple(map(jnp.float32, x)) for x in (gradient, (a, b, c), low, high))), float)
        np.testing.assert_allclose(mine, best, atol=2e-3)
        kinds.add(tuple(np.sign(np.isclose(best, high).astype(int) - np.isclose(best, low))))
    assert len(kinds) == 9


def test_the_first_ball_of_rmlp_and_of_emlp():
    """10/3 of the highest price and the highest price, 3 in this market."""
    for policy, radius in ((policies.rmlp(), 10.0), (policies.emlp(), 3.0), (policies.emlp(radius=1.5), 1.5)):
        state = policy.init(jax.random.key(0), problem_of("features, interval"))
        np.testing.assert_allclose(state.inner.radius * state.unit, radius, rtol=1e-6)


def test_known_demand_is_not_explored():
    problem = problem_of("inventory")
    known = np.append(np.linspace(0.9, 0.1, problem.num_prices - 1), 0.0)  # and nothing where the sale is stopped
    policy = policies.lp_resolving(demand=known)
    assert policy.init(jax.random.key(0), problem).budget == 0


@pytest.mark.parametrize(
    ("name", "option", "least"), [("lin_ucb", "alpha", 0.0), ("lin_ts", "noise", 1e-6), ("rmlp", "penalty", 0.0)]
)
def test_the_least_of_an_option_is_taken(name, option, least):
    policies.make(name, **{option: least})
    with pytest.raises(ValueError, match=option):
        policies.make(name, **{option: least - 1e-7})


def test_a_policy_counts_among_those_of_its_maker():
    """Whatever the hyperparameters."""
    kinds = [program_cache.maker_name(policy) for policy in (policies.ucb1(), policies.ucb1(scale=3.0), policies.moss())]
    assert kinds == ["ucb1", "ucb1", "moss"]


@pytest.mark.parametrize("size", [5, 40])
def test_a_category_is_one_of_those_there_are(size):
    """Where probabilities sum to less than the uniform number, by rounding or more, the last one is chosen."""
    chosen = random.choose(jnp.float32([0.0, 0.5, 0.9995]), jnp.full(size, 0.999 / size, jnp.float32))
    np.testing.assert_array_equal(chosen, [0, size // 2, size - 1])


def test_thompson_starts_from_the_uniform_prior():
    """P(Beta(2, 1) > Beta(1, 1)) = 2/3."""
    chances = bayes_bandit.thompson()(np.array([[1, 0]]), np.array([[0, 0]]), 3)
    np.testing.assert_allclose(chances, [[2 / 3, 1 / 3]], rtol=1e-10)


@pytest.mark.parametrize("several", [(0.9, 0.5), [0.9, 0.5], [0.9], np.array([0.9, 0.5])], ids=repr)
@pytest.mark.parametrize("name", ["a", "b", "discount", "size"])
def test_indices_refuse_several_numbers_at_once(name, several):
    with pytest.raises(ValueError, match=f"{name} must be"):
        gittins.discounted_table(**({"discount": 0.9, "size": 5} | {name: several}))
    if name != "discount":
        with pytest.raises(ValueError, match=f"{name} must be"):
            gittins.finite_table(**({"horizon": 5} | {name: several}))


@pytest.mark.parametrize("times", [[-1, 10], [0, 10], [1, np.inf], [np.nan, 10]])
def test_growth_has_positive_and_finite_times(times):
    with pytest.raises(ValueError, match="positive and finite"):
        stats.growth_exponent(times, [1.0, 2.0])


def test_hyperparameters_of_training():
    """Published where they are: the clip of PPO (Schulman et al. 2017, arXiv:1707.06347) is .2; no warm-up, no decay."""
    told = {"learning_rate": 1e-3, "entropy": 0.02, "clip": 0.2, "trace": 0.97, "discount": 1.0}
    assert agents.Hyper() == agents.Hyper(**told, value_weight=2.0, decay=0.0, warm_up=0.0)
    assert vars(agents.Hyper()) == told | {"value_weight": 2.0, "decay": 0.0, "warm_up": 0.0}


def test_lanes_of_a_training_are_numbered_in_32_bits(monkeypatch):
    """2^32 lanes in all are refused; one update less is taken, up to where it would start to run."""

    class Taken(Exception):
        pass

    def run(*args):
        raise Taken

    monkeypatch.setattr(learning, "_run", run)
    env, _ = jaxprice.make("BernoulliBandit", num_arms=2)
    net = agents.networks.make("none", actions=2, size=4)
    training = learning.Training(agents.lifetimes.Play(env, net, 3), 2**10, 1)
    with pytest.raises(ValueError, match=r"updates x lanes must be below 2\*\*32"):
        learning.run(training, lambda: None, agents.Hyper(), 0, 2**22, devices=1)
    with pytest.raises(Taken):
        learning.run(training, lambda: None, agents.Hyper(), 0, 2**22 - 1, devices=1)

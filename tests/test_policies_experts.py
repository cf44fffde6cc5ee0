"""Experts and bootstrapped models of buyers with features, against plain loops and exact variances."""

import importlib
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from harness import (
    HORIZON,
    LANES,
    assert_choices,
    play,
    problem_of,
)
from scipy import stats
from test_policies_contextual import LINEAR, LOGIT, ONE, SOME, Arms, Ridge, context_of, margins_of, some_state

from jaxprice import policies, random
from jaxprice.types import Transition

RULES = importlib.import_module("jaxprice.policies.contextual.exp4")


class Rules:
    """Exp4 with every rule written out, its weights as published, not normalised."""

    def __init__(self, prices, d, mixing):
        self.size, self.mixing = prices, mixing
        self.rules = {(i, k, j): 1.0 for i in range(d) for k in range(prices) for j in range(prices)} | {"uniform": 1.0}
        self.seen = []

    def advice(self, rule):
        if rule == "uniform":
            return [1 / self.size] * self.size
        feature, low, high = rule
        mean = sum(x[feature] for x in self.seen) / len(self.seen)
        return [float(j == (low if self.seen[-1][feature] < mean else high)) for j in range(self.size)]

    def see(self, x):
        self.seen.append(x)
        self.advised = {rule: self.advice(rule) for rule in self.rules}
        total = sum(self.rules.values())
        votes = [sum(w * self.advised[rule][j] for rule, w in self.rules.items()) for j in range(self.size)]
        return [(1 - self.mixing) * vote / total + self.mixing / self.size for vote in votes]

    def learn(self, chances, action, gain):
        estimate = gain / chances[action]
        for rule in self.rules:
            self.rules[rule] *= math.exp(self.mixing * self.advised[rule][action] * estimate / self.size)


def test_exp4_step_for_step():
    policy = policies.exp4(mixing=0.3)
    played = play(policy, LOGIT)
    chances_of = jax.jit(jax.vmap(jax.vmap(exp4_probabilities)))
    chances = np.asarray(chances_of(played.states, played.sales.observation))
    for lane in SOME[:1]:
        reference = Rules(4, 3, 0.3)
        for t, (_, sale) in enumerate(played.lane(lane)):
            exact = reference.see(context_of(LOGIT, sale.observation))
            np.testing.assert_allclose(chances[t, lane], exact, atol=2e-5)
            reference.learn(exact, int(sale.action), float(sale.reward) / margins_of(LOGIT).max())
        assert np.ptp(exact) > 0.1  # it has learned something
    state, observation = jax.tree.map(lambda x: jnp.asarray(x[-1, 0]), (played.states, played.sales.observation))
    assert_choices(policy, state, chances[-1, 0].astype(float), [np.full(4, 0.25)], observation)


def exp4_probabilities(state, observation):
    return RULES.probabilities(state, RULES.compare(state, observation)[1])


@pytest.mark.parametrize("horizon", [1, 100, 10**6])
def test_exp4_tunes_its_mixing_to_the_horizon(horizon):
    state = policies.exp4().init(jax.random.key(0), problem_of(LOGIT, horizon=np.int32(horizon)))
    best = math.sqrt(4 * math.log(3 * 16 + 1) / ((math.e - 1) * horizon))
    assert float(state.mixing) == pytest.approx(min(1, best), rel=1e-5)


def update_words(lane, time, size):
    """The random words of a replay's update."""
    return jax.random.bits(random.address(random.stream(0, "update"), time, lane), (size,), jnp.uint32)


@pytest.mark.parametrize(("weights", "form"), [("double", "disjoint"), ("poisson", "joint")])
def test_bootstrapped_replicates_are_weighted_ridge_regressions(weights, form):
    played = play(policies.bootstrapped(replicates=5, weights=weights, ridge=0.5, form=form), LINEAR)
    words = jax.jit(jax.vmap(jax.vmap(lambda k, t: update_words(k, t, 5), (None, 0)), (0, None)))(
        jnp.arange(LANES, dtype=jnp.uint32), jnp.arange(HORIZON)
    )
    if weights == "double":
        counted = np.where(np.asarray(words) >= 2**31, 2.0, 0.0)
    else:
        counted = stats.poisson(1).ppf((np.asarray(words) // 2**9 + 0.5) / 2**23)
    assert abs(counted.mean() - 1) < 4 / math.sqrt(counted.size) and abs(counted.var() - 1) < 0.1
    arms = Arms(LINEAR, form)
    for lane in SOME[:2]:
        start, last = (np.asarray(m.mean, float) for m in (played.states.model, played.last.model))
        start, last = (x.reshape(arms.owners, arms.size, 5) for x in (start[0, lane], last[lane]))
        for j in range(5):
            reference = Ridge(arms, 0.5)
            for t, (_, sale) in enumerate(played.lane(lane)):
                x = context_of(LINEAR, sale.observation)
                reference.learn(x, int(sale.action), sale.demand, counted[lane, t, j])
            for owner in range(arms.owners):
                exact = reference.solve(owner, start[owner, :, j])[1]
                np.testing.assert_allclose(last[owner, :, j], exact, atol=5e-5)
    spread = played.states.model.mean[0].std()
    assert abs(spread / (0.5 / math.sqrt(0.5)) - 1) < 4 / math.sqrt(2 * played.states.model.mean[0].size)


@pytest.mark.parametrize("weights", ["double", "poisson"])
def test_bootstrapped_spread_is_the_standard_error(weights):
    """Of a mean of n Bernoulli signals, sqrt(p (1 - p) / n): the normal theory of the bootstrap."""
    policy = policies.bootstrapped(replicates=2000, weights=weights, ridge=1e-3, spread=0.0)
    n = 1500
    rng = np.random.default_rng(0)
    sales = np.tile(rng.random(n) < 0.3, 1)
    problem = problem_of(ONE)

    def learn(state):
        def period(state, now):
            time, demand = now
            sale = Transition(jnp.ones(4), jnp.int32(1), jnp.float32(0.7), demand, demand * 0.6, jnp.ones(4))
            return policy.update(jax.random.fold_in(jax.random.key(5), time), state, sale), None

        return jax.lax.scan(period, state, (jnp.arange(n), jnp.asarray(sales, jnp.float32)))[0]

    state = jax.jit(learn)(policy.init(jax.random.key(0), problem))
    means = np.asarray(state.model.mean[1, 0], float)
    p = sales.mean()
    standard_error = math.sqrt(p * (1 - p) / n)
    assert abs(means.mean() - p) < 5 * standard_error / math.sqrt(2000)
    assert abs(means.std() / standard_error - 1) < 5 / math.sqrt(2 * 2000)
    np.testing.assert_array_equal(np.delete(np.asarray(state.model.mean), 1, axis=0), 0.0)


def test_bootstrapped_draws_a_replicate_uniformly():
    policy = policies.bootstrapped(replicates=7, spread=1.0)
    state, _, observation = some_state(policy, LINEAR, "disjoint", periods=3)
    values = np.einsum("kdb,d->kb", np.asarray(state.model.mean, float), context_of(LINEAR, observation))
    best = np.argmax(margins_of(LINEAR)[:, None] * values, axis=0)
    expected = np.bincount(best, minlength=4) / 7
    assert np.count_nonzero(expected) > 1
    assert_choices(policy, state, expected, [np.full(4, 0.25)], observation)

"""Policies for adversarial demand: weights step for step, against NumPy references written from the published formulas."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from harness import HORIZON, assert_choices, problem_of, state_after
from scipy import optimize
from test_policies_nonstationary import KEY, told

from jaxprice import policies
from jaxprice.policies.adversarial.tsallis_inf import leader
from jaxprice.policies.parts import recent

# ---------------------------------------------------------------- weights


class Weights:
    """One period as published, in float64: from weights (or sums of losses) and time to those after it."""

    def __init__(self, states, t):
        self.size, self.time = states.probabilities.shape[-1], t
        if hasattr(states, "losses"):
            self.losses = states.losses[t].astype(float)
        else:
            self.w = np.exp(states.log_weights[t].astype(float))


class Exp3Ix(Weights):
    eta, implicit = 0.3, 0.1

    def chances(self):
        return self.w / self.w.sum()

    def learn(self, action, x):
        self.w[action] *= math.exp(-self.eta * (1 - x) / (self.chances()[action] + self.implicit))


class Exp3S(Weights):
    mixing, sharing = 0.25, 0.02

    def chances(self):
        return (1 - self.mixing) * self.w / self.w.sum() + self.mixing / self.size

    def learn(self, action, x):
        chance, total = self.chances()[action], self.w.sum()
        self.w[action] *= math.exp(self.mixing * x / chance / self.size)
        self.w += math.e * self.sharing / self.size * total


class Rexp3(Exp3S):
    sharing = 0.0

    def learn(self, action, x):
        super().learn(action, x)
        if (self.time + 1) % 17 == 0:
            self.w = np.ones(self.size)


class Exp3P(Exp3S):
    optimism = 1.3

    def learn(self, action, x):
        chances = self.chances()
        gains = self.optimism / (chances * math.sqrt(self.size * HORIZON))
        gains[action] += x / chances[action]
        self.w = self.w * np.exp(self.mixing / (3 * self.size) * gains)


class Tsallis(Weights):
    rate, reduced = 2.0, False

    def chances(self):
        return exact_leader(self.losses, self.rate / math.sqrt(self.time + 1))

    def learn(self, action, x):
        chances, eta = self.chances(), self.rate / math.sqrt(self.time + 1)
        base = 0.5 * (chances >= eta**2) if self.reduced else np.zeros(self.size)
        hot = np.arange(self.size) == action
        self.losses = self.losses + np.where(hot, (1 - x - base) / chances, 0) + base
        self.time += 1


class TsallisReduced(Tsallis):
    rate, reduced = 4.0, True


def exact_leader(losses, eta):
    """q_k = 4 / (eta (L_k - y))^2 with y by root finding."""
    low, high = losses.min() - 2 * math.sqrt(losses.size) / eta, losses.min() - 2 / eta
    y = optimize.brentq(lambda y: np.sum(4 / (eta * (losses - y)) ** 2) - 1, low - 1e-9, high + 1e-9, xtol=1e-13, rtol=1e-14)
    return 4 / (eta * (losses - y)) ** 2


WEIGHTS = {
    "exp3_ix": (policies.exp3_ix(eta=0.3, implicit=0.1), Exp3Ix),
    "exp3_s": (policies.exp3_s(mixing=0.25, sharing=0.02), Exp3S),
    "rexp3": (policies.rexp3(batch=17, mixing=0.25), Rexp3),
    "exp3_p": (policies.exp3_p(mixing=0.25, optimism=1.3), Exp3P),
    "tsallis_inf": (policies.tsallis_inf(), Tsallis),
    "tsallis_inf, reduced": (policies.tsallis_inf("reduced"), TsallisReduced),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_step_for_step(name):
    """Each period from the state before it: rounding errors of importance weights would grow from period to period."""
    policy, maker = WEIGHTS[name]
    lanes, _ = told(policy, "crowd")
    spread = 0.0
    for states, actions, x in lanes:
        np.testing.assert_allclose(states.probabilities[0], [0.25] * 4, rtol=1e-6)
        for t in range(HORIZON - 1):
            reference = maker(states, t)
            np.testing.assert_allclose(states.probabilities[t], reference.chances(), rtol=2e-5)
            reference.learn(actions[t], x[t])
            np.testing.assert_allclose(states.probabilities[t + 1], reference.chances(), rtol=2e-5)
            spread = max(spread, np.ptp(reference.chances()))
    assert spread > 0.05  # it has learned something


@pytest.mark.parametrize("policy", [policies.exp3_s(), policies.tsallis_inf()], ids=["exp3_s", "tsallis_inf"])
def test_arms_are_drawn_by_their_probabilities(policy):
    state = policy.init(KEY, problem_of("bandit"))
    np.testing.assert_allclose(state.probabilities, [0.25] * 4)
    expected = [0.05, 0.62, 0.13, 0.2]
    state = dataclasses.replace(state, probabilities=jnp.array(expected, jnp.float32))
    assert_choices(policy, state, expected, [[0.05, 0.13, 0.62, 0.2]])


@pytest.mark.parametrize("size", [2, 1000])
def test_the_leader_of_tsallis_inf_is_exact(size):
    """Probabilities within a relative 1e-5 for losses over eight orders of magnitude; all alike at first."""
    rng = np.random.default_rng(0)
    losses = np.abs(rng.normal(size=(30, size))) * 10.0 ** rng.uniform(-4, 4, (30, size))
    losses[::3] = np.where(rng.random((10, size)) < 0.5, 0, losses[::3])
    losses[0] = 0
    losses = (losses - losses.min(axis=1, keepdims=True)).astype(np.float32)
    ours = np.asarray(jax.jit(jax.vmap(lambda x: leader(x, jnp.float32(0.3))))(losses), float)
    np.testing.assert_allclose(ours[0], np.full(size, 1 / size), rtol=1e-6)
    for row, q in zip(losses.astype(float), ours, strict=True):
        np.testing.assert_allclose(q, exact_leader(row, 0.3), rtol=1e-5)


def test_exp3_s_forgets_no_arm():
    """One arm always pays: the share v of its weight ends where growth and sharing balance; the others have the rest."""
    g, c = 0.1, math.e * 0.01 / 4
    state = state_after(policies.exp3_s(mixing=g, sharing=0.01), problem_of("bandit"), [1] * 2000, [1] * 2000)

    def surplus(v):
        grown = v * math.exp(g / 4 / ((1 - g) * v + g / 4))
        return (grown + c) / (grown + 1 - v + 4 * c) - v

    share = np.exp(state.log_weights) / np.exp(state.log_weights).sum()
    assert share[1] == pytest.approx(optimize.brentq(surplus, 0.3, 0.99), abs=1e-4)
    np.testing.assert_allclose(np.delete(share, 1), (1 - share[1]) / 3, rtol=1e-4)


@pytest.mark.parametrize("horizon", [1, 50, 10**6])
def test_rates_are_tuned_to_the_horizon(horizon):
    def rates(policy):
        return policy.init(KEY, problem_of("bandit", horizon)).rates

    ix, s, r, p = (rates(make()) for make in (policies.exp3_ix, policies.exp3_s, policies.rexp3, policies.exp3_p))
    assert float(ix.eta) == pytest.approx(math.sqrt(2 * math.log(4) / (4 * horizon)), rel=1e-5)
    assert float(ix.implicit) == pytest.approx(float(ix.eta) / 2, rel=1e-5)
    hardness = 2 * math.log(4 * horizon) + math.e
    assert float(s.mixing) == pytest.approx(min(1, math.sqrt(4 * hardness / ((math.e - 1) * horizon))), rel=1e-5)
    assert float(s.share) == pytest.approx(math.e / (4 * horizon), rel=1e-5)
    batch = min(math.ceil((4 * math.log(4)) ** (1 / 3) * horizon ** (2 / 3)), horizon)
    assert abs(int(r.batch) - batch) <= 1e-5 * batch
    assert float(r.mixing) == pytest.approx(min(1, math.sqrt(4 * math.log(4) / ((math.e - 1) * batch))), rel=1e-4)
    assert float(p.mixing) == pytest.approx(min(0.6, 2 * math.sqrt(0.6 * 4 * math.log(4) / horizon)), rel=1e-5)
    optimism = 2 * math.sqrt(math.log(4 * horizon / 0.05))
    assert float(p.bonus) == pytest.approx(optimism / math.sqrt(4 * horizon), rel=1e-5)


def test_other_numbers_tuned_to_the_horizon():
    problem = problem_of("bandit", 10_000)
    assert policies.discounted_ucb(changes=4.0).init(KEY, problem).discount == pytest.approx(1 - 0.25 * 0.02)
    cusum = policies.cusum_ucb(changes=4.0).init(KEY, problem)
    assert float(cusum.threshold) == pytest.approx(math.log(2500), rel=1e-5)
    assert float(cusum.exploration) == pytest.approx(math.sqrt(4 * math.log(2500) / 10_000), rel=1e-5)
    glr = policies.glr_kl_ucb().init(KEY, problem)
    assert float(glr.exploration) == pytest.approx(math.sqrt(4 * math.log(10_000) / 10_000), rel=1e-5)
    assert float(glr.log_failure) == pytest.approx(math.log(0.01), rel=1e-5)
    assert recent.tuned_window(10_000, 6) == 248

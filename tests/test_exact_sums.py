"""Sums of products that some versions of jaxlib get wrong on CPUs: right in a fresh process, whatever it does first."""

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest

import jaxprice
from jaxprice import agents, data, devices, exact_sums, ope
from jaxprice.oracles import dynamic_programming

FLAG = f"--{exact_sums.FLAG}="
SEEN = exact_sums.FIRST, exact_sums.LAST
FAULTY = SEEN[0] <= exact_sums.version() <= SEEN[1]

MANY_BUYERS = """
import os
import jax
import numpy as np
import jaxprice
from jaxprice.envs.market import Visit

assert "ynn" not in os.environ.get("XLA_FLAGS", "")  # an import changes nothing
env, params = jaxprice.make("GLMDemand", num_prices=5)
contexts = np.random.default_rng(0).random((8000, 3)).astype(np.float32)
rewards = lambda context: jax.vmap(lambda a: env.expected_reward(Visit(np.int32(0), context), a, params))(np.arange(5))
found = np.asarray(jax.jit(jax.vmap(rewards))(contexts))
prices, x = np.asarray(params.prices, float), contexts.astype(float)
utility = (x @ params.alpha)[:, None] - (x @ params.beta)[:, None] * prices
np.testing.assert_allclose(found, prices / (1 + np.exp(-utility)), atol=1e-5)

x = np.random.default_rng(0).normal(size=(1000, 8, 8)).astype(np.float32)
found = jax.jit(lambda x, c: jax.numpy.sum((x @ jax.numpy.full_like(x, c)) * x, axis=-1))(x, np.float32(1.5))
np.testing.assert_allclose(found, 1.5 * x.astype(float).sum(-1) ** 2, atol=1e-3)  # a product with a constant
print(os.environ.get("XLA_FLAGS", ""))
"""

DOORS = {
    "make": lambda: jaxprice.make("BernoulliBandit"),
    "a market without make": lambda: jaxprice.envs.PostedPrice(),
    "cores": jaxprice.use_cpu_cores,
    "devices of a run": devices.mesh,
    "a log": lambda: ope.DecisionLog.of(action=[0, 1], reward=[0.0, 1.0], propensity=0.5, prices=[1.0, 2.0]),
    "a choice model": lambda: data.fit_binary_logit(
        np.array([[1.0], [2.0], [1.0], [2.0]]), np.array([1, 0, 0, 1]), ["price"]
    ),
    "a network": lambda: agents.networks.make("gru", actions=2),
    "gain": lambda: dynamic_programming.policy_gain(np.ones(2), np.full((2, 2), 0.5)),
    "values": lambda: dynamic_programming.value_iteration(np.ones((2, 2)), np.full((2, 2, 2), 0.5), 0.9),
}

LATE = """
import warnings
import jax
jax.block_until_ready(jax.numpy.ones(3))
import jaxprice
from jaxprice import devices, exact_sums, policies

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(2):
        env, params = jaxprice.make("PostedPrice", num_prices=3)
        jaxprice.simulate(env, policies.random_price(), lanes=4, horizon=3)
told = [str(one.message) for one in caught if issubclass(one.category, RuntimeWarning)]
assert all("had started before jaxprice" in one for one in told), told
print(len(told), repr(devices.compiler_options(devices.mesh()).get(exact_sums.FLAG)))
"""


def fresh(code, **environment):
    """What a program prints that starts without our flags."""
    kept = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=kept | environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_sums_of_many_buyers_are_those_of_numpy():
    assert (FLAG in fresh(MANY_BUYERS)) == FAULTY


class ReachedError(Exception):
    """Raised in place of the flag being set."""


@pytest.mark.parametrize("door", DOORS.values(), ids=list(DOORS))
def test_whatever_comes_first_sets_the_flag(door, monkeypatch):
    def reached():
        raise ReachedError

    monkeypatch.setattr(exact_sums, "ensure", reached)
    with pytest.raises(ReachedError):
        door()


def test_a_late_start_is_told_once_and_the_engine_is_exact_all_the_same():
    assert fresh(LATE) == ("1 ''" if FAULTY else "0 None")


def flags_after(monkeypatch, version, before=None):
    """What `ensure` makes of `XLA_FLAGS` before the backend starts, and the options of programs on CPUs."""
    monkeypatch.setattr(exact_sums, "version", lambda: version)
    monkeypatch.setattr(exact_sums.xla_bridge, "backends_are_initialized", lambda: False)
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    if before is not None:
        monkeypatch.setenv("XLA_FLAGS", before)
    exact_sums.ensure()
    return os.environ.get("XLA_FLAGS")


@pytest.mark.parametrize("version", SEEN)
def test_the_flag_is_added_once_in_versions_with_the_fault(version, monkeypatch):
    assert flags_after(monkeypatch, version) == FLAG
    assert flags_after(monkeypatch, version, "--xla_dump_to=a") == f"--xla_dump_to=a {FLAG}"
    exact_sums.ensure()
    assert os.environ["XLA_FLAGS"].count(exact_sums.FLAG) == 1


@pytest.mark.parametrize("version", SEEN)
def test_a_choice_of_the_program_stays(version, monkeypatch):
    chosen = f"{FLAG}individual_dot"
    assert flags_after(monkeypatch, version, chosen) == chosen
    assert exact_sums.FLAG not in devices.compiler_options(devices.mesh(1))


@pytest.mark.parametrize("version", [(0, 9, 9), (99, 0, 0)])
def test_other_versions_are_left_alone(version, monkeypatch):
    assert flags_after(monkeypatch, version) is None
    assert exact_sums.FLAG not in devices.compiler_options(devices.mesh(1))


def test_a_newer_version_that_is_wrong_is_told_once(monkeypatch):
    assert flags_after(monkeypatch, (99, 0, 0)) is None
    monkeypatch.setattr(exact_sums, "wrong", lambda: True)
    exact_sums.warn_if_wrong.cache_clear()
    with pytest.warns(RuntimeWarning, match="does not know this version: set XLA_FLAGS=--xla"):
        devices.mesh(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        devices.mesh(1)

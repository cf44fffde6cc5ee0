"""The cache of compiled code: bounded for each kind of policy, and cleared completely."""

import gc
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxprice
from jaxprice import Policy, engine, policies, program
from jaxprice.program_cache import ProgramCache, maker_name


def test_the_latest_of_each_kind_are_kept():
    kept, made = ProgramCache(each=2, total=4), []

    def find(kind, number):
        return kept.find(kind, (kind, number), lambda: made.append((kind, number)) or number)

    assert [find("a", 0), find("a", 1), find("b", 0), find("a", 0), find("a", 2)] == [0, 1, 0, 0, 2]
    assert list(kept) == [("b", 0), ("a", 0), ("a", 2)]  # the second had not been asked for the longest
    assert made == [("a", 0), ("a", 1), ("b", 0), ("a", 2)]  # what is kept is not made again
    find("c", 0), find("d", 0)
    assert list(kept) == [("a", 0), ("a", 2), ("c", 0), ("d", 0)]  # of all together, the oldest goes


def test_hyperparameters_are_no_kinds():
    assert maker_name(policies.ucb1(0.5)) == maker_name(policies.ucb1(2.0)) == "ucb1"
    assert maker_name(policies.discounted(policies.ucb1(0.5), 0.9)) == "discounted"
    assert maker_name(holding(0)) == maker_name(holding(1)) == f"{__name__}.holding.<locals>.act"


def holding(arm, text=None, held=lambda array: None):
    """A policy that plays an arm, which it holds in an array."""
    array = np.full(256, arm, np.int32)
    held(array)

    def act(key, state, observation):
        return jnp.asarray(array)[state]

    if text is not None:
        act.description = text
    return Policy(lambda key, problem: jnp.int32(0), act, lambda key, state, sale: state + 1)


@pytest.mark.parametrize("text", [None, "mine(1)"])
def test_a_sweep_replaces_its_own_programs_and_no_others(monkeypatch, text):
    """Programs, engines and executables of the latest policies stay; arrays that older ones held are free."""
    env, params = jaxprice.make("BernoulliBandit", means=[0.2, 0.5, 0.9])
    engine.forget()
    for kept in (engine._engines, engine._played, program._executables):
        monkeypatch.setattr(kept, "each", 2)
    arrays = []

    def regret(policy):
        return jaxprice.simulate(env, policy, lanes=2, horizon=3, params=params)["lane_regret"].values[0, 0]

    regret(policies.ucb1())
    for arm in (0, 1, 2, 0, 1):
        played = regret(holding(arm, text, lambda array: arrays.append(weakref.ref(array))))
        np.testing.assert_allclose(played, 3 * (0.9 - (0.2, 0.5, 0.9)[arm]), rtol=1e-5, atol=1e-6)
    if jax.__version_info__ >= (0, 11):  # it keeps constants of what it has traced in a cache of its own
        jax.clear_caches()
    gc.collect()
    assert [array() is not None for array in arrays] == [False, False, False, True, True]
    mine = "mine" if text else f"{__name__}.holding.<locals>.act"
    for kept in (engine._engines, engine._played):
        assert [kind for kind, _ in kept.values()] == ["ucb1", mine, mine]
    kinds = sorted(kind for kind, _ in program._executables.values())
    assert kinds == sorted(
        [("BernoulliBandit", "reset"), *((name, role) for name in ("ucb1", mine, mine) for role in ("start", "advance"))]
    )

"""`simulate` with JAX's debugging switches, and its message for Poisson draws, for which JAX needs threefry."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxprice
from jaxprice import Policy, invariants, policies


def bandit():
    return jaxprice.make("BernoulliBandit", means=[0.2, 0.8])


def played(policy, horizon=6, **options):
    env, params = bandit()
    return jaxprice.simulate(env, {"mine": policy}, lanes=3, horizon=horizon, params=params, **options)


def in_act(key, state, observation):
    return jnp.argmax(jnp.log(state - jnp.array([1.0, 2.0]))).astype(jnp.int32)


def plain(act=lambda key, state, observation: jnp.int32(0), update=lambda key, state, sale: state):
    return Policy(lambda key, problem: jnp.float32(0), act, update)


def late(key, state, sale):
    """A root of a negative number, long after the periods that are looked at one by one."""
    return state + 1 + 0 * jnp.sqrt(8.5 - state)


@pytest.mark.parametrize("traces", [False, True])
def test_nan_is_found_where_it_is_asked_for(traces):
    broken = plain(act=in_act)
    assert np.all(np.isfinite(played(broken, traces=traces)["regret"]))
    with jax.debug_nans(True), pytest.raises(FloatingPointError, match=r"policy 'mine' in BernoulliBandit: .*nan"):
        played(broken, traces=traces)


def test_nan_of_later_periods_is_found():
    policy = plain(lambda key, state, observation: (state * 0 > 1).astype(jnp.int32), late)
    with jax.debug_nans(True):
        played(policy, horizon=5)
        with pytest.raises(FloatingPointError, match=r"policy 'mine'.*nan"):
            played(policy, horizon=30)


def test_infinite_numbers_are_found():
    policy = plain(update=lambda key, state, sale: state + 1 / (state * 0))
    with jax.debug_infs(True), pytest.raises(FloatingPointError, match=r"policy 'mine'.*inf"):
        played(policy)


@pytest.mark.parametrize("name", ["ucb1", "thompson", "exp3"])
def test_sound_policies_are_played_as_before(name):
    policy = policies.make(name)
    free = played(policy)
    with jax.debug_nans(True):
        np.testing.assert_array_equal(played(policy)["lane_regret"], free["lane_regret"])


def drawing(draw):
    return plain(act=lambda key, state, observation: jnp.minimum(draw(key), 1).astype(jnp.int32))


@pytest.mark.parametrize("play", ["simulate", "rollout", "check_policy"])
def test_poisson_says_what_does(play):
    env, params = bandit()
    ways = {
        "simulate": played,
        "rollout": lambda policy: jaxprice.rollout(env, policy, lanes=3, horizon=6, params=params),
        "check_policy": lambda policy: invariants.check_policy(policy, env, params),
    }
    with pytest.raises(NotImplementedError, match="threefry") as refused:
        ways[play](drawing(lambda key: jax.random.poisson(key, 0.5)))
    made = "jax.random.wrap_key_data(jax.random.bits(key, (2,)), impl='threefry2x32')"
    assert any(made in note for note in refused.value.__notes__)


def test_poisson_draws_of_a_key_of_random_words():
    def threefry(key):
        return jax.random.wrap_key_data(jax.random.bits(key, (2,)), impl="threefry2x32")

    env, params = bandit()
    policy = drawing(lambda key: jax.random.poisson(threefry(key), 0.5))
    result = jaxprice.simulate(env, policy, lanes=2000, horizon=1, params=params)
    share = 1 - result["lane_regret"].values.mean() / 0.6  # of second arms: a draw above zero
    assert abs(share - (1 - np.exp(-0.5))) < 4 * 0.5 / np.sqrt(2000)

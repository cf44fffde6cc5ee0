"""A policy whose functions stay the same objects while their data change is played with the current data."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest

import jaxprice
from jaxprice import Policy

MEANS = [0.2, 0.7, 0.5]
ARM = 0


def reward_of(policy):
    env, params = jaxprice.make("BernoulliBandit", means=MEANS)
    result = jaxprice.simulate(env, policy, lanes=2, horizon=5, params=params, checkpoints=[5])
    return round(0.7 - float(result["regret"].values[0, -1]) / 5, 3)


class Seller:
    def __init__(self, arm):
        self.arm = arm

    def init(self, key, problem):
        return jnp.int32(0)

    def act(self, key, state, observation):
        return jnp.int32(self.arm)

    def update(self, key, state, sale):
        return state


def of_methods():
    seller = Seller(0)
    return Policy(seller.init, seller.act, seller.update), functools.partial(setattr, seller, "arm")


def of_fresh_methods():
    """Two policies of bound methods of one object, which are equal."""
    seller = Seller(0)
    return None, functools.partial(setattr, seller, "arm"), lambda: Policy(seller.init, seller.act, seller.update)


def plain(act):
    return Policy(lambda key, problem: jnp.int32(0), act, lambda key, state, sale: state)


def of_an_array():
    table = np.zeros(3, np.int32)
    return plain(lambda key, state, observation: jnp.asarray(table)[1]), functools.partial(table.__setitem__, 1)


def of_a_dict():
    options = {"arm": 0}
    return plain(lambda key, state, observation: jnp.int32(options["arm"])), functools.partial(options.__setitem__, "arm")


def of_a_cell():
    arm = 0

    def change(value):
        nonlocal arm
        arm = value

    return plain(lambda key, state, observation: jnp.int32(arm)), change


def of_a_default():
    def act(key, state, observation, options=[0]):  # noqa: B006
        return jnp.int32(options[0])

    return plain(act), functools.partial(act.__defaults__[0].__setitem__, 0)


def of_a_global():
    return plain(lambda key, state, observation: jnp.int32(ARM)), functools.partial(globals().__setitem__, "ARM")


def of_a_partial():
    options = [0]
    act = functools.partial(lambda options, key, state, observation: jnp.int32(options[0]), options)
    return plain(act), functools.partial(options.__setitem__, 0)


def in_a_combinator():
    policy, change = of_methods()
    return jaxprice.policies.batched(policy, 2), change


KINDS = [of_methods, of_fresh_methods, of_an_array, of_a_dict, of_a_cell, of_a_default, of_a_global, of_a_partial]


@pytest.mark.parametrize("kind", [*KINDS, in_a_combinator], ids=lambda kind: kind.__name__)
def test_what_a_policy_reaches_may_change(kind):
    policy, change, *again = kind()
    for arm in (1, 2):
        change(arm)
        assert reward_of(again[0]() if again else policy) == MEANS[arm]


def test_a_policy_that_stays_is_compiled_once():
    traces = []

    class Counting(Seller):
        def act(self, key, state, observation):
            traces.append(1)
            return super().act(key, state, observation)

    seller = Counting(1)
    policy = Policy(seller.init, seller.act, seller.update)
    seen = []
    for _ in range(3):
        reward_of(policy)
        seen.append(len(traces))
    assert seen[2] - seen[1] < seen[0] and seen[2] - seen[1] <= 2  # what is rehearsed before every run

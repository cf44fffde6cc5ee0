"""All policies that are made without arguments, and the small markets of the harness that each of them takes."""

import functools

import jax
import pytest
from harness import SMALL_MARKETS, market, problem_of

from jaxprice import policies

NAMES = [name for name in policies.list() if name != "oracle"]
CARDS = {card.name: card for card in policies.cards()}
TRAINED = ("neural_linear", "neural_thompson", "neural_ucb")  # by loops that take longer than to compile them
LONG = {name: [pytest.mark.optimised] for name in TRAINED}
EACH = [pytest.param(name, marks=LONG.get(name, [])) for name in NAMES]


@functools.cache
def takes(name, label):
    """Whether a policy takes a market; if it refuses, then by a ValueError that gives the name of the policy."""
    policy, problem, key = policies.make(name), problem_of(label), jax.random.key(0)
    try:
        jax.eval_shape(lambda key, seen: policy.init(key, problem.with_observation(seen)), key, first_seen(label))
    except ValueError as error:
        assert name in str(error), (label, error)
        return False
    return True


@functools.cache
def first_seen(label):
    """Shapes of the observation before the first sale."""
    env, params = market(label)
    return jax.eval_shape(env.reset_env, jax.random.key(0), params)[0]


def fits(name):
    """The markets that a policy takes."""
    return [label for label in SMALL_MARKETS if takes(name, label)]


def first_fit(name, labels=tuple(SMALL_MARKETS)):
    """The first of some markets that a policy takes; None if there is none."""
    return next((label for label in labels if takes(name, label)), None)

"""Rows of the experiments that have no test of their own: each can be made and played, without playing it."""

import functools

import jax
import numpy as np
import pytest

import jaxprice
from experiments import meta_pricing, regret_growth, throughput, train_agents
from jaxprice import agents, policies
from jaxprice.agents import lifetimes

GROWTH = regret_growth.rows(1600)


@functools.cache
def told(market):
    """What a seller is told in a market given as its `repr`."""
    kind, options = next(row for _, row, _ in GROWTH.values() if repr(row) == market)
    env, params = jaxprice.make(kind, **options)
    return env.problem(params)


@pytest.mark.parametrize("name", GROWTH)
def test_rows_of_growth_fit_their_markets(name):
    policy, row, _ = GROWTH[name]
    jax.eval_shape(policy.init, jax.random.key(0), told(repr(row)))
    assert policies.describe(policy).startswith(name.split(",")[0])


def test_seasons_of_three_lengths_are_rows():
    assert set(regret_growth.ACROSS) <= set(GROWTH)


def test_every_policy_has_a_stage_in_the_throughput():
    options = throughput.Options()
    rows = throughput.policy_rows()
    assert sorted(rows) == sorted(set(policies.list()) - {"oracle"})
    for policy, reference in rows.values():
        throughput.stage(policy, options)
        assert reference is None or callable(reference)


@pytest.mark.parametrize("name", [name for name, (_, reference) in throughput.policy_rows().items() if reference])
def test_numpy_policies_play(name):
    """A few periods of each reference earn or lose something."""
    reference = throughput.policy_rows()[name][1]
    assert reference(4, 3, 8, 0).run([0.2, 0.4, 0.6, 0.8] if hasattr(reference, "largest") else 0.5) > 0


@pytest.mark.parametrize("name", train_agents.recipes())
def test_recipes_of_agents_fit_their_markets(name):
    recipe = train_agents.recipes()[name]
    play = lifetimes.Play(recipe.env, recipe.built, recipe.horizon)
    weights = jax.eval_shape(lambda: agents.networks.initial(recipe.built, jax.random.key(0), *play.example()))
    assert sum(leaf.size for leaf in jax.tree.leaves(weights)) * 4 < 1_000_000
    assert recipe.deploy == "argmax" and recipe.hyper.check() is recipe.hyper


def test_meta_pricing_adds_both_errors():
    runs = np.array([[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]])  # two seeds, three markets
    mean, error = meta_pricing.summary(runs)
    assert mean == 3.0
    assert error == pytest.approx((1 / 3 + 2 / 2) ** 0.5)  # markets: variance 1 over 3; seeds: variance 2 over 2
    assert meta_pricing.summary(runs[:1])[1] == pytest.approx((1 / 3) ** 0.5)

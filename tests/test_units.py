"""Money has no natural unit: a policy decides the same in a market with another currency, and markets themselves scale.

`test_policy_table` has every policy in its first market; the full cross of policies and markets is a slow test.
"""

import dataclasses

import jax
import numpy as np
import pytest
from every_policy import LONG, NAMES, first_fit, takes
from harness import SMALL_MARKETS, market
from scaled import scaled
from units_of_money import MORE, PRICED, UNITS, check, told

import jaxprice
from jaxprice import envs, policies
from jaxprice.policies.parts import scale

CROSS = [pytest.param(name, label, marks=LONG.get(name, [])) for name in NAMES for label in PRICED]


@pytest.mark.slow
@pytest.mark.many
@pytest.mark.parametrize(("name", "label"), CROSS)
def test_in_every_market(name, label):
    if not takes(name, label):
        pytest.skip("refused by init")
    check(name, label, UNITS + MORE, 120)


@pytest.mark.parametrize("label", [label for label in PRICED if not getattr(envs, SMALL_MARKETS[label][0]).tables])
def test_a_market_in_another_unit_tells_the_same(label):
    """What policies are told in these tests is what a market of another unit tells."""
    env, params = scaled(*market(label), 2.0**20)
    mine, its = told(label, 2.0**20), env.problem(params)
    jax.tree.map(np.testing.assert_array_equal, dataclasses.replace(mine, horizon=its.horizon), its)


WHOLE = ("iterated_least_squares", "o3fu", "primal_dual_bwk", "emlp", "mle_cycle", "mnl_newton", "opok", "ucb_pi", "ucb1")


@pytest.mark.slow
@pytest.mark.parametrize("name", WHOLE)
def test_regret_is_in_the_unit(name):
    """Played in a market of another unit, through the engine: the regret in that unit."""
    label = first_fit(name, PRICED)
    env, params = market(label)
    regrets = []
    for unit in (1.0, 2.0**-40, 2.0**20):
        market_of_unit, its = scaled(env, params, unit)
        result = jaxprice.simulate(market_of_unit, {name: policies.make(name)}, lanes=20, horizon=100, params=its)
        regrets.append(float(result["regret"][0, -1]) / unit)
    np.testing.assert_allclose(regrets, regrets[0], rtol=1e-4)


def test_the_unit_is_a_power_of_two():
    x = np.array([1e-12, 0.75, 1.0, 1.5, 2.0, 8.0, 3.3e12, 0.0], np.float32)
    expected = np.where(x > 0, 2.0 ** np.floor(np.log2(np.where(x > 0, x, 1).astype(float))), 1)
    np.testing.assert_array_equal(scale.power_of_two(x), expected)

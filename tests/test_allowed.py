"""Markets that forbid actions: what the engine takes instead, what wrappers pass on, what is logged and can be evaluated."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxprice
from jaxprice import invariants, ope, policies
from jaxprice.compat import markets
from jaxprice.envs.bernoulli_bandit import BernoulliBandit
from jaxprice.envs.non_stationary import NonStationary
from jaxprice.envs.related_products import RelatedProducts
from jaxprice.numerics import nearest_allowed
from jaxprice.types import Policy

LANES, PERIODS, STOCK, MEANS = 64, 12, 3, np.array([0.2, 0.5, 0.8])
SEASON = {"stock": STOCK, "horizon": PERIODS, "shut_off": True}
NOTHING = 4  # the action that offers nothing


@dataclasses.dataclass(frozen=True)
class Legal(BernoulliBandit):
    """A bandit in which only the arms up to the number of the period, modulo three, are allowed."""

    def allowed(self, state, params):
        return jnp.arange(3) <= state.time % 3

    def optimal_action(self, state, params):
        return jnp.int32(state.time % 3)  # means increase


def season(**options):
    return jaxprice.make("FiniteInventory", **SEASON | {"closes": True} | options)


def recorded(env, policy, params, **options):
    options = {"seed": 7, "lanes": LANES, "horizon": PERIODS} | options
    return jaxprice.record(env, policy, params=params, **options)


def test_the_nearest_allowed_action_by_hand():
    allowed = np.array([[1, 0, 0, 1, 0], [0, 0, 1, 0, 0], [1, 1, 1, 1, 1], [0, 1, 0, 1, 0]], bool)
    wanted = [[0, 0, 3, 3, 3], [2] * 5, [0, 1, 2, 3, 4], [1, 1, 1, 3, 3]]
    found = jax.vmap(lambda mask: nearest_allowed(mask, jnp.arange(5, dtype=jnp.int32)))(allowed[:, None])
    np.testing.assert_array_equal(found, wanted)
    assert found.dtype == jnp.int32 and nearest_allowed(allowed[0], jnp.int8(2)).dtype == jnp.int8


def test_a_closed_shop_earns_what_an_open_one_without_stock_earns():
    policy = policies.random_price()
    (closed, params), (left_open, others) = season(), season(closes=False)
    runs = [
        jaxprice.simulate(env, policy, seed=7, lanes=LANES, horizon=PERIODS, params=p, traces=True)
        for env, p in ((closed, params), (left_open, others))
    ]
    for name in ("regret", "reward", "trace_demand", "trace_reward", "share"):
        np.testing.assert_array_equal(*(run[name].values for run in runs), err_msg=name)
    demand, action = (runs[0][f"trace_{name}"].values[0] for name in ("demand", "action"))
    left = STOCK - np.cumsum(demand, axis=0) + demand
    assert (left == 0).mean() > 0.2 and np.all(action[left == 0] == NOTHING)
    same = left > 0
    np.testing.assert_array_equal(action[same], runs[1]["trace_action"].values[0][same])
    assert np.all(runs[0]["trace_price"].values[0][left == 0] == 0.0)  # the cost, at which nothing is listed


def counting():
    """Posts the price that was taken least often; its state has the numbers of periods of the actions."""

    def init(key, problem):
        return jnp.zeros(problem.num_prices)

    def act(key, state, observation):
        return jnp.argmin(state).astype(jnp.int32)

    def update(key, state, transition):
        return state.at[transition.action].add(1.0)

    return Policy(init, act, update)


@pytest.mark.parametrize(
    "policy",
    [policies.random_price(), policies.exp3(), policies.random_price()._replace(probabilities=None), counting()],
    ids=["formula", "learning", "counted", "certain"],
)
def test_the_log_of_a_closed_shop_is_one(policy):
    env, params = season()
    log = recorded(env, policy, params, draws=30)
    left = np.asarray(log.observation)[..., 3] * STOCK
    empty = np.round(left) == 0
    wanted = np.where(empty[..., None], np.arange(5) == NOTHING, True)
    np.testing.assert_array_equal(log.allowed, wanted)
    assert empty.mean() > 0.15 and np.all(np.asarray(log.action)[empty] == NOTHING)
    np.testing.assert_allclose(np.asarray(log.propensity)[empty], 1.0, atol=1e-6)
    if log.propensity_se is not None:
        p = np.asarray(log.propensity)
        np.testing.assert_allclose(log.propensity_se, np.sqrt(p * (1 - p) / 31), atol=1e-6)
    ope.DecisionLog.of(**{field.name: getattr(log, field.name) for field in dataclasses.fields(log)})


def test_the_value_of_a_season_at_a_fixed_price():
    """By importance sampling of seasons against the binomial: revenue is price times min(stock, buyers)."""
    env, params = season()
    log = recorded(env, policies.random_price(), params, lanes=4000)
    log = jax.tree.map(lambda x: x[None], log.replace(prices=None)).replace(prices=log.prices)
    with pytest.raises(ValueError, match=r"actions outside the mask `allowed` \(see renormalise, nearest\)"):
        ope.target(log, 1)
    with pytest.raises(ValueError, match="some probability on the allowed actions"):
        ope.target(log, 1, renormalise=True)
    with pytest.raises(ValueError, match="give one of them"):
        ope.target(log, 1, renormalise=True, nearest=True)
    target = ope.target(log, np.array([0.0, 0.9, 0.0, 0.1, 0.0]), nearest=True)
    closed = ~np.asarray(log.allowed)[..., 0]
    np.testing.assert_allclose(np.asarray(target)[closed], np.tile(np.arange(5) == NOTHING, (closed.sum(), 1)), atol=1e-6)
    found = ope.per_decision(log, target)
    # a period sells with probability q, at a mean price of m: revenue is m E[min(stock, Binomial)]
    prices, sales = np.array([34.9, 44.9]), np.array([0.6, 0.1])
    q = 0.9 * sales[0] + 0.1 * sales[1]
    mean = (0.9 * sales[0] * prices[0] + 0.1 * sales[1] * prices[1]) / q
    chance = np.array([1.0] + [0.0] * STOCK)
    for _ in range(PERIODS):
        chance = np.append(chance[:-1] * (1 - q), chance[-1]) + np.append(0.0, chance[:-1] * q)
    value = mean * chance @ np.arange(STOCK + 1)
    assert abs(float(found.value[0]) - value) < 4 * float(found.se[0])
    assert float(found.se[0]) < 0.1 * value


def test_wrappers_pass_the_mask_on():
    env, _ = season()
    related = RelatedProducts(env)
    log = recorded(related, policies.random_price(), related.default_params())
    np.testing.assert_array_equal(log.allowed, recorded(env, policies.random_price(), related.default_params()).allowed)
    _, one = jaxprice.make("BernoulliBandit", means=MEANS)
    wanted = np.broadcast_to(np.arange(3) <= np.arange(PERIODS)[:, None] % 3, (LANES, PERIODS, 3))
    plain = recorded(Legal(num_arms=3), policies.random_price(), one)
    np.testing.assert_array_equal(plain.allowed, wanted)
    # a uniform proposal: forbidden arms lead to the highest allowed one
    law = np.array([[1, 0, 0], [1 / 3, 2 / 3, 0], [1 / 3] * 3])[np.arange(PERIODS) % 3]
    np.testing.assert_allclose(plain.probabilities, np.broadcast_to(law, wanted.shape), atol=1e-6)
    moving = NonStationary(Legal(num_arms=3), num_markets=2, horizon=PERIODS)
    np.testing.assert_array_equal(recorded(moving, policies.random_price(), None).allowed, wanted)
    fresh = markets.FreshMarket(Legal(num_arms=3))
    np.testing.assert_array_equal(recorded(fresh, policies.random_price(), None).allowed, wanted)


def test_steps_and_views_take_the_nearest_allowed_action():
    env, params = Legal(num_arms=3), jaxprice.make("BernoulliBandit", means=[1.0, 0.0, 0.0])[1]
    key = jax.random.key(0)
    _, state = env.reset(key, params)
    assert env.step(key, state, 2, params)[2] == 1.0  # arm 0 is the only one in the first period
    assert markets.period(env, key, state, jnp.int32(2), params)[2] == 1.0
    assert env.step_env(key, state, 2, params)[2] == 0.0


def test_masks_are_among_the_conditions_of_a_market():
    env, params = season()
    assert "mask" in invariants.check_market(env, params)
    _, one = jaxprice.make("BernoulliBandit", means=MEANS)

    class Blind(Legal):
        def optimal_action(self, state, params):
            return jnp.int32(2)

    class Shut(Legal):
        def allowed(self, state, params):
            return jnp.arange(3) < state.time - 1

    for market, message in ((Blind, "mask: optimal_action takes a forbidden action in period 0"), (Shut, "forbids all")):
        with pytest.raises(ValueError, match=message):
            invariants.check_market(market(num_arms=3), one, lanes=4, periods=4)


@pytest.mark.parametrize("mask", [np.ones(2, bool), np.ones(3), [True, True, True]])
def test_a_mask_of_another_shape_is_refused(mask):
    class Wrong(Legal):
        def allowed(self, state, params):
            return mask

    with pytest.raises(ValueError, match=r"Wrong.allowed must return None or bool\[3\], got"):
        jaxprice.simulate(Wrong(num_arms=3), policies.ucb1(), lanes=2, horizon=3)


def test_a_closing_shop_needs_an_action_that_offers_nothing():
    with pytest.raises(ValueError, match="closes needs shut_off=True"):
        jaxprice.make("FiniteInventory", closes=True)

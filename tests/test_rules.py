"""Impossible markets from any source, single or in a batch, are refused; the message names the leaf and the row."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scaled
from rows import some

import jaxprice
from jaxprice import demand, policies
from jaxprice.types import Interval

NAN, INF = np.float32(np.nan), np.float32(np.inf)
BROKEN = {  # row of `scaled.SCALED_MARKETS`: (a change of a leaf, what the message names)
    "bandit": [("means", lambda x: x + 1, "means"), ("means", lambda x: -x, "means"), ("prices", lambda x: -x, "prices")],
    "gaussian bandit": [("stds", lambda x: -x, "stds"), ("cost", lambda x: x - 1, "cost")],
    "informative bandit": [("means", lambda x: 2 * x, "means"), ("prices", lambda x: 0 * x, "prices")],
    "wheel": [
        ("delta", lambda x: 0 * x + 1.5, "delta"),
        ("levels", lambda x: x[::-1].copy(), "levels"),
        ("noise_scale", lambda x: x - 1, "noise_scale"),
    ],
    "labelled rows": [
        ("labels", lambda x: x + 1, "labels"),
        ("hit", lambda x: x - 0.9, "hit"),
        ("miss", lambda x: x + 0.8, "miss"),
    ],
    "linear": [
        ("prices", lambda x: x[::-1].copy(), "prices"),
        ("prices", lambda x: x + 1, "nobody buys"),
        ("prices", lambda x: x - 1, "prices"),
        ("cost", lambda x: x - 1, "cost"),
        ("demand.slope", lambda x: -x, "slope"),
        ("demand.intercept", lambda x: 2 * x, "purchase probability"),
    ],
    "logit, interval": [
        ("low", lambda x: x + 8, "low below high"),
        ("low", lambda x: x - 8, "low"),
        ("noise_scale", lambda x: -x, "noise_scale"),
        ("demand.slope", lambda x: -x, "slope"),
        ("demand.intercept", lambda x: x + 500, "nobody buys"),
    ],
    "iso_elastic, interval": [("demand.elasticity", lambda x: x - 1.5, "elasticity"), ("low", lambda x: 0 * x, "finite")],
    "probit, interval": [("demand.scale", lambda x: -x, "scale")],
    "uniform, interval": [("demand.high", lambda x: 0 * x, "valuation")],
    "log_normal, interval": [("demand.scale", lambda x: 0 * x, "scale")],
    "exponential, interval": [("demand.rate", lambda x: -x, "rate")],
    "mixture, interval": [
        ("demand.weights", lambda x: 2 * x, "weights"),
        ("demand.components.scale", lambda x: -x, "scale"),
    ],
    "atoms, interval": [("demand.weights", lambda x: -x, "weights")],
    "poisson": [("demand.scale", lambda x: 100 * x, "demand")],
    "segments": [
        ("shares", lambda x: 2 * x, "shares"),
        ("half_width", lambda x: -x, "half_width"),
        ("midpoints", lambda x: x - 9, "somebody buys"),
    ],
    "linear valuation": [("scale", lambda x: -x, "scale"), ("low", lambda x: x + 9, "low"), ("low", lambda x: x - 1, "low")],
    "valuation, mixture": [("weights", lambda x: x / 2, "weights"), ("scales", lambda x: -x, "scales")],
    "valuation, uniform": [("theta", lambda x: x - 99 * (np.arange(3) == 0), "nobody buys")],
    "valuation, gaussian": [("prices", lambda x: x[::-1].copy(), "prices")],
    "glm": [("beta", lambda x: -x, "beta"), ("alpha", lambda x: x - 500, "nobody buys"), ("cost", lambda x: x - 9, "cost")],
    "glm, linear": [("beta", lambda x: 3 * x, "never negative"), ("noise_scale", lambda x: -x, "noise_scale")],
    "inventory": [
        ("stock", lambda x: x + 1, "stock"),
        ("stock", lambda x: x - 4, "stock"),
        ("demand", lambda x: x + 1, "demand"),
        ("demand", lambda x: 0 * x, "nobody buys"),
        ("arrival", lambda x: 2 * x, "arrival"),
        ("arrival", lambda x: 0 * x, "nobody"),
        ("salvage", lambda x: -x, "salvage"),
        ("max_steps_in_episode", lambda x: x + 1, "max_steps_in_episode"),
        ("max_steps_in_episode", lambda x: 0 * x, "max_steps_in_episode"),
    ],
    "inventory, interval": [("high", lambda x: 0 * x, "low below high"), ("demand.slope", lambda x: -x, "slope")],
    "airline": [
        ("frat5", lambda x: x + 2, "frat5"),
        ("frat5", lambda x: x - 2, "frat5"),
        ("arrivals", lambda x: 2 * x, "arrivals"),
        ("prices", lambda x: x - x[0], "a lowest fare above 0"),
        ("prices", lambda x: x[::-1].copy(), "prices"),
        ("cost", lambda x: -x, "cost"),
        ("stock", lambda x: x + 1, "stock"),
        ("stock", lambda x: 0 * x, "stock"),
    ],
    "network": [
        ("demand", lambda x: 100 * x, "demand"),
        ("demand", lambda x: 0 * x, "nobody"),
        ("stock", lambda x: -x, "stock"),
        ("consumption", lambda x: 0 * x, "consumption"),
        ("prices", lambda x: -x, "prices"),
    ],
    "several products": [
        ("slopes", lambda x: -x, "slopes"),
        ("slopes", lambda x: 3 * x, "demand"),
        ("low", lambda x: x + 9, "low below high"),
        ("cost", lambda x: x - 1, "cost"),
    ],
    "several products, poisson": [
        ("intercept", lambda x: 100 * x, "Poisson"),
        ("slopes", lambda x: x + 0.01, "diagonal"),
        ("intercept", lambda x: -x, "intercept"),
    ],
    "low rank": [
        ("slopes", lambda x: -x, "slopes"),
        ("features", lambda x: 2 * x, "features"),
        ("radius", lambda x: -x, "radius"),
        ("cost", lambda x: x + 1, "cost"),
    ],
    "mnl prices": [("high", lambda x: x / 9, "best prices"), ("scale", lambda x: -x, "scale")],
    "assortments": [
        ("revenues", lambda x: -x, "revenues"),
        ("weights", lambda x: -x, "weights"),
        ("weights", lambda x: 0 * x, "nobody"),
    ],
    "oligopoly": [
        ("scale", lambda x: 0 * x, "scale"),
        ("capacity", lambda x: -x, "capacity"),
        ("quality", lambda x: x - 99, "nobody"),
    ],
    "fair prices": [
        ("fairness", lambda x: 3 * x, "fairness"),
        ("level", lambda x: -x, "level"),
        ("cost", lambda x: x + 9, "cost below high"),
        ("rate", lambda x: 0 * x, "rate"),
    ],
    "fair prices, linear": [("rate", lambda x: 3 * x, "purchase probability")],
    "reference price": [
        ("prices", lambda x: x + 0.1, "ends of the grid"),
        ("memory", lambda x: x + 1, "memory"),
        ("start", lambda x: x + 1, "start"),
        ("slope", lambda x: -x, "slope"),
        ("loss", lambda x: 9 * x, "never negative|not negative"),
    ],
    "replenishment": [
        ("pmf", lambda x: 2 * x, "pmf"),
        ("stock", lambda x: x + 99, "stock"),
        ("stock", lambda x: x - 1, "stock"),
        ("holding", lambda x: -x, "holding"),
    ],
    "rival": [
        ("answer", lambda x: x + 99, "answer"),
        ("start", lambda x: x - 99, "start"),
        ("lag", lambda x: x + 1, "lag"),
        ("sales", lambda x: 9 * x, "at most 40"),
        ("sales", lambda x: 0 * x, "nobody buys"),
        ("cost", lambda x: -x, "cost"),
    ],
    "storefront": [
        ("types", lambda x: 2 * x, "types"),
        ("competition", lambda x: -x, "competition"),
        ("rise", lambda x: x + 1, "rise"),
        ("weights", lambda x: 0 * x, "weights"),
        ("coupon", lambda x: -x, "coupon"),
    ],
    "change points": [
        ("path.changes", lambda x: -x, "changes"),
        ("path.changes", lambda x: x[::-1].copy(), "changes"),
        ("markets.cost", lambda x: x - 1, "cost"),
        ("markets.demand.slope", lambda x: -x, "slope"),
    ],
    "season": [("path.period", lambda x: 0 * x, "period"), ("markets.scale", lambda x: -x, "scale")],
    "related products": [("stock", lambda x: x + 9, "stock")],
}
QUICK = ("bandit", "linear", "logit, interval", "glm", "inventory", "fair prices", "network", "change points")


def changed(node, path, change):
    """`node` with one leaf changed, by its dotted path."""
    name, _, rest = path.partition(".")
    value = getattr(node, name)
    new = changed(value, rest, change) if rest else np.asarray(change(np.asarray(value)), np.asarray(value).dtype)
    return dataclasses.replace(node, **{name: new})


def leaves(node, tables=()):
    """Dotted paths of all floating leaves but tables."""
    for field in dataclasses.fields(node):
        value = getattr(node, field.name)
        if dataclasses.is_dataclass(value):
            yield from (f"{field.name}.{path}" for path in leaves(value))
        elif value is not None and field.name not in tables and np.asarray(value).dtype.kind == "f" and np.size(value):
            yield field.name


@pytest.mark.parametrize("row", some(dict.fromkeys(BROKEN), *QUICK))
def test_impossible_markets_are_refused_alone_and_in_a_batch(row):
    env, params = scaled.market(row)
    for path, change, word in BROKEN[row]:
        bad = changed(params, path, change)
        with pytest.raises(ValueError, match=word):
            env.check_params(bad)
        batch = jax.tree.map(lambda x, y: np.stack([x, x, y, x]), params, bad)
        with pytest.raises(ValueError, match=f"{word}.*in row 2 of 4 markets"):
            env.check_params(batch)
        env.check_params(jax.tree.map(lambda x: x[:2], batch))


@pytest.mark.parametrize("row", some(dict.fromkeys(scaled.rows()), *QUICK))
def test_no_leaf_of_any_market_may_be_nan_or_infinite(row):
    env, params = scaled.market(row)
    env.check_params(jax.tree.map(jnp.asarray, params))
    paths = list(leaves(params, env.tables))
    assert paths
    for path in paths:
        for value in (NAN, INF):
            if value == INF and path.split(".")[-1] in env.infinite:
                continue
            bad = changed(params, path, lambda x, value=value: np.where(np.arange(x.size).reshape(x.shape) == 0, value, x))
            with pytest.raises(ValueError, match=path):
                env.check_params(bad)


def test_params_of_another_shape_kind_or_market_are_refused():
    env, params = scaled.market("inventory")
    for change, word in (
        ({"demand": params.demand[:2]}, "demand of shape"),
        ({"demand": tuple(params.demand.tolist())}, "structure"),
        ({"stock": np.float32(2.5)}, "stock of int32"),
        ({"cost": np.array(True)}, "cost"),
        ({"cost": "much"}, "numbers"),
        ({"cost": None}, "structure"),
        ({"prices": params.prices[None]}, "prices of shape"),
    ):
        with pytest.raises(ValueError, match=word):
            env.check_params(dataclasses.replace(params, **change))
    with pytest.raises(ValueError, match="must be the Params of FiniteInventory, got a dict"):
        env.check_params({"max_steps_in_episode": 3})
    batch = jax.tree.map(lambda x: np.stack([x] * 3), params)
    with pytest.raises(ValueError, match="same leading axis"):
        env.check_params(dataclasses.replace(batch, cost=np.zeros(2, np.float32)))
    with pytest.raises(ValueError, match="at least one market"):
        env.check_params(jax.tree.map(lambda x: x[:0], batch))
    jax.jit(lambda params: env.check_params(params))(params)  # traced: no numbers to look at


@pytest.mark.parametrize(
    ("kind", "options", "word"),
    [
        ("PostedPrice", {"demand": "linear", "prices": [10, 20, 30]}, "nobody buys"),
        ("PostedPrice", {"demand": demand.Linear(np.float32(0.1), np.float32(-0.1))}, "slope"),
        ("PostedPrice", {"demand": demand.IsoElastic(np.float32(0.1), np.float32(0.9))}, "elasticity"),
        ("PostedPrice", {"demand": "iso_elastic", "low": 0.0}, "demand"),
        ("FiniteInventory", {"demand": [0, 0], "prices": [1, 2]}, "nobody buys"),
        ("FiniteInventory", {"demand": "exponential", "low": 200, "high": 300}, "nobody buys"),
        ("FiniteInventory", {"demand": "logit", "shut_off": True}, "shut_off"),
        ("FairPricing", {"rate": [1e3, 1e3], "low": 4.0}, "nobody buys"),
        ("GLMDemand", {"alpha": [-1e4], "beta": [1.0]}, "nobody buys"),
        ("LinearValuation", {"noise": "uniform", "theta": [0.5, 0, 0], "low": 2.0}, "nobody buys"),
        ("LogitOligopoly", {"outside": 100.0}, "nobody buys"),
        ("ReferencePrice", {"intercept": 0.2, "slope": 0.5}, "demand"),
        ("Replenishment", {"demand": [0, 0, 0, 0, 0]}, "nobody buys"),
        ("RelatedProducts", {"market": "BernoulliBandit", "spread": 0.5, "leaves": "means"}, "spread=0.5.*means"),
        ("NonStationary", {"markets": []}, "markets"),
    ],
)
def test_make_refuses_what_is_no_market(kind, options, word):
    with pytest.raises(ValueError, match=word):
        jaxprice.make(kind, **options)


def season_value(prices, sales, cost, salvage, horizon, stock, shut_off):
    """V_T(N) by plain backward induction."""
    values = salvage * np.arange(stock + 1.0)
    for _ in range(horizon):
        new = values.copy()
        for n in range(1, stock + 1):
            gains = sales * (prices - cost - (values[n] - values[n - 1]))
            new[n] = values[n] + max([*gains, *([0.0] if shut_off else [])])
        values = new
    return values[stock]


@pytest.mark.parametrize("shut_off", [False, True])
@pytest.mark.parametrize("cost", [0.0, 38.0, 50.0])
def test_the_oracle_of_a_season_has_the_actions_that_the_seller_has(cost, shut_off):
    prices, sales = np.array([29.9, 34.9, 39.9, 44.9]), np.array([0.8, 0.6, 0.3, 0.1])
    env, params = jaxprice.make("FiniteInventory", cost=cost, shut_off=shut_off, stock=3, horizon=8)
    value = season_value(prices, sales, cost, 0.0, 8, 3, shut_off)
    assert np.isclose(env.season_value(params), value, rtol=1e-5, atol=1e-5)
    sellers = {"random": policies.random_price(), "oracle": policies.oracle()}
    sellers |= {"nothing": policies.fixed_price(cost)} if shut_off else {}  # the price of the action without sales
    result = jaxprice.simulate(env, sellers, params=params, lanes=2000, horizon=8, checkpoints=range(1, 9))
    assert result["regret"].sel(policy="oracle").max() == 0
    steps = np.diff(result["regret"].values, axis=1)
    assert steps.min() > -1e-4
    for seller in sellers:  # regret is what the season was worth and what was earned does not make up
        last = result.sel(policy=seller, time=8)
        error = 4 * (float(last["reward_se"]) + float(last["regret_se"])) + 1e-3
        assert abs(float(last["regret"] + last["reward"]) - value) < error, seller


def test_regret_is_never_negative_where_the_price_is_an_interval_below_cost():
    for curve in ("linear", "logit", "exponential", "uniform", "probit", "log_normal", "iso_elastic"):
        env, params = jaxprice.make("PostedPrice", demand=curve, num_prices=None, noise="gaussian", cost=20.0)
        space = env.problem(params).action_space
        assert isinstance(space, Interval)
        _, state = env.reset_env(jax.random.key(0), jax.tree.map(jnp.asarray, params))
        prices = np.linspace(params.low, params.high, 101, dtype=np.float32)
        rewards = np.asarray(jax.vmap(lambda p, env=env, s=state, m=params: env.expected_reward(s, p, m))(prices))
        assert rewards.max() <= float(env.optimal_reward(state, params)) + 1e-4 * np.abs(rewards).max(), curve

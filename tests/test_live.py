"""`jaxprice.live`: sessions against the simulator, late and repeated reports, guard rails, logs."""

import dataclasses
import itertools
import json

import jax
import numpy as np
import pytest

import jaxprice
from experiments import live_throughput
from jaxprice import live, ope, policies
from jaxprice.types import Policy
from tests import live_shop
from tests.live_shop import PRODUCTS, market, problem, session

LATE = 3  # quotes between a price and the news of its sale
EVERY = {
    "ucb1": policies.ucb1,
    "exp3": policies.exp3,
    "guarded": lambda: policies.guarded(policies.exp3(), step=2.0),
    "thompson": policies.thompson,
    "q_learning": policies.q_learning,
    "gp_ucb": policies.gp_ucb,
    "kl_ucb": policies.kl_ucb,
    "discounted_ucb": policies.discounted_ucb,
    "batched": lambda: policies.batched(policies.ucb1(), 4),
    "agent": lambda: jaxprice.agents.load("pricing_in_context"),
}
QUICK = "ucb1", "guarded"


def history(shop, periods, seed=0, late=0, single=False):
    """Actions `[products, periods]` of a session that meets the buyers of `simulate`."""
    env, params, _ = market()
    buyers = live_shop.sell(env, params, seed, PRODUCTS, periods)
    next(buyers)
    actions, waiting = [], []
    for _ in range(periods):
        if single:
            made = [shop.quote(product) for product in range(PRODUCTS)]
            made = live.Quote(*map(np.array, zip(*made, strict=True)))
        else:
            made = shop.quote_many(np.arange(PRODUCTS))
        demand, reward, seen = buyers.send(made.action.astype(np.int32))
        actions.append(made.action)
        waiting.append((made.id, demand, reward, seen))
        if len(waiting) > late:
            report = waiting.pop(0)
            if single:
                for one in zip(*report, strict=True):
                    shop.observe(*one)
            else:
                shop.observe_many(*report)
    return np.stack(actions, 1)


def simulated(policy, periods, seed=0):
    env, params, _ = market()
    result = jaxprice.simulate(
        env, policy, seed=seed, lanes=PRODUCTS, horizon=periods, params=params, traces=True, per_lane=False
    )
    return result["trace_action"].isel(policy=0).transpose("lane", ...).values.astype(int)


@pytest.mark.parametrize("name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in EVERY])
def test_prices_are_those_of_the_simulator(name):
    policy = EVERY[name]()
    if name == "agent":  # trained for a market with ten prices
        market.cache_clear()
        env, params, told = market(10)
        market_of = lambda *_: (env, params, told)  # noqa: E731
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(live_shop, "market", market_of)
            patch.setitem(globals(), "market", market_of)
            compare(policy)
        return
    compare(policy)


def compare(policy):
    with session(None, policy, propensity=False) as shop:
        found = history(shop, 24)
    wanted = simulated(policy, 24)
    assert (found == wanted).all()
    assert len(np.unique(found)) > 2


def test_late_sales_are_those_of_the_delayed_policy():
    with session(None) as shop:
        found = history(shop, 24, late=LATE)
    # `delayed` learns from sale s after sale s + d; a session that has d + 1 open quotes does so before the next quote
    assert (found == simulated(policies.delayed(policies.ucb1(), LATE), 24)).all()


def test_single_quotes_equal_arrays():
    with session(None) as one, session(None) as many:
        assert (history(one, 8, single=True) == history(many, 8)).all()
        assert one.metrics()["sales"] == many.metrics()["sales"] == 8 * PRODUCTS
        assert (one._shelf.learned == 8).all()


def test_products_in_one_call_learn_in_turn():
    with session(None) as one, session(None) as many:
        made = [one.quote(3) for _ in range(5)]
        together = many.quote_many([3] * 5)
        assert [quote.action for quote in made] == together.action.tolist()
        for quote in made:
            one.observe(quote.id, 1)
        many.observe_many(together.id, np.ones(5))
        for a, b in zip(jax.tree.leaves(one.state(3)), jax.tree.leaves(many.state(3)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)
        assert one.about_product(3)["learned"] == many.about_product(3)["learned"] == 5


def test_update_receives_the_transition_of_its_own_quote():
    """A policy whose state is all that `update` was told: the price and observation of the quote, not of the latest one."""

    def init(key, problem):
        return {"told": np.zeros(5, np.float32), "updates": np.int32(0)}

    def act(key, state, observation):
        return (observation[0] * 4).astype(np.int32)

    def update(key, state, sale):
        told = jax.numpy.stack([sale.observation[0], sale.price, sale.demand, sale.reward, sale.next_observation[1]])
        return {"told": told, "updates": state["updates"] + 1}

    with session(None, Policy(init, act, update)) as shop:
        first = shop.quote(2, np.float32([0.25, 0, 0]))
        second = shop.quote(2, np.float32([0.75, 7, 0]))
        assert (first.action, second.action) == (1, 3)
        assert shop.observe(second.id, 1, next_observation=np.float32([0, 9, 0]))
        assert shop.state(2)["told"].tolist() == [0.75, second.price, 1, second.price, 9]
        assert shop.observe(first.id, 1, reward=5)  # without a next observation: what the product showed last
        assert shop.state(2)["told"].tolist() == [0.25, first.price, 1, 5, 9]
        assert shop.state(2)["updates"] == 2


def test_reports_late_twice_never_and_contradicting(tmp_path):
    now = [100.0]
    with session(tmp_path / "a", timeout=10, clock=lambda: now[0]) as shop:
        quotes = [shop.quote(0) for _ in range(4)]
        assert shop.observe(quotes[2].id, 1) and not shop.observe(quotes[2].id, 1)
        assert shop.observe_many([quotes[0].id] * 2, [1, 1]).tolist() == [True, False]
        with pytest.raises(ValueError, match="was reported with demand 1"):
            shop.observe(quotes[2].id, 0)
        with pytest.raises(ValueError, match="was reported with demand 1"):
            shop.observe_many([quotes[1].id] * 2, [1, 0])
        assert shop.metrics()["open"] == 2
        now[0] = 95.0  # the clock goes back
        assert shop.quote(1).time == 100
        now[0] = 110.0
        assert shop.expire() == 3 and shop.metrics()["expired"] == 3 and shop.metrics()["open"] == 0
        with pytest.raises(ValueError, match="has run out and was learned as no sale"):
            shop.observe(quotes[1].id, 1)
        assert shop.about_product(0)["learned"] == 4
        assert shop.log().demand.tolist() == [1, 0, 1, 0, 0]


def test_quotes_stay_open_without_a_timeout():
    now = [0.0]
    with session(None, clock=lambda: now[0]) as shop:
        quote = shop.quote(0)
        now[0] = 1e9
        assert shop.expire() == 0 and shop.observe(quote.id, 1)


def test_log_has_the_propensities_of_record(tmp_path):
    env, params, _ = market()
    with session(tmp_path / "a", policies.exp3()) as shop:
        actions = history(shop, 24)
        log = shop.log()
        assert log.known and log.shape == (24 * PRODUCTS,)
    wanted = jaxprice.record(env, policies.exp3(), seed=0, lanes=PRODUCTS, horizon=24, params=params)
    assert (np.asarray(wanted.action) == actions).all()
    for name in ("propensity", "price", "demand", "reward", "observation", "next_observation"):
        its = np.asarray(getattr(log, name))
        its = np.swapaxes(its.reshape(24, PRODUCTS, *its.shape[1:]), 0, 1)
        np.testing.assert_allclose(its, np.asarray(getattr(wanted, name)), rtol=1e-5)
    target = np.eye(5, dtype=np.float32)[2]
    mine = np.asarray(log.action) == 2
    found = ope.snips(log, target)  # the mean profit at the third price, weighted by the inverse propensity
    wanted = np.average(log.reward[mine], weights=1 / log.propensity[mine])
    assert float(found.value) == pytest.approx(wanted, rel=1e-5)


def test_guard_rails(tmp_path):
    prices = np.asarray(problem().prices)
    guards = live.Guards(low=prices[1], high=prices[3], step=2.0, stock=3)
    with session(tmp_path / "a", policies.exp3(), guards=guards) as shop:
        quotes = [shop.quote(0) for _ in range(12)]
        posted = np.array([quote.price for quote in quotes])
        assert set(posted) <= set(prices[1:4]) and (np.abs(np.diff(posted)) <= 2.0).all()
        # before the first sale Exp3 is uniform: at first, both outer prices move to the ends of the band
        moved = {prices[1]: 2 / 5, prices[2]: 1 / 5, prices[3]: 2 / 5}
        assert quotes[0].propensity == pytest.approx(moved[np.float32(quotes[0].price)], rel=1e-5)
        for before, quote in itertools.pairwise(quotes):
            known = {p: sum(nearest(prices, before.price, k) == p for k in range(5)) / 5 for p in prices}
            assert quote.propensity == pytest.approx(known[np.float32(quote.price)], rel=1e-5)
        assert shop.metrics()["interventions"] > 0
        shop.halt(prices[2], [0])
        quote = shop.quote(0)
        assert quote.price == prices[2] and quote.propensity == 1
        assert shop._shelf.ledger.quotes["reason"][quote.id] == 1
        with pytest.raises(ValueError, match=r"price must be in \[.*got 100"):
            shop.halt(100.0)
        shop.resume()
        shop.observe(quotes[0].id, 2)
        with pytest.raises(ValueError, match="demand must be at most the stock of product 0, 1, got 2"):
            shop.observe(quotes[1].id, 2)
        shop.observe(quotes[1].id, 1)
        with pytest.raises(live.OutOfStock, match="product 0 has no stock left"):
            shop.quote(0)
        with pytest.raises(live.OutOfStock):
            shop.quote_many([1, 0])
        shop.restock([0], [5])
        assert shop.quote(0).id == 13 and shop.about_product(0)["stock"] == 5
        assert shop.metrics()["refused"] == 2
        digest = shop.digest()
        live_shop.crash(shop)
    with live_shop.reopened(tmp_path / "a", policies.exp3()) as shop:
        assert shop.digest() == digest


def nearest(prices, last, proposed):
    """The price within bounds and step, by brute force."""
    allowed = [p for p in prices[1:4] if abs(p - np.float32(last)) <= 2.0 + 1e-4]
    return min(allowed, key=lambda p: abs(p - prices[proposed]))


def test_prices_of_an_interval():
    env, params = jaxprice.make("PostedPrice", num_prices=None)
    told = env.problem(params).with_observation(np.zeros(3, np.float32))
    policy = policies.random_price()
    guards = live.Guards(high=4.0)
    with live.Session(policy, told, products=PRODUCTS, seed=1, guards=guards) as shop:
        made = shop.quote_many(np.arange(PRODUCTS))
    with live.Session(policy, told, products=PRODUCTS, seed=1) as shop:
        free = shop.quote_many(np.arange(PRODUCTS))
    assert made.price.dtype == np.float32 and (made.price == np.minimum(free.price, 4.0)).all() and (free.price > 4).any()
    inside = free.price <= 4
    assert np.isnan(made.propensity[~inside]).all()
    if policy.probabilities is not None:
        np.testing.assert_allclose(made.propensity[inside], 1 / float(told.high - told.low), rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda shop: shop.quote(PRODUCTS), r"product must be an integer in \[0, 15\], got 16"),
        (lambda shop: shop.quote(1.5), "product must be an integer"),
        (lambda shop: shop.quote(0, np.zeros(2)), r"observation must have shape \[3\].*got \[2\]"),
        (lambda shop: shop.quote(0, [np.nan, 0, 0]), "observation must have the structure"),
        (lambda shop: shop.quote(0, np.array([np.nan, 0, 0])), "observation must hold finite numbers"),
        (lambda shop: shop.quote(0, "cheap"), "observation must hold numbers"),
        (lambda shop: shop.quote_many([0, -1]), r"products must be in \[0, 15\], got -1 at 1"),
        (lambda shop: shop.quote_many([0.5]), r"products must be integers \[count\]"),
        (lambda shop: shop.observe(99, 1), "quote_id must be the number of a quote, 0 to 0, got 99"),
        (lambda shop: shop.observe("0", 1), "quote_id must be an integer in"),
        (lambda shop: shop.observe(0, -1), "demand must be in"),
        (lambda shop: shop.observe(0, np.nan), "demand must be in"),
        (lambda shop: shop.observe(0, 1, np.inf), "reward must be finite"),
        (lambda shop: shop.observe_many([0], [1, 2]), r"demand must have shape \[1\]"),
        (lambda shop: shop.observe(0, 1, next_observation=np.zeros((3, 3))), "next_observation must have shape"),
        (lambda shop: shop.halt(1.0), "session has no guards"),
        (lambda shop: shop.log(), "session has no journal"),
    ],
)
def test_bad_input_changes_nothing(call, message):
    with session(None) as shop:
        shop.quote(0)
        before = shop.digest()
        with pytest.raises(ValueError, match=message):
            call(shop)
        assert shop.digest() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"policy": policies.oracle()}, "got the oracle"),
        ({"problem": dataclasses.replace(problem(), observation=None)}, "problem.with_observation"),
        ({"problem": 3}, "problem must be a Problem"),
        ({"products": 0}, "products must be an integer of at least 1"),
        ({"seed": -1}, "seed must be an integer"),
        ({"timeout": 0}, "timeout must be above 0"),
        ({"guards": {"low": 1}}, "guards must be live.Guards"),
        ({"guards": live.Guards(low=100.0)}, "guards must leave a price"),
        ({"guards": live.Guards(stock=[1, 2])}, "stock must be one number or 16"),
    ],
)
def test_bad_sessions(change, message):
    given = {"policy": policies.ucb1(), "problem": problem(), "products": PRODUCTS} | change
    with pytest.raises(ValueError, match=message):
        live.Session(given.pop("policy"), given.pop("problem"), **given)
    with pytest.raises(ValueError, match="low must be at most high"):
        live.Guards(low=2.0, high=1.0)


def test_states_are_packed_bit_for_bit():
    from jaxprice.live.packing import Packing

    tree = {"a": np.float32([np.nan, -0.0, 1e-45]), "b": np.bool_(True), "c": np.int8([-3, 4]), "d": np.uint32([[1], [2]])}
    packing = Packing(tree)
    row = np.asarray(packing.pack(tree))
    assert row.shape == (packing.words,) == (8,)
    for back in (packing.unpack(row), jax.tree.map(lambda x: x[0], packing.trees(row[None]))):
        for a, b in zip(jax.tree.leaves(tree), jax.tree.leaves(back), strict=True):
            assert np.asarray(b).dtype == a.dtype and np.asarray(b).tobytes() == a.tobytes()


def test_throughput_is_measured(tmp_path, capsys):
    options = live_throughput.Options(quotes=20, products=16, many=16, repeats=1, prices=5, out=tmp_path / "numbers.json")
    live_throughput.main(options)
    found = json.loads((tmp_path / "numbers.json").read_text())
    assert len(found["single"]) == 5 and all(row["p50"] > 0 for row in found["single"])
    assert len(found["arrays"]) == 4 and found["start"]["bytes per product"] > 0
    assert "16 products in arrays" in capsys.readouterr().out
    seller = live_throughput.PlainUCB([1.0, 2.0])
    chosen = []
    for demand in (0, 1, 0):
        chosen.append(seller.quote())
        seller.observe(chosen[-1], demand)
    assert chosen == [0, 1, 1]

"""The seller for all markets: its filter against closed forms, equivariance, units, any grid, and bad input."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import scipy.stats

import jaxprice
from jaxprice import agents, policies
from jaxprice.agents import demand_filter, networks, seller_memory
from jaxprice.agents.inputs import Seen
from jaxprice.agents.seller_net import SellerNet
from jaxprice.oracles import gittins
from jaxprice.types import Discrete, Problem

MEAN, ROOT, EFFECTS = seller_memory.plain_prior()
KINDS = seller_memory.PLAIN  # hypotheses that remember every sale, without features


def sale(buyers=1):
    """The law of demand of single sales."""
    return lambda mean, explained: mean * (1 - mean) / buyers + (1 - 1 / buyers) * explained, True, buyers


def problem(prices, **told):
    prices = np.asarray(prices, np.float32)
    told = {"cost": np.float32(0), "horizon": np.int32(50), "noise_scale": np.float32(0)} | told
    return Problem(prices, prices[0], prices[-1], action_space=Discrete(prices.shape[0]), **told)


def seller(**options):
    """A network with random weights, except those of the prior."""
    network = networks.make("seller", actions=10, size=8, **options)
    facts, first = SellerNet.read(problem([0.5, 1.0])), history(2, 1)
    weights = networks.initial(network, jax.random.key(1), facts, jax.tree.map(lambda x: x[0], first))
    keys = iter(jax.random.split(jax.random.key(2), 100))
    moved = {
        name: part
        if name.startswith("prior")
        else jax.tree.map(lambda w: w + 0.3 * jax.random.normal(next(keys), w.shape), part)
        for name, part in weights["params"].items()
    }
    return network, {"params": moved}


def history(actions, periods, seed=0, features=0):
    rng = np.random.default_rng(seed)
    action = rng.integers(0, actions, periods)
    action[0] = -1
    demand = rng.integers(0, 2, periods) * (action >= 0)
    return Seen(
        jnp.asarray(action, jnp.int32),
        jnp.asarray(demand, jnp.float32),
        jnp.asarray(demand, jnp.float32),
        jnp.arange(periods, dtype=jnp.int32),
        *jnp.asarray(rng.normal(size=(2, periods, features)), jnp.float32),
    )


def logits(network, weights, problem, seen):
    return np.asarray(network.apply(weights, SellerNet.read(problem), seen, method="apply_sequence").logits)


def test_the_filter_of_gaussian_demand_is_bayesian_regression():
    rng = np.random.default_rng(0)
    first = demand_filter.prior(MEAN, ROOT, EFFECTS, 2, sale=False)
    covariance = np.asarray(first.deviations.T @ first.deviations, float) / demand_filter.DRAWS
    phis = np.asarray(demand_filter.basis(rng.uniform(size=30), np.zeros(2)), float)
    phis[:, demand_filter.SHAPES :] = rng.normal(size=(30, 4))
    demand = rng.normal(size=30)
    belief = first
    for phi, y in zip(phis, demand, strict=True):
        noise = (lambda mean, explained: 0.04 + explained), False, 1
        belief, _ = demand_filter.update(
            belief, first, jnp.asarray(phi, jnp.float32), np.float32(y), noise, jnp.float32(np.inf)
        )
    precision = np.linalg.inv(covariance) + phis.T @ phis / 0.04
    mean = np.linalg.solve(precision, np.linalg.solve(covariance, np.asarray(first.mean, float)) + phis.T @ demand / 0.04)
    np.testing.assert_allclose(belief.mean, mean, atol=2e-3)
    after = np.asarray(belief.deviations.T @ belief.deviations) / demand_filter.DRAWS
    np.testing.assert_allclose(after, np.linalg.inv(precision), atol=1e-3)
    np.testing.assert_allclose(belief.deviations.mean(axis=0), 0, atol=1e-4)


@pytest.mark.parametrize("sold", [0.0, 1.0])
def test_the_mean_after_a_sale_is_the_exact_posterior_mean(sold):
    first = demand_filter.prior(MEAN, ROOT, EFFECTS, 0)
    phi = demand_filter.basis(jnp.float32(0.3), jnp.zeros(0))
    latent, sd = float(first.mean @ phi), float(jnp.sqrt(jnp.mean((first.deviations @ phi) ** 2)))

    def likelihood(f, power):
        p = scipy.stats.norm.cdf(f)
        return f**power * (p if sold else 1 - p) * scipy.stats.norm.pdf(f, latent, sd)

    ends = latent - 9 * sd, latent + 9 * sd
    exact = scipy.integrate.quad(likelihood, *ends, (1,))[0] / scipy.integrate.quad(likelihood, *ends, (0,))[0]
    after, likely = demand_filter.update(first, first, phi, jnp.float32(sold), sale(), jnp.float32(np.inf))
    assert float(after.mean @ phi) == pytest.approx(exact, abs=2e-4)
    assert float(likely) == pytest.approx(np.log(scipy.integrate.quad(likelihood, *ends, (0,))[0]), abs=1e-4)
    assert float(jnp.mean((after.deviations @ phi) ** 2)) < sd**2


def test_old_sales_are_forgotten_up_to_the_prior():
    first = demand_filter.prior(MEAN, ROOT, EFFECTS, 0)
    phi = demand_filter.basis(jnp.float32(0.5), jnp.zeros(0))
    learn = jax.jit(lambda b, memory: demand_filter.update(b, first, phi, jnp.float32(1), sale(), memory)[0])
    kept, short = first, first
    for _ in range(200):
        kept, short = learn(kept, np.float32(np.inf)), learn(short, np.float32(20))
    spread = [float(jnp.mean((b.deviations @ phi) ** 2)) for b in (kept, short, first)]
    assert spread[0] < spread[1] < spread[2]
    for _ in range(2000):
        short = demand_filter.forgotten(short, first, jnp.float32(20))
    size, most = (np.sqrt(np.mean(np.square(b.deviations), axis=0)) for b in (short, first))
    np.testing.assert_allclose(size, most, rtol=1e-4)


def test_the_filter_is_calibrated_in_markets_of_its_prior():
    first = demand_filter.prior(MEAN, ROOT, EFFECTS, 0)
    phi = demand_filter.basis(demand_filter.places(np.linspace(0.1, 1, 6, dtype=np.float32)), jnp.zeros(0))

    def market(key):
        draw, sales = jax.random.split(key)
        truth = first.mean + jax.random.normal(draw, (demand_filter.SHAPES,)) @ ROOT
        demand = jax.scipy.special.ndtr(phi @ truth)

        def period(belief, key):
            one, other = jax.random.split(key)
            action = jax.random.randint(one, (), 0, 6)
            sold = (jax.random.uniform(other) < demand[action]).astype(jnp.float32)
            return demand_filter.update(belief, first, phi[action], sold, sale(), jnp.float32(np.inf))[0], None

        belief = jax.lax.scan(period, first, jax.random.split(sales, 60))[0]
        latent, sd = phi @ belief.mean, jnp.sqrt(jnp.mean((belief.deviations @ phi.T) ** 2, axis=0))
        return (latent - phi @ truth) / sd

    z = np.asarray(jax.jit(jax.vmap(market))(jax.random.split(jax.random.key(3), 400)))
    assert 0.85 < np.sqrt(np.mean(z**2)) < 1.2
    assert np.abs(z.mean(axis=0)).max() < 0.3


def test_hypotheses_are_weighed_by_their_forecasts():
    rng = np.random.default_rng(6)
    mean, root, effects = seller_memory.plain_priors()
    priors = (mean + rng.normal(size=mean.shape).astype(np.float32), root, effects)
    facts = SellerNet.read(problem([0.5, 0.8, 1.0]))
    first = seller_memory.start(facts, priors)
    seen = jax.tree.map(lambda x: x[0], history(3, 1)).replace(action=jnp.int32(1), demand=jnp.float32(1))
    after = seller_memory.observed(first, first, facts, seen)
    phi = np.asarray(demand_filter.basis(0.5 + 0.1 * np.log(2) / np.log(4), jnp.zeros(0)), float)
    sd = np.sqrt(np.mean(np.square(np.asarray(first.beliefs.deviations, float) @ phi), axis=1))
    chances = np.asarray(first.chances) * scipy.stats.norm.cdf(np.asarray(first.beliefs.mean) @ phi / np.sqrt(1 + sd**2))
    chances = chances / chances.sum()
    moves, still = chances[KINDS:], chances[:KINDS]
    wanted = 499 / 500 * np.array([still.sum(), *moves]) + np.array([0.9, 0.05, 0.05]) / 500
    np.testing.assert_allclose(after.chances[KINDS:], wanted[1:], rtol=1e-4)
    np.testing.assert_allclose(after.chances[:KINDS], wanted[0] * still / still.sum(), rtol=1e-4)
    with_features = seller_memory.start(dataclasses.replace(facts, context_size=3), priors)
    assert with_features.chances.shape == (5,) and first.chances.shape == (KINDS + 2,)


def test_draws_are_those_of_the_probable_hypotheses():
    facts = SellerNet.read(problem([0.5, 0.8, 1.0]))
    first = seller_memory.start(facts, seller_memory.plain_priors())
    beliefs = first.beliefs.replace(mean=first.beliefs.mean + 100 * jnp.arange(KINDS + 2, dtype=jnp.float32)[:, None])
    chances = jnp.zeros(KINDS + 2, jnp.float32).at[jnp.array([2, 7])].set(jnp.array([0.25, 0.75], jnp.float32))
    level = np.asarray(seller_memory.draws(first.replace(beliefs=beliefs, chances=chances)))[:, 3]
    assert np.sum(np.round(level / 100) == 2) == 8 and np.sum(np.round(level / 100) == 7) == 24


def test_the_index_is_close_to_gittins():
    facts = SellerNet.read(problem([0.5, 1.0]))
    tables = gittins.finite_table(30)
    states = [np.argwhere(np.tril(np.ones_like(table))) for table in tables]
    exact = np.concatenate([table[tuple(state.T)] for table, state in zip(tables, states, strict=True)])
    left = np.repeat(np.arange(1, 31), [len(state) for state in states])
    n, s = np.concatenate(states).T
    mean = (s + 1) / (n + 2)
    sd = np.sqrt(mean * (1 - mean) / (n + 3))
    index = mean + np.asarray(seller_memory.lead_of(facts, jnp.asarray(mean), jnp.asarray(sd), jnp.asarray(left)))
    assert np.abs(index - exact).max() < 0.08
    assert np.sqrt(np.mean((index - exact) ** 2)) < 0.01 < np.sqrt(np.mean((mean - exact) ** 2))


def test_worth_and_shares_solve_the_fluid_programme():
    rng = np.random.default_rng(1)
    solve = jax.jit(seller_memory.fluid)
    for _ in range(20):
        margins, demand = np.sort(rng.uniform(0.1, 1, 5)), -np.sort(-rng.uniform(0, 1, 5))
        rate = rng.uniform(0.02, 0.6)
        best = scipy.optimize.linprog(-demand * margins, [demand, np.ones(5)], [rate, 1.0])
        worth, shares = (np.asarray(x, float) for x in solve(rate, jnp.asarray(demand), jnp.asarray(margins)))
        assert worth * rate + max(0, np.max(demand * (margins - worth))) == pytest.approx(-best.fun, abs=2e-3)
        assert shares.sum() == pytest.approx(1, abs=1e-5)
        assert min(shares @ demand, rate) / (shares @ demand) * (shares @ (demand * margins)) == pytest.approx(
            -best.fun, rel=0.01
        )


def test_it_is_equivariant_to_the_order_of_the_actions():
    network, weights = seller()
    prices, order = np.array([0.2, 0.5, 0.9, 1.4], np.float32), np.array([2, 0, 3, 1])
    seen, place = history(4, 12), np.argsort(order)
    renamed = seen.replace(action=jnp.where(seen.action < 0, -1, jnp.asarray(place)[seen.action]))
    straight = logits(network, weights, problem(prices), seen)
    assert np.ptp(straight) > 0.1
    np.testing.assert_allclose(straight[:, order], logits(network, weights, problem(prices[order]), renamed), atol=2e-4)


@pytest.mark.parametrize("told", [{}, {"stock": np.float32(9)}, {"context_size": 2}, {"noise": "poisson"}])
def test_money_has_no_unit(told):
    network, weights = seller()
    prices, seen = np.array([1.0, 1.5, 2.5], np.float32), history(3, 10, features=told.get("context_size", 0))
    one = logits(network, weights, problem(prices, cost=np.float32(0.5), **told), seen)
    other = logits(network, weights, problem(128 * prices, cost=np.float32(64), **told), seen)
    np.testing.assert_allclose(one, other, atol=2e-4)


def test_contexts_and_the_stock_matter():
    network, weights = seller()
    prices, seen = np.array([1.0, 1.5, 2.5], np.float32), history(3, 10, features=2)
    plain = logits(network, weights, problem(prices), seen)
    assert np.abs(plain - logits(network, weights, problem(prices, context_size=2), seen)).max() > 1e-2
    assert np.abs(plain - logits(network, weights, problem(prices, stock=np.float32(5)), seen)).max() > 1e-2


@pytest.mark.parametrize(
    ("market", "options"),
    [
        pytest.param("PostedPrice", {"num_prices": 3, "noise": "gaussian"}, marks=pytest.mark.slow),
        pytest.param("PostedPrice", {"num_prices": 37, "noise": "poisson", "buyers": 4}, marks=pytest.mark.slow),
        pytest.param("SegmentedValuation", {"num_segments": 5, "num_prices": 6}, marks=pytest.mark.slow),
        pytest.param("LinearValuation", {"dimension": 8, "num_prices": 5}, marks=pytest.mark.slow),
        ("FiniteInventory", {"horizon": 20, "stock": 4}),
        pytest.param("GaussianBandit", {"num_arms": 3}, marks=pytest.mark.slow),
        pytest.param("PostedPrice", {"num_prices": 1}, marks=pytest.mark.slow),
    ],
)
def test_it_sells_on_any_grid(market, options):
    _, weights = seller()
    env, params = jaxprice.make(market, **options)
    policy = agents.Agent("seller", 10, weights, {"size": 8}, deploy="sample").policy()
    seen = env.reset_env(jax.random.key(0), params)
    state = policy.init(jax.random.key(0), env.problem(params).with_observation(seen[0]) if market != "SegmentedValuation"
                        else dataclasses.replace(env.problem(params), observation=seen[0]))  # fmt: skip
    chances = np.asarray(policy.probabilities(state, seen[0]))
    assert chances.shape == (env.action_space().n,) and np.isfinite(chances).all()
    result = jaxprice.rollout(env, policy, lanes=3, horizon=20, params=params)
    assert np.isfinite(np.asarray(result["reward"])).all()


def test_the_shipped_seller_has_no_unit_of_money_to_the_bit():
    agent = agents.load_agent("seller")
    prices, seen = np.array([1.0, 1.25, 2.5], np.float32), history(3, 10)
    play = jax.jit(lambda facts: agent.network.apply(agent.weights, facts, seen, method="apply_sequence").logits)
    one = play(SellerNet.read(problem(prices, cost=np.float32(0.5))))
    other = play(SellerNet.read(problem(256 * prices, cost=np.float32(128))))
    np.testing.assert_array_equal(one, other)
    assert np.ptp(np.asarray(one)) > 0.1


def test_the_shipped_seller_loses_less_than_half_of_thompson():
    env, _ = jaxprice.make("PostedPrice", demand="logit", num_prices=10)
    out = jaxprice.simulate(env, {"seller": agents.load("seller"), "thompson": policies.thompson()}, lanes=100, horizon=300)
    lost = 1 - out["lane_share"].values.reshape(2, 100)
    gap = lost[0] - 0.5 * lost[1]
    assert gap.mean() < -2 * gap.std() / 10


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("one product and a price for each action", {"prices": np.ones((3, 2), np.float32)}),
        ("one stock, this market has 2", {"stock": np.ones(2, np.float32)}),
        ("contexts of at most 8 features, this market has 9", {"context_size": 9}),
    ],
)
def test_what_it_does_not_take_is_refused(message, told):
    with pytest.raises(ValueError, match=re.escape(message)):
        SellerNet.read(dataclasses.replace(problem([0.1, 0.2, 0.3]), **told))

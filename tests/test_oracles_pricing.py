"""Static and dynamic pricing oracles against SciPy, brute force and the published values of their games."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, special, stats

from jaxprice.oracles import linear_valuation, logit_pricing, reference_price
from jaxprice.oracles.lambert_w import lambert_w

BOTH = pytest.mark.parametrize("x64", [False, True])
PRECISION = pytest.mark.parametrize("x64", [False, pytest.param(True, marks=pytest.mark.slow)])
MIXTURES = [  # weights, locations, scales
    ([0.5, 0.5], [-0.3, 0.6], [0.05, 0.05]),
    ([0.3, 0.3, 0.4], [-1.0, 0.0, 2.0], [0.3, 0.01, 0.5]),
    ([1.0, 0.0], [0.0, 5.0], [1.0, 0.2]),
    ([0.6667, 0.3333], [-0.5, 0.5], [0.02, 0.02]),
    ([0.9, 0.1], [0.0, 60.0], [0.5, 0.001]),
]


def strict(x64):
    """The settings under which the whole suite must pass."""
    return jax.enable_x64(x64), jax.numpy_rank_promotion("raise")


def logit_profits(prices, quality, cost, scale, outside):
    """Profits `[..., n]` in float64."""
    prices = np.asarray(prices, float)
    utility = (quality - prices) / scale
    top = np.maximum(utility.max(-1, keepdims=True), outside / scale)
    weight = np.exp(utility - top)
    return (prices - cost) * weight / (weight.sum(-1, keepdims=True) + np.exp(outside / scale - top))


def random_market(rng):
    """Qualities, costs, scale and outside quality; some firms dominate and some are hopeless."""
    n = int(rng.integers(1, 7))
    spread = 10 ** rng.uniform(-1, 1.5)
    return spread * rng.normal(size=n), rng.uniform(0, spread, n), 10 ** rng.uniform(-0.7, 0.5), spread * rng.normal()


@PRECISION
def test_lambert_w_is_scipys(x64):
    x = np.concatenate([np.logspace(-30, 30, 601), -np.logspace(-30, np.log10(0.3678), 301), np.linspace(-0.3678, 3, 999)])
    x = np.concatenate([x, -np.exp(-1) + np.logspace(-7, -2, 40), [0.0]])
    a, b = strict(x64)
    with a, b:
        x = np.asarray(jnp.asarray(x), float)
        w = np.asarray(jax.jit(jax.vmap(lambert_w))(x))
        slope = np.asarray(jax.jit(jax.vmap(jax.grad(lambert_w)))(x[x > -0.36]))
        ends = np.asarray(lambert_w(jnp.asarray([-0.4, np.inf, np.nan])))
        bottom = float(lambert_w(jnp.asarray(np.float64(-np.exp(-1)).astype(w.dtype))))
    exact = special.lambertw(x).real
    # SciPy itself is good to 1e-9 only, right above the branch point
    away = x > -0.3678
    np.testing.assert_allclose(w[away], exact[away], rtol=1e-11 if x64 else 2e-6)
    np.testing.assert_allclose(w[~away], exact[~away], atol=1e-8 if x64 else 1e-6)
    exact = exact[x > -0.36]
    np.testing.assert_allclose(slope, np.exp(-exact) / (1 + exact), rtol=1e-9 if x64 else 2e-5)
    assert np.isnan(ends[0]) and ends[1] == np.inf and np.isnan(ends[2])
    assert bottom == pytest.approx(-1, abs=1e-7 if x64 else 5e-4)


@BOTH
def test_logit_duopoly_has_the_published_equilibrium(x64):
    a, b = strict(x64)
    with a, b:
        quality = jnp.full((2,), 2.0)
        equilibrium = jax.jit(logit_pricing.nash)(quality, 1.0, 0.25)
        joint, profit = jax.jit(logit_pricing.monopoly)(quality, 1.0, 0.25)
        found = [equilibrium, joint]
        found += [logit_pricing.profits(p, quality, 1.0, 0.25) for p in (equilibrium, joint)]
        found += [logit_pricing.choice_probabilities(p, quality, 0.25) for p in (equilibrium, joint)]
        three = [
            logit_pricing.nash(jnp.full((3,), 2.0), 1.0, 0.25),
            logit_pricing.monopoly(jnp.full((3,), 2.0), 1.0, 0.25)[0],
        ]
        index = logit_pricing.collusion_index(jnp.stack([p[0] for p in found[2:4]]), found[2][0], found[3][0])
    published = [1.472926660, 1.924980919, 0.222926660, 0.337490459, 0.471376809, 0.364862077]
    np.testing.assert_allclose(np.stack(found), np.repeat(published, 2).reshape(6, 2), atol=1e-8 if x64 else 2e-6, rtol=0)
    np.testing.assert_allclose(
        np.stack(three), np.repeat([1.370163, 2.0], 3).reshape(2, 3), atol=1e-6 if x64 else 3e-6, rtol=0
    )
    np.testing.assert_allclose(profit, np.sum(np.asarray(found[3])), rtol=1e-12 if x64 else 1e-6)
    np.testing.assert_array_equal(index, [0, 1])


@PRECISION
def test_no_firm_gains_by_leaving_the_logit_equilibrium(x64):
    rng = np.random.default_rng(0)
    a, b = strict(x64)
    with a, b:
        oracle = jax.jit(logit_pricing.nash)
        for _ in range(60):
            market = random_market(rng)
            quality, cost, scale, outside = market
            prices = np.asarray(oracle(*map(jnp.asarray, market)), float)
            unit = np.abs(np.concatenate([quality, cost, [scale, outside]])).max()
            probability = logit_profits(prices, quality, cost, scale, outside) / (prices - cost)
            np.testing.assert_allclose(
                prices, cost + scale / (1 - probability), atol=(1e-13 if x64 else 2e-6) * unit / scale
            )
            for j, price in enumerate(prices):
                deviations = np.repeat(prices[None], 4001, axis=0)
                deviations[:, j] = np.linspace(cost[j], 2 * price - cost[j] + 3 * scale, 4001)
                stays = logit_profits(prices, *market)[j]
                leaves = logit_profits(deviations, *market)[:, j].max()
                assert leaves <= stays * (1 + (1e-12 if x64 else 1e-5))


@PRECISION
def test_best_responses_and_monopoly_prices_maximise_profit(x64):
    rng = np.random.default_rng(1)
    a, b = strict(x64)
    with a, b:
        reply, monopoly = jax.jit(logit_pricing.best_response), jax.jit(logit_pricing.monopoly)
        for _ in range(20):
            quality, cost, scale, outside = market = random_market(rng)
            prices = cost + scale * rng.uniform(0, 3, cost.size)
            replies = np.asarray(reply(*map(jnp.asarray, (prices, *market))), float)
            joint, value = (np.asarray(x, float) for x in monopoly(*map(jnp.asarray, market)))
            tolerance = (1e-12 if x64 else 2e-6) * np.abs(np.concatenate([quality, cost, [outside]])).max() / scale
            for j in range(cost.size):
                others = np.delete((quality - prices) / scale, j)
                others = special.logsumexp(np.append(others, outside / scale))
                share = special.expit((quality[j] - replies[j]) / scale - others)
                assert (replies[j] - cost[j]) * (1 - share) == pytest.approx(scale, rel=5 * tolerance)
            total = logit_profits(joint, *market).sum()
            assert value == pytest.approx(total, rel=20 * tolerance)
            for _ in range(200):
                other = joint + scale * rng.normal(size=cost.size) * 10 ** rng.uniform(-3, 1)
                assert logit_profits(other, *market).sum() <= total * (1 + 20 * tolerance)


def test_logit_functions_stand_large_utilities_and_batches():
    prices, profit = logit_pricing.monopoly(jnp.asarray([900.0, 0.0]), jnp.zeros(2), 0.1)
    assert np.all(np.isfinite(prices)) and 890 < profit < 900
    share = logit_pricing.choice_probabilities(jnp.asarray([0.0, 1.0]), jnp.asarray([1e4, 1e4]), 1.0)
    np.testing.assert_allclose(share, special.softmax([0, -1]), rtol=1e-6)
    shares = logit_pricing.choice_probabilities(jnp.zeros((4, 2)), jnp.zeros(2), 1.0, -jnp.inf)
    np.testing.assert_allclose(shares, np.full((4, 2), 0.5))
    np.testing.assert_allclose(logit_pricing.nash(jnp.asarray([500.0, 500.0]), 0.0, 1.0, -jnp.inf), [2, 2], rtol=1e-4)
    quality, cost = jnp.asarray([[1.0, 2.0, 3.0], [0.0, 0.5, 1.0]]), jnp.asarray([0.1, 0.2, 0.3])
    batch = logit_pricing.nash(quality, cost, 0.5)
    rows = jax.vmap(lambda q, s: logit_pricing.nash(q, cost, s))(quality, jnp.asarray([0.5, 0.5]))
    np.testing.assert_allclose(batch, rows, rtol=1e-6)
    assert np.all(np.isfinite(jax.jacrev(logit_pricing.nash)(quality[0], cost, 0.5)))


@PRECISION
def test_assortments_are_the_best_of_all_subsets(x64):
    rng = np.random.default_rng(2)
    a, b = strict(x64)
    with a, b:
        oracle = jax.jit(logit_pricing.assortment)
        for trial in range(80):
            n = int(rng.integers(1, 9))
            size = int(rng.integers(1, n + 2))
            revenue = rng.normal(size=n) + 1 if trial % 2 else rng.integers(-1, 4, n).astype(float)  # ties in every other
            weight = rng.exponential(size=n) * rng.integers(0, 2, n) if trial % 3 == 0 else rng.exponential(size=n)
            none = 10 ** rng.uniform(-2, 2)
            mask, value = oracle(jnp.asarray(revenue), jnp.asarray(weight), size, none)
            subsets = np.array(list(itertools.product([0, 1], repeat=n)))
            subsets = subsets[subsets.sum(1) <= size]
            values = subsets @ (weight * revenue) / (none + subsets @ weight)
            mask = np.asarray(mask)
            assert mask.sum() <= size
            attained = (weight * revenue)[mask].sum() / (none + weight[mask].sum())
            tolerance = 1e-13 if x64 else 2e-6
            np.testing.assert_allclose([value, attained], values.max(), rtol=tolerance, atol=tolerance)


@PRECISION
def test_best_replies_in_a_repeated_game_are_policy_iterations(x64):
    rng = np.random.default_rng(3)
    a, b = strict(x64)
    with a, b:
        oracle = jax.jit(logit_pricing.dynamic_best_response)
        for discount in (0.0, 0.5, 0.95, 0.99):
            profit, after = rng.uniform(1, 2, (30, 4)), rng.integers(0, 30, (30, 4))
            q = np.asarray(oracle(jnp.asarray(profit), jnp.asarray(after), discount))
            action, states = np.zeros(30, int), np.arange(30)
            for _ in range(100):  # policy iteration with exact evaluation
                moves = np.eye(30)[after[states, action]]
                exact = profit + discount * np.linalg.solve(np.eye(30) - discount * moves, profit[states, action])[after]
                action = exact.argmax(1)
            np.testing.assert_allclose(q, exact, rtol=1e-13 if x64 else 2e-6)
            gap = exact.max(1) - exact[states, q.argmax(1)]
            assert gap.max() <= (1e-11 if x64 else 1e-4)


def test_logit_oracles_refuse_bad_input():
    with pytest.raises(ValueError, match="discount must be in"):
        logit_pricing.dynamic_best_response(np.ones((2, 2)), np.zeros((2, 2), int), 1.0)
    with pytest.raises(ValueError, match=r"next_state must be in \[0, 2\)"):
        logit_pricing.dynamic_best_response(np.ones((2, 2)), np.full((2, 2), 2), 0.5)
    with pytest.raises(ValueError, match="next_state must be integer"):
        logit_pricing.dynamic_best_response(np.ones((2, 2)), np.zeros((2, 2)), 0.5)
    with pytest.raises(ValueError, match="states, actions"):
        logit_pricing.dynamic_best_response(np.ones((2, 2)), np.zeros((2, 3), int), 0.5)
    with pytest.raises(ValueError, match="scale must be in"):
        logit_pricing.nash(np.ones(2), 1.0, 0.0)
    with pytest.raises(ValueError, match="one number a product"):
        logit_pricing.monopoly(1.0, 1.0, 0.25)
    with pytest.raises(ValueError, match="size must be"):
        logit_pricing.assortment(np.ones(2), np.ones(2), 0)
    with pytest.raises(ValueError, match="weight must be in"):
        logit_pricing.assortment(np.ones(2), -np.ones(2), 1)
    with pytest.raises(ValueError, match="got shapes"):
        logit_pricing.assortment(np.ones(2), np.ones(3), 1)


@PRECISION
@pytest.mark.parametrize("noise", ["logistic", "gaussian", "uniform"])
def test_linear_valuation_prices_are_scipys(noise, x64):
    law = {"logistic": stats.logistic.sf, "gaussian": stats.norm.sf, "uniform": lambda y: np.clip((1 - y) / 2, 0, 1)}[noise]
    utility = np.array([-5.0, -1.0, -0.3, 0.0, 0.2, 0.5, 1.0, 2.0, 7.0])
    a, b = strict(x64)
    with a, b:
        oracle = jax.jit(linear_valuation.optimal_price, static_argnums=1)
        for scale in (0.05, 0.25, 1.0, 3.0):
            price = oracle(jnp.asarray(utility), noise, scale)
            revenue = np.asarray(linear_valuation.revenue(price, jnp.asarray(utility), noise, scale))
            gap = np.linspace(-4, 4, 17) * scale
            survival = linear_valuation.survival(noise, jnp.asarray(gap), scale)
            np.testing.assert_allclose(survival, law(gap / scale), rtol=1e-12 if x64 else 2e-5, atol=1e-7)
            for u, p, r in zip(utility, np.asarray(price, float), revenue, strict=True):
                peak = optimize.minimize_scalar(
                    lambda x, u=u, scale=scale: -x * law((x - u) / scale),
                    bounds=(0, max(u, 0) + 5 * scale),
                    method="bounded",
                )
                assert r >= -peak.fun * (1 - (1e-12 if x64 else 2e-5)) - 1e-30
                assert p * law((p - u) / scale) >= -peak.fun * (1 - 1e-9)
                if noise == "logistic":
                    assert p == pytest.approx(scale * (1 + special.lambertw(np.exp(u / scale - 1)).real), rel=1e-6)


@PRECISION
def test_gaussian_prices_solve_the_first_order_condition_far_from_zero(x64):
    ratio = np.concatenate([-np.logspace(-3, 8, 45), [0], np.logspace(-3, 8, 45)])
    a, b = strict(x64)
    with a, b:
        found = np.asarray(linear_valuation.optimal_price(jnp.asarray(ratio), "gaussian", 1.0), float)
        published = linear_valuation.optimal_price(0.5, "gaussian", 0.25)
        revenue = linear_valuation.revenue(published, 0.5, "gaussian", 0.25)
        ratio = np.asarray(jnp.asarray(ratio), float)

    def mills(y):
        return np.sqrt(np.pi / 2) * special.erfcx(y / np.sqrt(2)) if y > -35 else np.inf

    exact = [
        optimize.brentq(lambda q, w=w: q - min(mills(q - w), 1e300), 1e-12, max(w, 0) + 5, xtol=1e-300, rtol=1e-14)
        for w in ratio
    ]
    np.testing.assert_allclose(found, exact, rtol=1e-13 if x64 else 1e-6)
    assert float(published) == pytest.approx(0.417078, abs=1e-6)
    assert float(revenue) == pytest.approx(0.262733, abs=1e-6)


@PRECISION
@pytest.mark.parametrize("mixture", range(len(MIXTURES)))
def test_mixture_prices_are_the_highest_peak(mixture, x64):
    weights, locations, scales = map(np.array, MIXTURES[mixture])
    utility = np.array([-3.0, -0.5, 0.0, 0.4, 1.0, 1.4, 6.0])
    a, b = strict(x64)
    with a, b:
        options = {"weights": jnp.asarray(weights), "locations": jnp.asarray(locations)}
        price = jax.jit(lambda u: linear_valuation.optimal_price(u, "mixture", jnp.asarray(scales), **options))(utility)
        revenue = np.asarray(
            linear_valuation.revenue(price, jnp.asarray(utility), "mixture", jnp.asarray(scales), **options)
        )
    for u, p, r in zip(utility, np.asarray(price, float), revenue, strict=True):
        centres = u + locations
        top = max(centres.max(), 0) + 8 * scales.max()
        grid = np.concatenate(
            [np.linspace(0, top, 40001), *(m + s * np.linspace(-8, 8, 20001) for m, s in zip(centres, scales, strict=True))]
        )
        grid = grid[grid >= 0]

        def exact(x, centres=centres):
            return x * (stats.norm.sf((np.asarray(x)[..., None] - centres) / scales) @ weights)

        peak = exact(grid).max()
        assert exact(p) >= peak * (1 - (1e-9 if x64 else 1e-6))
        assert r == pytest.approx(exact(p), rel=1e-10 if x64 else 1e-4, abs=1e-30)


def test_linear_valuation_refuses_bad_input():
    with pytest.raises(ValueError, match="unknown noise"):
        linear_valuation.optimal_price(0.5, "normal", 1.0)
    with pytest.raises(ValueError, match="scale must be in"):
        linear_valuation.survival("logistic", 0.5, 0.0)
    with pytest.raises(ValueError, match="must all be"):
        linear_valuation.optimal_price(0.5, "mixture", np.ones(2), weights=np.ones(2) / 2, locations=np.ones(3))
    with pytest.raises(ValueError, match="add up to one"):
        linear_valuation.optimal_price(0.5, "mixture", np.ones(2), weights=np.ones(2), locations=np.ones(2))
    with pytest.raises(ValueError, match="belong to noise"):
        linear_valuation.optimal_price(0.5, "uniform", 1.0, weights=np.ones(1))


@PRECISION
def test_reference_price_path_settles_at_the_steady_price(x64):
    intercept, slope, effect, memory, discount = 1.1, 0.5, 0.2, 0.1, 0.95
    a, b = strict(x64)
    with a, b:
        price = float(jax.jit(reference_price.steady_price)(intercept, slope, effect, memory, discount))
        myopic = float(reference_price.steady_price(intercept, slope, effect, memory, 0.0))
        fixed = float(reference_price.best_reply(myopic, intercept, slope, effect, effect))
    assert price == pytest.approx(1.08797814, abs=1e-8 if x64 else 1e-6)
    assert fixed == pytest.approx(myopic, rel=1e-6)
    horizon = 300  # profit is quadratic in the price path: references are r = R p + start
    period = np.arange(horizon)
    references = np.tril(memory ** np.maximum(period[:, None] - period - 1, 0) * (1 - memory), -1)
    start, weight = memory**period, discount**period
    matrix = np.diag(weight) @ (effect * references - (slope + effect) * np.eye(horizon))
    path = np.linalg.solve(-(matrix + matrix.T), weight * (intercept + effect * start))
    assert path[150] == pytest.approx(price, abs=1e-7 if x64 else 1e-6)


@PRECISION
def test_one_period_replies_to_a_reference_are_the_best_on_a_grid(x64):
    rng = np.random.default_rng(4)
    kinks = 0
    a, b = strict(x64)
    with a, b:
        reply = jax.jit(reference_price.best_reply)
        for _ in range(200):
            intercept, slope = rng.uniform(0.5, 2, 2)
            gain, loss = rng.uniform(0, 1.5, 2)  # gains weigh more in about half of the cases
            reference = intercept / (2 * slope) * rng.uniform(0.4, 1.2)  # around the steady prices
            price = float(reply(reference, intercept, slope, gain, loss))
            kinks += abs(price - reference) < 1e-6

            def revenue(p, intercept=intercept, slope=slope, gain=gain, loss=loss, reference=reference):
                gap = reference - p
                return p * (intercept - slope * p + gain * np.maximum(gap, 0) - loss * np.maximum(-gap, 0))

            assert revenue(price) >= revenue(np.linspace(0, 4, 40001)).max() - (1e-12 if x64 else 1e-6)
    assert kinks > 10


@PRECISION
def test_stationary_equilibrium_with_reference_prices(x64):
    rng = np.random.default_rng(5)
    a, b = strict(x64)
    with a, b:
        oracle = jax.jit(reference_price.opga_equilibrium)
        market = [jnp.asarray(x) for x in ([8.70, 4.30], [2.00, 1.20], [0.82, 0.32])]
        found = np.asarray(oracle(*market))
        np.testing.assert_allclose(found, [1.920413, 0.800678], atol=1e-6 if x64 else 2e-6)
        for _ in range(30):
            n = int(rng.integers(1, 6))
            intercept, slope, effect = rng.uniform(-3, 15, n), rng.uniform(0.2, 3, n), rng.uniform(0, 2, n)
            prices = np.asarray(oracle(*map(jnp.asarray, (intercept, slope, effect))), float)
            share = special.softmax(np.append(intercept - slope * prices, 0))[:-1]
            slack = prices * (slope + effect) * (1 - share) - 1  # zero derivatives of log revenue
            np.testing.assert_allclose(slack, 0, atol=1e-12 if x64 else 3e-5)


def test_reference_price_refuses_bad_input():
    with pytest.raises(ValueError, match="discount must be in"):
        reference_price.steady_price(1.1, 0.5, 0.2, 0.1, 1.0)
    with pytest.raises(ValueError, match="memory must be in"):
        reference_price.steady_price(1.1, 0.5, 0.2, 1.1, 0.5)
    with pytest.raises(ValueError, match="slope must be in"):
        reference_price.best_reply(1.0, 1.1, 0.0, 0.2, 0.2)
    with pytest.raises(ValueError, match="must all be"):
        reference_price.opga_equilibrium(np.ones(2), np.ones(3), np.ones(2))

"""Assortments and prices of several products, against NumPy references written from the formulas."""

import dataclasses
import itertools
import math

import harness
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from harness import DRAWS, HORIZON, LANES, market, play, problem_of
from scipy import special

from jaxprice import policies
from jaxprice.policies.products import mnl_choice
from jaxprice.policies.products.opol import orthonormal
from jaxprice.types import Transition

SETS, LOW_RANK = "assortments", "low rank"  # five products of which two are offered; six products, two directions
KNOWN = ("LowRankDemand", (("num_products", 6), ("rank", 2), ("noise_scale", 1.0), ("features_known", True)))
SURE = ("LowRankDemand", (("num_products", 6), ("rank", 2), ("noise_scale", 0.0)))


def sets(n, size):
    """All sets of at most `size` of n products, bool `[sets, n]`."""
    return np.array([mask for mask in itertools.product([False, True], repeat=n) if sum(mask) <= size])


def values(masks, revenues, weights):
    """Expected revenue of each set, `[..., sets]`, for weights `[..., n]`."""
    chosen = np.asarray(weights, float)[..., None, :] * masks
    return np.sum(chosen * np.asarray(revenues, float), axis=-1) / (1 + chosen.sum(axis=-1))


@pytest.mark.parametrize(("n", "size"), [(1, 1), (4, 2), (6, 3), (6, 6), (7, 1)])
def test_the_best_set_is_that_of_all_sets(n, size):
    """Also for attractions over many orders of magnitude and for ties."""
    rng, count = np.random.default_rng(n + size), 400
    weights = (10 ** rng.uniform(-4, 4, (count, n)) * rng.choice([1e-3, 1.0], (count, 1))).astype(np.float32)
    revenues = rng.uniform(0.1, 1, (count, n)).astype(np.float32)
    revenues[::5], weights[::10] = 0.5, 1.0
    best = np.asarray(jax.jit(jax.vmap(lambda r, w: mnl_choice.Shop(r, size).best(w)))(revenues, weights))
    assert best.sum(axis=1).max() <= size
    masks = sets(n, size)
    for chosen, r, w in zip(best, revenues, weights, strict=True):
        exact = values(masks, r, w).max()
        assert values(chosen[None], r, w)[0] >= exact * (1 - 1e-5)


class Epochs:
    """Epochs until a customer buys nothing, in plain Python."""

    def __init__(self, n):
        self.number, self.counts, self.sums, self.sold = 1, np.zeros(n), np.zeros(n), np.zeros(n)

    def learn(self, offered, demand):
        """Whether the epoch is over."""
        self.sold = self.sold + demand
        if demand.sum() > 0:
            return False
        self.counts, self.sums = self.counts + offered, self.sums + self.sold
        self.number, self.sold = self.number + 1, np.zeros(self.counts.size)
        return True


def ucb(epochs, scale, cut):
    n, bounds = epochs.counts.size, []
    for count, total in zip(epochs.counts, epochs.sums, strict=True):
        if count == 0:
            bounds.append(1.0)
            continue
        mean, width = total / count, scale * math.log(math.sqrt(n) * (epochs.number - 1) + 1) / count
        bound = mean + math.sqrt(mean * width) + width
        bounds.append(min(bound, 1.0) if cut else bound)
    return np.array(bounds)


@pytest.mark.parametrize(("scale", "cut"), [(48.0, False), (0.3, False), (2.0, True)])
def test_mnl_ucb_step_for_step(scale, cut):
    played = play(policies.mnl_ucb(scale=scale, cut=cut), SETS)
    revenues, masks = np.asarray(problem_of(SETS).high, float), sets(5, 2)
    starts = 0
    for lane in range(LANES):
        epochs, over = Epochs(5), True
        for t, (state, sale) in enumerate(played.lane(lane)):
            if over:
                upper = ucb(epochs, scale, cut)
                assert values(sale.action[None], revenues, upper)[0] >= values(masks, revenues, upper).max() - 1e-5
                starts += 1
            else:
                np.testing.assert_array_equal(sale.action, played.sales.action[t - 1, lane])
            np.testing.assert_array_equal(state.epochs.counts, epochs.counts)
            np.testing.assert_array_equal(state.epochs.sums, epochs.sums)
            assert state.epochs.number == epochs.number
            over = epochs.learn(sale.action, sale.demand)
    assert LANES * HORIZON / 4 < starts < LANES * HORIZON
    assert scale > 1 or len({tuple(x) for x in played.sales.action.reshape(-1, 5)}) > 4


@pytest.mark.parametrize("policy", [policies.mnl_thompson(), policies.mnl_ucb(scale=0.3)])
def test_sales_an_epoch_estimate_attractions(policy):
    """Sales of a product less v times its epochs is a martingale with variance v (1 + v) an epoch, whatever is offered."""
    last, weights = play(policy, SETS).last.epochs, np.asarray(market(SETS)[1].weights, float)
    excess = np.sum(last.sums + last.sold - weights * last.counts, axis=0)
    spread = np.sqrt(np.maximum(weights * (1 + weights) * last.counts.sum(axis=0), 1.0))
    assert np.all(np.abs(excess) < 4 * spread)
    assert np.any(last.counts.sum(axis=0) > 100)


def test_mnl_thompson_counts_epochs():
    for posterior in ("exact", "boosted"):
        played = play(policies.mnl_thompson(posterior=posterior), SETS)
        for lane in range(LANES):
            epochs, over = Epochs(5), True
            for t, (state, sale) in enumerate(played.lane(lane)):
                np.testing.assert_array_equal(state.epochs.counts, epochs.counts)
                np.testing.assert_array_equal(state.epochs.sums, epochs.sums)
                if not over:
                    np.testing.assert_array_equal(sale.action, played.sales.action[t - 1, lane])
                elif posterior == "boosted" and epochs.number <= 5:
                    np.testing.assert_array_equal(sale.action, np.arange(5) == epochs.number - 1)
                over = epochs.learn(sale.action, sale.demand)


COUNTS, SUMS = np.array([30.0, 12, 4, 50, 1]), np.array([12.0, 9, 1, 5, 0])


def exact_draw(rng, draws, size):
    return 1 / rng.beta(1 + COUNTS, 1 + SUMS, (draws, 5)) - 1


def boosted_draw(rng, draws, size, variance=6.0, floor=1.5):
    z, n = rng.standard_normal((draws, size)).max(axis=1), np.maximum(COUNTS, 1)
    mean = SUMS / n
    spread = np.sqrt(variance * mean * (mean + 1) / n) + floor * math.sqrt(math.log(HORIZON * size)) / n
    return np.maximum(mean + spread * z[:, None], 0)


@pytest.mark.parametrize(
    ("options", "draw"),
    [({}, exact_draw), ({"posterior": "boosted", "variance": 6.0, "floor": 1.5}, boosted_draw)],
)
def test_mnl_thompson_draws_from_its_posterior(options, draw):
    """Frequencies of sets over many keys are those of draws by NumPy, to 4 standard errors."""
    policy, problem, masks = policies.mnl_thompson(**options), problem_of(SETS), sets(5, 2)
    state = policy.init(jax.random.key(0), problem)
    nothing = jnp.zeros(5, jnp.float32)
    epochs = state.epochs.replace(
        number=jnp.int32(90),
        epochs=jnp.asarray(COUNTS - state.epochs.offered, jnp.int32),
        sums=jnp.asarray(SUMS, jnp.float32),
    )
    state = dataclasses.replace(state, epochs=epochs)
    sale = Transition(None, state.epochs.offered, nothing, nothing, jnp.float32(0), None)
    keys = jax.random.split(jax.random.key(1), DRAWS)
    offered = np.asarray(jax.jit(jax.vmap(lambda key: policy.update(key, state, sale).epochs.offered))(keys))
    rng, revenues = np.random.default_rng(0), np.asarray(problem.high)
    drawn = masks[np.argmax(values(masks, revenues, draw(rng, 4 * DRAWS, 2)), axis=1)]
    codes = 2 ** np.arange(5)
    ours, exact = (np.bincount(x @ codes, minlength=32) / len(x) for x in (offered, drawn))
    error = np.sqrt(exact * (1 - exact) * (1.25 / DRAWS)) + 1e-4
    assert np.all(np.abs(ours - exact) < 4 * error)
    assert np.sum(exact > 0.02) >= 3


def regret(name, horizon, lanes, **rows):
    """Regret at a half and at the end of the horizon of each lane: policy -> float `[2, lanes]`."""
    env, params = market(name)
    params, found = dataclasses.replace(params, max_steps_in_episode=jnp.int32(horizon)), {}
    for label, policy in rows.items():

        def run(params, policy=policy):
            numbers = np.arange(lanes, dtype=np.uint32)
            return harness.run(env, policy, horizon, params, env.problem(params), numbers)[2]["regret"]

        found[label] = np.cumsum(np.asarray(jax.jit(run)(params), float), axis=0)[[horizon // 2 - 1, -1]]
    return found


@pytest.mark.slow
def test_regret_of_assortments_levels_off():
    """With a gap between sets: the second half of the horizon costs far less than the first."""
    found = regret(SETS, 2000, 32, exact=policies.mnl_thompson(), ucb=policies.mnl_ucb(scale=0.5))
    for half, whole in found.values():
        assert (whole - half).mean() < 0.5 * half.mean()


def ball_path(prices, demands, radius, dimension, horizon, step, gap, baseline, rank=None):
    """Centres `[time, n]` before each period; with `rank`, OPOL's, by singular values."""
    n = prices.shape[1]
    shift = radius * min(0.5, gap * math.sqrt(dimension) * horizon**-0.25)
    x, rewards, table = np.zeros(n), [], np.zeros((n, rank or 1))
    for t, (p, q) in enumerate(zip(prices, demands, strict=True)):
        yield x, shift
        rewards.append(float(p @ q))
        base = np.mean(rewards[:-1]) if baseline and t else 0.0
        x = x + step * radius / math.sqrt(horizon) * (rewards[-1] - base) / np.max(np.abs(rewards)) * (p - x) / shift
        x = x * min(1.0, (radius - shift) / np.linalg.norm(x))
        if rank:
            table[:, t % rank] += (q - table[:, t % rank]) / (1 + t // rank)
        if rank and t + 1 >= rank:
            left = np.linalg.svd(table, full_matrices=False)[0]
            x = left @ (left.T @ x)
        elif rank:
            x = None  # a random basis, which the reference does not know
            return


@pytest.mark.parametrize(
    ("policy", "name", "dimension", "baseline"),
    [
        (policies.opok(), KNOWN, 2, False),
        (policies.opok(step=3.0, gap=0.2, baseline=True), KNOWN, 2, True),
        (policies.opok(), LOW_RANK, 6, False),
    ],
)
def test_opok_step_for_step(policy, name, dimension, baseline):
    played, radius = play(policy, name), 20.0
    options = {"step": 3.0, "gap": 0.2} if baseline else {"step": 1.0, "gap": 0.41}
    features = np.asarray(market(name)[1].features, float) if name == KNOWN else np.eye(6)
    for lane in range(LANES):
        prices, demands = (np.asarray(x[:, lane], float) for x in (played.sales.price, played.sales.demand))
        path = list(ball_path(prices, demands, radius, dimension, HORIZON, **options, baseline=baseline))
        centres = np.array([x for x, _ in path])
        np.testing.assert_allclose(played.states.ball.centre[:, lane], centres, atol=2e-3)
        np.testing.assert_allclose(np.linalg.norm(prices - centres, axis=1), path[0][1], atol=2e-3)
        np.testing.assert_allclose(prices @ features @ features.T, prices, atol=1e-4)
    assert np.linalg.norm(played.sales.price, axis=-1).max() <= radius * (1 + 1e-6)
    assert np.linalg.norm(played.last.ball.centre, axis=-1).max() > 1  # it has moved


@pytest.mark.optimised
def test_opol_step_for_step():
    """Basis and centre are those of singular vectors, from the period on in which every column has seen demand."""
    played, rank = play(policies.opol(baseline=True), LOW_RANK), 2
    moved = 0
    for lane in range(LANES):
        prices, demands = (np.asarray(x[:, lane], float) for x in (played.sales.price, played.sales.demand))
        x, table = np.asarray(played.states.ball.centre[rank, lane], float), np.zeros((6, rank))
        shift, rewards = float(played.states.ball.shift[0, lane]), np.sum(prices * demands, axis=1)
        for t in range(HORIZON):
            if t >= rank:
                left = np.linalg.svd(table, full_matrices=False)[0]
                basis = np.asarray(played.states.basis[t, lane], float)
                np.testing.assert_allclose(basis.T @ basis, np.eye(rank), atol=2e-4)
                np.testing.assert_allclose(basis @ basis.T, left @ left.T, atol=5e-4)
                np.testing.assert_allclose(played.states.ball.centre[t, lane], left @ (left.T @ x), atol=2e-2)
                x = np.asarray(played.states.ball.centre[t, lane], float)
                np.testing.assert_allclose(left @ (left.T @ prices[t]), prices[t], atol=2e-2)
                unit = np.abs(rewards[: t + 1]).max()
                x = x + 20 / math.sqrt(HORIZON) * (rewards[t] - rewards[:t].mean()) / unit * (prices[t] - x) / shift
                x = x * min(1.0, (20 - shift) / np.linalg.norm(x))
                moved += np.linalg.norm(x) > 1
            table[:, t % rank] += (demands[t] - table[:, t % rank]) / (1 + t // rank)
    assert moved > LANES * HORIZON / 4


def test_opol_finds_the_directions_of_demand():
    """Without noise demand lies in the span of U, and two periods show it."""
    features = np.asarray(market(SURE)[1].features, float)
    basis = np.asarray(play(policies.opol(), SURE).states.basis[4:], float)
    seen = np.einsum("tlij,tlkj->tlik", basis, basis)
    assert np.abs(seen - features @ features.T).max() < 2e-2
    assert np.median(np.abs(seen - features @ features.T).max(axis=(2, 3))) < 1e-4


@pytest.mark.parametrize("baseline", [False, True])
def test_one_period_estimates_the_gradient(baseline):
    """E[(y - b) w] = (a / d) grad f at the centre, where f is quadratic; mean over many keys, to 4 standard errors."""
    env, params = market(KNOWN)
    policy = policies.opok(step=1e-3, baseline=baseline)
    state = policy.init(jax.random.key(0), problem_of(KNOWN))
    features, slopes, level = (np.asarray(x, float) for x in (params.features, params.slopes, params.level))
    x = np.array([4.0, -2.0])
    ball = state.ball.replace(
        centre=jnp.asarray(features @ x, jnp.float32), unit=jnp.float32(1e5), mean=jnp.float32(400.0), time=jnp.int32(9)
    )
    state = dataclasses.replace(state, ball=ball)

    @jax.jit
    @jax.vmap
    def moves(key):
        price = policy.act(key, state, None)
        demand = env.mean_demand(price, params)
        sale = Transition(None, price, price, demand, jnp.sum(price * demand), None)
        return (policy.update(key, state, sale).ball.centre - ball.centre) * (1e5 / ball.step)

    found = np.asarray(moves(jax.random.split(jax.random.key(2), DRAWS)), float) @ features
    gradient = float(ball.shift) / 2 * (level - (slopes + slopes.T) @ x)
    error = found.std(axis=0) / math.sqrt(DRAWS)
    assert np.all(np.abs(found.mean(axis=0) - gradient) < 4 * error + 1)
    assert np.all(np.abs(gradient) > 20 * error)


@pytest.mark.slow
def test_low_rank_pays():
    """Twenty products, two directions: to know them, or to learn them, costs less than to search all prices."""
    size = (("num_products", 20), ("rank", 2), ("noise_scale", 1.0))
    found = regret(("LowRankDemand", size), 256, 16, all=policies.opok(), learnt=policies.opol())
    found |= regret(("LowRankDemand", (*size, ("features_known", True))), 256, 16, known=policies.opok())
    for name in ("learnt", "known"):
        less = found["all"][1] - found[name][1]
        assert less.mean() > 4 * less.std() / math.sqrt(16)
        assert less.mean() > 0.2 * found["all"][1].mean()


PRICES, CROWD = "mnl prices", ("MNLPricing", (("num_products", 2), ("buyers", 20)))
NEWTON = policies.mnl_newton()


def mnl_truth(name):
    """True (a, b) in the policy's units: prices about the middle of the widest interval, over its width."""
    _, params = market(name)
    middle, width = (np.asarray(params.high, float) + params.low) / 2, float(np.max(params.high - params.low))
    levels = (np.asarray(params.quality, float) - float(params.outside) - middle) / float(params.scale)
    return np.append(levels, width / float(params.scale)), middle, width


@pytest.mark.parametrize("name", [PRICES, CROWD])
def test_mnl_newton_step_for_step(name):
    """Estimates, information and shocks, with H inverted anew in every period."""
    played, problem = play(NEWTON, name), problem_of(name)
    _, middle, width = mnl_truth(name)
    n, buyers = middle.size, problem.buyers
    signs = []
    for lane in range(LANES):
        theta, information = np.append(np.zeros(n), 5.0), 0.1 * np.eye(n + 1)
        for t, (state, sale) in enumerate(played.lane(lane), start=1):
            np.testing.assert_allclose(state.model.mean, theta, atol=2e-3)
            shift = (np.asarray(sale.price, float) - best_prices(theta, problem, middle, width)) / (0.1 * width * t**-0.25)
            free = (sale.price > problem.low + 1e-4) & (sale.price < problem.high - 1e-4)
            np.testing.assert_allclose(np.abs(shift[free]), 1.0, atol=0.02 * t**0.25)
            signs.extend(np.sign(shift[free]))
            y = (np.asarray(sale.price, float) - middle) / width
            features = np.vstack([np.hstack([np.eye(n), -y[:, None]]), np.zeros(n + 1)])
            q = np.exp(features @ theta)
            q = q / q.sum()
            information = information + buyers * features.T @ (np.diag(q) - np.outer(q, q)) @ features
            theta = theta + np.linalg.solve(information, features[:n].T @ (sale.demand - buyers * q[:n]))
        factor = np.asarray(played.last.model.factor[lane], float)
        np.testing.assert_allclose(factor @ factor.T @ information, np.eye(n + 1), atol=2e-2)
    assert len(signs) > LANES * HORIZON * n / 3
    assert abs(np.mean(signs)) < 4 / math.sqrt(len(signs))


def best_prices(theta, problem, middle, width):
    """Prices with the same mark-up m (1 + w), where w exp(w) = sum exp(a_k - b c_k - 1) and m = width / b."""
    slope = max(theta[-1], 0.5)
    cost = np.broadcast_to(np.asarray(problem.cost, float), middle.shape)
    total = np.sum(np.exp(theta[:-1] - slope * (cost - middle) / width - 1))
    return cost + width / slope * (1 + float(special.lambertw(total).real))


def test_mnl_newton_prices_by_the_oracle_once_it_knows():
    """With the truth for an estimate and no shocks: the market's best prices."""
    env, params = market(PRICES)
    policy = policies.mnl_newton(shock=0.0)
    state = policy.init(jax.random.key(0), problem_of(PRICES))
    known = state.model.mean.at[:].set(jnp.asarray(mnl_truth(PRICES)[0], jnp.float32))
    state = state.replace(model=dataclasses.replace(state.model, mean=known))
    np.testing.assert_allclose(policy.act(jax.random.key(0), state, None), env.best(params), atol=1e-5)


def test_mnl_newton_finds_the_truth():
    """(theta - truth)' H (theta - truth) would be chi-squared, 3 on average, for an exact fit: early steps add to it."""
    name = ("MNLPricing", (("num_products", 2),))
    played, (truth, *_) = play(NEWTON, name, 1000), mnl_truth(name)
    error = np.asarray(played.last.model.mean, float) - truth
    factor = np.asarray(played.last.model.factor, float)
    squares = np.sum(np.linalg.solve(factor, error[..., None])[..., 0] ** 2, axis=1)
    assert 1 < squares.mean() < 10
    assert np.linalg.norm(error, axis=1).mean() < 0.7 * np.linalg.norm(np.array([0, 0, 5.0]) - truth)  # the prior's


def test_orthonormal_columns_of_nearly_equal_ones():
    """As float64 does, where columns differ by one in a thousand; and a column that adds nothing becomes 0."""
    rng = np.random.default_rng(0)
    columns = (100 + 0.1 * rng.standard_normal((12, 3))).astype(np.float32)
    basis = np.asarray(jax.jit(orthonormal)(columns), float)
    left = np.linalg.svd(columns.astype(float), full_matrices=False)[0]
    np.testing.assert_allclose(basis.T @ basis, np.eye(3), atol=5e-4)
    np.testing.assert_allclose(basis @ basis.T, left @ left.T, atol=2e-3)
    columns[:, 1] = columns[:, 0]
    columns[:, 2] = 0
    basis = np.asarray(jax.jit(orthonormal)(columns))
    assert np.all(np.isfinite(basis)) and np.abs(basis[:, 1:]).max() == 0


@pytest.mark.parametrize("policy", [policies.mnl_ucb(), policies.mnl_thompson(), policies.mnl_thompson(posterior="boosted")])
def test_customers_who_always_buy_or_never(policy):
    """An epoch that never ends, and epochs of one customer: sets stay within the size, states finite."""
    start = policy.init(jax.random.key(0), problem_of(SETS))

    @jax.jit
    def run(buys):
        def period(state, key):
            offered = policy.act(key, state, None)
            demand = buys * (jnp.arange(5) == jnp.argmax(offered)).astype(jnp.float32)
            sale = Transition(None, offered, jnp.zeros(5, jnp.float32), demand, jnp.float32(0), None)
            return policy.update(key, state, sale), (state, offered)

        return jax.lax.scan(period, start, jax.random.split(jax.random.key(0), 200))[1]

    for buys, epochs in ((1.0, 1), (0.0, 200)):
        states, offered = run(jnp.float32(buys))
        assert offered.sum(axis=1).max() <= 2
        assert states.epochs.number[-1] == epochs
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(states))


@pytest.mark.parametrize(
    ("policy", "name"), [(policies.opok(baseline=True), LOW_RANK), (policies.opol(), LOW_RANK), (NEWTON, PRICES)]
)
def test_nothing_sold(policy, name):
    start, size = policy.init(jax.random.key(0), problem_of(name)), problem_of(name).low.size

    @jax.jit
    def run():
        def period(state, key):
            price = policy.act(key, state, None)
            sale = Transition(None, price, price, jnp.zeros(size, jnp.float32), jnp.float32(0), None)
            return policy.update(key, state, sale), (state, price)

        return jax.lax.scan(period, start, jax.random.split(jax.random.key(0), 300))[1]

    states, prices = run()
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves((states, prices)))
    if name == LOW_RANK:
        assert np.abs(states.ball.centre).max() == 0


@pytest.mark.parametrize(
    ("maker", "options", "argument"),
    [
        (policies.mnl_ucb, {"scale": -1.0}, "scale"),
        (policies.mnl_thompson, {"posterior": "normal"}, "posterior"),
        (policies.mnl_thompson, {"variance": -1.0}, "variance"),
        (policies.mnl_thompson, {"floor": -1.0}, "floor"),
        (policies.opok, {"step": -1.0}, "step"),
        (policies.opok, {"gap": 0.0}, "gap"),
        (policies.opol, {"rank": 0}, "rank"),
        (policies.opol, {"rank": 2.0}, "rank"),
        (policies.opol, {"gap": 0.0}, "gap"),
        (policies.mnl_newton, {"shock": -0.1}, "shock"),
        (policies.mnl_newton, {"ridge": 0.0}, "ridge"),
        (policies.mnl_newton, {"slope": 0.0}, "slope"),
    ],
)
def test_bad_options_are_refused(maker, options, argument):
    with pytest.raises(ValueError, match=argument):
        maker(**options)


def test_a_rank_above_the_number_of_products_is_refused():
    with pytest.raises(ValueError, match="opol needs a rank of at most the number of products 6"):
        policies.opol(rank=7).init(jax.random.key(0), problem_of(LOW_RANK))

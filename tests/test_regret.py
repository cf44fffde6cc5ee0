"""Growth of regret: against a NumPy simulation, against published numbers, and against theoretical exponents.

All cells are bandits with ten Bernoulli arms whose means are evenly spaced from .1 to .9, so that the gaps are 4/45, 8/45,
..., .8. No curve is stored: a mean is compared with a reference simulated here, with a number from the literature, or with a
rate. Tolerances of means are in standard errors over lanes.
"""

import math

import numpy as np
import pytest

import jaxprice
from jaxprice import policies, stats

pytestmark = pytest.mark.optimised
MEANS = np.linspace(0.1, 0.9, 10)
GAPS = MEANS.max() - MEANS


def run(policy, *, lanes, horizon, seed=0):
    """Result of one policy; the policy axis dropped."""
    env, params = jaxprice.make("BernoulliBandit", means=MEANS)
    result = jaxprice.simulate(env, policy, seed=seed, lanes=lanes, horizon=horizon, params=params)
    return result.isel(policy=0)


def final(policy, **sizes):
    """Mean regret at the horizon and its standard error."""
    last = run(policy, **sizes).isel(time=-1)
    return float(last.regret), float(last.regret_se)


def lai_robbins():
    """The smallest slope of regret against log(T): sum of gap / kl(mean, best mean)."""
    means, best = MEANS[:-1], MEANS[-1]
    divergence = means * np.log(means / best) + (1 - means) * np.log((1 - means) / (1 - best))
    return float(np.sum(GAPS[:-1] / divergence))


def numpy_regret(choose, *, lanes, horizon, seed=0):
    """Cumulative regret of each lane: `choose(rng, t, pulls, wins)` is given `[lanes, arms]` and returns `[lanes]`."""
    rng = np.random.default_rng(seed)
    pulls, wins = np.zeros((lanes, MEANS.size)), np.zeros((lanes, MEANS.size))
    rows = np.arange(lanes)
    for t in range(1, horizon + 1):
        arm = choose(rng, t, pulls, wins)
        pulls[rows, arm] += 1
        wins[rows, arm] += rng.random(lanes) < MEANS[arm]
    return pulls @ GAPS


def choose_ucb1(rng, t, pulls, wins):
    if t <= MEANS.size:
        return np.full(len(pulls), t - 1)
    return np.argmax(wins / pulls + np.sqrt(2 * math.log(t) / pulls), axis=1)


def choose_thompson(rng, t, pulls, wins):
    return np.argmax(rng.beta(1 + wins, 1 + pulls - wins), axis=1)


def choose_kl_ucb(rng, t, pulls, wins):
    """Bisection for the largest q with pulls kl(mean, q) <= log(t)."""
    if t <= MEANS.size:
        return np.full(len(pulls), t - 1)
    mean = wins / pulls
    low, high = mean.copy(), np.ones_like(mean)
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = np.nan_to_num(mean * np.log(mean)) + np.nan_to_num((1 - mean) * np.log(1 - mean))
        for _ in range(16):  # to 2**-16, far below the gaps between indices that matter
            q = (low + high) / 2
            inside = pulls * (entropy - mean * np.log(q) - (1 - mean) * np.log(1 - q)) <= math.log(t)
            low, high = np.where(inside, q, low), np.where(inside, high, q)
    return np.argmax(low, axis=1)


@pytest.mark.parametrize(
    ("policy", "choose", "lanes"),
    [
        (policies.ucb1(), choose_ucb1, 400),
        (policies.thompson(), choose_thompson, 400),
        (policies.kl_ucb(), choose_kl_ucb, 250),
    ],
    ids=["ucb1", "thompson", "kl_ucb"],
)
def test_regret_is_that_of_a_numpy_simulation(policy, choose, lanes):
    """Within 4 combined standard errors at T = 1,000; half and twice the reference would be more than 10 away."""
    reference = numpy_regret(choose, lanes=lanes, horizon=1000)
    mean, error = final(policy, lanes=400, horizon=1000)
    combined = math.hypot(error, reference.std(ddof=1) / math.sqrt(lanes))
    assert abs(mean - reference.mean()) < 4 * combined
    assert combined < 0.05 * mean


def test_thompson_and_kl_ucb_grow_as_log_time():
    """Straight lines in log(t), with slopes next to the Lai-Robbins constant 8.70, and far from those of random prices.

    Lower-order terms fade slowly: at this horizon Thompson sampling, which explores too much at first, comes in from
    below (slope .8 of the constant) and KL-UCB, which pays for its bonus, from above (1.4). The bands .6 to 1.1 and 1.1
    to 1.7 allow for that and for sampling errors of 4 x .04. UCB1 has ten times the slope; a policy that explores at a
    fixed rate has no straight line.
    """
    constant = lai_robbins()
    assert constant == pytest.approx(8.698, abs=1e-3)
    for policy, low, high in [(policies.thompson(), 0.6, 1.1), (policies.kl_ucb(), 1.1, 1.7)]:
        result = run(policy, lanes=400, horizon=10_000)
        late = result.where(result.time >= 200, drop=True)
        log_time = np.log(late.time)
        slope, level = np.polyfit(log_time, late.regret, 1)
        assert low < slope / constant < high, slope / constant
        residual = late.regret - (slope * log_time + level)
        assert 1 - residual.var() / late.regret.var() > 0.99
        assert stats.growth_exponent(late.time, late.regret) < 0.33


def test_random_price_has_linear_regret():
    """Exponent one within .01, and the rate the mean gap, .4 a period, within 4 standard errors."""
    result = run(policies.random_price(), lanes=400, horizon=2000)
    late = result.where(result.time >= 20, drop=True)
    assert stats.growth_exponent(late.time, late.regret) == pytest.approx(1, abs=0.01)
    last = result.isel(time=-1)
    assert abs(float(last.regret) / 2000 - GAPS.mean()) < 4 * float(last.regret_se) / 2000
    assert float(last.regret_se) / 2000 < 0.01 * GAPS.mean()


def test_explore_then_commit_grows_as_two_thirds():
    """With a share 3 T**(-1/3), exploration costs 3 mean(gap) T**(2/3), and what is wrong after it has to be less.

    Between T = 1,000 and 64,000 the exponent is 2/3 within .05: standard errors move it by .01, mistakes at commitment
    (the runner-up is .09 away, tried 30 times at the shorter horizon, 480 at the longer) by less than .05.
    """
    horizons = (1000, 64_000)
    regrets = [final(policies.explore_then_commit(share=3 * T ** (-1 / 3)), lanes=150, horizon=T)[0] for T in horizons]
    assert stats.growth_exponent(horizons, regrets) == pytest.approx(2 / 3, abs=0.05)
    for horizon, regret in zip(horizons, regrets, strict=True):
        assert regret > 0.95 * 3 * GAPS.mean() * horizon ** (2 / 3)


def test_exp3_grows_as_the_square_root():
    """Tuned to each horizon, mixing and learning both cost sqrt(T): exponent 1/2 within .04 from T = 8,000 to 32,000.

    The mixing alone costs mean(gap) sqrt(K log(K) T / (e - 1)), and the bound 2.63 sqrt(T K log(K)) holds.
    """
    horizons = (8000, 32_000)
    policy = policies.exp3()
    size = MEANS.size * math.log(MEANS.size)
    regrets = []
    for horizon in horizons:
        mean, error = final(policy, lanes=200, horizon=horizon)
        assert error < 0.01 * mean
        assert GAPS.mean() * math.sqrt(size * horizon / (math.e - 1)) < mean < 2.63 * math.sqrt(size * horizon)
        regrets.append(mean)
    assert stats.growth_exponent(horizons, regrets) == pytest.approx(0.5, abs=0.04)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("policy", "published", "published_error"),
    [(policies.ucb1(), 375.0, 1.5), (policies.thompson(), 47.8, 1.0)],
    ids=["ucb1", "thompson"],
)
def test_published_cells(policy, published, published_error):
    """T = 10,000 and 1,000 lanes, within 4 combined standard errors of the published means."""
    mean, error = final(policy, lanes=1000, horizon=10_000)
    assert abs(mean - published) < 4 * math.hypot(error, published_error)
    assert error < 2 * published_error


@pytest.mark.slow
def test_log_growth_comes_closer_to_lai_robbins():
    """From T = 2,000 to 100,000 the slopes lie in .65 to 1 (Thompson) and 1.1 to 1.6 (KL-UCB) of the constant."""
    for policy, low, high in [(policies.thompson(), 0.65, 1.0), (policies.kl_ucb(), 1.1, 1.6)]:
        result = run(policy, lanes=500, horizon=100_000)
        late = result.where(result.time >= 2000, drop=True)
        slope = np.polyfit(np.log(late.time), late.regret, 1)[0]
        assert low < slope / lai_robbins() < high

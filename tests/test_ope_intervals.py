"""Confidence intervals against SciPy, NumPy bootstraps, the printed bound, and their coverage of a known mean."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxprice import ope
from jaxprice.ope.estimate import mean, ratio
from jaxprice.ope.intervals import poisson_counts


def skewed(logs=3, decisions=60, seed=0):
    rng = np.random.default_rng(seed)
    return rng.exponential(size=(logs, decisions)).astype(np.float32)


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_clt_is_the_t_interval(level):
    terms = skewed()
    low, high = ope.clt(mean(jnp.asarray(terms)), level)
    expected = stats.t.interval(level, 59, loc=terms.mean(1), scale=stats.sem(terms, axis=1))
    np.testing.assert_allclose([low, high], expected, rtol=1e-5)


def test_a_single_decision_has_no_interval():
    assert np.isnan(ope.clt(mean(jnp.ones((2, 1))))).all()


def test_poisson_counts_have_their_distribution():
    counts = np.asarray(poisson_counts(jax.random.key(0), (400_000,))).astype(int)
    observed = np.append(np.bincount(counts, minlength=6)[:6], (counts > 5).sum())
    expected = 400_000 * np.append(stats.poisson.pmf(np.arange(6), 1), stats.poisson.sf(5, 1))
    assert stats.chisquare(observed, expected).pvalue > 1e-3


def test_bootstrap_is_that_of_numpy():
    """Ends for a ratio, on influences and on pairs, against resampling in NumPy: within the noise of the replicates."""
    above, below = skewed(1, 400, 1)[0], skewed(1, 400, 2)[0]
    estimate = ratio(jnp.asarray(above), jnp.asarray(below))
    rows = np.random.default_rng(0).integers(400, size=(4000, 400))
    shifts = np.asarray(estimate.influence)[rows].mean(1)
    expected = float(estimate.value) + np.quantile(shifts, [0.05, 0.95])
    found = ope.bootstrap(jax.random.key(1), estimate, level=0.9, replicates=4000)
    se = float(estimate.se)
    noise = 4 * np.sqrt(2 * 0.05 * 0.95 / 4000) / stats.norm.pdf(1.645) * se
    np.testing.assert_allclose(found, expected, atol=noise)
    log = ope.DecisionLog.of(action=np.zeros(400, int), reward=above, propensity=np.ones(400), prices=[1.0])
    log = log.replace(demand=jnp.asarray(below))
    pairs = ope.bootstrap_pairs(
        jax.random.key(2), log, jnp.ones(1), lambda log, _: ratio(log.reward, log.demand), level=0.9, replicates=2000
    )
    expected = np.quantile(above[rows].mean(1) / below[rows].mean(1), [0.05, 0.95])
    np.testing.assert_allclose(pairs, expected, atol=1.5 * noise)


def test_the_samples_of_the_bootstrap_do_not_depend_on_leading_axes():
    estimate = mean(jnp.asarray(skewed(4, 50)))
    both = ope.bootstrap(jax.random.key(3), estimate, replicates=64)
    one = ope.bootstrap(jax.random.key(3), jax.tree.map(lambda x: x[2], estimate), replicates=64)
    np.testing.assert_allclose(jnp.stack(both)[:, 2], one, rtol=1e-5)
    other = ope.bootstrap(jax.random.key(4), estimate, replicates=64)
    assert not np.allclose(both, other)


def test_empirical_bernstein_is_the_printed_bound():
    """Theorem 4 for terms in [0, 1], at half of the probability on either side, and scaled to other ranges."""
    terms = np.random.default_rng(0).uniform(size=(2, 100))
    with jax.enable_x64(True):
        low, high = ope.empirical_bernstein(mean(jnp.asarray(terms)), 0.0, 1.0, level=0.9)
        scaled = ope.empirical_bernstein(mean(jnp.asarray(5 * terms - 2)), -2.0, 3.0, level=0.9)
    ln = np.log(2 / 0.05)
    reach = np.sqrt(2 * terms.var(1, ddof=1) * ln / 100) + 7 * ln / (3 * 99)
    np.testing.assert_allclose([low, high], [terms.mean(1) - reach, terms.mean(1) + reach], rtol=1e-12)
    np.testing.assert_allclose(scaled, [5 * np.asarray(low) - 2, 5 * np.asarray(high) - 2], rtol=1e-10)


def test_coverage_of_a_known_mean():
    """1,000 logs of 200 weighted decisions: CLT and bootstrap near their level, Bernstein above it."""
    rng = np.random.default_rng(7)
    chance = np.array([0.6, 0.3, 0.1])
    action = rng.choice(3, p=chance, size=(1000, 200))
    reward = (rng.uniform(size=action.shape) < np.array([0.2, 0.5, 0.7])[action]).astype(float)
    target = jnp.array([0.2, 0.3, 0.5])
    truth = float(np.array([0.2, 0.3, 0.5]) @ [0.2, 0.5, 0.7])
    log = ope.DecisionLog.of(
        action=action, reward=reward, probabilities=np.broadcast_to(chance, (1000, 200, 3)), prices=[1.0, 2.0, 3.0]
    )
    weighted, normalised = ope.ips(log, target), ope.snips(log, target)

    def covered(ends):
        return np.mean((np.asarray(ends[0]) <= truth) & (truth <= np.asarray(ends[1])))

    sharing = functools.partial(ope.bootstrap, jax.random.key(0), replicates=500)
    for ends in (ope.clt(weighted), ope.clt(normalised), sharing(weighted), sharing(normalised)):
        assert 0.925 < covered(ends) < 0.965  # 0.95 +- 3.6 standard errors, less the error of the approximation
    assert covered(ope.empirical_bernstein(weighted, 0.0, 5.0)) > 0.99


def test_bad_arguments():
    estimate = mean(jnp.asarray(skewed()))
    for run, message in (
        (lambda: ope.clt(estimate, 1.0), r"level must be in \(0, 1\)"),
        (lambda: ope.clt(estimate, 95), r"level must be in \(0, 1\)"),
        (lambda: ope.bootstrap(jax.random.key(0), estimate, replicates=0), "replicates must be an integer of at least 1"),
        (
            lambda: ope.empirical_bernstein(estimate, 0.0, 0.5),
            "low and high must bound the terms; [0-9]+ of 180",
        ),
        (lambda: ope.empirical_bernstein(ratio(estimate.terms, estimate.terms), 0.0, 9.0), "mean of independent terms"),
    ):
        with pytest.raises(ValueError, match=message):
            run()

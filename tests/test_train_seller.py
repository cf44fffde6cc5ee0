"""Training and score of the seller: the mixture of markets, advantages, a run that resumes, ratios, and what is held out."""

import jax
import numpy as np
import pytest

import jaxprice
from experiments import train_seller
from experiments.seller import markets, mixture, scoring, training
from jaxprice import invariants


def test_the_mixture_is_a_market():
    invariants.check_market(mixture.MixedDemand(num_prices=4))


@pytest.mark.parametrize("standard", [False, True])
def test_drawn_demand_falls_and_somebody_buys(standard):
    env = mixture.MixedDemand(num_prices=6, standard=standard)
    params = jax.jit(jax.vmap(env.sample_params))(jax.random.split(jax.random.key(0), 2000))
    means, prices, cost = (np.asarray(x) for x in (params.means, params.prices, params.cost))
    assert np.isfinite(means).all() and (means >= 0).all() and (means <= 1).all()
    assert (np.diff(means, axis=1) <= 1e-5).all() and (np.diff(prices, axis=1) > 0).all()
    assert np.mean(np.max((prices - cost[:, None]) * means, axis=1) > 0) > 0.97
    assert (np.ptp(prices, axis=0).max() == 0) == standard
    assert np.ptp(means[:, 0]) > 0.5  # sizes of demand


def test_the_held_out_families_take_no_part_in_training():
    families = {options.get("demand", kind) for kind, options in markets.HELD_OUT.values()}
    assert len(families) == 5 and not families & {*mixture.FAMILIES}
    trained = {repr(group.env) for group in markets.groups().values()}
    assert not any(repr(env) in trained for env in markets.held_out().values())
    assert sorted(set(markets.schedule())) == sorted(markets.groups())


def test_advantages_are_sums_of_errors_less_their_mean():
    rng = np.random.default_rng(0)
    reward, value = rng.normal(size=(2, 3, 5))
    ahead, returns = training.advantages(reward, value, 0.9)
    wanted = np.zeros((3, 5))
    for t in range(5):
        for i in range(t, 5):
            later = value[:, i + 1] if i < 4 else 0.0
            wanted[:, t] += 0.9 ** (i - t) * (reward[:, i] + later - value[:, i])
    np.testing.assert_allclose(returns, wanted + value, rtol=1e-5)
    level = wanted - wanted.mean(axis=0)
    np.testing.assert_allclose(ahead, level / level.std(), rtol=1e-4, atol=1e-5)


def test_the_prior_of_the_filter_has_the_level_of_the_markets():
    mean, root = training.fitted_prior(400)
    latent = np.array([mean[0] + mean[2:].sum(), mean[1] + (mean[2:] * np.cos(np.pi * np.arange(1, 7))).sum()])
    env = mixture.MixedDemand()
    means = np.asarray(jax.jit(jax.vmap(env.sample_params))(jax.random.split(jax.random.key(9), 1000)).means)
    ends = np.median(means[:, [0, -1]], axis=0)
    np.testing.assert_allclose(jax.scipy.special.ndtr(latent), ends, atol=0.12)
    assert np.all(np.diag(root.T @ root) > 0)


@pytest.fixture
def small(monkeypatch):
    """Training on one tiny market."""
    group = markets.Group(jaxprice.make("BernoulliBandit", num_arms=2)[0], 4, 8)
    for function in (training.advance, training.network):
        function.cache_clear()
    monkeypatch.setattr(markets, "groups", lambda: {"arms": group})
    monkeypatch.setattr(training, "CHUNK", 1)
    yield
    for function in (training.advance, training.network):
        function.cache_clear()


def test_a_killed_run_ends_with_the_same_weights(small, tmp_path):
    whole, curve = training.run(3, 4, tmp_path / "whole", told=lambda line: None)
    lines = []

    def killed(line):
        lines.append(line)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.run(3, 4, tmp_path / "parts", told=killed)
    again, other = training.run(3, 4, tmp_path / "parts", told=lines.append)
    assert len(lines) == 4 and curve["update"].tolist() == other["update"].tolist() == [[1], [2], [3], [4]]
    jax.tree.map(np.testing.assert_array_equal, whole, again)
    kept = training.start(3).weights["params"]
    np.testing.assert_array_equal(again["params"]["prior_root"], kept["prior_root"])
    assert any(
        np.abs(x).max() > 0 for x in jax.tree.leaves(jax.tree.map(lambda a, b: np.asarray(a) - b, again["params"], kept))
    )


def test_ratios_and_goals():
    base, mine = np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.0])
    (one,) = scoring.paired("held out", "a", {"other": base, "seller-0": mine})
    assert float(one["ratio"]) == 2 and float(one["ratio_se"]) == 0 and one["other"] == "other" and one["lanes"] == "3"
    rows = [{"part": "leaderboard", "market": m, "ratio": r} for m, r in (("a", 1.0), ("a", 1.08), ("b", 1.2), ("c", "nan"))]
    assert scoring.within(rows, "leaderboard", 1.05) == pytest.approx(1 / 3)
    assert "| a | seller-0 | 400.00 ± " in scoring.markdown([one])


def test_the_markets_of_the_score_are_those_with_an_index():
    labels = set(scoring.suite())
    assert {"linear", "season", "hundred segments", "three resources"} <= labels
    assert not labels & {"linear box", "reference prices", "logit assortments", "low rank"}
    best = scoring.leaders()
    assert best["linear"][0] != "oracle" and 0 < best["linear"][1] < 1


@pytest.mark.parametrize("wrong", [{"seeds": 0}, {"updates": 0}, {"lanes": -1}, {"minutes": 0.0}, {"first_seed": -1}])
def test_bad_options(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        train_seller.Options(**wrong)

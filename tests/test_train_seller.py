"""Training and score of the seller: the mixture of markets, advantages, a run that resumes, ratios, and what is held out."""

import jax
import numpy as np
import pytest
import scipy.stats

import jaxprice
from experiments import train_seller
from experiments.seller import markets, mixture, priors, scoring, training
from jaxprice import invariants
from jaxprice.agents import demand_filter, seller_memory


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


def test_a_prior_is_that_of_planted_curves():
    rng = np.random.default_rng(4)
    mean, deviations = np.array([0.9, -1.1, 0.2, 0, 0, 0, 0, 0]), np.array([0.5, 0.3, 0.2, 0.05, 0, 0, 0, 0])
    places = np.linspace(0, 1, 12, dtype=np.float32)
    truth = mean + deviations * rng.normal(size=(3000, 8))
    phi = np.asarray(demand_filter.basis(places, np.zeros(0)), float)
    demand = scipy.stats.norm.cdf(truth @ phi.T)
    found, root = priors.of_prices(np.tile(places, (3000, 1)), demand)
    np.testing.assert_allclose(phi @ found, phi @ mean, atol=0.05)
    wanted = np.sqrt(np.einsum("pi,i,pi->p", phi, deviations**2, phi))
    np.testing.assert_allclose(np.sqrt(np.einsum("pi,ij,pj->p", phi, root.T @ root, phi)), wanted, rtol=0.15)


def test_effects_of_features_are_found():
    rng = np.random.default_rng(5)
    places = np.linspace(0, 1, 8, dtype=np.float32)
    contexts = rng.normal(size=(200, 30, 3)).astype(np.float32).clip(-3, 3)
    effects = np.array([0.4, -0.5])[:, None] + np.array([0.3, 0.1])[:, None] * rng.normal(size=(200, 2, 3))
    phi = np.asarray(jax.vmap(jax.vmap(lambda x: demand_filter.basis(places, x)))(contexts), float)
    truth = np.concatenate([np.tile([0.5, -0.5, 0, 0, 0, 0, 0, 0], (200, 1)), effects.reshape(200, -1)], axis=1)
    demand = scipy.stats.norm.cdf(np.einsum("nvpi,ni->nvp", phi, truth))
    *_, found = priors.of_features(places, contexts, demand)
    np.testing.assert_allclose(found, [[0.4, -0.5], [0.3, 0.1]], atol=0.08)


@pytest.fixture
def small(monkeypatch):
    """Training on one tiny market."""
    group = markets.Group(jaxprice.make("BernoulliBandit", num_arms=2)[0], 4, 8)
    for function in (training.advance, training.network):
        function.cache_clear()
    monkeypatch.setattr(markets, "groups", lambda: {"arms": group})
    monkeypatch.setattr(training, "CHUNK", 1)
    monkeypatch.setattr(priors, "fitted", seller_memory.plain_priors)
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

"""The study of the cost of privacy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxprice
from experiments.frame import study
from experiments.studies.private_loss import study as paper
from jaxprice import Policy, policies
from jaxprice.envs.market import Visit
from jaxprice.policies.personal.private_quadrisection import numbers, side_of
from jaxprice.types import Transition


@pytest.mark.parametrize("demand", [paper.PAPER, paper.POSITIVE])
def test_demand_noise_and_optima(demand):
    env, params = paper.market(demand)
    constant, *weights = demand
    for x1, x2, price in ((0.0, 0.0, 4.5), (0.3, 0.9, 2.0), (1.0, 1.0, 0.5)):
        visit = Visit(jnp.int32(0), jnp.float32([1, x1 / 3**0.5, x2 / 3**0.5]))
        wanted = constant + weights[0] * x1 + weights[1] * x2 - 0.2 * price
        assert float(env.mean_demand(jnp.float32(price), params, visit)) == pytest.approx(wanted, abs=1e-6)
    noise = jax.vmap(lambda key: env.draw(key, None, jnp.float32(0), params))(jax.random.split(jax.random.key(0), 4000))
    assert float(jnp.max(jnp.abs(noise))) <= 0.1
    assert float(jnp.std(noise)) == pytest.approx(0.1 / 3**0.5, rel=0.05)  # 1.1 % is the standard error
    x = np.random.default_rng(0).random((200_000, 2))
    level, prices = constant + x @ weights, np.linspace(0.5, 4.5, 81)
    best = np.clip(level / 0.4, 0.5, 4.5)
    assert paper.optimum(demand) == pytest.approx(np.mean(best * (level - 0.2 * best)), rel=5e-3)
    ends = [prices * (corner - 0.2 * prices) for corner in (constant - 0.1, sum(demand) + 0.1)]
    five = np.linspace(0.5, 4.5, 5)
    earned = np.mean(five * (level[:, None] - 0.2 * five)) / paper.optimum(demand)
    assert paper.unlearned(demand) == pytest.approx(100 * (1 - earned), abs=0.3)
    np.testing.assert_allclose(paper.revenues(demand), [min(0, ends[0].min()), ends[1].max()], atol=2e-3)


def test_the_printed_market_is_played_though_demand_is_negative():
    env, params = paper.market(paper.PAPER)
    out = jaxprice.simulate(env, policies.fixed_price(4.5), lanes=400, horizon=2, params=params)
    revenue = float(out["reward"].sel(time=2)[0]) / 2
    assert revenue == pytest.approx(4.5 * (0.4 + 0.6 - 0.2 * 4.5), abs=4 * 4.5 * 0.25 / 800**0.5)
    with pytest.raises(ValueError, match="finite"):
        jaxprice.simulate(env, policies.fixed_price(4.5), horizon=2, params=params.replace(alpha=params.alpha * np.nan))


def test_settings_are_those_of_the_paper():
    assert paper.revenues(paper.PAPER) == pytest.approx((-2.7, 3.6125))
    full = paper.PRESETS["full"]
    assert full.horizons == (500, 2500, 12500, 62500) and full.epsilons == (0.01, 0.1, 1.0, 10.0)
    log_t = np.log(2500)
    central, local = numbers("central", "experiment", 2500, 1 / 0.1), numbers("local", "experiment", 2500, 1 / 0.1)
    least = log_t**2 / 0.1
    np.testing.assert_allclose(central, [0.001 * log_t**0.5, 0.01 * least, least], rtol=1e-5)
    np.testing.assert_allclose([local[0], local[2]], [0.001 * log_t**0.5, 0.1 * log_t], rtol=1e-5)
    assert side_of("central", None, 62500, None, 2) ** 2 in (36, 49)  # ceil(62500^(1/3)) = 40


def test_raw_revenue_and_the_next_square_of_cubes():
    """J = ceil(T^(1/3)) = 8, 14, 24, 40 central, ceil((e sqrt T)^(1/2)) local; ceil(sqrt(J)) parts of a feature."""
    horizons = (500, 2500, 12500, 62500)
    assert [paper.cubes_of("central", None, T, raw=True) for T in horizons] == [9, 16, 25, 49]
    assert [paper.cubes_of("local", 0.1, T, raw=True) for T in horizons] == [4, 4, 4, 9]
    assert [paper.cubes_of("local", 10.0, T, raw=True) for T in horizons] == [16, 25, 36, 64]
    sizes = paper.Sizes((500,), (0.01, 0.1), 4, 2)
    assert list(paper.horizons_of(sizes, "central", 0.01, "raw")) == list(horizons)
    assert paper.horizons_of(sizes, "central", 0.01, "scaled") == paper.horizons_of(sizes, "local", 0.01, "raw") == (500,)
    named = paper.series(sizes)
    assert named["raw revenue, local, epsilon = 0.1"] == ("cubes", paper.PAPER, "local", 0.1, "raw")
    assert named["local, epsilon = 0.1"][-1] == "scaled" and named["no noise, losses cut"][-1] == "cut"


SEEN = {"raw": (-2.0, 3.0), "scaled": (0.7 / 6.3125, 5.7 / 6.3125), "cut": (0.0, 3 / 3.6125)}


@pytest.mark.parametrize(("told", "seen"), SEEN.items())
def test_what_tests_see_of_revenue(told, seen, monkeypatch):
    """The sums of one cube after a revenue of -2 and after one of 3."""
    caught = []

    def rollout(env, policy, *, seed, lanes, horizon, params):
        problem = env.problem(params)
        for reward in (-2.0, 3.0):
            state = policy.init(jax.random.key(0), problem)
            visit = jnp.float32([1.0, 0.1, 0.1])
            sale = Transition(visit, jnp.float32(1), jnp.float32(1), jnp.float32(1), jnp.float32(reward), visit)
            caught.append(policy.update(jax.random.key(0), state, sale).sums[:, 0].sum())
        return {"regret": jnp.ones(lanes), "optimal": jnp.stack(caught[-2:])}

    monkeypatch.setattr(paper.jaxprice, "rollout", rollout)
    paper.compiled.cache_clear()
    sizes = paper.Sizes((500,), (1.0,), 2, 2)
    loss = paper.play(sizes, 0, "cubes", paper.PAPER, "central", None, told)["loss"]
    paper.compiled.cache_clear()
    np.testing.assert_allclose(100 / loss[0], seen, atol=1e-5)


def test_losses_are_told():
    seen = Policy(lambda key, problem: 0.0, lambda key, state, observation: 0.5, lambda key, state, t: t.reward)
    transition = Transition(None, 0.5, 0.5, 1.0, -2.0, None)
    assert paper.told_losses(seen, -2.7).update(None, 0.0, transition) == pytest.approx(0.7)


def test_rows_tell_percentages_and_exponents():
    sizes = paper.Sizes((500, 2500, 12500), (0.1, 1.0), 6, 3)
    results = {}
    for name, (_, _, trust, epsilon, told) in paper.series(sizes).items():
        horizons = paper.horizons_of(sizes, trust, epsilon, told)
        results[name] = {"loss": 40 * np.array(horizons)[:, None] ** -0.25 * np.linspace(0.9, 1.1, 6)}
    rows = {row.cell: row for row in paper.rows(sizes, results)}
    compared = {name: row.published for name, row in rows.items() if row.kind}
    assert compared == {
        f"raw revenue, local, epsilon = 0.1, T = {T}": number
        for T, number in zip((500, 2500, 12500, 62500), (22.89, 17.66, 15.95, 14.80), strict=True)
    }
    last = rows["raw revenue, local, epsilon = 0.1, T = 62500"]
    assert last.kind == "printed" and last.published_se == pytest.approx(last.se * (6 / 30) ** 0.5)
    assert all(study.columns(row) for row in rows.values())
    assert rows["local, epsilon = 1: exponent of T"].ours == pytest.approx(0.75)
    assert rows["no noise, T = 2500"].ours == pytest.approx(40 * 2500**-0.25)
    assert rows["optimum of a period, closed form"].ours == pytest.approx(1.325)


@pytest.mark.slow
def test_more_privacy_costs_more():
    """T = 500 and 2500, 60 lanes: losses of some percent with standard errors of a few tenths; gaps are asked for beyond
    three standard errors."""
    sizes = paper.Sizes((500, 2500), (0.1, 10.0), 60, 5)
    made, loss = paper.series(sizes), {}
    for name in ("no noise", "central, epsilon = 0.1", "local, epsilon = 0.1", "no noise, losses cut"):
        loss[name] = paper.play(sizes, 0, *made[name])["loss"]
    mean = {name: values.mean(axis=1) for name, values in loss.items()}
    error = {name: values.std(axis=1, ddof=1) / 60**0.5 for name, values in loss.items()}
    for name in mean:
        if name != "no noise":
            gap, width = mean[name][1] - mean["no noise"][1], np.hypot(error[name][1], error["no noise"][1])
            assert gap > 3 * width, name
    assert mean["no noise"][1] < mean["no noise"][0]

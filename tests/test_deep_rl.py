"""Exact shares of sellers in `deep_rl` against simulation, tabular and deep learners on a chain, tables and a tiny run."""

import csv
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxprice
from experiments.deep_rl import chains, heuristics, learners, markets, study, tables, tabular, workers
from jaxprice.agents import courses, episodes, ppo, sac, worlds
from jaxprice.types import Policy

LANES = 1500


def odd(market):
    """A seller that is a function of time and state, as a `Policy` and as `act`: it changes its action with both."""
    horizon, actions, any_price = market.chain.horizon, market.actions, market.any_price
    problem = market.env.problem(market.params)

    def choose(time, seen):
        place = time // 3 + jnp.round(7 * jnp.sum(seen)).astype(jnp.int32)
        if any_price:
            return problem.low + (problem.high - problem.low) * (place % 5) / 4
        return (place % actions).astype(jnp.int32)

    def act(key, state, observation):
        del key, state
        time = jnp.round(observation[0] * horizon).astype(jnp.int32)
        return choose(time, observation[1:] if market.name == "NetworkRevenue" else observation[3:])

    policy = Policy(lambda key, problem: jnp.int32(0), act, lambda key, state, transition: state)
    return policy, lambda time, state, observation: choose(time, observation)


QUICK = [("FiniteInventory", False), ("NetworkRevenue", False), ("ReferencePrice", True), ("Replenishment", False)]
EVERY = [(name, False) for name in markets.NAMES] + [(name, True) for name in markets.INTERVALS]


@pytest.mark.parametrize(
    ("name", "any_price"), [case if case in QUICK else pytest.param(*case, marks=pytest.mark.slow) for case in EVERY]
)
def test_exact_shares_are_those_of_simulation(name, any_price):
    """A seller that depends on everything it may see: within four standard errors, from regret or from reward."""
    market = markets.market(name, any_price)
    policy, act = odd(market)
    share, actions, _ = jax.jit(lambda: chains.share(market.chain, act))()
    settings = {"lanes": LANES, "horizon": market.chain.horizon, "params": market.params}
    last = jaxprice.simulate(market.env, policy, **settings).isel(time=-1, policy=0)
    if name == "NetworkRevenue":
        found, error = last["reward"] / market.chain.optimum, last["reward_se"] / market.chain.optimum
    else:
        found, error = 1 - last["regret"] / market.chain.optimum, last["regret_se"] / market.chain.optimum
    assert share < 0.97 and np.unique(actions).size > 2
    assert abs(float(share) - float(found)) < 4 * float(error) + 2e-5, (float(share), float(found), float(error))


@pytest.mark.parametrize("name", ["FiniteInventory", pytest.param("NetworkRevenue", marks=pytest.mark.slow)])
def test_the_optimum_is_the_best_and_is_what_it_earns(name):
    """The chain's own dynamic programme, backwards over the same outcomes, ends at the optimum of the market."""
    chain, actions = markets.market(name).chain, markets.market(name).actions
    count = jax.tree.leaves(chain.states(0))[0].shape[0]
    index, every = jnp.arange(count), jnp.arange(actions)

    def back(values, time):
        def of(state, i, action):
            places, chances = chain.outcomes(state, i, action)
            return chain.regret(state, i, action) + jnp.sum(chances * values[places])

        losses = jax.vmap(lambda state, i: jax.vmap(lambda a: of(state, i, a))(every))(chain.states(time), index)
        return losses.min(axis=1), None

    losses, _ = jax.jit(lambda: jax.lax.scan(back, jnp.zeros(count), jnp.arange(chain.horizon)[::-1]))()
    np.testing.assert_allclose(losses, 0, atol=2e-5 * chain.optimum)  # some seller loses nothing, and none earns more


def untrained(market, network, learner=ppo.PPO()):  # noqa: B008
    """Two runs of a learner before their first update, as `shares_of_runs` takes them."""
    world = worlds.make(market.env, market.params)
    course = courses.course_of(world, learner, 2, 2, (network, {"size": 8}), market.actions or 1)
    weights = [course.begin(jnp.uint32(seed)).weights for seed in (4, 5)]
    weights = jax.tree.map(lambda *x: jnp.stack(x) + 0.3 * jnp.arange(2.0).reshape(2, *[1] * x[0].ndim), *weights)
    return episodes.Trained(course, weights, {"held_out": np.zeros((1, 2))}, {})


@pytest.mark.parametrize("any_price", [False, True])
def test_policies_of_agents_earn_their_exact_share(any_price):
    market = markets.market("FiniteInventory", any_price)
    trained = untrained(market, "gaussian", sac.SAC(rows=4)) if any_price else untrained(market, "mlp")
    shares, actions, _ = chains.shares_of_runs(market.chain, trained)
    assert actions.shape == (2, 100, 26) and np.unique(actions).size > 1
    settings = {"lanes": LANES, "horizon": 100, "params": market.params}
    last = jaxprice.simulate(market.env, trained.policy(1), **settings).isel(time=-1, policy=0)
    found, error = 1 - last["regret"] / market.chain.optimum, last["regret_se"] / market.chain.optimum
    assert abs(shares[1] - float(found)) < 4 * float(error) + 1e-5


def test_networks_with_memory_have_no_exact_share():
    market = markets.market("ReactiveRival")
    with pytest.raises(ValueError, match="network without memory"):
        chains.shares_of_runs(market.chain, untrained(market, "gru"))


@pytest.mark.parametrize("name", ["q_learning", "sarsa", pytest.param("expected_sarsa", marks=pytest.mark.slow)])
def test_tables_learn_a_season(name):
    """A season of two units in four periods at two prices, whose optimum is known: close to it after enough seasons."""
    env, params = jaxprice.make("FiniteInventory", demand=[0.9, 0.4], prices=[1.0, 2.0], horizon=4, stock=2)
    first = env.reset_env(jax.random.key(0), params)[1]
    units = jnp.arange(3)

    def states(time):
        every = jax.tree.map(lambda x: jnp.broadcast_to(x, units.shape), first)
        return every.replace(time=jnp.full(units.shape, time, jnp.int32), stock=units)

    def outcomes(state, index, action):
        sale = env.offer(state, action, params)[0]
        return jnp.stack([index, jnp.maximum(index - 1, 0)]), jnp.stack([1 - sale, sale])

    chain = chains.Chain(
        env, params, 4, float(env.season_value(params)), lambda s, i: (s.stock / 2)[None], states, outcomes, start=2
    )
    table = markets.cells((5, *markets.whole(5)), None, None, (3, *markets.whole(3)))
    market = markets.Market("FiniteInventory", chain, table)
    learned = tabular.train(market, name, 20_000, range(4))
    shares = tabular.shares_of_runs(market, learned)[0]
    assert np.median(shares) > 0.995 and shares.min() > 0.97 and shares.max() <= 1 + 1e-6
    fixed = [float(chains.share(chain, chains.always(action))[0]) for action in (0, 1)]
    assert max(fixed) < 0.97
    one = jax.tree.map(lambda x: x[0], learned.state.states)
    ends = [int(one.of(jnp.array([1.0, 0.0, 0.0, left]))) for left in (0.0, 0.5, 1.0)]
    shown = 0.0 if name != "sarsa" else 0.2  # sarsa learns there until the end of the season
    assert np.all(np.abs(np.asarray(learned.state.table)[:, ends]) <= shown) and np.abs(learned.state.table).max() > 1


def test_known_sellers_of_a_market():
    market = markets.market("Replenishment")
    found = heuristics.exact(market)
    assert found["optimum"] == 1.0 and max(found.values()) == 1.0
    assert found["base stock without the fixed cost"] <= found["best fixed action"]  # order up to a level at one price
    for name in ("FiniteInventory", "NetworkRevenue", "ReactiveRival"):
        market = markets.market(name)
        for policy in heuristics.sellers(market).values():
            jax.eval_shape(policy.init, jax.random.key(0), market.env.problem(market.params))


def test_recipes_are_known_and_ablations_take_parts_away():
    known = learners.recipes()
    assert {"DQN", "PQN", "PPO", "Q-learning", "SARSA", "expected SARSA"} <= set(known)
    assert not learners.plays(learners.Recipe("sac", any_price=True), "Storefront")
    whole, *without, none = learners.ablations().values()
    assert whole == known["DQN"]
    for part, recipe in zip(learners.PARTS, without, strict=True):
        assert recipe.options == whole.options | {part: learners.PARTS[part]}
    assert learners.PARTS.items() <= none.options.items()


def test_rows_have_interquartile_means_and_intervals(tmp_path):
    cell = {"share": np.array([0.5, 0.97, 0.99, 1.0]), "steps": 10, "seconds": 1.0, "cpu_seconds": 2.0, "curve_share": 0}
    other = cell | {"share": np.array([0.9, 0.9, 0.9, 0.9])}
    learned = {"A": {"x": cell, "y": other}, "B": {"x": other, "y": cell}, "C": {"x": cell}}
    without = {name: {"name": np.array(["optimum"]), "share": np.ones(1), "se": np.zeros(1)} for name in ("x", "y")}
    rows = tables.rows_of(("x", "y"), without, learned)
    found = {(row["seller"], row["market"]): row for row in rows}
    assert found["A", "x"]["share"] == "0.98000" and found["A", "x"]["within_2"] == "0.50000"
    assert found["A", "y"]["low"] == found["A", "y"]["high"] == "0.90000"
    assert found["A", "all"]["share"] == f"{np.mean([0.9, 0.9, 0.9, 0.97]):.5f}"  # the middle four of eight
    assert ("C", "all") not in found and float(found["A", "x"]["low"]) < 0.98
    better = tables.improvements(("x", "y"), learned)
    assert {(row["seller"], row["over"]): row["value"] for row in better}["A", "B"] == "0.50000"
    page = tables.markdown(rows, ("x", "y"))
    assert "| optimum | no training | 100.0 | 100.0 | - |" in page and page.index("| A |") < page.index("| optimum |")
    tables.write(tmp_path / "table.csv", rows)
    with (tmp_path / "table.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(rows)


@pytest.mark.parametrize("learner", ["Q-learning", pytest.param("PQN", marks=pytest.mark.slow)])
def test_a_tiny_run_resumes(learner, tmp_path, monkeypatch, capsys):
    """Two runs of a learner on one market: files, and nothing is trained again."""
    sizes = study.Sizes(400, 2, 64, ("ReactiveRival",), ("ReactiveRival",))
    monkeypatch.setitem(study.PRESETS, "smoke", sizes)
    monkeypatch.setattr(study.figures, "sellers", lambda learned, path: None)  # needs four markets
    options = study.Options(preset="smoke", only=(learner,), out=tmp_path / "out")
    rows = study.main(options)
    found = {(row["seller"], row["market"]) for row in rows}
    assert {(learner, "ReactiveRival"), (learner, "all"), ("optimum", "ReactiveRival")} <= found
    names = ("table.csv", "table.md", "curves.png", "profiles.png", "manifest.json")
    assert all((tmp_path / "out" / name).is_file() for name in names)
    saved = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "cells").glob("*.npz")}
    assert study.main(options) == rows and len(saved) == 2
    assert saved == {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "cells").glob("*.npz")}
    with pytest.raises(ValueError, match="unknown learner 'DQM'; did you mean 'DQN'"):
        study.main(study.Options(only=("DQM",)))
    capsys.readouterr()


@pytest.mark.slow
def test_cells_of_several_processes(tmp_path):
    """Each is made once, whoever makes it, and is found by a run in one process."""
    jobs = {f"cell {k}": functools.partial(dict, share=np.full(2, k)) for k in range(3)}
    for processes in (2, 1):
        found = dict(workers.computed(tmp_path, jobs, processes))
        assert {title: arrays["share"].tolist() for title, (arrays, _) in found.items()} == {
            f"cell {k}": [k, k] for k in range(3)
        }
        assert len(list(tmp_path.glob("*.npz"))) == 3
    failing = {"a": functools.partial(dict, share=np.zeros(1)), "b": functools.partial(int, "none")}
    with pytest.raises(ValueError, match="invalid literal"):
        list(workers.computed(tmp_path, failing, 2))

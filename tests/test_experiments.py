"""Rows of the experiments without tests of their own: each can be made and traced, without playing it."""

import csv
import dataclasses
import functools

import jax
import numpy as np
import pytest
import xarray

import jaxprice
from experiments import throughput, train_agents
from experiments.meta_pricing import study as meta_pricing
from experiments.meta_pricing import tables as meta_tables
from experiments.meta_pricing import tasks as meta_tasks
from experiments.regret_growth import rows as regret_growth
from jaxprice import agents, policies
from jaxprice.agents import lifetimes

GROWTH = regret_growth.rows(1600)


@functools.cache
def told(market):
    """What a seller is told in a market given as its `repr`."""
    kind, options = next(row for _, row, _ in GROWTH.values() if repr(row) == market)
    env, params = jaxprice.make(kind, **options)
    return env.problem(params)


@pytest.mark.parametrize("name", GROWTH)
def test_rows_of_growth_fit_their_markets(name):
    policy, row, _ = GROWTH[name]
    jax.eval_shape(policy.init, jax.random.key(0), told(repr(row)))
    assert policies.describe(policy).startswith(name.split(",")[0])


def test_seasons_of_three_lengths_are_rows():
    assert set(regret_growth.ACROSS) <= set(GROWTH)


def test_every_policy_has_a_stage_in_the_throughput():
    options = throughput.Options()
    rows = throughput.policy_rows()
    assert sorted(rows) == sorted(set(policies.list()) - {"oracle"})
    for policy, reference in rows.values():
        throughput.stage(policy, options)
        assert reference is None or callable(reference)


@pytest.mark.parametrize("name", [name for name, (_, reference) in throughput.policy_rows().items() if reference])
def test_numpy_policies_play(name):
    """A few periods of each reference earn or lose something."""
    reference = throughput.policy_rows()[name][1]
    assert reference(4, 3, 8, 0).run([0.2, 0.4, 0.6, 0.8] if hasattr(reference, "largest") else 0.5) > 0


def numbers_of(network, play):
    """How many weights a network has, once it has seen the market."""
    weights = jax.eval_shape(lambda: agents.networks.initial(network, jax.random.key(0), *play.example()))
    return sum(leaf.size for leaf in jax.tree.leaves(weights))


@pytest.mark.parametrize("name", train_agents.recipes())
def test_recipes_of_agents_fit_their_markets(name):
    recipe = train_agents.recipes()[name]
    play = lifetimes.Play(recipe.env, recipe.built, recipe.horizon)
    assert numbers_of(recipe.built, play) * 4 < 1_000_000
    assert recipe.deploy == "argmax" and recipe.hyper.check() is recipe.hyper


def test_meta_pricing_adds_both_errors():
    runs = np.array([[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]])  # two seeds, three markets
    mean, error = meta_tables.summary(runs)
    assert mean == 3.0
    assert error == pytest.approx((1 / 3 + 2 / 2) ** 0.5)  # markets: variance 1 over 3; seeds: variance 2 over 2
    assert meta_tables.summary(runs[:1])[1] == pytest.approx((1 / 3) ** 0.5)
    # degrees of freedom by hand: (1/3 + 1)^2 / ((1/3)^2 / 2 + 1^2 / 1) = 1.68; of one seed those of its markets
    assert meta_tables.effective(runs) == 2 and meta_tables.effective(runs[:1]) == 3
    assert meta_tables.effective(np.random.default_rng(0).normal(size=(3, 4000)) + np.arange(3)[:, None]) == 3
    assert meta_tables.reach({"effective": "3"}) == pytest.approx(4.302653) and meta_tables.reach({"effective": 30}) < 1.97


def test_rows_of_meta_pricing(tmp_path):
    """Percent of what the oracle earns, paired gaps over seeds, products of a sequence, files and back."""
    rng = np.random.default_rng(0)
    regret, optimal = rng.random((1, 200, 6)), 1 + rng.random((1, 200, 6))
    traces = {"trace_regret": regret, "trace_optimal": optimal}
    out = xarray.Dataset({name: (("policy", "time", "lane"), x) for name, x in traces.items()})
    lost = meta_tables.percent(out, (5, 200))
    np.testing.assert_allclose(lost[1], 100 * regret[0].sum(axis=0) / optimal[0].sum(axis=0).mean())
    apart = meta_tables.percent(out, (5, 100), products=2)
    np.testing.assert_allclose(apart[1, 0], 100 * regret[0, 100:105].sum(axis=0) / optimal[0, 100:105].sum(axis=0).mean())
    rows = meta_tables.rows_of("logit", "logit", {"first": lost, "agent/0": lost + 1, "agent/1": lost + 3})
    seen = [(row["seller"], row["sales"], row["seeds"]) for row in rows[:3]]
    assert seen == [("first", 5, 1), ("first", 10, 1), ("agent", 5, 2)]
    assert (rows[2]["gap_percent"], rows[2]["gap_se"]) == ("2.0000", "1.0000")
    meta_tables.write(tmp_path / "rows" / "b.csv", rows)
    meta_tables.write(tmp_path / "rows" / "a.csv", meta_tables.rows_of("beta", "beta, in sequence", {"first": apart}))
    read = meta_tables.gather(tmp_path / "rows", ["logit", "beta"])
    assert read[: len(rows)] == [{key: str(value) for key, value in row.items()} for row in rows]
    assert {row["market"] for row in read[len(rows) :]} == {"beta, product 1 of 2", "beta, product 2 of 2"}


@pytest.mark.parametrize("name", meta_pricing.SHIPPED)
def test_agents_of_the_package_are_those_of_the_recipes(name):
    label, title, seed = meta_pricing.SHIPPED[name].split("-")
    agent, recipe = agents.load_agent(name), meta_pricing.AGENTS[title]
    about = {"market": label, "name": title, "seed": int(seed), "updates": recipe.updates, "lanes": recipe.lanes}
    about |= {"hyper": {key: float(value) for key, value in vars(recipe.hyper).items()}}
    assert meta_pricing.made_so(agent, recipe, agents.Inputs(grid=True), about)


@pytest.mark.parametrize("label", meta_tasks.TASKS)
def test_networks_of_meta_pricing_fit_the_markets(label):
    env = meta_tasks.market(label)
    for where in meta_tasks.TASKS[label]:
        assert meta_tasks.market(where).action_space() == env.action_space()
    for recipe in (*meta_pricing.AGENTS.values(), *meta_pricing.ABLATIONS.values()):
        inputs = agents.Inputs(grid=True, **recipe.inputs)
        network = agents.networks.make(recipe.network, actions=env.action_space().n, inputs=inputs, **recipe.settings)
        play = lifetimes.Play(env, network, meta_tables.HORIZON, return_reward=recipe.return_reward)
        assert numbers_of(network, play) * 4 < 1_000_000


def test_a_run_of_meta_pricing_reads_back_what_it_trained_and_played(tmp_path, monkeypatch):
    """A tiny run: its rows; nothing is trained or played again; another recipe is."""
    monkeypatch.setattr(meta_tasks, "classics", lambda label: {"random": policies.random_price()})
    recipe = meta_pricing.Recipe("stats", {"size": 4}, 200, meta_pricing.STATS, lanes=8)
    monkeypatch.setattr(meta_pricing, "AGENTS", {"stats": recipe})
    calls = []

    def counted(name, function):
        def call(*args, **kwargs):
            calls.append(name)
            return function(*args, **kwargs)

        return call

    monkeypatch.setattr(meta_pricing.rl2, "train", counted("train", meta_pricing.rl2.train))
    monkeypatch.setattr(meta_tasks.Stage, "play", counted("play", meta_tasks.Stage.play))
    options = meta_pricing.Options(preset="smoke", only=("calibrated",), out=tmp_path / "out")
    meta_pricing.main(options)
    first = (tmp_path / "out" / "table.csv").read_text()
    assert sorted(calls) == ["play"] * 4 + ["train"] and (tmp_path / "out" / "regret.png").stat().st_size > 10_000
    meta_pricing.main(options)
    assert sorted(calls) == ["play"] * 4 + ["train"] and (tmp_path / "out" / "table.csv").read_text() == first
    rows = list(csv.DictReader(first.splitlines()))
    assert [row["seller"] for row in rows[::5]] == ["random", "stats"] * 2
    assert {row["market"] for row in rows} == set(meta_tasks.TASKS["calibrated"])
    page = (tmp_path / "out" / "table.md").read_text()
    assert page.count("| seller |") == 2 and f"| random | {float(rows[0]['regret_percent']):.1f} |" in page
    monkeypatch.setattr(meta_pricing, "AGENTS", {"stats": dataclasses.replace(recipe, updates=400)})
    meta_pricing.main(options)
    assert sorted(calls) == ["play"] * 6 + ["train"] * 2


def test_products_of_a_sequence_are_sold_afresh():
    """One price loses the same share at all times of a product, and not the same of all products."""
    stage = meta_tasks.in_sequence("hierarchical", 16)
    lost = stage.play(policies.fixed_price())
    assert lost.shape == (meta_tasks.PRODUCTS, len(meta_tables.SALES), 16)
    assert np.ptp(lost[:, 0]) > 1
    np.testing.assert_allclose(lost[:, 0], lost[:, -1], rtol=1e-4, atol=1e-4)
    greedy = stage.play(policies.explore_then_commit(share=0.1))
    assert np.all(greedy[:, 1] > 0)  # every product is explored anew: ten prices in its first ten sales
    assert list(meta_tasks.learners("hierarchical")) == ["hierarchical Thompson", "Meta-Thompson"]

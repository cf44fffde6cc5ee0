"""Files of agents: damaged, hostile or foreign files are refused with a ValueError that names the file."""

import json
import os
import tracemalloc
import zipfile
from pathlib import Path

import jax
import numpy as np
import pytest

import jaxprice
import jaxprice.experiment
import jaxprice.fingerprint
from jaxprice import agents
from jaxprice.agents import fitting, lifetimes
from jaxprice.envs.bernoulli_bandit import BernoulliBandit

BANDIT = BernoulliBandit(num_arms=3)
SIZES = {"gru": {"size": 4}, "min_gru": {"size": 4, "layers": 1}, "transformer": {"size": 4, "heads": 2, "longest": 5}}


def made(name="gru", env=BANDIT, **changes):
    """A small agent with weights as they start."""
    options = SIZES.get(name, {"size": 4})
    net = agents.networks.make(name, actions=env.action_space().n, inputs=changes.get("inputs"), **options)
    weights = agents.networks.initial(net, jax.random.key(3), *lifetimes.Play(env, net, 5).example())
    return agents.Agent(**({"name": name, "actions": 3, "weights": weights, "options": options} | changes))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The file of an agent: its card, and its weights by name."""
    path = tmp_path_factory.mktemp("agent") / "whole.npz"
    agents.save(path, made(told={"horizon": 5}))
    with np.load(path) as file:
        flat = {key: file[key] for key in file.files if key != "card"}
        return path.read_bytes(), json.loads(str(file["card"])), flat


def refused(path, *words):
    with pytest.raises(ValueError) as raised:
        agents.load(path)
    assert type(raised.value) is ValueError
    for word in words or [Path(path).name[-40:]]:
        assert word in str(raised.value), (word, str(raised.value))


def written(folder, card, flat):
    """A file made by hand."""
    np.savez(folder / "made.npz", card=card if isinstance(card, np.ndarray) else json.dumps(card), **flat)
    return folder / "made.npz"


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_cut_file(whole, tmp_path, share):
    (tmp_path / "cut.npz").write_bytes(whole[0][: int(share * len(whole[0]))])
    refused(tmp_path / "cut.npz")


def test_flipped_bytes_never_load_as_other_numbers(whole, tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "flipped.npz"
    loaded = 0
    for place in rng.integers(0, len(whole[0]), 60):
        damaged = bytearray(whole[0])
        damaged[place] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            agent = agents.load_agent(path)
        except ValueError as error:
            assert "flipped.npz" in str(error)
            continue
        loaded += 1  # a byte that tells nothing, such as a date
        assert agent.card == whole[1]
        for name, weight in fitting.flat(agent.weights).items():
            np.testing.assert_array_equal(weight, whole[2][name])
    assert loaded < 40


@pytest.mark.parametrize("kind", ["random", "text", "npy", "pickle", "other zip", "other npz"])
def test_a_file_that_is_something_else(tmp_path, kind):
    path = tmp_path / "other.npz"
    if kind == "npy":
        with path.open("wb") as file:
            np.save(file, np.arange(3.0))
    elif kind == "pickle":
        np.savez(path, card=np.array({"a": 1}, dtype=object))
    elif kind == "other zip":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("readme.txt", "hello")
    elif kind == "other npz":
        np.savez(path, x=1)
    else:
        path.write_bytes(np.random.default_rng(1).bytes(3000) if kind == "random" else b"{}")
    refused(path)


def test_a_path_that_is_no_file_of_an_agent(whole, tmp_path):
    (tmp_path / "folder.npz").mkdir()
    (tmp_path / "renamed.bin").write_bytes(whole[0])
    refused(tmp_path, "an agent is one .npz file")
    for path in (tmp_path / "folder.npz", tmp_path / "none.npz", tmp_path / ("long" * 200 + ".npz")):
        refused(path)
    refused(tmp_path / "renamed.bin", ".npz")
    refused("long" * 5000, "unknown agent")
    refused("", "agent")
    refused("nul\0.npz", "agent")
    for path in (None, 5, b"bandit_rl2", ["bandit_rl2"], np.zeros(3)):
        refused(path, "path must be")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.npz")
        refused(tmp_path / "pipe.npz", "not a file")


@pytest.mark.parametrize("version", [0, 2, 1.0, True, "1", None, "missing"])
def test_another_version(whole, tmp_path, version):
    card = whole[1] | {"version": version}
    if version == "missing":
        del card["version"]
    refused(written(tmp_path, card, whole[2]), "is not an agent of version 1", "version")
    assert whole[1]["version"] == 1


@pytest.mark.parametrize(
    "change",
    [
        *({key: "missing"} for key in ("network", "actions", "options", "inputs", "deploy", "told")),
        {"more": 1},
        {"network": "gruu"},
        {"network": None},
        {"network": "lstm"},
        {"actions": 4},
        {"actions": -1},
        {"actions": 3.0},
        {"actions": 10**30},
        {"actions": "3"},
        {"options": []},
        {"options": {"size": 5}},
        {"options": {"size": 10**9}},
        {"options": {"size": 4, "layers": 2}},
        {"options": {"width": 4}},
        {"deploy": "always"},
        {"inputs": {"smell": True}},
        {"inputs": {"action": 1}},
        {"inputs": {"grid": True}},
        {"inputs": None},
        {"told": "much"},
    ],
    ids=str,
)
def test_a_card_that_tells_of_no_network_or_of_another(whole, tmp_path, change):
    card = whole[1] | change
    refused(written(tmp_path, {key: value for key, value in card.items() if value != "missing"}, whole[2]))


@pytest.mark.parametrize("card", ["no JSON", "[1]", "[" * 10**5, [1, 2], b"{}"])
def test_a_card_that_is_no_json(whole, tmp_path, card):
    refused(written(tmp_path, np.array(card), whole[2]))


@pytest.mark.parametrize(
    "kind", ["complex", "text", "int", "bool", "long double", "shape", "rank", "extra", "missing", "objects"]
)
def test_weights_of_another_kind(whole, tmp_path, kind):
    flat, name = dict(whole[2]), "params/core/into/kernel"
    if kind in ("extra", "missing"):
        if kind == "missing":
            del flat[name]
        else:
            flat["params/core/more/kernel"] = flat[name]
    else:
        types = {"complex": complex, "text": str, "int": int, "bool": bool, "long double": np.longdouble, "objects": object}
        shapes = {"shape": flat[name][:, :-1], "rank": flat[name].ravel()}
        flat[name] = shapes[kind] if kind in shapes else flat[name].astype(types[kind])
    if kind == "long double" and np.longdouble(0).itemsize <= 8:
        pytest.skip("no wider numbers here")
    refused(written(tmp_path, whole[1], flat))


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf, 1e300])
def test_weights_that_are_not_finite(whole, tmp_path, number):
    flat = {name: weight.astype(float) for name, weight in whole[2].items()}
    flat["params/policy/bias"][1] = number
    refused(written(tmp_path, whole[1], flat), "params/policy/bias", "must be finite, but 1 of 3 are not")
    agent = made(weights=fitting.nested(flat))
    for use in (agent.policy, lambda: agents.save(tmp_path / "again.npz", agent)):
        with pytest.raises(ValueError, match="must be finite"):
            use()


def test_a_bomb_is_not_unpacked(whole, tmp_path):
    """Zeros that compress a thousandfold: in a weight, in one more array, in the card, and as weights of a wide network."""
    names, big = ("params/core/into/kernel", "more", "card"), np.zeros((1, 10**7), np.int32)
    for name in names:
        arrays = whole[2] | {"card": np.array(json.dumps(whole[1]))} | {name: big}
        np.savez_compressed(tmp_path / "bomb.npz", **arrays)
        assert (tmp_path / "bomb.npz").stat().st_size < 10**6
        tracemalloc.start()
        refused(tmp_path / "bomb.npz")
        assert tracemalloc.get_traced_memory()[1] < 2**23
        tracemalloc.stop()
    card = whole[1] | {"options": {"size": 2000}}
    example = lifetimes.Play(BANDIT, made().network, 5).example()
    wide = fitting.shapes(agents.networks.make("gru", actions=3, size=2000), *example)
    zeros = {name: np.zeros(x.shape, np.float32) for name, x in wide.items()}
    np.savez_compressed(tmp_path / "wide.npz", card=json.dumps(card), **zeros)
    refused(tmp_path / "wide.npz", "expands to")


def test_a_directory_that_lies(whole, tmp_path):
    """Two entries of one name, and an entry that tells of another size than its header."""
    path = tmp_path / "lies.npz"
    path.write_bytes(whole[0])
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("card.npy", file.read("card.npy"))
    refused(path, "names of their own")
    short = b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '<f4', 'fortran_order': False, 'shape': (10**9,), }".ljust(117) + b"\n"
    path = written(tmp_path, whole[1], whole[2])
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("params/core/more/kernel.npy", short)
    refused(path)


@pytest.mark.parametrize("name", agents.networks.NAMES)
def test_what_is_saved_loads_whatever_the_market_shows(tmp_path, name):
    """The length of the observation is found by itself, with and without contexts; other types of numbers are converted."""
    contexts, _ = jaxprice.make("GLMDemand", dimension=3, num_prices=3)
    for env in (BANDIT, contexts):
        agent = made(name, env, inputs=agents.Inputs(past=env is contexts))
        double = jax.tree.map(lambda x: np.asarray(x, float), agent.weights)
        agents.save(tmp_path / "one.npz", made(name, env, inputs=agent.inputs, weights=double))
        back = agents.load_agent(tmp_path / "one.npz")
        assert back.card == agent.card
        for a, b in zip(jax.tree.leaves(agent.weights), jax.tree.leaves(back.weights), strict=True):
            np.testing.assert_array_equal(a, b)
            assert b.dtype == np.float32


def test_a_description_tells_agents_apart(tmp_path):
    one, path = made(), tmp_path / "one.npz"
    agents.save(path, one)
    same = [one.policy(), agents.load(path), made(told={"score": 1}).policy()]
    other = jax.tree.map(lambda x: x + 1e-6, one.weights)
    others = [made(weights=other), made(deploy="sample"), made(inputs=agents.Inputs(grid=False, past=True)), made("lstm")]
    told = [jaxprice.policies.describe(policy) for policy in (*same, *(agent.policy() for agent in others))]
    assert len(set(told[:3])) == 1 and len(set(told)) == 5


def test_an_experiment_takes_an_agent_and_finds_its_cell_again(tmp_path):
    env, params = jaxprice.make("BernoulliBandit", num_arms=5)

    def run():
        grid = {"five": (env, params)}, {"agent": agents.load("bandit_rl2")}
        return jaxprice.experiment.Experiment(*grid, lanes=4, horizon=3).run(tmp_path)["five"]["lane_regret"].values

    def cells():
        return {path.name: path.stat().st_mtime_ns for path in (tmp_path / "cells").iterdir()}

    first, made_then = run(), cells()
    np.testing.assert_array_equal(run(), first)
    assert cells() == made_then and len(made_then) == 1  # nothing was played again
    walk, other = jaxprice.fingerprint.Walk(), made(weights=jax.tree.map(lambda x: x + 1e-6, made().weights)).policy()
    found = [walk.of(policy) for policy in (made().policy(), made().policy(), other)]
    assert found[0].digest == found[1].digest != found[2].digest and not any(one.unknown for one in found)


def test_refusals_of_save_and_of_what_is_no_agent(whole, tmp_path):
    one = made()
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.npz").mkdir()
    for path in (tmp_path / "one.bin", tmp_path / "file" / "one.npz", tmp_path / "folder.npz", None):
        with pytest.raises(ValueError, match="agent"):
            agents.save(path, one)
    with pytest.raises(ValueError, match=r"agent must be an agents\.Agent, got None"):
        agents.save(tmp_path / "one.npz", None)
    with pytest.raises(ValueError, match="plain data"):
        agents.save(tmp_path / "one.npz", made(told={"score": np.float32(1)}))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.npz"]
    few, more = {"params": {"policy": {"bias": np.zeros(3)}}}, one.weights | {"more": {"a": np.zeros(1)}}
    for weights in (None, [1], {}, few, more):
        with pytest.raises(ValueError, match="weights"):
            made(weights=weights).policy()
    changes = [{"name": "gruu"}, {"name": None}, {"actions": 0}, {"actions": 2.0}, {"options": None}, {"options": {3: 4}}]
    changes += [{"inputs": "all"}, {"inputs": None}, {"told": 1}, {"deploy": "first"}, {"options": {"size": "4"}}]
    for change in changes:
        with pytest.raises(ValueError):
            agents.Agent(**({"name": "gru", "actions": 3, "weights": None} | change))

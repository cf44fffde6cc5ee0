"""Checkpoints of training: found again by configuration and code; damaged ones are set aside, foreign folders refused."""

import dataclasses
import os
import re
import shutil
import warnings

import jax
import numpy as np
import optax
import pytest

from jaxprice import agents, policies
from jaxprice.agents import checkpoint, imitation, learning, lifetimes, rl2
from jaxprice.envs.bernoulli_bandit import BernoulliBandit

BANDIT = BernoulliBandit(num_arms=3)
STATE = {"a": np.random.default_rng(0).normal(size=500).astype(np.float32), "b": np.int32(7)}


def of(name):
    return lambda: {"name": name}


def network(env=BANDIT, name="none", **options):
    return agents.networks.make(name, actions=env.num_arms, **({"size": 4} | options))


def training(env=BANDIT, net=None, **changes):
    settings = {"lanes": changes.pop("lanes", 4), "minibatches": changes.pop("minibatches", 1)}
    return learning.Training(lifetimes.Play(env, net or network(), 3, **changes), **settings)


@dataclasses.dataclass(frozen=True)
class Adding:
    """A learner that adds to the weights, to be told apart by their sum."""

    much: float = 1.0

    def __call__(self, training, state, hyper, streams, lanes, share):
        return state.replace(weights=jax.tree.map(lambda w: w + self.much, state.weights)), {"loss": share}


def run(folder, learn=Adding(), env=BANDIT, updates=3, hyper=agents.Hyper(), seeds=0, **options):  # noqa: B008
    shared = {"chunk": 1, "held_out": 2, "devices": 1} | options
    return learning.run(training(env), learn, hyper, seeds, updates, folder=folder, **shared)


def same(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


@dataclasses.dataclass(frozen=True)
class Tilted(BernoulliBandit):
    """A market whose code changes while its name and fields do not."""

    def sample_params(self, key):
        return self.params_of(jax.random.uniform(key, (self.num_arms,)))


def test_a_finished_run_is_read_back_and_a_changed_one_trained_anew(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, curve = run(tmp_path)
        again, same_curve = run(tmp_path)
    same(first, again)
    np.testing.assert_array_equal(curve["loss"][:, 0], np.float32([0, 1 / 3, 2 / 3]))
    for name in curve:
        np.testing.assert_allclose(curve[name], same_curve[name])
    changes = {
        "updates": {"updates": 4},
        "clip, updates": {"hyper": agents.Hyper(clip=0.3)},
        "clip, seeds": {"seeds": 1},
        "learner, seeds": {"learn": Adding(2.0)},
        "env, learner": {"env": Tilted(num_arms=3)},
        "env, judge": {"judge": "argmax"},
    }
    for number, (told, change) in enumerate(changes.items()):
        with pytest.warns(UserWarning, match=f"holds another run, from .*, that differs in {told}; this one is trained"):
            run(tmp_path, **change)
        assert len(list(tmp_path.glob("run-*"))) == 2 * (2 + number)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same(first, run(tmp_path)[0])  # the first one is still there


def test_edited_code_trains_anew_and_other_edits_do_not(tmp_path, monkeypatch):
    """The market, the learner, the network and the optimiser under their old names; and what the run does not reach."""
    env = Tilted(num_arms=3)
    run(tmp_path, env=env)
    monkeypatch.setattr(policies.registry, "FAMILIES", (*policies.registry.FAMILIES, "one more"))
    monkeypatch.setattr(rl2, "advantages", lambda lives, hyper, horizon: None)
    run(tmp_path, env=env)
    assert len(list(tmp_path.glob("run-*.json"))) == 1

    def halved(self, key):
        return self.params_of(jax.random.uniform(key, (self.num_arms,)) / 2)

    def doubled(self, training, state, hyper, streams, lanes, share):
        return state.replace(weights=jax.tree.map(lambda w: w + 2 * self.much, state.weights)), {"loss": share}

    def summed(self, tokens):
        return self.second(self.first(tokens))

    def slow(clip_norm):
        return optax.chain(optax.clip(clip_norm), optax.scale_by_adam())

    edits = [(Tilted, "sample_params", halved), (Adding, "__call__", doubled)]
    edits += [(agents.networks.cores.Memoryless, "apply_sequence", summed), (learning, "adam", slow)]
    for count, (where, name, edited) in enumerate(edits, 2):
        with monkeypatch.context() as patch:
            patch.setattr(where, name, edited)
            forget()
            with pytest.warns(UserWarning, match="trained anew"):
                run(tmp_path, env=env)
            assert len(list(tmp_path.glob("run-*.json"))) == count, name
    forget()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(tmp_path, env=env)
    assert len(list(tmp_path.glob("run-*.json"))) == 5


def forget():
    """A new process would compile anew."""
    for compiled in (learning._advance, learning._start, learning._score):
        compiled.cache_clear()


def test_fingerprints_tell_configurations_apart():
    def told(teacher=None, learn=None, net=None, **changes):
        one = training(net=net, teacher=teacher, **changes)
        told = checkpoint.decided_by(one, agents.Hyper(), {"learner": learn or imitation.CrossEntropy()}, updates=3)
        return str(sorted(told.items(), key=str))

    trained = agents.Agent("none", 3, weights(), {"size": 4}).policy
    moved = agents.Agent("none", 3, jax.tree.map(lambda x: x + 1, weights()), {"size": 4}).policy
    teachers = [policies.gittins(horizon=3), policies.gittins(horizon=4), policies.oracle(), trained(), moved()]
    teachers += [policies.prior_thompson(BANDIT, markets=5, greedy=greedy) for greedy in (False, True)]
    found = [told(teacher) for teacher in teachers]
    found += [told(learn=rl2.PPO()), told(learn=rl2.a2c()), told(lanes=8), told(minibatches=2), told(return_reward="mean")]
    found += [told(net=network(size=5)), told(net=network(name="gru")), told(net=network(inputs=agents.Inputs(past=True)))]
    assert len(set(found)) == len(found)
    assert told(policies.gittins(horizon=3)) == found[0] and told(trained()) == found[3]
    with open(os.devnull) as file, pytest.raises(ValueError, match="there is no digest of"):
        checkpoint.decided_by(training(), agents.Hyper(), {"learner": lambda: file})


def weights(env=BANDIT):
    return agents.networks.initial(network(env), jax.random.key(0), *lifetimes.Play(env, network(env), 3).example())


def moved(step):
    return {name: x + np.asarray(step, x.dtype) for name, x in STATE.items()}


def stored(folder, steps=(2, 4)):
    """Checkpoints of a run, each with the number of its update added."""
    store = checkpoint.Store(folder, of("a run"))
    for step in steps:
        store.save(moved(step), {"loss": np.float32([step, np.nan])}, step)
    store.close()
    return store.runs


def read(folder):
    store = checkpoint.Store(folder, of("a run"))
    state, curve = store.resume(STATE, {})
    store.close()
    return int(state["b"]) - 7, state, curve


DAMAGES = {
    "cut": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "random": lambda content: np.random.default_rng(0).bytes(len(content)),
    "flipped": lambda content: bytes([*content[:-9], content[-9] ^ 4, *content[-8:]]),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run with two checkpoints."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    stored(folder)
    return folder


def files(folder):
    """The files of the newest checkpoint, by their paths."""
    (newest,) = folder.glob("run-*/4")
    return sorted(path.relative_to(folder) for path in newest.rglob("*") if path.is_file())


def read_damaged(whole, folder, name, damage):
    """Update that was restored, after one file was damaged; what it restores is right, and what was set aside is told."""
    shutil.copytree(whole, folder)
    (folder / name).write_bytes(DAMAGES[damage]((folder / name).read_bytes()))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        step, state, curve = read(folder)
    told = [str(one.message) for one in caught if "is damaged" in str(one.message)]
    aside = list(folder.glob("damaged-*"))
    assert (step, len(told), len(aside)) in ((2, 1, 1), (4, 0, 0)), (name, step, told)
    assert not aside or str(aside[0]) in told[0]
    same(state, moved(step))
    np.testing.assert_array_equal(curve["loss"], np.float32([step, np.nan]))
    return step


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_it_taken(whole, tmp_path, damage):
    """Each file in turn; what has no part in what is restored may be damaged."""
    steps = {name: read_damaged(whole, tmp_path / str(k), name, damage) for k, name in enumerate(files(whole))}
    needed = {name for name, step in steps.items() if step == 2}
    assert {name.parts[2] for name in needed} == {"state", "told"}
    stored(tmp_path / "0", steps=(6,))  # training goes on
    assert read(tmp_path / "0")[0] == 6


def test_where_nothing_can_be_read_training_starts(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    for path in tmp_path.rglob("told/metadata"):
        path.write_text("{}")
    with pytest.warns(UserWarning, match="is damaged") as caught:
        assert read(tmp_path / "run")[0] == 0
    assert len(caught) == 2 and len(list((tmp_path / "run").glob("damaged-*"))) == 2


def test_folders_that_are_not_for_checkpoints_are_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(learning, "_start", None)  # no work
    (tmp_path / "file").write_text("mine")
    (tmp_path / "study" / "12").mkdir(parents=True)
    (tmp_path / "study" / "table.csv").write_text("mine")
    cases = {"file": "", "file/below": "", "study": "holds other files: 12, table.csv", "nul\0": "", "long" * 100: ""}
    if os.geteuid():
        (tmp_path / "locked").mkdir(mode=0o500)
        cases |= {"locked": "", "locked/below": ""}
    for name, message in cases.items():
        for folder in (tmp_path / name, str(tmp_path / name)):
            with pytest.raises(ValueError, match=f"folder must .*{re.escape(message)}"):
                run(folder)
    for folder in (5, b"bytes", ["a"], True):
        with pytest.raises(ValueError, match="folder must be a path"):
            run(folder)
    assert sorted(path.name for path in (tmp_path / "study").iterdir()) == ["12", "table.csv"]
    assert (tmp_path / "file").read_text() == "mine"


def test_what_a_killed_run_left_is_cleared_and_a_running_one_is_left_alone(tmp_path):
    runs = stored(tmp_path)
    (runs / "6.orbax-checkpoint-tmp-1" / "state").mkdir(parents=True)
    store = checkpoint.Store(tmp_path, of("a run"))
    assert sorted(path.name for path in runs.iterdir() if path.name[0] != ".") == ["2", "4"]
    if checkpoint.fcntl is not None:
        with pytest.raises(ValueError, match="another process trains in"):
            checkpoint.Store(tmp_path, of("a run"))
        with pytest.warns(UserWarning, match="trained anew"):
            checkpoint.Store(tmp_path, of("another run")).close()
    store.close()
    checkpoint.Store(tmp_path, of("a run")).close()


def test_a_finished_run_is_read_from_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    """As on a disk that is read-only: nothing there changes, and what would have to be trained is refused."""
    first, curve = run(tmp_path / "runs")
    before = contents(tmp_path / "runs")
    monkeypatch.setattr(checkpoint.files, "can_write", lambda folder: False)
    again, same_curve = run(tmp_path / "runs")
    same(first, again)
    same(curve, same_curve)
    with pytest.raises(ValueError, match=r"must be a folder that can be written, .* holds another run, .* in updates"):
        run(tmp_path / "runs", updates=4)
    with pytest.raises(ValueError, match="folder must be a folder that can be written"):
        run(tmp_path / "absent")
    assert contents(tmp_path / "runs") == before
    newest = max((path for path in (tmp_path / "runs").glob("run-*/*") if path.name.isdigit()), key=lambda x: int(x.name))
    shutil.rmtree(newest)
    with pytest.raises(ValueError, match=r"must be a folder that can be written, .* the run there has 2 of 3 updates"):
        run(tmp_path / "runs")


def contents(folder):
    """All files and folders, with the bytes of files."""
    paths = folder.rglob("*")
    return {path.relative_to(folder): path.read_bytes() if path.is_file() else None for path in paths}


def test_a_folder_whose_first_file_was_not_finished_is_taken(tmp_path):
    """A start that was killed while it wrote, and a damaged record of a run."""
    name = checkpoint.files.HOST + ".1234567.00000000.0.jaxprice-temporary"
    (tmp_path / f"training.json.{name}").write_text("{")
    stored(tmp_path)
    for content in ("[]", "{", '{"date": 1}'):
        next(tmp_path.glob("run-*.json")).write_text(content)
        checkpoint.Store(tmp_path, of("another run")).close()
        assert read(tmp_path)[0] == 4
        shutil.rmtree(next(path for path in tmp_path.glob("run-*") if path.is_dir() and not (path / "4").exists()))


def test_seconds_of_all_starts_are_counted(tmp_path, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(checkpoint.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(checkpoint.time, "process_time", lambda: 2 * clock[0])
    save = checkpoint.Store.save

    def slow(stop):
        def saved(self, state, curve, step):
            save(self, state, curve, step)
            clock[0] += 10
            if step == stop:
                raise KeyboardInterrupt

        return saved

    monkeypatch.setattr(checkpoint.Store, "save", slow(2))
    with pytest.raises(KeyboardInterrupt) as stopped:
        run(tmp_path)
    assert stopped.value.__notes__ == [f"checkpoints are in {tmp_path}: the same run again goes on from there"]
    clock[0] = 5000.0
    monkeypatch.setattr(checkpoint.Store, "save", slow(None))
    for _ in range(2):
        _, curve = run(tmp_path, updates=3)
        np.testing.assert_allclose(curve["update"][:, 0], [1, 2, 3])
        np.testing.assert_allclose(curve["wall_s"][:, 0], [0, 10, 10])
        np.testing.assert_allclose(curve["cpu_s"][:, 0], [0, 20, 20])

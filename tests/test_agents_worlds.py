"""Deep learners: environments of gymnax, bad input, runs that are lost and found again, devices, runs of one vmap."""

import json
import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

import jaxprice
from jaxprice import agents
from jaxprice.agents import dqn, episodes, ppo, pqn, replay, worlds
from jaxprice.agents.probe_worlds import Probe

SMALL = {"size": 4, "layers": 1, "lanes": 4, "length": 4, "steps": 6 * 16, "points": 3, "held_out": 4}
WORLD = Probe("all")


def trained(learner=dqn, world=WORLD, params=None, **options):
    shared = {"capacity": 64, "batch": 8} if learner is dqn else {"minibatches": 2, "epochs": 1}
    return learner.train(world, params, **(SMALL | shared | options))


def leaves(tree):
    return [np.asarray(x) for x in jax.tree.leaves(tree)]


def same(one, other):
    for a, b in zip(leaves(one.weights), leaves(other.weights), strict=True):
        np.testing.assert_array_equal(a, b)


@struct.dataclass
class Clock:
    time: int


@struct.dataclass
class ClockParams:
    max_steps_in_episode: int = 5


class Ticking:
    """Counts periods; action 1 in period 3 ends the episode, and the limit is 5. As in gymnax 0.0.x, `done` says both."""

    name = "Ticking"
    default_params = ClockParams()

    def action_space(self, params=None):
        return SimpleNamespace(n=2)

    def reset_env(self, key, params):
        return jnp.zeros((1, 2)), Clock(jnp.int32(0))

    def step_env(self, key, state, action, params):
        state = Clock(state.time + 1)
        ends = (state.time == 3) & (action == 1)
        return self.seen(state), state, 2.0, self.done(ends, state, params), {}

    def seen(self, state):
        return jnp.full((1, 2), state.time, jnp.float32)

    def done(self, ends, state, params):
        return ends | (state.time >= params.max_steps_in_episode)


class NewTicking(Ticking):
    """As in gymnax 1.x, where the limit is told apart."""

    def done(self, ends, state, params):
        return ends

    def is_truncated(self, state, params):
        return state.time >= params.max_steps_in_episode


class Growing(Ticking):
    """Its observation has another shape after a step."""

    def seen(self, state):
        return jnp.zeros(3)


@pytest.mark.parametrize("kind", [Ticking, NewTicking])
def test_either_convention_of_gymnax(kind):
    """A limit truncates and another end terminates; the next token is a first one, `last` is where the action led."""
    world = worlds.make(kind(), ClockParams(4))
    assert (world.horizon, world.space.n, world.name) == (4, 2, "Ticking")
    key, step = jax.random.key(0), jax.jit(world.step)
    for actions, length, terminated in (([0, 0, 0, 0], 4, False), ([1, 1, 1], 3, True)):
        state, token = world.reset(key)
        assert token.shape == (2,)
        for time, action in enumerate(actions, 1):
            state, now = step(key, key, state, jnp.int32(action))
            np.testing.assert_array_equal(now.last, [time, time])
            assert now.reward == now.earned == 2 and now.done == (time == length)
            assert now.terminated == (terminated and time == length)
            np.testing.assert_array_equal(now.token, [0, 0] if now.done else [time, time])


def test_the_score_of_gymnax_is_the_mean_return():
    """Episodes last five periods unless action 1 is played in the third; values are those of the worlds."""
    run = trained(dqn, Ticking(), steps=64)
    assert set(np.unique(run.curve["held_out"])) <= {6.0, 10.0}
    np.testing.assert_array_equal(run.curve["steps"][-1], 64 if run.curve["update"][-1] == 4 else run.curve["steps"][-1])
    with pytest.raises(ValueError, match="only sellers can be saved as agents, this one plays Ticking"):
        run.agent()


@pytest.mark.parametrize("name", ["CartPole-v1", "Catch-bsuite"])
def test_environments_of_gymnax_are_worlds(name):
    gymnax = pytest.importorskip("gymnax")
    env, params = gymnax.make(name)
    world = worlds.make(env)
    size = worlds.check(world)
    obs, _ = env.reset(jax.random.key(0), params)
    assert size == np.size(obs) and world.horizon == params.max_steps_in_episode


def test_rows_of_the_probes_of_gymnax(tmp_path, monkeypatch, capsys):
    """What a row says of returns that are known, without training."""
    pytest.importorskip("gymnax")
    from experiments import gymnax_probes

    told = {}

    def train(env, **options):
        told.update(options)
        return SimpleNamespace(curve={"held_out": np.array([[500.0, 474.0, 475.0]])})

    monkeypatch.setitem(gymnax_probes.LEARNERS, "dqn", SimpleNamespace(train=train))
    options = {"environments": ("CartPole-v1",), "learners": ("dqn",), "seeds": 3, "out": tmp_path / "rows.jsonl"}
    gymnax_probes.main(gymnax_probes.Options(**options))
    row = json.loads((tmp_path / "rows.jsonl").read_text())
    assert row["reached"] == 2 and row["returns"] == [474, 475, 500] and row["steps"] == told["steps"]
    assert row["gymnax"] and row["seconds"] >= 0 and told["seeds"] == range(3) and told["held_out"] == 100
    assert "2 of 3" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("learner", [dqn, ppo])
def test_cart_pole(learner):
    gymnax = pytest.importorskip("gymnax")
    from experiments import gymnax_probes

    settings = gymnax_probes.settings("CartPole-v1", learner.__name__.split(".")[-1])
    run = learner.train(gymnax.make("CartPole-v1")[0], seeds=range(10), held_out=100, points=1, **settings)
    least = {dqn: 7, ppo: 8}[learner]  # of DQN's seeds 100 to 109 all ten do
    assert np.sum(run.curve["held_out"][-1] >= 475) >= least, run.curve["held_out"]


def test_a_killed_run_resumes_with_the_same_weights(tmp_path):
    """With the replay, bit for bit; and a finished run is read back."""
    whole = trained(folder=tmp_path / "whole")
    save = episodes.checkpoint.Store.save

    def stop(self, state, curve, step):
        save(self, state, curve, step)
        if step == 4:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(episodes.checkpoint.Store, "save", stop)
        with pytest.raises(KeyboardInterrupt) as error:
            trained(folder=tmp_path / "killed")
    assert error.value.__notes__ == [f"checkpoints are in {tmp_path / 'killed'}: the same run again goes on from there"]
    resumed = trained(folder=tmp_path / "killed")
    same(whole, resumed)
    np.testing.assert_array_equal(whole.curve["held_out"], resumed.curve["held_out"])
    np.testing.assert_array_equal(whole.curve["update"][:, 0], [2, 4, 6])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(episodes.checkpoint.Store, "save", None)  # no more work
        same(whole, trained(folder=tmp_path / "killed"))


@pytest.mark.slow
def test_another_configuration_or_code_is_trained_anew(tmp_path):
    trained(folder=tmp_path)
    changes = {"tau": {"hyper": dqn.Hyper(tau=0.5)}, "updates": {"steps": 32}, "seeds": {"seeds": 1}}
    changes |= {"learner": {"double": False}, "network": {"size": 5}, "lanes": {"lanes": 2}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(episodes, "_start", lambda course, mesh: lambda seeds: SimpleNamespace(update=np.array([10**6])))
        for name, change in changes.items():
            with (
                pytest.warns(UserWarning, match=f"that differs in .*{name}.*; this one is trained anew"),
                pytest.raises((AttributeError, TypeError)),  # it goes no further
            ):
                trained(folder=tmp_path, **change)

    def quiet(self, key, key_reset, state, action):
        state, step = PLAY(self, key, key_reset, state, action)
        return state, step.replace(reward=0 * step.reward)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Probe, "step", quiet)
        with pytest.warns(UserWarning, match="differs in .*world.*; this one is trained anew"):
            trained(folder=tmp_path, steps=16, points=1)


PLAY = Probe.step


class Bursting(worlds.World):
    """The reward of the fifth period is infinite."""

    name, space, horizon = "bursting", WORLD.space, 9

    def reset(self, key):
        return jnp.int32(0), jnp.zeros(2)

    def step(self, key, key_reset, state, action):
        state = state + 1
        reward = jnp.where(state == 10, jnp.inf, 1.0)
        no = jnp.bool_(False)
        return state, worlds.Step(jnp.zeros(2), jnp.zeros(2), reward, no, no, reward, reward)


@pytest.mark.parametrize("learner", [dqn, pytest.param(ppo, marks=pytest.mark.slow)])
def test_a_loss_that_is_not_a_number_stops_and_the_last_good_checkpoint_stays(tmp_path, learner):
    with pytest.raises(FloatingPointError, match="is not finite at update 3; the weights of update 2 are kept"):
        trained(learner, Bursting(), folder=tmp_path)
    assert [path.name for path in tmp_path.glob("run-*/[0-9]*")] == ["2"]


@pytest.mark.slow
@pytest.mark.parametrize("learner", [dqn, ppo, pqn])
def test_devices_and_runs_of_one_vmap(learner):
    """Runs on two devices, runs beside each other and runs alone have the same weights up to rounding."""
    together = trained(learner, seeds=[4, 5], devices=1)
    others = [trained(learner, seeds=seed, devices=1) for seed in (4, 5)]
    wanted = jax.tree.map(lambda *x: np.concatenate(x), *(one.weights for one in others))
    runs = [together] + ([trained(learner, seeds=[4, 5], devices=2)] if jax.local_device_count() > 1 else [])
    for run in runs:
        for a, b in zip(leaves(run.weights), leaves(wanted), strict=True):
            np.testing.assert_allclose(a, b, atol=2e-5)


MARKET, PARAMS = jaxprice.make("FiniteInventory", horizon=4, stock=2)
ANY_PRICE = jaxprice.make("PostedPrice", num_prices=None)[0]
CASES = [
    (dqn, "dqn chooses one of a number of actions, PostedPrice-logit takes Interval", {"world": ANY_PRICE}),
    (pqn, "pqn chooses one of a number of actions, PostedPrice-logit takes Interval", {"world": ANY_PRICE}),
    (ppo, "ppo chooses one of a number of actions, PostedPrice-logit takes Interval", {"world": ANY_PRICE}),
    (dqn, "learners choose one price, the market LogitOligopoly", {"world": jaxprice.make("LogitOligopoly")[0]}),
    (dqn, "observations of Ticking must keep their shape", {"world": Growing()}),
    (dqn, "env must be a market or a gymnax environment, got 'CartPole-v1' without reset_env", {"world": "CartPole-v1"}),
    (dqn, "params must be the ClockParams of the environment, got 5", {"world": Ticking(), "params": 5}),
    (dqn, "params must be None where env is a world, got 5", {"params": 5}),
    (ppo, "only markets take the options horizon, inputs, env is", {"horizon": 3, "inputs": agents.Inputs()}),
    (ppo, "horizon must be an integer of at least 1, got 0", {"world": MARKET, "horizon": 0}),
    (ppo, "inputs must be agents.Inputs, got 'all'", {"world": MARKET, "inputs": "all"}),
    (ppo, "unknown reward 'means'; did you mean 'mean'", {"world": MARKET, "reward": "means"}),
    (ppo, "unknown network 'gruu'; did you mean 'gru'", {"network": "gruu"}),
    (pqn, "unknown network 'transformer'", {"network": "transformer"}),
    (ppo, "network 'gru' takes the options ['chrono', 'size'], got ['layers']", {"network": "gru"}),
    (ppo, "lanes must be a multiple of the 3 minibatches, got 4", {"network": "gru", "layers": None, "minibatches": 3}),
    (ppo, "lanes x length must be a multiple of the 3 minibatches, got 16", {"minibatches": 3}),
    (ppo, "epochs must be an integer of at least 1, got 0", {"epochs": 0}),
    (ppo, "normalise must be True or False, got 1", {"normalise": 1}),
    (ppo, "hyper must be ppo.Hyper, got {'clip': 0.1}", {"hyper": {"clip": 0.1}}),
    (pqn, "hyper must be pqn.Hyper, got Hyper(", {"hyper": agents.Hyper()}),
    (dqn, "hyper must be dqn.Hyper, got Hyper(", {"hyper": pqn.Hyper()}),
    (dqn, "tau must be in [0, 1], got 2", {"hyper": dqn.Hyper(tau=2)}),
    (dqn, "epsilon must be a number, got None", {"hyper": dqn.Hyper(epsilon=None)}),
    (dqn, "beta must be in [0, 1], got -1", {"hyper": dqn.Hyper(beta=-1)}),
    (pqn, "explore must be in [0, 1], got 1.5", {"hyper": pqn.Hyper(explore=1.5)}),
    (dqn, "discount must be one number, or one for each of the 1 runs", {"hyper": dqn.Hyper(discount=[0.1, 0.2])}),
    (dqn, "steps must be an integer of at least 1, got 1000.0", {"steps": 1000.0}),
    (dqn, "steps must be below 2**31 a lane", {"steps": 2**31 - 1, "lanes": 1, "length": 4, "capacity": 10, "points": 1}),
    (dqn, "lanes must be an integer of at least 1, got '4'", {"lanes": "4"}),
    (dqn, "length must be an integer of at least 1, got None", {"length": None}),
    (dqn, "batch must be an integer of at least 1, got 0", {"batch": 0}),
    (dqn, "gradient_steps must be an integer of at least 1, got -1", {"gradient_steps": -1}),
    (dqn, "n_step must be an integer in [1, 256], got 257", {"n_step": 257}),
    (dqn, "double must be True or False, got 'yes'", {"double": "yes"}),
    (dqn, "dueling must be True or False, got 0", {"dueling": 0}),
    (dqn, "prioritised must be True or False, got None", {"prioritised": None}),
    (dqn, "capacity must be at least lanes x (length + n_step) = 28 transitions, got 20", {"capacity": 20}),
    (dqn, "capacity must fit into memory: the replays of 1 runs take", {"capacity": 2**31 - 1}),
    (dqn, "size must be an integer", {"size": 0}),
    (dqn, "layers must be an integer", {"layers": 2.5}),
    (dqn, "points must be an integer of at least 1, got 0", {"points": 0}),
    (dqn, "held_out must be an integer of at least 1, got True", {"held_out": True}),
    (dqn, "seeds must be an integer in", {"seeds": -1}),
    (dqn, "devices must be", {"devices": 0}),
    (dqn, "progress must be True or False, got 1", {"progress": 1}),
    (dqn, "folder must be a path, got 5", {"folder": 5}),
    (dqn, "about must be a dict of options by name, got 'mine'", {"about": "mine"}),
]


@pytest.mark.parametrize("case", range(len(CASES)), ids=[f"{case[0].__name__[-3:]}-{case[1][:24]}" for case in CASES])
def test_bad_input_is_refused_before_any_work(monkeypatch, case):
    learner, message, options = CASES[case]
    for name in ("_start", "_advance", "_score"):
        monkeypatch.setattr(episodes, name, None)
    monkeypatch.setattr(replay, "start", None)
    with pytest.raises(ValueError, match=re.escape(message)):
        trained(learner, **options)


def test_a_seller_is_saved_and_plays(tmp_path):
    run = trained(ppo, MARKET, PARAMS, about={"note": "mine"})
    agents.save(tmp_path / "one.npz", run.agent())
    policy = agents.load(tmp_path / "one.npz")
    told = policy.card["told"]
    assert (told["market"], told["horizon"], told["note"], told["run"]) == ("FiniteInventory", 4, "mine", 0)
    results = [jaxprice.simulate(MARKET, p, lanes=16, horizon=4, params=PARAMS) for p in (policy, run.policy(-1))]
    np.testing.assert_array_equal(results[0]["lane_regret"], results[1]["lane_regret"])
    assert abs(run.curve["held_out"][-1, 0] - 1) < 1 and run.runs == 1

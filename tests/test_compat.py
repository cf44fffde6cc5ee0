"""The views of gymnax and Gymnasium: their contracts, and agents of independent libraries that train on them.

Tests of libraries that are not installed are skipped. Random play earns .5 a period on the three arms .1, .5, .9, and the
best arm .9; agents must earn more than the middle, .7.
"""

import functools
import subprocess
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxprice
from jaxprice import agents
from jaxprice.compat import markets
from jaxprice.types import Subset

ARMS = {"means": [0.1, 0.5, 0.9], "horizon": 32}
HALFWAY = 0.7  # between random play and the best arm
KINDS = {  # of action: an index, an index for each seller, a price, prices
    "FiniteInventory": {"horizon": 10, "stock": 3},
    "LogitOligopoly": {"num_prices": 4, "horizon": 10},
    "LinearValuation": {"horizon": 10},
    "MultiProduct": {"horizon": 10},
}


@pytest.fixture(scope="module")
def gymnax_view():
    pytest.importorskip("gymnax")
    from jaxprice.compat import gymnax

    return gymnax


@pytest.fixture(scope="module")
def gymnasium_view():
    pytest.importorskip("gymnasium")
    from jaxprice.compat import gymnasium

    return gymnasium


def play(market, steps, key):
    """Observations before, after, and what else random play of a five-value view sees."""
    params, (key, first) = market.default_params, jax.random.split(key)
    actions = market.action_space(params)

    def body(state, key):
        key_act, key_step = jax.random.split(key)
        obs, state, reward, done, info = market.step(key_step, state, actions.sample(key_act), params)
        return state, (obs, reward, done, info)

    obs, state = market.reset(first, params)
    return obs, state, *jax.lax.scan(body, state, jax.random.split(key, steps))


def test_core_imports_neither_and_starts_no_backend():
    code = """
import sys, jaxprice, jaxprice.compat
assert not {"gymnax", "gymnasium", "torch", "tensorflow"} & set(sys.modules)
from jax._src import xla_bridge
assert not xla_bridge._backends
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_actions_of_agents():
    sets = Subset(4, 2)
    chosen = markets.to_action(sets, np.array([0.9, 0.4, 0.6, 0.8]))
    assert chosen.dtype == bool and chosen.tolist() == [True, False, False, True]
    assert markets.to_action(sets, np.array([0.0, 0.4, 0.5, 0.8])).tolist() == [False, False, False, True]
    sellers = jaxprice.types.Discrete(4, (2,))
    assert markets.to_action(sellers, (jnp.int32(1), jnp.int32(3))).tolist() == [1, 3]
    assert markets.to_action(sellers, np.array([1, 3])).tolist() == [1, 3]
    assert markets.to_action(jaxprice.types.Interval(), np.array([0.5])).shape == ()


@pytest.mark.parametrize("name", KINDS)
def test_gymnax_spaces_and_autoreset(gymnax_view, name):
    from gymnax.environments import environment, spaces

    market = gymnax_view.view(name, values=5, **KINDS[name])
    assert isinstance(market, environment.Environment)
    space = market.observation_space(market.default_params)
    assert isinstance(space, spaces.Box) and isinstance(market.action_space(), spaces.Space)
    first, _, state, (obs, reward, done, info) = jax.jit(lambda key: play(market, 20, key))(jax.random.key(0))
    assert obs.shape == (20, *space.shape) and reward.shape == (20,) and int(state.time) == 0
    for seen in (first, obs, info["final_observation"]):
        assert bool(jax.vmap(space.contains)(jnp.atleast_2d(seen)).all())
    assert np.flatnonzero(done).tolist() == [9, 19] and np.array_equal(info["truncated"], done)
    assert obs[9, 0] == 0 and info["final_observation"][9, 0] == 1  # share of the horizon gone
    assert np.array_equal(obs[:9], info["final_observation"][:9])
    assert np.isfinite(space.low if np.ndim(space.low) == 0 else space.low[:2]).all()


@pytest.mark.parametrize("values", [5, 6])
def test_gymnax_steps_as_the_market_does(gymnax_view, values):
    env, params = jaxprice.make("LinearValuation", num_prices=5, horizon=3)
    market = gymnax_view.view(env, params, values=values)
    assert market.name == env.name and market.num_actions == 5 and market.action_space().n == 5
    (obs, state), (same_obs, same_state) = env.reset(jax.random.key(0), params), market.reset(jax.random.key(0))
    for time in range(4):
        key = jax.random.key(time)
        with jax.debug_key_reuse(True), jax.numpy_rank_promotion("raise"):
            same_obs, same_state, *out, info = market.step(key, same_state, 2, params)
        obs, state, reward, terminated, truncated, expected = env.step(key, state, 2, params)
        assert len(out) + 3 == values
        ended = (terminated | truncated,) if values == 5 else (terminated, truncated)
        jax.tree.map(
            lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6),
            ((obs, state), reward, ended, expected),
            ((same_obs, same_state), out[0], tuple(out[1:]), {name: info[name] for name in expected}),
        )
    _, _, _, ended, _ = market.step_env(key, state, 2, params)
    assert not ended and not market.is_truncated(state, params) and not market.is_terminal(state, params)


@pytest.mark.parametrize("values", [5, 6])
def test_a_normalised_view_is_the_view_in_other_units(gymnax_view, values):
    """Bounded entries go to [-1, 1], rewards are shares of the largest margin; states are the same."""
    make = functools.partial(gymnax_view.view, "FiniteInventory", horizon=4, stock=3, values=values)
    plain, market = make(), make(normalised=True)
    assert plain.unit == 1 and market.unit == pytest.approx(44.9)
    space, raw = market.observation_space(), plain.observation_space()
    np.testing.assert_allclose([space.low, space.high], [-1, 1])
    (obs, state), (seen, same) = (one.reset(jax.random.key(0), one.default_params) for one in (plain, market))
    for time in range(5):
        width = np.asarray(raw.high) - raw.low
        np.testing.assert_allclose(seen, 2 * (obs - raw.low) / width - 1, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(seen, market.normal_observation(obs), rtol=1e-6)
        obs, state, reward, *_, info = plain.step(jax.random.key(time), state, 1, plain.default_params)
        seen, same, scaled, *_, told = market.step(jax.random.key(time), same, 1, market.default_params)
        np.testing.assert_allclose(scaled, reward / 44.9, rtol=1e-5)
        np.testing.assert_allclose(
            told["final_observation"], market.normal_observation(info["final_observation"]), rtol=1e-5
        )
        assert bool(space.contains(seen)) and state.time == same.time
    with pytest.raises(ValueError, match="normalised must be True or False, got 1"):
        make(normalised=1)


def test_gymnax_steps_as_the_installed_one_unless_it_is_told(gymnax_view):
    """As in the README: rejax and purejaxrl want five values whatever gymnax is installed."""
    from gymnax.environments import environment

    own = 6 if hasattr(environment.Environment, "is_truncated") else 5
    for options, values in (({}, own), ({"values": 5}, 5), ({"values": 6}, 6)):
        market = gymnax_view.view("FiniteInventory", **options)
        _, state = market.reset(jax.random.key(0), market.default_params)
        assert len(market.step(jax.random.key(1), state, 0, market.default_params)) == values


def test_a_fork_of_a_process_with_jax_is_refused():
    code = """
import os, warnings
warnings.simplefilter("ignore")
import jax
from jaxprice.compat import forks, markets

def child():
    if pid := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    try:
        forks.refuse()
        os._exit(0)
    except RuntimeError as error:
        os._exit(3 if 'context="spawn"' in str(error) else 4)

assert child() == 0
jax.numpy.ones(3)
assert child() == 3
forks.refuse()
try:
    if pid := os.fork():
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
    else:
        markets.resolve("BernoulliBandit")
        os._exit(0)
except RuntimeError:
    os._exit(3)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_async_lanes_are_refused_when_forked_and_step_when_spawned(gymnasium_view, tmp_path):
    code = """
import sys, warnings
import gymnasium as gym
from jaxprice.compat import gymnasium

def maker():
    return gymnasium.env("BernoulliBandit", means=[.1, .9], horizon=4)

if __name__ == "__main__":
    lanes = gym.vector.AsyncVectorEnv([maker, maker], context=sys.argv[1])
    lanes.reset(seed=0)
    print(lanes.step([0, 1])[1].shape)
    lanes.close()
"""
    script = tmp_path / "lanes.py"
    script.write_text(code)
    done = subprocess.run([sys.executable, script, "spawn"], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0 and "(2,)" in done.stdout, done.stderr
    if sys.platform == "linux":
        done = subprocess.run([sys.executable, script, "fork"], capture_output=True, text=True, timeout=240)
        assert done.returncode and 'context="spawn"' in done.stderr, done.stderr


def test_gymnax_draws_fresh_markets(gymnax_view):
    market = gymnax_view.view("FiniteInventory", horizon=4, stock=2, fresh=True, values=5)
    assert int(market.default_params.max_steps_in_episode) == 4
    _, start, state, (_, _, done, info) = jax.vmap(lambda key: play(market, 4, key))(jax.random.split(jax.random.key(0), 3))
    assert done[:, -1].all() and not done[:, :-1].any() and bool((info["regret"] >= -1e-4).all())
    demands = np.concatenate([start.params.demand, state.params.demand])
    assert len(np.unique(demands, axis=0)) == 6  # each lane its own, each episode another
    solved = jax.vmap(market.market.base.solve)(start.params).values
    np.testing.assert_allclose(start.params.values, solved, rtol=1e-5)


def test_gymnax_wrappers(gymnax_view):
    from gymnax.wrappers import FlattenObservationWrapper, LogWrapper

    market = LogWrapper(FlattenObservationWrapper(gymnax_view.view("PostedPrice", horizon=5)))
    params = market.default_params
    assert market.observation_space(params).shape == (3,)
    _, state = market.reset(jax.random.key(0), params)
    total = 0.0
    for time in range(5):
        obs, state, reward, *_, info = market.step(jax.random.key(time), state, 3, params)
        total += reward
    assert obs.shape == (3,) and bool(info["returned_episode"])
    assert int(info["returned_episode_lengths"]) == 5
    np.testing.assert_allclose(info["returned_episode_returns"], total, rtol=1e-6)


@pytest.mark.optimised
@pytest.mark.parametrize(
    "name, options, steps",
    [
        ("BernoulliBandit", ARMS, 8192),
        ("LinearValuation", {"num_prices": 5, "horizon": 20}, 1024),
        ("FiniteInventory", {"horizon": 20, "stock": 5}, 1024),
    ],
)
def test_rejax_ppo_trains(gymnax_view, name, options, steps):
    rejax = pytest.importorskip("rejax")
    config = {"num_envs": 16, "num_steps": 32, "num_minibatches": 4, "num_epochs": 4, "learning_rate": 5e-3, "gamma": 0.9}
    ppo = rejax.PPO.create(
        env=gymnax_view.view(name, values=5, **options),
        total_timesteps=steps,
        eval_freq=steps,
        skip_initial_evaluation=True,
        agent_kwargs={"hidden_layer_sizes": (16,)},
        **config,
    )
    trained, (lengths, returns) = jax.jit(jax.vmap(ppo.train))(jax.random.split(jax.random.key(0), 2))
    assert bool((lengths == options["horizon"]).all()) and bool(jnp.isfinite(returns).all())
    if name == "BernoulliBandit":
        assert bool((returns.mean(axis=(1, 2)) / options["horizon"] > HALFWAY).all())
        act = ppo.make_act(jax.tree.map(lambda x: x[0], trained))
        env, params = jaxprice.make(name, **options)
        policy = agents.from_act(act, takes=("observation", "key"))
        played = jaxprice.simulate(env, policy, lanes=200, horizon=options["horizon"], params=params)
        assert played["reward"].values[0, -1] / options["horizon"] > HALFWAY


def test_gymnax_bad_input(gymnax_view):
    view, (env, params) = gymnax_view.view, jaxprice.make("FiniteInventory", horizon=5)
    other = jaxprice.make("PostedPrice")[1]
    many = jax.tree.map(lambda x: np.stack([x, x]), params)
    late = params.replace(max_steps_in_episode=np.int32(6))
    for args, options, word in (
        ((env, params), {"values": 4}, "values"),
        ((env, other), {}, "params"),
        ((env, many), {}, "params"),
        ((env, late), {}, "max_steps_in_episode"),
        ((env,), {"horizon": 5}, "options"),
        ((3,), {}, "env"),
        (("PostedPrise",), {}, "PostedPrice"),
    ):
        with pytest.raises(ValueError, match=word):
            view(*args, **options)


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("name", ["PostedPrice", "LinearValuation"])
def test_gymnasium_check_env(gymnasium_view, name, fresh):
    from gymnasium.utils.env_checker import check_env

    market = gymnasium_view.env(name, seed=1, fresh=fresh, horizon=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # unbounded contexts, prices that are not in [-1, 1], no spec
        check_env(market)
    market.reset()
    steps = [market.step(market.action_space.sample()) for _ in range(4)]
    assert [truncated for *_, truncated, _ in steps] == [False, False, False, True]
    assert {"price", "demand", "reward", "regret", "optimal_reward"} <= set(steps[-1][-1])


def test_gymnasium_seeds_and_bad_input(gymnasium_view):
    import gymnasium

    market = gymnasium_view.env("BernoulliBandit", **ARMS, seed=3)
    with pytest.raises(gymnasium.error.ResetNeeded):
        market.step(0)
    market.reset()
    rewards = [market.step(1)[1] for _ in range(20)]
    market.reset(seed=3)
    assert rewards == [market.step(1)[1] for _ in range(20)]
    market.reset()
    assert rewards != [market.step(1)[1] for _ in range(20)]
    for action in (3, -1, 0.5, [0, 1]):
        with pytest.raises(ValueError, match="action"):
            market.step(action)
    with pytest.raises(ValueError, match="num_envs"):
        gymnasium_view.vector_env("BernoulliBandit", 0)
    prices = gymnasium_view.env("LinearValuation", seed=0)
    prices.reset()
    with pytest.raises(ValueError, match="action"):
        prices.step(np.array([np.nan]))


@pytest.mark.parametrize("name", KINDS)
def test_gymnasium_vector_env(gymnasium_view, name):
    from gymnasium.vector import AutoresetMode, VectorEnv

    lanes = gymnasium_view.vector_env(name, 3, seed=0, **KINDS[name])
    assert isinstance(lanes, VectorEnv) and lanes.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert lanes.observation_space.contains(lanes.reset()[0])
    lanes.action_space.seed(0)
    for time in range(11):
        obs, reward, terminated, truncated, infos = lanes.step(lanes.action_space.sample())
        assert lanes.observation_space.contains(obs) and isinstance(obs, np.ndarray)
        assert reward.shape == terminated.shape == (3,) and not terminated.any() and truncated.all() == (time == 9)
        assert infos["regret"].shape == infos["_regret"].shape == (3,)
        assert ("final_obs" in infos) == (time == 9)
        if time == 9:
            assert (obs[:, 0] == 0).all() and infos["_final_obs"].all()
            assert all(lanes.single_observation_space.contains(last) and last[0] == 1 for last in infos["final_obs"])
            np.testing.assert_array_equal(infos["final_info"]["reward"], reward)


def test_skrl_ppo_learns(gymnasium_view, tmp_path):
    """The unmodified JAX PPO of skrl, which needs no torch."""
    pytest.importorskip("skrl")
    import flax.linen as nn
    from skrl.agents.jax.ppo import PPO, PPO_CFG
    from skrl.envs.wrappers.jax import wrap_env
    from skrl.memories.jax import RandomMemory
    from skrl.models.jax import CategoricalMixin, DeterministicMixin, Model
    from skrl.trainers.jax import SequentialTrainer
    from skrl.utils import set_seed

    class Policy(CategoricalMixin, Model):
        def __init__(self, **spaces):
            Model.__init__(self, **spaces)
            CategoricalMixin.__init__(self, unnormalized_log_prob=True)

        @nn.compact
        def __call__(self, inputs, role):
            return nn.Dense(self.num_actions)(nn.tanh(nn.Dense(16)(inputs["observations"]))), {}

    class Value(DeterministicMixin, Model):
        def __init__(self, **spaces):
            Model.__init__(self, **spaces)
            DeterministicMixin.__init__(self)

        @nn.compact
        def __call__(self, inputs, role):
            return nn.Dense(1)(nn.tanh(nn.Dense(16)(inputs["observations"]))), {}

    set_seed(0)
    env = wrap_env(gymnasium_view.vector_env("BernoulliBandit", 16, **ARMS))
    spaces = {"observation_space": env.observation_space, "action_space": env.action_space, "device": env.device}
    models = {"policy": Policy(**spaces), "value": Value(**spaces)}
    for role, model in models.items():
        model.init_state_dict(role=role)
    config = PPO_CFG(rollouts=16, learning_epochs=4, learning_rate=1e-2, discount_factor=0.9)
    config.experiment.directory, config.experiment.write_interval, config.experiment.checkpoint_interval = (
        str(tmp_path),
        0,
        0,
    )
    memory = RandomMemory(memory_size=16, num_envs=16, device=env.device)
    agent = PPO(models=models, memory=memory, cfg=config, **spaces)
    quiet = {"headless": True, "disable_progressbar": True, "close_environment_at_exit": False}
    SequentialTrainer(env=env, agents=agent, cfg={"timesteps": 320, **quiet}).train()

    lanes, rewards = gymnasium_view.vector_env("BernoulliBandit", 64, seed=5, **ARMS), []
    obs, _ = lanes.reset()
    for _ in range(ARMS["horizon"]):
        actions, _ = models["policy"].act({"observations": jnp.asarray(obs)}, role="policy")
        obs, reward, *_ = lanes.step(np.asarray(actions).ravel())
        rewards.append(reward)
    assert np.mean(rewards) > HALFWAY

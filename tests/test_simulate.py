"""The engine: the documented surface, invariance of lanes, agreement with a plain loop, statistics."""

import dataclasses
import functools
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
import xarray as xr
from flax import struct

import jaxprice
from jaxprice import devices, engine, policies, program, random
from jaxprice.environment import Environment
from jaxprice.types import Discrete, Policy, Problem

matplotlib.use("Agg")
pytestmark = pytest.mark.optimised

LANES, HORIZON = 16, 300  # shared by most tests, so that they share compiled code; more than one block of 256 periods
MEANS = (0.1, 0.3, 0.5, 0.7, 0.9)
ROOT = pathlib.Path(__file__).parents[1]


def python(code, *args, **environment):
    """Run code in a Python process of its own and return what it prints."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("XLA_FLAGS", "JAX_NUM_CPU_DEVICES")}
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, args)],
        env=inherited | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"} | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def bandit():
    return jaxprice.make("BernoulliBandit", means=list(MEANS))


@pytest.fixture(scope="module")
def run(bandit):
    """`simulate` on the shared bandit and the shared sizes."""
    env, params = bandit
    shared = {"seed": 0, "lanes": LANES, "horizon": HORIZON, "params": params}
    return lambda policy, **options: jaxprice.simulate(env, policy, **(shared | options))


@pytest.fixture(scope="module")
def result(run):
    return run({"ucb1": policies.ucb1(), "thompson": policies.thompson()})


@pytest.fixture(scope="module")
def traced(run):
    return run({"ucb1": policies.ucb1()}, traces=True)


def test_result_has_the_documented_shape(result):
    assert isinstance(result, xr.Dataset)
    assert result["policy"].values.tolist() == ["ucb1", "thompson"]
    times = result["time"].values
    assert times[0] == 1 and times[-1] == HORIZON and np.all(np.diff(times) > 0)
    ratios = times[10:][1:] / times[10:][:-1]
    assert ratios.max() / ratios.min() < 1.2  # log-spaced
    for name in ("regret", "reward", "revenue", "share"):
        assert result[name].dims == result[f"{name}_se"].dims == ("policy", "time")
        assert np.all(np.isfinite(result[name])) and np.all(np.isfinite(result[f"{name}_se"]))
    assert result["regret_quantile"].dims == ("policy", "time", "quantile")
    assert result["quantile"].values.tolist() == [0.05, 0.25, 0.5, 0.75, 0.95]
    assert result["lane_regret"].sizes == {"policy": 2, "lane": LANES}
    assert result["regret"].sel(policy="ucb1", time=HORIZON).ndim == 0
    assert result.attrs == {"environment": "BernoulliBandit", "seed": 0, "lanes": LANES, "horizon": HORIZON}


def test_surface_beyond_the_engine(result, run):
    axes = jaxprice.plot.regret(result)
    assert isinstance(axes, matplotlib.axes.Axes)
    env, params = jaxprice.make("PostedPrice", demand="logit", num_prices=10)
    assert env.num_actions == params.prices.size == 10
    assert jaxprice.make("apple")[0].name == "apple" and "apple" in jaxprice.list_envs()
    assert {"ucb1", "thompson", "oracle", "fixed_price"} <= set(policies.list())
    alone = run(policies.ucb1())
    np.testing.assert_array_equal(alone["lane_regret"].values[0], result["lane_regret"].sel(policy="ucb1").values)


def test_oracle_has_no_regret(run):
    best = run(policies.oracle(), checkpoints=[1, HORIZON])
    assert not best["regret"].any() and np.all(best["share"] == 1)
    assert abs(best["reward"].values[0, -1] - 0.9 * HORIZON) < 4 * best["reward_se"].values[0, -1]


def test_seeds_give_other_buyers_and_repeat(run, result):
    again = run(policies.ucb1())["lane_regret"].values
    other = run(policies.ucb1(), seed=1)["lane_regret"].values
    np.testing.assert_array_equal(again[0], result["lane_regret"].sel(policy="ucb1"))
    assert not np.array_equal(again, other)
    assert len(np.unique(np.concatenate([again, other]).round(4))) > LANES


INVARIANCE = """
import sys
import jax
import numpy as np
import jaxprice
from jaxprice import policies, random

markets = {
    "ucb1": jaxprice.make("PostedPrice", demand="logit", num_prices=4, noise="poisson", buyers=2)[0],
    "thompson": jaxprice.make("BernoulliBandit", num_arms=4)[0],
    "kl_ucb": jaxprice.make("PostedPrice", demand="probit", num_prices=4, buyers=3)[0],
    "exp3": jaxprice.make("GaussianBandit", num_arms=4)[0],
    "epsilon_greedy": jaxprice.make("PostedPrice", demand="exponential", num_prices=4)[0],
}
cases = {
    "all": dict(lanes=67, devices=1), "chunk 1": dict(lanes=9, devices=1, chunk=1),
    "2 devices": dict(lanes=67, devices=2, chunk=64), "8 devices": dict(lanes=67, devices=8),
}
more = {"chunk 7": dict(lanes=67, devices=1, chunk=7), "chunk 64": dict(lanes=67, devices=1, chunk=64)}
keys = jax.jit(jax.vmap(lambda lane: random.address(random.stream(0, "market"), 0, lane)))(np.arange(67, dtype=np.uint32))
out = {}
for name in sys.argv[2:]:
    env, params = markets[name], None
    if "Bandit" in env.name:  # for these a batch of markets is given, the others draw theirs
        params = jax.jit(jax.vmap(env.sample_params))(keys)
    for case, options in (cases | more if name == "ucb1" else cases).items():
        given = params and jax.tree.map(lambda x: x[: options["lanes"]], params)
        result = jaxprice.simulate(
            env, policies.make(name), seed=3, horizon=300, checkpoints=[37, 300], params=given, **options
        )
        out[f"{name}/{case}"] = result["lane_regret"].values[0]
        out[f"{name}/{case}/share"] = result["lane_share"].values[0]
np.savez(sys.argv[1], **out)
"""


COMPANY = {"quick": ("ucb1",), "slow": ("thompson", "kl_ucb", "exp3", "epsilon_greedy")}


@pytest.fixture(scope="module")
def invariance(tmp_path_factory):
    @functools.cache
    def lanes(group):
        path = tmp_path_factory.mktemp("invariance") / "lanes.npz"
        python(INVARIANCE, path, *COMPANY[group], XLA_FLAGS="--xla_force_host_platform_device_count=8")
        return np.load(path)

    return lanes


CASES = ("chunk 1", "2 devices", "8 devices")


@pytest.mark.parametrize(
    ("group", "policy", "case"),
    [
        *(("quick", policy, case) for policy in COMPANY["quick"] for case in CASES),
        *(("quick", "ucb1", case) for case in ("chunk 7", "chunk 64")),
        *(pytest.param("slow", policy, case, marks=pytest.mark.slow) for policy in COMPANY["slow"] for case in CASES),
    ],
)
def test_a_lane_does_not_depend_on_its_company(invariance, group, policy, case):
    for suffix in ("", "/share"):
        reference, other = (invariance(group)[f"{policy}/{name}{suffix}"] for name in ("all", case))
        assert len(np.unique(reference)) > 50
        np.testing.assert_array_equal(other, reference[: other.size])


@pytest.mark.parametrize("drawn", [False, True], ids=["one market", "markets drawn"])
def test_tiles_of_a_chunk_are_its_lanes(drawn):
    """Lanes played a few at a time, for the cache: the same, bit by bit; three tiles, and lanes that are no whole tiles."""
    env, params = jaxprice.make("PostedPrice", demand="linear", num_prices=5)
    params, times = (None, params)[not drawn], np.array([1, 7, 40])
    policy = policies.sliding_window_thompson(window=10)

    def run(tile):
        one = engine.engine(env, policy, devices.mesh(1), not drawn, False, tile)
        return one.run(3, 0, LANES - 1, LANES - 1, times, params, lambda pulls: None)

    whole, tiles, odd = run(None), run(5), run(4)
    for name in engine.METRICS:
        assert whole[name].shape == (3, LANES - 1)
        np.testing.assert_array_equal(whole[name], tiles[name])
        np.testing.assert_array_equal(whole[name], odd[name])


def test_states_that_fill_the_cache_are_tiled():
    width = sys.modules["jaxprice.simulate"].width_of
    one = devices.mesh(1)
    assert width(one, 2000, 100, False) == (2048, None)
    assert width(one, 2000, 4000, False) == (2048, 256)
    assert width(one, 2049, 1000, False) == (2304, 576)
    assert width(one, 1, 100, False) == (64, None)
    assert width(one, 100, 10**6, False) == (128, 128)
    assert width(one, 1, 100, True) == (1, None)  # lanes that print are not padded


def test_fewer_lanes_are_the_first_of_more(run, result):
    few = run(policies.ucb1(), lanes=5)["lane_regret"].values[0]
    np.testing.assert_array_equal(few, result["lane_regret"].sel(policy="ucb1").values[:5])


@struct.dataclass
class ProbeParams:
    level: jax.Array
    max_steps_in_episode: jax.Array


@struct.dataclass
class ProbeState:
    time: jax.Array
    phase: jax.Array


@dataclasses.dataclass(frozen=True)
class Probe(Environment):
    """A market whose every number depends on every key, the state and the action; all in multiples of 2^-23."""

    def sample_params(self, key):
        return ProbeParams(jax.random.uniform(key), np.int32(1))

    def default_params(self):
        return ProbeParams(np.float32(0.25), np.int32(1))

    def problem(self, params):
        zero = np.float32(0)
        prices = np.arange(4, dtype=np.float32)
        return Problem(prices, zero, np.float32(3), zero, params.max_steps_in_episode, zero, Discrete(4))

    def reset_env(self, key, params):
        state = ProbeState(jnp.int32(0), part(jax.random.uniform(key) + params.level))
        return {"phase": state.phase, "time": state.time}, state

    def step_env(self, key, state, action, params):
        demand = part(jax.random.uniform(key) + state.phase)
        state = ProbeState(state.time + 1, part(state.phase + demand + 0.25 * action))
        info = {"price": jnp.float32(action), "demand": demand, "reward": demand, "regret": state.phase}
        info["optimal_reward"] = part(state.phase + params.level)
        return {"phase": state.phase, "time": state.time}, state, demand, jnp.bool_(False), info

    def expected_reward(self, state, action, params):
        return state.phase

    def optimal_reward(self, state, params):
        return part(state.phase + params.level)

    def optimal_action(self, state, params):
        return jnp.int32(0)


def part(x):
    """The fractional part, exact for the numbers above."""
    return x - jnp.floor(x)


def probe_policy():
    """A policy that turns everything it is told into its next action."""

    def init(key, problem):
        return part(jax.random.uniform(key) + problem.horizon * 0.125)

    def act(key, state, observation):
        x = part(state + jax.random.uniform(key) + observation["phase"] + 0.25 * observation["time"])
        return jnp.floor(4 * x).astype(jnp.int32)

    def update(key, state, seen):
        x = state + jax.random.uniform(key) + seen.demand + seen.reward + 0.25 * seen.action + 0.5 * seen.price
        before, after = seen.observation, seen.next_observation
        return part(x + before["phase"] + 0.125 * after["phase"] + 0.25 * before["time"])

    return Policy(init, act, update)


def play(env, policy, *, seed, lane, horizon, params=None):
    """One lane as a plain loop; metric -> `[horizon]`."""

    def key(role, time):
        return random.address(random.stream(seed, role), time, lane)

    if params is None:
        params = env.sample_params(key("market", 0))
    params = dataclasses.replace(params, max_steps_in_episode=np.int32(horizon))
    act, step, update = jax.jit(policy.act), jax.jit(env.step_env), jax.jit(policy.update)
    obs, state = jax.jit(env.reset_env)(key("reset", 0), params)
    memory = policy.init(key("init", 0), env.problem(params))
    rows = []
    for time in range(horizon):
        action = act(key("act", time), memory, obs)
        next_obs, state, reward, _, info = step(key("demand", time), state, action, params)
        seen = jaxprice.Transition(obs, action, info["price"], info["demand"], reward, next_obs)
        memory = update(key("update", time), memory, seen)
        obs = next_obs
        rows.append(info | {"action": action, "optimal": info["optimal_reward"]})
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


@pytest.mark.parametrize(
    ("env", "policy"),
    [
        (Probe(), probe_policy()),
        (jaxprice.make("PostedPrice", demand="exponential", num_prices=3)[0], policies.thompson(signal="reward")),
        (jaxprice.make("PostedPrice", demand="linear", num_prices=5)[0], policies.explore_then_commit(share=0.5)),
    ],
    ids=["probe", "thompson", "explore_then_commit"],
)
def test_engine_plays_as_a_plain_loop_does(env, policy):
    lanes, horizon = 3, 40
    kept = jaxprice.simulate(env, policy, seed=11, lanes=lanes, horizon=horizon, traces=True)
    loops = [play(env, policy, seed=11, lane=lane, horizon=horizon) for lane in range(lanes)]
    for lane, loop in enumerate(loops):
        for name in ("action", "price", "demand", "reward"):
            np.testing.assert_array_equal(kept[f"trace_{name}"].values[0, :, lane], loop[name], err_msg=name)
        for name in ("regret", "optimal"):
            np.testing.assert_allclose(kept[f"trace_{name}"].values[0, :, lane], loop[name], atol=1e-6)
    revenue = np.sum([loop["price"] * loop["demand"] for loop in loops], axis=1)
    np.testing.assert_allclose(kept["revenue"].values[0, -1], revenue.mean(), rtol=1e-5)
    if not isinstance(env, Probe):
        return
    streamed = jaxprice.simulate(env, policy, seed=11, lanes=lanes, horizon=horizon, checkpoints=[1, 7, horizon])
    for name in ("regret", "reward"):
        total = np.cumsum([loop[name] for loop in loops], axis=1, dtype=float)[:, [0, 6, horizon - 1]]
        np.testing.assert_allclose(streamed[name].values[0], total.mean(0), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(streamed["revenue"].values[0, -1], revenue.mean(), rtol=1e-5)


def test_revenue_of_several_products_with_traces_and_without():
    """Price times demand, over the products; costs are another matter."""
    env, params = jaxprice.make("MultiProduct", num_products=2, cost=0.2)
    play = {"lanes": 3, "horizon": 5, "params": params, "checkpoints": [2, 5]}
    kept = jaxprice.simulate(env, policies.random_price(), traces=True, **play)
    plain = jaxprice.simulate(env, policies.random_price(), **play)
    sold = (kept["trace_price"] * kept["trace_demand"]).values[0].astype(float).sum(axis=1)
    sold = sold.cumsum(axis=0)[[1, 4]].mean(axis=1)
    assert np.all(np.abs(sold - kept["reward"].values[0]) > 0.01)
    for result in (kept, plain):
        np.testing.assert_allclose(result["revenue"].values[0], sold, rtol=1e-5)


def test_traces_add_up_to_the_streamed_sums(run, traced):
    streamed = run(policies.ucb1())
    np.testing.assert_allclose(traced["lane_regret"], streamed["lane_regret"], rtol=1e-5)
    np.testing.assert_allclose(traced["lane_share"], streamed["lane_share"], rtol=1e-5)
    at = streamed["time"].values - 1
    for name in ("regret", "reward"):
        sums = np.cumsum(traced[f"trace_{name}"].values[0], axis=0, dtype=float)[at].mean(-1)
        np.testing.assert_allclose(streamed[name].values[0], sums, rtol=1e-5, atol=1e-6)


def test_traces_hold_the_regret_of_each_period(traced):
    gaps = np.float32(0.9) - np.asarray(MEANS, np.float32)
    np.testing.assert_allclose(traced["trace_regret"], gaps[traced["trace_action"].values], atol=1e-7)
    np.testing.assert_allclose(traced["trace_optimal"], 0.9, atol=1e-7)


def test_every_market_can_draw_its_lanes():
    for name in ("GaussianBandit", "SegmentedValuation", "apple"):  # other tests draw from the others
        sizes = {"num_segments": 20, "num_prices": 5} if name == "SegmentedValuation" else {}
        env = jaxprice.make(name, **sizes)[0]
        drawn = jaxprice.simulate(env, policies.fixed_price(), lanes=3, horizon=4, checkpoints=[4])
        assert len(np.unique(drawn["lane_regret"])) > 1 and np.all(drawn["lane_regret"] >= -1e-5), name


def test_programs_of_the_same_text_read_their_own_arguments():
    """Two functions that lower to the same text, though each reads another of its arguments."""

    def double(which):
        def function(*args):
            jnp.sin(args[1 - which])  # looked at, and dropped by the compiler
            return args[which] * 2

        return function

    args, mesh = (np.full(2, 1, np.float32), np.full(2, 5, np.float32)), devices.mesh(1)
    for which in (0, 1):
        np.testing.assert_array_equal(program.Program(double(which), (-1, -1), mesh)(*args), args[which] * 2)


def test_a_state_may_hold_constants():
    """A flag that is true in the first period only."""
    env, params = jaxprice.make("BernoulliBandit", means=[0.2, 0.8])
    first = Policy(
        lambda key, problem: jnp.bool_(True),
        lambda key, state, observation: state.astype(jnp.int32),
        lambda key, state, seen: jnp.bool_(False),
    )
    once = jaxprice.simulate(env, first, lanes=2, horizon=5, params=params, checkpoints=[1, 2, 5])
    np.testing.assert_allclose(once["regret"].values[0], [0, 0.6, 2.4], atol=1e-6)


def test_statistics_are_those_of_the_lanes(run, traced):
    streamed = run(policies.ucb1())
    at = streamed["time"].values - 1
    seen = {name: traced[f"trace_{name}"].values[0] for name in ("regret", "reward")}
    lanes = {name: np.cumsum(values, axis=0, dtype=float)[at] for name, values in seen.items()}
    lanes["revenue"] = lanes["reward"]  # the arms of a bandit cost nothing
    lanes["share"] = 1 - lanes["regret"] / (np.float32(0.9) * (at + 1.0))[:, None]
    for name, values in lanes.items():
        np.testing.assert_allclose(streamed[name].values[0], values.mean(1), rtol=1e-5, atol=1e-6)
        error = values.std(1, ddof=1) / np.sqrt(LANES)
        np.testing.assert_allclose(streamed[f"{name}_se"].values[0], error, rtol=1e-4, atol=1e-6)
    for level in streamed["quantile"].values:
        exact = np.quantile(lanes["regret"], level, axis=1)
        kept = streamed["regret_quantile"].sel(quantile=level).values[0]
        np.testing.assert_allclose(kept, exact, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(streamed["lane_share"].values[0], lanes["share"][-1], rtol=1e-5)


def test_one_lane_has_no_standard_error(run):
    alone = run(policies.fixed_price(), lanes=1)
    assert np.all(np.isnan(alone["regret_se"])) and np.all(np.isfinite(alone["regret"]))


@pytest.mark.parametrize("checkpoints", [[HORIZON], [1, 10, HORIZON], [255, 256, 257, HORIZON]])
def test_checkpoints_do_not_change_the_course(run, traced, checkpoints):
    some = run(policies.ucb1(), checkpoints=checkpoints)
    assert some["time"].values.tolist() == checkpoints
    sums = np.cumsum(traced["trace_regret"].values[0], axis=0, dtype=float).mean(1)
    np.testing.assert_allclose(some["regret"].values[0], sums[np.asarray(checkpoints) - 1], rtol=1e-5)


def test_quantile_levels_are_those_asked_for(run):
    ends = run(policies.ucb1(), quantiles=(0, 1))
    lanes = ends["lane_regret"].values[0]
    np.testing.assert_allclose(ends["regret_quantile"].values[0, -1], [lanes.min(), lanes.max()], rtol=1e-6)


def test_one_period(run):
    first = run(policies.ucb1(), horizon=1)
    assert first["time"].values.tolist() == [1]
    np.testing.assert_allclose(first["regret"].values, [[0.8]], rtol=1e-6)


def test_params_one_market_a_batch_or_the_prior():
    env, params = jaxprice.make("PostedPrice", demand="logit", num_prices=6)
    policy, sizes = policies.fixed_price(), {"lanes": 4, "horizon": 20, "seed": 5}

    def lanes(params):
        return jaxprice.simulate(env, policy, params=params, **sizes)["lane_regret"].values[0]

    def gaps(batch):
        profit = batch.prices * np.asarray(jax.vmap(lambda p: env.table(p))(batch))
        return 20 * (profit.max(1) - profit[:, 3])

    same = jax.tree.map(lambda x: np.stack([x] * 4), params)
    np.testing.assert_array_equal(lanes(params), lanes(same))
    numbers, words = np.arange(4, dtype=np.uint32), random.stream(5, "market")
    drawn = jax.vmap(lambda lane: env.sample_params(random.address(words, 0, lane)))(numbers)
    np.testing.assert_allclose(lanes(None), gaps(drawn), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(lanes(drawn), gaps(drawn), rtol=1e-4, atol=1e-5)
    assert len(np.unique(lanes(None))) == 4
    swapped = jax.tree.map(lambda x: x[::-1], drawn)
    np.testing.assert_allclose(lanes(swapped), lanes(drawn)[::-1], rtol=1e-6)


@pytest.mark.parametrize("traces", [False, True])
def test_lanes_of_a_batch_play_their_own_rows_in_any_chunk(traces):
    """Ten different markets, four at a time: the regret of an arm is known; a lane is that of a game in its market alone."""
    env, params = jaxprice.make("BernoulliBandit", means=[0.1, 0.5])
    means = np.stack([np.linspace(0.05, 0.5, 10), np.full(10, 0.5)], axis=1).astype(np.float32)
    batch = dataclasses.replace(jax.tree.map(lambda x: np.stack([x] * 10), params), means=means)
    first = Policy(lambda key, problem: 0.0, lambda key, state, observation: jnp.int32(0), lambda key, state, sale: state)
    ways, sizes = {"first": first, "ucb1": policies.ucb1()}, {"lanes": 10, "horizon": 30, "traces": traces}

    def lanes(params, **options):
        return jaxprice.simulate(env, ways, params=params, **sizes, **options)["lane_regret"].values

    chunked = lanes(batch, chunk=4)
    np.testing.assert_allclose(chunked[0], 30 * (0.5 - means[:, 0]), rtol=1e-5, atol=1e-5)
    assert len(np.unique(chunked[1])) == 10
    np.testing.assert_array_equal(chunked, lanes(batch))
    for row in (0, 3, 4, 9):
        alone = lanes(dataclasses.replace(params, means=means[row]))[:, row]
        np.testing.assert_allclose(chunked[:, row], alone, rtol=1e-5, atol=1e-5)


def test_the_horizon_replaces_that_of_the_params(bandit):
    env, params = bandit
    telling = Policy(
        lambda key, problem: problem.horizon, lambda key, state, obs: (state == 12).astype(jnp.int32), lambda k, s, t: s
    )
    for given in (params, jax.tree.map(lambda x: np.stack([x] * 2), params)):
        kept = jaxprice.simulate(env, telling, lanes=2, horizon=12, params=given, traces=True)
        assert np.all(kept["trace_action"] == 1)


def test_policies_meet_the_same_buyers():
    env, params = jaxprice.make("PostedPrice", demand="linear", num_prices=3, low=0.2, high=0.8)
    ways = {"low": policies.fixed_price(0.2), "high": policies.fixed_price(0.8)}
    kept = jaxprice.simulate(env, ways, lanes=8, horizon=50, params=params, traces=True)["trace_demand"]
    low, high = kept.sel(policy="low").values, kept.sel(policy="high").values
    assert np.all(low >= high) and low.mean() > high.mean() + 0.3
    assert high.mean() > 0 and len({tuple(row) for row in low.T}) == 8


def test_rollout_is_simulate_and_can_be_mapped(bandit, run):
    env, params = bandit

    def regret(scale):
        return jaxprice.rollout(env, policies.ucb1(scale), lanes=LANES, horizon=HORIZON, params=params)["regret"]

    swept = np.asarray(jax.jit(jax.vmap(regret))(jnp.float32([0.5, 2.0])))
    np.testing.assert_allclose(swept[1], run(policies.ucb1(2.0))["lane_regret"].values[0], rtol=1e-5)
    assert swept[0].mean() < 0.8 * swept[1].mean()
    env = jaxprice.make("PostedPrice", demand="logit", num_prices=6)[0]
    prior = jax.jit(functools.partial(jaxprice.rollout, env, policies.fixed_price(), lanes=4, horizon=30))
    lanes = jaxprice.simulate(env, policies.fixed_price(), seed=2, lanes=4, horizon=30)["lane_regret"].values[0]
    np.testing.assert_allclose(prior(seed=jnp.uint32(2))["regret"], lanes, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"chunk": 7}, {"traces": True}], ids=["plain", "chunks", "traces"])
def test_progress_counts_every_pull(run, options):
    pulls = []
    run({"a": policies.fixed_price(), "b": policies.oracle()}, progress=pulls.append, **options)
    assert sum(pulls) == 2 * LANES * HORIZON and min(pulls) > 0


def test_progress_bar_is_shown_on_demand_only(run, capsys):
    run(policies.fixed_price())
    assert not capsys.readouterr().err
    run(policies.fixed_price(), progress=True)
    assert "pulls" in capsys.readouterr().err


def test_long_sums_keep_their_digits(run):
    steps = 300_000  # a plain float32 sum of tenths is off by one part in a thousand by then
    long = run(policies.fixed_price(), lanes=2, horizon=steps, checkpoints=[steps // 3, steps])
    gap = float(np.float32(0.9) - np.float32(0.5))
    np.testing.assert_allclose(long["regret"].values[0], [gap * steps / 3, gap * steps], rtol=1e-5)
    np.testing.assert_allclose(long["share"].values[0], 1 - gap / np.float32(0.9), rtol=1e-5)
    reward = long["reward"].values[0, -1] * 2
    assert reward == round(reward) and abs(reward - steps) < 4 * np.sqrt(2 * steps / 4)


def test_import_does_not_start_the_backend():
    code = "import jaxprice, jax._src.xla_bridge as bridge; print(bridge.backends_are_initialized())"
    assert python(code).split() == ["False"]


PEAK = """
import resource, sys
import jaxprice
from jaxprice import policies
env, params = jaxprice.make("BernoulliBandit", num_arms=4)
jaxprice.simulate(env, policies.ucb1(), lanes=64, horizon=int(sys.argv[1]), params=params)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_horizon():
    short, long = (int(python(PEAK, horizon)) for horizon in (1_000, 100_000))
    assert long < 1.1 * short


def test_markets_drawn_for_one_policy_are_kept_for_the_next(monkeypatch):
    """The same numbers whether they are drawn again or not, and no more bytes than allowed."""
    env, _ = jaxprice.make("PostedPrice", num_prices=4)
    play = {"lanes": 6, "horizon": 5, "seed": 3}
    engine.forget()
    first = jaxprice.simulate(env, policies.ucb1(), **play)["lane_regret"].values
    assert len(engine._drawn) == 1
    second = jaxprice.simulate(env, policies.ucb1(), **play)["lane_regret"].values
    assert len(engine._drawn) == 1
    other = jaxprice.simulate(env, policies.ucb1(), **(play | {"seed": 4}))["lane_regret"].values
    assert len(engine._drawn) == 2 and np.any(other != first)
    monkeypatch.setattr(engine, "DRAWN", 0)
    engine._drawn.clear()
    third = jaxprice.simulate(env, policies.ucb1(), **play)["lane_regret"].values
    assert not engine._drawn
    np.testing.assert_array_equal(second, first)
    np.testing.assert_array_equal(third, first)

"""Arguments of `simulate` and `rollout`: equivalent forms, refused values and their messages, and markets that terminate."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxprice
from jaxprice import Policy, policies, preparation, random, rehearsal
from jaxprice.envs.bernoulli_bandit import BernoulliBandit
from jaxprice.oracles.fluid_lp import fluid_lp

ENV, PARAMS = jaxprice.make("BernoulliBandit", means=[0.2, 0.9, 0.4])
SEASON, STOCKED = jaxprice.make("FiniteInventory", stock=3, horizon=12)
HALF = dataclasses.replace(STOCKED, prices=STOCKED.prices * np.float32(0.5))  # its tables are those of the whole prices
UCB = policies.ucb1()
SMALL = {"lanes": 4, "horizon": 6}


def regret(policy=UCB, env=ENV, **options):
    return jaxprice.simulate(env, policy, **(SMALL | {"params": PARAMS} | options))["lane_regret"].values[0]


@pytest.fixture(scope="module")
def plain():
    return regret(seed=7)


RESTORED = {
    "JAX arrays": lambda params: jax.tree.map(jnp.asarray, params),
    "on the last device": lambda params: jax.device_put(params, jax.devices()[-1]),
    "float64": lambda params: jax.tree.map(lambda x: np.asarray(x, np.float64), params),
    "lists": lambda params: jax.tree.map(lambda x: np.asarray(x).tolist(), params),
    "tuples": lambda params: dataclasses.replace(params, means=tuple(map(float, params.means))),
    "other integers": lambda params: dataclasses.replace(params, max_steps_in_episode=np.uint64(3)),
}


@pytest.mark.parametrize("way", RESTORED)
def test_params_mean_the_same_wherever_they_were(plain, way):
    """As they come from orbax, from a device, or from JSON; on all devices."""
    np.testing.assert_array_equal(regret(seed=7, params=RESTORED[way](PARAMS)), plain)
    batch = jax.tree.map(lambda x: np.stack([np.asarray(x)] * 4), PARAMS)
    np.testing.assert_array_equal(regret(seed=7, params=RESTORED["on the last device"](batch)), plain)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.uint32, np.int64, np.uint64, np.array, jnp.int32])
def test_integers_mean_the_same_in_every_width(plain, kind):
    options = {"lanes": kind(4), "horizon": kind(6), "chunk": kind(3), "devices": kind(1), "checkpoints": [kind(2), kind(6)]}
    np.testing.assert_array_equal(regret(seed=kind(7), **options), plain)
    rolled = jaxprice.rollout(ENV, UCB, seed=kind(7), lanes=kind(4), horizon=kind(6), params=PARAMS)
    np.testing.assert_allclose(rolled["regret"], plain, rtol=1e-6)


def test_large_seeds_are_their_own():
    large = 2**32 + 7
    one = regret(seed=large)
    for seed in (np.array(large), np.uint64(large), np.int64(large)):
        np.testing.assert_array_equal(regret(seed=seed), one)
        np.testing.assert_allclose(jaxprice.rollout(ENV, UCB, seed=seed, params=PARAMS, **SMALL)["regret"], one, rtol=1e-6)
    assert np.any(one != regret(seed=7))


def explode(*_):
    raise AssertionError("traced before its arguments were checked")


ODD = [[1], (), {}, np.array([2]), np.array([[2]]), True, 2.0, "2", 1j, object]
REFUSED = [
    *(({name: value}, f"{name} must") for name in ("seed", "lanes", "horizon", "chunk", "devices") for value in ODD),
    *(({name: value}, f"{name} must be an integer") for name in ("seed", "lanes", "horizon") for value in (None, -1)),
    *(({name: value}, rf"{name} must be an integer in \[1, 2147483647\]")
      for name in ("lanes", "horizon", "chunk") for value in (2**31, 10**30)),
    *(({"devices": value}, "devices must be") for value in ("cpu", [0], ["cpu"], 10**6, np.array(["cpu"]))),
    *(({"traces": value}, "traces must be True or False") for value in (1, 0, None, "yes", [], np.array(True))),
    *(({"progress": value}, "progress must be True, False or a function") for value in (1, 0, "yes", [], np.array(True))),
    *(({"quantiles": value}, "quantiles must be") for value in (0.5, "0.5", [[0.5]], [True], [1.5], None, {0.5}, [1j])),
    *(({"checkpoints": value}, "checkpoints must be increasing integers from 1 to the horizon 6")
      for value in (6, "6", [6.0], [True, 6], {6}, {6: 1}, np.array([3, 2, 6], np.uint8), [2**32 + 6], [None], [[6]])),
]  # fmt: skip


@pytest.mark.parametrize(("options", "message"), REFUSED, ids=lambda x: str(x)[:30])
def test_what_is_refused_before_anything_is_traced(options, message):
    with pytest.raises(ValueError, match=message):
        jaxprice.simulate(ENV, Policy(explode, explode, explode), **(SMALL | {"params": PARAMS} | options))
    if set(options) <= {"seed", "lanes", "horizon"}:
        with pytest.raises(ValueError, match=message):
            jaxprice.rollout(ENV, Policy(explode, explode, explode), **(SMALL | {"params": PARAMS} | options))


@pytest.mark.parametrize("count", [0, -1, 2.5, "2", True, [2]])
def test_numbers_of_cores(count):
    with pytest.raises(ValueError, match="count must be an integer of at least 1"):
        jaxprice.use_cpu_cores(count)


def test_a_device_twice_is_refused():
    with pytest.raises(ValueError, match="devices must be JAX devices, each once"):
        regret(devices=[jax.devices()[0]] * 2)


POLICY = policies.random_price()
SELLERS = [
    ("ucb1", r"policies must be .*; jaxprice\.policies\.ucb1\(\) makes one"),
    ("ucb", r"policies must be .*; jaxprice\.policies\.ucb1\(\) makes one"),
    (policies.ucb1, r"policies must be .*; ucb1 makes one when it is called: ucb1\(\)"),
    ({"U": policies.ucb1}, r"policies\['U'\] must be a Policy, .*; ucb1 makes one when it is called: ucb1\(\)"),
    ([POLICY, POLICY], "policies must be .*; give each a name"),
    (tuple(POLICY), r"policies must be .*; jaxprice\.Policy\(init, act, update\) makes one"),
    (Policy(1, 2, 3), r"policies\['policy'\] must be a Policy of three functions"),
    ({("a", 1): POLICY}, r"names of policies must be strings, got \('a', 1\)"),
    ({1: POLICY}, "names of policies must be strings, got 1"),
    (None, "policies must be a Policy or a dict of them, got None"),
    ({}, "policies must name at least one policy, got none"),
]


@pytest.mark.parametrize(("given", "message"), SELLERS, ids=[message[:40] for _, message in SELLERS])
def test_what_is_no_policy(given, message):
    with pytest.raises(ValueError, match=message):
        regret(given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("PostedPrice", r"env must be an Environment, got 'PostedPrice'; env, params = jaxprice\.make\('PostedPrice'\)"),
        ("postedprice", r"got 'postedprice'; env, params = jaxprice\.make\('PostedPrice'\)"),
        ((ENV, PARAMS), "env must be an Environment, got .*; make returns two things: env, params = "),
        (BernoulliBandit, r"BernoulliBandit is the class: env, params = jaxprice\.make\('BernoulliBandit'\)"),
        (None, "env must be an Environment, got None"),
    ],
    ids=lambda x: str(x)[:30],
)
def test_what_is_no_environment(given, message):
    for play in (jaxprice.simulate, jaxprice.rollout):
        with pytest.raises(ValueError, match=message):
            play(given, UCB, **SMALL)


FOREIGN = [
    (STOCKED, r"params must be the .*bernoulli_bandit\.Params of BernoulliBandit, got .*finite_inventory\.Params; env"),
    ((ENV, PARAMS), r"params must be .*, got a tuple; make returns \(env, params\)"),
    ("apple", "params must be .*, got str"),
    (jaxprice.make("BernoulliBandit", means=[0.1, 0.2])[1], r"means must have shape \[3\], got \[2\]"),
    (dataclasses.replace(PARAMS, means=None), "params must be numbers that float32 can hold, got means=None"),
    (dataclasses.replace(PARAMS, means=["a", "b", "c"]), r"params must be numbers that float32 can hold, got means="),
    (dataclasses.replace(PARAMS, means=[True, False, True]), r"params must be numbers that float32 can hold, got means="),
    (dataclasses.replace(PARAMS, means=[0.1, np.nan, 0.2]), "means"),
    (dataclasses.replace(PARAMS, means=[0.1, 1e300, 0.2]), "means"),
]


@pytest.mark.parametrize(("params", "message"), FOREIGN, ids=lambda x: str(x)[:30])
def test_params_of_another_market(params, message):
    for play in (jaxprice.simulate, jaxprice.rollout):
        with pytest.raises(ValueError, match=message):
            play(ENV, UCB, params=params, **SMALL)


def test_an_update_that_returns_another_state():
    def init(key, problem):
        return {"time": jnp.int32(0)}

    for update, message in (
        (lambda key, state, sale: state | {"more": sale.price}, "update of policy 'mine' returns another state than init"),
        (lambda key, state, sale: (state["time"],), "update of policy 'mine' returns another state than init"),
        (lambda key, state, sale: {"time": state["time"] + 0.5}, r"float32\[\] in place of int32\[\] in \['time'\]"),
        (lambda key, state, sale: {"time": jnp.zeros(2, jnp.int32)}, r"int32\[2\] in place of int32\[\] in \['time'\]"),
    ):
        with pytest.raises(ValueError, match=message):
            regret({"mine": Policy(init, lambda key, state, obs: jnp.int32(0), update)})


def test_results_of_every_lane_are_kept_unless_told_otherwise():
    kept, left = (jaxprice.simulate(ENV, UCB, params=PARAMS, per_lane=per_lane, **SMALL) for per_lane in (True, False))
    assert set(kept) - set(left) == {"lane_regret", "lane_share"}
    np.testing.assert_array_equal(kept["regret"], left["regret"])
    for value in (1, None, "no"):
        with pytest.raises(ValueError, match="per_lane must be True or False"):
            regret(per_lane=value)


def test_share_of_nothing_is_told_once():
    """Arms that never pay: no share, and no number that looks like one."""
    nothing = dataclasses.replace(PARAMS, means=np.zeros(3, np.float32))
    batch = jax.tree.map(lambda *x: np.stack(x), nothing, PARAMS, PARAMS, nothing)
    with pytest.warns(UserWarning, match=r"share is NaN at the horizon in BernoulliBandit: .* in 2 of 4 lanes") as told:
        result = jaxprice.simulate(ENV, {"u": UCB, "o": policies.oracle()}, params=batch, **SMALL)
    assert len(told) == 1
    np.testing.assert_array_equal(np.isnan(result["lane_share"]), [[True, False, False, True]] * 2)
    assert np.all(np.isnan(result["share"])) and np.all(np.isfinite(result["regret"]))


def test_simulate_cannot_be_traced():
    with pytest.raises(ValueError, match=r"simulate .* cannot be traced: jaxprice\.rollout can"):
        jax.jit(lambda params: jaxprice.simulate(ENV, UCB, params=params, **SMALL))(PARAMS)


def test_without_jit_there_is_rollout(plain):
    with jax.disable_jit():
        with pytest.raises(ValueError, match=r"simulate plays compiled code, .* jaxprice\.rollout plays plain code too"):
            regret()
        short = jaxprice.rollout(ENV, UCB, seed=7, lanes=2, horizon=2, params=PARAMS)["regret"]
    np.testing.assert_allclose(short, regret(seed=7, lanes=2, horizon=2), rtol=1e-6)


def test_rollout_takes_one_policy_of_known_sizes():
    with pytest.raises(ValueError, match="policy must be one Policy, got a dict of 1"):
        jaxprice.rollout(ENV, {"u": UCB}, params=PARAMS, **SMALL)
    with pytest.raises(ValueError, match="horizon must be known before tracing"):
        jax.jit(lambda horizon: jaxprice.rollout(ENV, UCB, lanes=4, horizon=horizon, params=PARAMS)["regret"])(6)
    with pytest.raises(ValueError, match="horizon must be at most 12, for which FiniteInventory was made, got 13"):
        jaxprice.rollout(SEASON, POLICY, lanes=4, horizon=13, params=STOCKED)


def test_rollout_solves_what_was_changed_as_simulate_does():
    """Half the prices, half the regret: with the tables of the old prices the oracle would shut the shop."""

    def rollout(params):
        return jaxprice.rollout(SEASON, POLICY, lanes=16, horizon=12, params=params)["regret"]

    play = {"lanes": 16, "horizon": 12}
    whole, half = (jaxprice.simulate(SEASON, POLICY, params=x, **play)["lane_regret"].values[0] for x in (STOCKED, HALF))
    np.testing.assert_allclose(half, whole / 2, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(rollout(HALF), half, rtol=1e-4, atol=1e-4)
    scaled = jax.vmap(lambda scale: rollout(dataclasses.replace(STOCKED, prices=STOCKED.prices * scale)))
    np.testing.assert_allclose(scaled(jnp.array([0.5, 1.0])), [half, whole], rtol=1e-4, atol=1e-4)


def test_tables_are_those_of_the_horizon_that_is_played():
    """Half a season of a network with the whole stock: a bound of its own, which reward and regret add up to."""
    options = {"demand": [[0.5, 0.4], [0.2, 0.3]], "prices": [[1, 2], [2, 3]], "noise": "bernoulli"}
    env, params = jaxprice.make("NetworkRevenue", stock=[10, 10, 20], horizon=20, **options)
    result = jaxprice.simulate(env, POLICY, lanes=400, horizon=10, params=params)
    rate = np.asarray(params.stock) / 10
    bound = fluid_lp((np.asarray(params.prices) * params.demand).sum(axis=1), params.demand @ params.consumption, rate)[0]
    earned = result["reward"].values[0, -1] + result["regret"].values[0, -1]
    assert abs(earned - 10 * float(bound)) < 5 * result["reward_se"].values[0, -1]
    assert float(bound) > 1.5 * float(params.value)  # that of the whole season is another


@pytest.mark.parametrize("name", ["NetworkRevenue", "FiniteInventory"])
def test_markets_drawn_for_another_horizon_are_solved_for_it(name):
    """Half the horizon of the environment: the same markets, given with that horizon, have the same regret in every lane."""
    env, _ = jaxprice.make(name, horizon=20)
    play = {"lanes": 24, "seed": 5, "horizon": 10}
    words = random.stream(5, "market")
    keys = jax.vmap(lambda lane: random.address(words, 0, lane))(np.arange(24, dtype=np.uint32))
    half = jax.jit(jax.vmap(lambda key: env.draw_params(key, np.int32(10))))(keys)
    np.testing.assert_array_equal(half.max_steps_in_episode, 10)
    drawn = jaxprice.simulate(env, policies.random_price(), **play)["lane_regret"].values[0]
    given = jaxprice.simulate(env, policies.random_price(), params=half, **play)["lane_regret"].values[0]
    np.testing.assert_allclose(drawn, given, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("related", [False, True])
@pytest.mark.parametrize("horizon", [5, 50])
def test_a_drawn_network_has_stock_for_a_share_of_the_periods_played(horizon, related):
    """From .3 to 1 of what mean demand would use, up to whole units, whatever horizon the environment was made for."""
    env, _ = jaxprice.make("NetworkRevenue", horizon=20)
    if related:
        env, _ = jaxprice.make("RelatedProducts", market=env, similarity=0.0)
    keys = jax.random.split(jax.random.key(3), 40)
    drawn = jax.jit(jax.vmap(lambda key: env.draw_params(key, np.int32(horizon))))(keys)
    use = horizon * np.einsum("ln,lnm->lm", np.mean(drawn.demand, axis=1), drawn.consumption)
    assert np.all(drawn.stock >= 0.3 * use * (1 - 1e-5)) and np.all(drawn.stock <= use * (1 + 1e-5) + 1)
    assert np.min(drawn.stock / use) < 0.5 and np.max(drawn.stock / use) > 0.8


@pytest.mark.parametrize(("name", "solves"), [("NetworkRevenue", 1), ("FiniteInventory", 1), ("ReferencePrice", 1)])
def test_markets_are_solved_again_only_where_the_horizon_counts(name, solves, monkeypatch):
    env, _ = jaxprice.make(name, horizon=20)
    calls, solve = [], type(env).solve
    jax.eval_shape(env.draw_params, jax.random.key(0), np.int32(10))  # what depends on the horizon is read off the code once
    monkeypatch.setattr(type(env), "solve", lambda self, params: calls.append(self) or solve(self, params))
    jax.eval_shape(env.draw_params, jax.random.key(0), np.int32(10))
    assert len(calls) == solves


def test_policies_are_told_what_all_drawn_markets_share():
    """Options are checked against a grid that no draw changes; one that is drawn is not judged by its default."""
    for env in (jaxprice.make("PostedPrice", low=1, high=8)[0], jaxprice.make("FiniteInventory", horizon=5)[0]):
        with pytest.raises(ValueError, match=r"fixed_price got price=1000\.0, but prices of this market go from"):
            jaxprice.simulate(env, policies.fixed_price(1000.0), lanes=2, horizon=5)
        assert jaxprice.simulate(env, policies.fixed_price(), lanes=2, horizon=5).sizes["policy"] == 1
    env = jaxprice.make("NetworkRevenue", horizon=5)[0]
    told = []

    def start(key, problem):
        told.append((problem.prices, problem.horizon))
        return jnp.int32(0)

    seller = jaxprice.Policy(start, lambda key, state, seen: state, lambda key, state, sale: state)
    rehearsal.rehearse(env, preparation.prepare(env, seller, seed=0, lanes=2, horizon=3, params=None))
    assert isinstance(told[0][0], jax.core.Tracer) and int(told[0][1]) == 3


@pytest.mark.parametrize("name", ["PostedPrice", "LogitOligopoly", "NetworkRevenue", "MNLAssortment"])
def test_markets_can_be_made_inside_jit(name):
    made, checked = jaxprice.make(name, horizon=5)
    usual = made.default_params()
    inside = []

    def trace(x):
        env, params = jaxprice.make(name, horizon=5)
        env.check_params(params)
        inside.extend([env, params, env.default_params()])
        return jax.tree.map(lambda leaf: x * leaf, params)

    jax.jit(trace)(1)
    assert inside[0] == made
    for mine, other in zip(inside[1:], (checked, usual), strict=True):
        for x, y in zip(jax.tree.leaves(mine), jax.tree.leaves(other), strict=True):
            assert not isinstance(x, jax.core.Tracer)
            np.testing.assert_array_equal(x, y)


def test_options_of_markets_made_inside_jit_may_be_traced():
    curve = jax.tree.map(jnp.asarray, jaxprice.demand.Logit())
    plain = jaxprice.make("PostedPrice", demand=curve)[1].demand
    made = jax.jit(lambda curve: jaxprice.make("PostedPrice", demand=curve)[1].demand)(curve)
    jax.tree.map(np.testing.assert_array_equal, made, plain)


def test_rollout_takes_a_market_for_every_lane():
    means = np.linspace(0.1, 0.8, 12, dtype=np.float32).reshape(4, 3) ** 2
    batch = dataclasses.replace(jax.tree.map(lambda x: np.stack([x] * 4), PARAMS), means=means)
    batched = jaxprice.rollout(ENV, UCB, params=batch, **SMALL)["regret"]
    np.testing.assert_allclose(batched, regret(params=batch), rtol=1e-6)
    assert len(np.unique(batched)) == 4


def test_seeds_of_a_rollout_may_be_traced(plain):
    def rollout(seed):
        return jaxprice.rollout(ENV, UCB, seed=seed, params=PARAMS, **SMALL)["regret"]

    np.testing.assert_allclose(jax.jit(rollout)(7), plain, rtol=1e-6)
    np.testing.assert_allclose(jax.vmap(rollout)(jnp.arange(6, 9, dtype=jnp.uint32))[1], plain, rtol=1e-6)
    for seed in (7.0, np.array([7]), True):
        with pytest.raises(ValueError, match="seed must be an integer"):
            jax.jit(rollout)(seed)


@dataclasses.dataclass(frozen=True)
class Closing(BernoulliBandit):
    """A bandit that is over in period `last`, or when an action is chosen, or never although it says so with an array."""

    num_arms: int = 3
    last: int = 6
    action: int | None = None

    def step_env(self, key, state, action, params):
        obs, after, reward, _, info = super().step_env(key, state, action, params)
        over = after.time >= self.last if self.action is None else action == self.action
        return obs, after, reward, over, info


def test_a_market_that_terminates_is_refused():
    for env in (Closing(last=4), Closing(action=0)):
        for options in ({}, {"traces": True}):
            with pytest.raises(ValueError, match="Closing terminated before the horizon in lane 0"):
                regret(UCB, env, **options)
        assert np.all(np.isnan(jaxprice.rollout(env, UCB, params=PARAMS, **SMALL)["regret"]))


def test_a_market_may_terminate_at_the_horizon(plain):
    for env in (Closing(last=6), Closing(last=100), Closing(action=5)):
        np.testing.assert_array_equal(regret(seed=7, env=env), plain)


def test_interrupting_closes_the_bar():
    bars = []

    class Bar:
        def __init__(self, **options):
            bars.append(self)
            self.closed = False

        def set_postfix_str(self, *args, **options):
            raise KeyboardInterrupt

        def close(self):
            self.closed = True

    module = __import__("sys").modules["jaxprice.simulate"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "tqdm", Bar)
        with pytest.raises(KeyboardInterrupt):
            regret(progress=True)
    assert len(bars) == 1 and bars[0].closed

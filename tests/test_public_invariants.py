"""`jaxprice.invariants`: correct policies and markets pass, and the error for every mistake names it."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_markets import BOUNDS, RICHER_MARKETS

import jaxprice
from jaxprice import Policy, invariants, policies
from jaxprice.envs.bernoulli_bandit import BernoulliBandit
from jaxprice.envs.finite_inventory import FiniteInventory

ENV = BernoulliBandit(num_arms=4)
POLICY = ("shapes", "finite", "inside", *invariants.AGAIN, "engine")


def count():
    """Plays at random and counts what pays; healthy."""

    def init(key, problem):
        return {"sums": jnp.zeros(problem.num_prices), "time": jnp.int32(0)}

    def act(key, state, observation):
        return jax.random.randint(key, (), 0, state["sums"].shape[0])

    def update(key, state, sale):
        return {"sums": state["sums"].at[sale.action].add(sale.reward), "time": state["time"] + 1}

    return Policy(init, act, update)


HEALTHY = count()


def changed(**parts):
    return HEALTHY._replace(**parts)


def test_a_healthy_policy_passes():
    assert invariants.check_policy(HEALTHY, ENV) == POLICY


def test_the_law_of_a_policy_is_checked():
    size = ENV.action_space().n

    def law(p):
        return changed(probabilities=lambda state, observation: jnp.asarray(p, jnp.float32))

    even = np.full(size, 1 / size)
    assert invariants.check_policy(law(even), ENV) == (*POLICY[:-1], "law", "engine")
    assert "law" in invariants.check_policy(policies.exp3(), ENV)
    tilted = even + 0.1 * (np.arange(size) == 1) - 0.1 * (np.arange(size) == 0)
    for wrong, message in ((tilted, "has probability"), (even[1:], "one an action"), (2 * even, "sum to 1")):
        with pytest.raises(ValueError, match=f"law: .*{message}"):
            invariants.check_policy(law(wrong), ENV)


def twice(key, state, observation):
    """Tosses two coins with one key."""
    return jnp.int32(jax.random.uniform(key) + jax.random.uniform(key))


def branches(key, state, observation):
    return jnp.int32(0) if state["time"] > 3 else jnp.int32(1)


def numpy_update(key, state, sale):
    return state | {"sums": state["sums"] + np.random.default_rng().random()}


def depends_on_jit(key, state, observation):
    return jnp.int32(isinstance(key, jax.core.Tracer))


MISTAKES = {
    "key reuse": (changed(act=twice), "keys: act uses a key twice"),
    "python branch": (changed(act=branches), "shapes: act cannot be compiled"),
    "numpy's random numbers": (changed(update=numpy_update), "deterministic: update"),
    "plain code": (changed(act=depends_on_jit), "plain: act"),
    "index": (changed(act=lambda key, state, seen: HEALTHY.act(key, state, seen) + 1), "inside: act returns 1 to 4"),
    "a price": (changed(act=lambda key, state, seen: jnp.float32(1)), "shapes: act returns float32"),
    "other types": (
        changed(update=lambda key, state, sale: state | {"time": jnp.float32(0)}),
        r"shapes: update.*\['time'\]",
    ),
    "other shapes": (changed(update=lambda key, state, sale: state | {"sums": jnp.zeros(5)}), r"shapes: update.*\['sums'\]"),
    "other structure": (changed(update=lambda key, state, sale: state | {"more": sale.price}), "shapes: update"),
    "a key": (changed(init=lambda key, problem: HEALTHY.init(key, problem) | {"key": key}), "shapes: init returns a random"),
    "not finite": (
        changed(update=lambda key, state, sale: state | {"sums": jnp.log(state["sums"])}),
        r"finite: update gives infinite numbers or NaN in period 0, in \['sums'\]",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_a_policy_is_found(name):
    policy, message = MISTAKES[name]
    with pytest.raises(ValueError, match=message):
        invariants.check_policy(policy, ENV, lanes=4, periods=4)


@dataclasses.dataclass(frozen=True)
class Market(BernoulliBandit):
    """A bandit whose parts can be replaced."""

    num_arms: int = 4
    mistake: str = ""

    def sample_params(self, key):
        params = super().sample_params(key)
        return dataclasses.replace(params, cost=jnp.int32(0)) if self.mistake == "types drawn" else params

    def refresh(self, state, params):
        state = super().refresh(state, params)
        if self.mistake == "too low":
            return state.replace(best_reward=0.5 * state.best_reward)
        return state

    def optimal_action(self, state, params):
        best = super().optimal_action(state, params)
        return (best + 1) % self.num_arms if self.mistake == "not the best" else best

    def expected_reward(self, state, action, params):
        return super().expected_reward(state, action, params) + 0.3 * (self.mistake == "wrong mean")

    def step_env(self, key, state, action, params):
        obs, after, reward, terminated, info = super().step_env(key, state, action, params)
        if self.mistake == "no demand":
            info = {name: value for name, value in info.items() if name != "demand"}
        if self.mistake == "vector":
            info = info | {"regret": info["regret"] * jnp.ones(2)}
        if self.mistake == "another reward":
            reward = reward + 1
        if self.mistake == "observation":
            obs = obs[:2]
        if self.mistake == "stopped clock":
            after = dataclasses.replace(after, time=state.time)
        if self.mistake == "key":
            reward = jax.random.uniform(key)
            info = info | {"reward": reward}
        return obs, after, reward, terminated, info


WRONG = {
    "types drawn": "params: .*cost",
    "too low": "regret: .* an action earns more than the oracle promises",
    "not the best": "regret: that of optimal_action",
    "wrong mean": "mean: rewards are",
    "no demand": "info: .* demand is missing",
    "vector": "info: regret must be a scalar",
    "another reward": "info: the reward that step_env returns",
    "observation": "shapes: step_env returns another observation",
    "stopped clock": "info: the market's state must count",
    "key": "keys: step_env uses a key twice",
}


def test_a_healthy_market_passes():
    assert invariants.check_market(Market(), lanes=64) == (
        "params", "shapes", "finite", "info", *invariants.AGAIN, "engine", "regret", "mean",
    )  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_in_a_market_is_found(name, monkeypatch):
    monkeypatch.setattr(invariants, "_check_engine", lambda game, params: None)  # quicker; the healthy ones have it
    with pytest.raises(ValueError, match=WRONG[name]):
        invariants.check_market(Market(mistake=name), lanes=64, periods=6)


def test_an_engine_that_plays_otherwise_is_found(monkeypatch):
    simulate = invariants.simulate
    monkeypatch.setattr(invariants, "simulate", lambda *args, seed, **more: simulate(*args, seed=seed + 1, **more))
    with pytest.raises(ValueError, match="engine: simulate plays"):
        invariants.check_policy(HEALTHY, ENV)


def test_bad_arguments():
    with pytest.raises(ValueError, match="policy must be a Policy that acts by itself"):
        invariants.check_policy(policies.oracle(), ENV)
    with pytest.raises(ValueError, match=r"policy must be .*; ucb1 makes one when it is called: ucb1\(\)"):
        invariants.check_policy(policies.ucb1, ENV)
    with pytest.raises(ValueError, match="env must be an Environment"):
        invariants.check_market("apple")
    with pytest.raises(ValueError, match=r"lanes must be an integer .* got 1"):
        invariants.check_policy(HEALTHY, ENV, lanes=1)
    with pytest.raises(ValueError, match="thompson needs bernoulli demand"):  # what init refuses, it refuses here too
        invariants.check_policy(policies.thompson(), jaxprice.make("GaussianBandit")[0])


@dataclasses.dataclass(frozen=True)
class Season(FiniteInventory):
    """A season whose optimum can be stated otherwise."""

    mistake: str = ""

    def step_env(self, key, state, action, params):
        obs, after, reward, terminated, info = super().step_env(key, state, action, params)
        if self.mistake == "of the state":  # what the best action earns where the seller has got to
            info = info | {"optimal_reward": self.expected_reward(state, self.optimal_action(state, params), params)}
        if self.mistake == "half":
            info = info | {"optimal_reward": 0.5 * info["optimal_reward"]}
        if self.mistake == "closes":
            terminated = after.stock <= 0
        return obs, after, reward, terminated, info


def season(mistake=""):
    env, _ = jaxprice.make("FiniteInventory", stock=3, horizon=12)
    return Season(**{field.name: getattr(env, field.name) for field in dataclasses.fields(env)}, mistake=mistake)


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        ("of the state", "regret: the sums of optimal_reward are .* above those under its oracle in the same markets"),
        ("half", "regret: the sums of optimal_reward are -.* above those of reward and regret, under a random seller"),
        ("closes", "info: step_env terminated in period"),
    ],
)
def test_a_wrong_optimum_of_a_market_with_state_is_found(mistake, message, monkeypatch):
    monkeypatch.setattr(invariants, "_check_engine", lambda game, params: None)
    with pytest.raises(ValueError, match=message):
        invariants.check_market(season(mistake))


def test_a_season_passes_as_it_is_made():
    """Its default params hold tuples where markets drawn hold arrays."""
    assert "mean" in invariants.check_market(jaxprice.make("FiniteInventory")[0], lanes=64, periods=6)


@pytest.mark.slow
@pytest.mark.many
@pytest.mark.parametrize("name", jaxprice.list_envs())
def test_every_market_passes_as_it_is_made(name):
    env, _ = jaxprice.make(name)
    assert "regret" in invariants.check_market(env, lanes=64, periods=6, attained=name != "NetworkRevenue")


@pytest.mark.parametrize("value", [1, True, 2.0, "8", [8], None, 2**40])
@pytest.mark.parametrize("name", ["lanes", "periods"])
def test_sizes_of_checks(name, value):
    for check in (functools.partial(invariants.check_policy, HEALTHY), invariants.check_market):
        with pytest.raises(ValueError, match=f"{name} must be an integer"):
            check(ENV, **{name: value})


def test_other_arguments_of_checks():
    for check in (functools.partial(invariants.check_policy, HEALTHY), invariants.check_market):
        with pytest.raises(ValueError, match="seed must be an integer"):
            check(ENV, seed=1.5)
        with pytest.raises(ValueError, match=r"params must be the .* of BernoulliBandit, got float"):
            check(ENV, 3.0)
        with pytest.raises(ValueError, match="params must be one market, got a batch"):
            check(ENV, jax.tree.map(lambda x: np.stack([x]), ENV.default_params()))
    with pytest.raises(ValueError, match="attained must be True or False, got 'no'"):
        invariants.check_market(ENV, attained="no")


@pytest.mark.slow
@pytest.mark.parametrize("name", RICHER_MARKETS)
def test_markets_of_the_library_pass(name):
    kind, options = RICHER_MARKETS[name]
    env, params = jaxprice.make(kind, **options)
    assert "regret" in invariants.check_market(env, params, lanes=64, periods=4, attained=name not in BOUNDS)

"""Policies and markets that call Python: each runs its own function, and a callback sees current values."""

import functools
import io
import os
import subprocess
import sys
from contextlib import redirect_stdout

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import io_callback

import jaxprice
from jaxprice import Policy

MEANS = [0.2, 0.7, 0.5]


@functools.cache
def bandit():
    return jaxprice.make("BernoulliBandit", means=MEANS)


def reward_of(policy, **options):
    env, params = bandit()
    result = jaxprice.simulate(env, policy, lanes=3, horizon=20, params=params, checkpoints=[20], **options)
    return 0.7 - float(result["regret"].values[0, -1]) / 20


def told_by(call, arm):
    """A policy that asks a Python function which arm to play."""

    def ask(clock):
        return np.full(np.shape(clock), arm, np.int32)

    return Policy(
        lambda key, problem: jnp.int32(0),
        lambda key, clock, observation: call(ask, jax.ShapeDtypeStruct((), jnp.int32), clock),
        lambda key, clock, seen: clock + 1,
    )


CALLS = {
    "pure_callback": functools.partial(jax.pure_callback, vmap_method="expand_dims"),
    "pure_callback, one by one": functools.partial(jax.pure_callback, vmap_method="sequential"),
    "io_callback": io_callback,
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("traces", [False, True])
def test_each_policy_calls_its_own_function(name, traces):
    for arm in (0, 1, 2):
        assert abs(reward_of(told_by(CALLS[name], arm), traces=traces) - MEANS[arm]) < 1e-6


def test_each_policy_prints_and_logs_for_itself():
    seen = {arm: [] for arm in (0, 1)}

    def playing(arm):
        def act(key, clock, observation):
            jax.debug.callback(lambda t: seen[arm].append(int(t)), clock)
            return jnp.int32(arm)

        return Policy(lambda key, problem: jnp.int32(0), act, lambda key, clock, sale: clock + 1)

    for arm in (0, 1):
        reward_of(playing(arm))
        jax.effects_barrier()
    periods = sorted(set(seen[0]))
    assert periods == list(range(20)) and len(seen[0]) % 20 == 0
    assert sorted(seen[1]) == sorted(seen[0])


def test_a_print_of_what_no_decision_reads_is_up_to_date():
    """Counters that reach no metric: one that is the same in all lanes, one that is not."""

    def act(key, state, observation):
        jax.debug.print("{} {}", state["clock"], state["sold"])
        return jnp.int32(1)

    def update(key, state, sale):
        return {"clock": state["clock"] + 1, "sold": state["sold"] + sale.demand}

    policy = Policy(lambda key, problem: {"clock": jnp.int32(0), "sold": jnp.float32(0)}, act, update)
    env, params = bandit()
    said = io.StringIO()
    with redirect_stdout(said):
        result = jaxprice.simulate(env, policy, lanes=1, horizon=30, params=params, devices=1, traces=True)
        jax.effects_barrier()
        traced, _ = said.getvalue(), said.truncate(0)
        said.seek(0)
        jaxprice.simulate(env, policy, lanes=1, horizon=30, params=params, devices=1)
        jax.effects_barrier()
    sold = np.concatenate([[0], np.cumsum(result["trace_demand"].values[0, :, 0])[:-1]])
    expected = sorted((t, float(n)) for t, n in enumerate(sold))
    for text in (traced, said.getvalue()):
        lines = (line.split() for line in text.splitlines())
        assert sorted((int(clock), float(n)) for clock, n in lines) == expected


def test_a_market_may_call_python():
    """The buyers of two markets that differ only in the function that is called."""
    env, params = bandit()

    def market(value):
        class Asked(type(env)):
            def step_env(self, key, state, action, params):
                obs, state, _, done, info = super().step_env(key, state, action, params)
                shape = jax.ShapeDtypeStruct((), jnp.float32)
                ask = lambda action: np.full(np.shape(action), value, np.float32)  # noqa: E731
                reward = jax.pure_callback(ask, shape, action, vmap_method="expand_dims")
                return obs, state, reward, done, info | {"reward": reward}

        fields = {name: getattr(env, name) for name in env.__dataclass_fields__ if env.__dataclass_fields__[name].init}
        return Asked(**fields)

    for value in (1.0, 3.0):
        result = jaxprice.simulate(market(value), jaxprice.policies.ucb1(), lanes=2, horizon=9, params=params)
        assert float(result["reward"].values[0, -1]) == 9 * value


CONSTANTS = """
import numpy as np, jax.numpy as jnp
import jaxprice
from jaxprice import Policy

env, params = jaxprice.make("BernoulliBandit", means=[0.2, 0.7, 0.5])
for kind in (np, jnp):
    for arm in (0, 1, 2):
        table = kind.full(4000, arm, dtype="int32")
        act = lambda key, t, obs: jnp.asarray(table)[t % 4000]
        policy = Policy(lambda key, problem: jnp.int32(0), act, lambda key, t, sale: t + 1)
        result = jaxprice.simulate(env, policy, lanes=2, horizon=10, params=params)
        print(round(.7 - float(result["regret"].values[0, -1]) / 10, 3))
"""


@pytest.mark.parametrize("hoisted", ["0", "1"])
def test_large_constants_are_each_policy_s_own(hoisted):
    environment = os.environ | {"JAX_USE_SIMPLIFIED_JAXPR_CONSTANTS": hoisted}
    done = subprocess.run([sys.executable, "-c", CONSTANTS], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0.2", "0.7", "0.5"] * 2

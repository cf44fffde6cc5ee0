"""A market that is played period by period, for `jaxprice.invariants`: all calls are recorded and can be repeated.

The one-lane functions of market and policy are compiled and played in many lanes, with the addressed keys of the engine.
Inputs and outputs of each call are stored, so that the call can be repeated in other ways.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxprice import random
from jaxprice.numerics import nearest_allowed
from jaxprice.rehearsal import INFO
from jaxprice.types import Discrete, Interval, Transition


class Function:
    """A function of one lane, `(params, time, lane, inputs)`. It runs in many lanes at once; later, calls are repeated."""

    def __init__(self, name, function):
        self.name, self.function, self.traces, self.calls = name, function, 0, []

        def counted(*args):
            self.traces += 1
            return function(*args)

        self.many = jax.jit(jax.vmap(counted, (0, None, 0, 0)))

    def __call__(self, params, time, lanes, *inputs):
        try:
            with random.explained():
                out = self.many(params, np.int32(time), lanes, inputs)
        except (TypeError, IndexError) as error:
            raise ValueError(f"shapes: {self.name} cannot be compiled: {str(error).splitlines()[0]}") from error
        if any(jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) for leaf in jax.tree.leaves(out)):
            raise ValueError(f"shapes: {self.name} returns a random key; keys come with every call and stay out of states")
        out = jax.device_get(out)
        for path, leaf in jax.tree_util.tree_flatten_with_path(out)[0]:
            if np.issubdtype(leaf.dtype, np.floating) and not np.all(np.isfinite(leaf)):
                where = jax.tree_util.keystr(path) or "what it returns"
                raise ValueError(f"finite: {self.name} gives infinite numbers or NaN in period {time}, in {where}")
        self.calls.append((time, inputs, out))
        return out

    def look_again(self, params, lanes):
        """Repeat some of the calls: in one lane alone, as plain code, and twice with the same key."""

        def call(number, lane):
            time, inputs, out = self.calls[number]
            mine, *args = (jax.tree.map(lambda x: jnp.asarray(x[lane]), x) for x in (out, params, lanes, inputs))
            return mine, (args[0], jnp.int32(time), *args[1:])

        mine, args = call(-1, -1)
        with jax.disable_jit():
            first, second = self.function(*args), self.function(*args)
        self._same("deterministic", "gives other numbers for the same key and arguments", first, second, exact=True)
        self._same("plain", "gives other numbers as plain code than compiled", first, mine)
        one = jax.jit(self.function)
        for number in range(0, len(self.calls), max(1, len(self.calls) // 3)):
            for lane in (0, -1):
                mine, args = call(number, lane)
                try:
                    with jax.debug_key_reuse(True):
                        alone = one(*args)
                except jax.errors.KeyReuseError as error:
                    raise ValueError(f"keys: {self.name} uses a key twice; split it first") from error
                self._same("vmap", "gives other numbers for one lane alone than among many", alone, mine)
        if self.traces != 1:
            raise ValueError(f"one trace: {self.name} was traced {self.traces} times for arguments of the same shapes")

    def _same(self, what, message, ours, theirs, exact=False):
        for x, y in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            x, y = np.asarray(x), np.asarray(y)
            if exact or not np.issubdtype(y.dtype, np.floating):
                same = np.array_equal(x, y)
            else:
                same = np.allclose(x, y, rtol=1e-3, atol=1e-4 * max(1.0, np.abs(y).max(initial=0.0)))
            if not same:
                raise ValueError(f"{what}: {self.name} {message}: {x.tolist()} and {y.tolist()}")


class Game:
    """Lanes of a market under a policy, or under the oracle if the policy is None, with a record of every period."""

    def __init__(self, env, policy, params, lanes, periods, seed):
        self.env, self.policy, self.seed, self.periods = env, policy, seed, periods
        self.lanes = np.arange(lanes, dtype=np.uint32)
        params = dataclasses.replace(params, max_steps_in_episode=np.full(lanes, periods, np.int32))
        self.params = jax.tree.map(np.asarray, env.solved(params, batched=True))
        streams = {role: random.stream(seed, role) for role in random.ROLES}

        def keyed(role, function):
            return lambda params, time, lane, inputs: function(random.address(streams[role], time, lane), params, *inputs)

        functions = {
            "reset_env": keyed("reset", env.reset_env),
            "step_env": keyed("demand", lambda key, params, state, action: env.step_env(key, state, action, params)),
            "optimal_action": lambda params, time, lane, inputs: env.optimal_action(*inputs, params),
            "expected_reward": lambda params, time, lane, inputs: env.expected_reward(*inputs, params),
            "allowed": lambda params, time, lane, inputs: env.allowed(*inputs, params),
        }
        if policy is not None:
            functions["init"] = keyed(
                "init", lambda key, params, obs: policy.init(key, env.problem(params).with_observation(obs))
            )
            functions["act"] = keyed("act", lambda key, params, state, obs: policy.act(key, state, obs))
            functions["update"] = keyed("update", lambda key, params, state, sale: policy.update(key, state, sale))
        self.functions = {name: Function(name, function) for name, function in functions.items()}
        self.problem = jax.device_get(jax.jit(jax.vmap(env.problem))(self.params))
        self.sales, self.infos, self.expected = [], [], []

    def call(self, name, time, *inputs):
        return self.functions[name](self.params, time, self.lanes, *inputs)

    def play(self, expected=False):
        """Play all periods; with `expected`, also record the expected rewards."""
        obs, env_state = self.call("reset_env", 0)
        state = None if self.policy is None else self.call("init", 0, obs)
        for time in range(self.periods):
            name = "optimal_action" if self.policy is None else "act"
            action = self.call(name, time, env_state) if self.policy is None else self.call(name, time, state, obs)
            self.check_action(name, action)
            action = self.taken(time, env_state, action)
            if expected:
                self.expected.append(self.call("expected_reward", time, env_state, action))
            after, next_state, reward, terminated, info = self.call("step_env", time, env_state, action)
            self.check_period(time, env_state, next_state, obs, after, reward, terminated, info)
            sale = Transition(obs, action, info["price"], info["demand"], reward, after)
            if self.policy is not None:
                learned = self.call("update", time, state, sale)
                alike("shapes", "update returns another state than init", state, learned)
                state = learned
            self.sales.append(sale)
            self.infos.append(info)
            obs, env_state = after, next_state

    def taken(self, time, env_state, action) -> Any:
        """The actions that the market takes, NumPy; those of the oracle must be allowed."""
        one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), (env_state, self.params))
        if jax.eval_shape(self.env.allowed, *one) is None:
            return action
        mask = self.call("allowed", time, env_state)
        if not mask.any(axis=-1).all():
            raise ValueError(f"mask: allowed forbids all actions in period {time}")
        nearest = np.asarray(nearest_allowed(mask, action))
        if self.policy is None and not np.array_equal(nearest, action):
            raise ValueError(f"mask: optimal_action takes a forbidden action in period {time}")
        return nearest

    def check_action(self, name, action):
        """Raise if actions `[lanes, ...]` are not in the action space."""
        space, shape = self.problem.action_space, np.shape(action)[1:]
        if shape != space.shape or not jnp.issubdtype(action.dtype, space.kind):
            raise ValueError(f"shapes: {name} returns {action.dtype}{list(shape)}, but the action space is {space}")
        if isinstance(space, Discrete):
            inside = np.all(action >= 0) and np.all(action < space.n)
        elif isinstance(space, Interval):
            low, high = (
                np.reshape(x, x.shape + (1,) * (action.ndim - x.ndim)) for x in (self.problem.low, self.problem.high)
            )
            inside = np.all(action >= low - 1e-5 * np.abs(low)) and np.all(action <= high + 1e-5 * np.abs(high))
        else:
            inside = np.all(action.sum(axis=-1) <= space.size)
        if not inside:
            raise ValueError(f"inside: {name} returns {np.min(action)} to {np.max(action)}, outside of {space}")

    def check_period(self, time, state, next_state, obs, after, reward, terminated, info):
        """Check the results of `step_env`, `[lanes, ...]`."""
        alike("shapes", "step_env returns another state than reset_env", state, next_state)
        alike("shapes", "step_env returns another observation than reset_env", obs, after)
        if not hasattr(next_state, "time") or not np.all(next_state.time == time + 1):
            raise ValueError(f"info: the market's state must count the periods in `time`, {time + 1} by now")
        missing = [name for name in INFO if name not in info]
        if missing:
            raise ValueError(f"info: step_env's info must hold {', '.join(INFO)}; {', '.join(missing)} is missing")
        scalars = {name: info[name] for name in ("reward", "regret", "optimal_reward")}
        for name, value in (scalars | {"reward returned": reward, "terminated": terminated}).items():
            if np.shape(value) != self.lanes.shape:
                raise ValueError(f"info: {name} must be a scalar, got shape {list(np.shape(value)[1:])}")
        if time + 1 < self.periods and np.any(terminated):
            raise ValueError(f"info: step_env terminated in period {time}, but a lane is played for {self.periods} periods")
        if not np.array_equal(reward, info["reward"]):
            raise ValueError("info: the reward that step_env returns is not that of its info")

    def stacked(self, name):
        """An entry of `info`, float64 `[periods, lanes, ...]`."""
        return np.stack([info[name] for info in self.infos]).astype(float)


def alike(what, message, first, second):
    """Raise if two trees differ in structure, shapes or types."""
    (ours, structure), (theirs, other) = (jax.tree_util.tree_flatten_with_path(tree) for tree in (first, second))
    if structure != other:
        raise ValueError(f"{what}: {message}: {structure} and {other}")
    for (path, x), (_, y) in zip(ours, theirs, strict=True):
        if (x.shape, x.dtype) != (y.shape, y.dtype):
            where = jax.tree_util.keystr(path) or "itself"
            raise ValueError(f"{what}: {message}, in {where}: {x.dtype}{list(x.shape)} and {y.dtype}{list(y.shape)}")

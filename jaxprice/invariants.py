"""Conditions that every policy and every market must satisfy: `check_policy` and `check_market`, for your own ones.

The checks play some lanes for a few periods with compiled one-lane functions and the addressed keys of the engine. They test
the conditions below. The first one that fails raises a ValueError that says what failed, where and by how much.

| name | what must hold |
|---|---|
| "params" | drawn markets have the structure, shapes and types of the given one, so that compiled code serves both |
| "shapes" | states keep their structure, shapes and types, without random keys; actions have the type of the action space |
| "finite" | no state, observation or reward is infinite or NaN |
| "inside" | actions are in the action space (JAX would clamp an index out of range without an error) |
| "info" | `step_env` returns the entries that every market has, in the right shapes, counts periods, reaches the horizon |
| "vmap" | a lane gives the same numbers alone and among many |
| "plain" | plain code gives the same numbers as compiled code |
| "deterministic" | the same key gives the same numbers again |
| "keys" | no key is used twice |
| "one trace" | Python code runs once, and never again for other numbers |
| "engine" | `simulate` posts the same prices and sells the same units |
| "regret" | no action beats the oracle, whose own regret is zero; `optimal_reward` sums to the sum of reward plus regret |
| "mean" | the mean of rewards is within five standard errors of `expected_reward` |
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jaxprice import checks, policies, preparation, random
from jaxprice.preparation import INFO
from jaxprice.simulate import simulate
from jaxprice.types import Discrete, Interval, Oracle, Policy, Transition

ROUNDING = 2e-5  # tolerance for regret, in units of the oracle's reward
AGAIN = ("vmap", "plain", "deterministic", "keys", "one trace")


def check_policy(policy, env, params=None, *, lanes=8, periods=12, seed=0):
    """Check a policy in a market of the kind that it is made for.

    Args:
      policy: the `Policy`.
      env: an environment.
      params: one market; None means the environment's default.
      lanes, periods: number of lanes and periods to play, at least two of each.
      seed: seed of all random numbers.

    Returns:
      Names of the conditions that were checked, a tuple.

    Raises:
      ValueError: a condition fails, or an argument is wrong.
    """
    if not isinstance(policy, Policy) or isinstance(policy, Oracle):
        hint = preparation.hint(policy)
        raise ValueError(f"policy must be a Policy that acts by itself, got {checks.shown(policy)}{hint}")
    lanes, periods, seed = _sizes(env, lanes, periods, seed)
    params = preparation.one_market(env, params, periods)
    many = jax.tree.map(lambda x: np.broadcast_to(x, (lanes, *np.shape(x))), params)
    game = _Game(env, policy, many, lanes, periods, seed)
    game.play()
    for name in ("init", "act", "update"):
        game.functions[name].look_again(game.params, game.lanes)
    _check_engine(game, params)
    return ("shapes", "finite", "inside", *AGAIN, "engine")


def check_market(env, params=None, *, lanes=256, periods=12, attained=True, seed=0):
    """Check a market, both the given one and drawn ones, under a random seller and under the oracle.

    Args:
      env: the environment.
      params: one market; None means the environment's default.
      lanes, periods: number of lanes and periods to play, at least two of each.
      attained: whether the oracle can be attained. It is False if the oracle is only a bound, as in `NetworkRevenue`; then
        the regret of the oracle and the mean of rewards are not checked.
      seed: seed of all random numbers.

    Returns:
      Names of the conditions that were checked, a tuple.

    Raises:
      ValueError: a condition fails, or an argument is wrong.
    """
    lanes, periods, seed = _sizes(env, lanes, periods, seed)
    attained = checks.boolean("attained", attained)
    given, params = params, preparation.one_market(env, params, periods)
    drawn = jax.eval_shape(env.sample_params, jax.random.key(0))
    given = jax.tree.structure(drawn).flatten_up_to(env.solved(env.default_params() if given is None else given))
    given = jax.tree.unflatten(jax.tree.structure(drawn), [jnp.asarray(leaf) for leaf in given])
    _alike("params", "markets drawn by sample_params differ from the one given", given, drawn)
    words = random.stream(seed, "market")
    sample = jax.jit(jax.vmap(lambda lane: jax.tree.map(jnp.asarray, env.sample_params(random.address(words, 0, lane)))))
    many = jax.device_get(sample(np.arange(lanes, dtype=np.uint32)))
    many = jax.tree.map(lambda x, mine: np.concatenate([np.asarray(mine, x.dtype)[None], x[1:]]), many, params)
    game = _Game(env, policies.random_price(), many, lanes, periods, seed)
    best = _Game(env, None, many, lanes, periods, seed)
    for one in (game, best):
        one.play(attained)
    for name in ("reset_env", "step_env"):
        game.functions[name].look_again(game.params, game.lanes)
    _check_engine(game, many)
    _check_regret(game, best, attained)
    return ("params", "shapes", "finite", "info", *AGAIN, "engine", "regret", *(("mean",) if attained else ()))


class _Function:
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
        if any(jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) for leaf in jax.tree.leaves(out)):
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


class _Game:
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
        }
        if policy is not None:
            functions["init"] = keyed(
                "init", lambda key, params, obs: policy.init(key, env.problem(params).with_observation(obs))
            )
            functions["act"] = keyed("act", lambda key, params, state, obs: policy.act(key, state, obs))
            functions["update"] = keyed("update", lambda key, params, state, sale: policy.update(key, state, sale))
        self.functions = {name: _Function(name, function) for name, function in functions.items()}
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
            if expected:
                self.expected.append(self.call("expected_reward", time, env_state, action))
            after, next_state, reward, terminated, info = self.call("step_env", time, env_state, action)
            self.check_period(time, env_state, next_state, obs, after, reward, terminated, info)
            sale = Transition(obs, action, info["price"], info["demand"], reward, after)
            if self.policy is not None:
                learned = self.call("update", time, state, sale)
                _alike("shapes", "update returns another state than init", state, learned)
                state = learned
            self.sales.append(sale)
            self.infos.append(info)
            obs, env_state = after, next_state

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
        _alike("shapes", "step_env returns another state than reset_env", state, next_state)
        _alike("shapes", "step_env returns another observation than reset_env", obs, after)
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


def _sizes(env, lanes, periods, seed):
    """Lanes and periods as ints of at least two, with periods limited to the oracle's tables; and the seed."""
    lanes, periods = checks.whole("lanes", lanes, 2, 2**20), checks.whole("periods", periods, 2, 2**20)
    longest = getattr(env, "longest", None)
    return lanes, periods if longest is None else min(periods, longest), checks.seed(seed)


def _alike(what, message, first, second):
    """Raise if two trees differ in structure, shapes or types."""
    (ours, structure), (theirs, other) = (jax.tree_util.tree_flatten_with_path(tree) for tree in (first, second))
    if structure != other:
        raise ValueError(f"{what}: {message}: {structure} and {other}")
    for (path, x), (_, y) in zip(ours, theirs, strict=True):
        if (x.shape, x.dtype) != (y.shape, y.dtype):
            where = jax.tree_util.keystr(path) or "itself"
            raise ValueError(f"{what}: {message}, in {where}: {x.dtype}{list(x.shape)} and {y.dtype}{list(y.shape)}")


def _check_engine(game, params):
    """Raise if the engine posts other prices or sells other units; some lanes may differ after a tie decided by rounding."""
    lanes = len(game.lanes)
    run = simulate(game.env, game.policy, seed=game.seed, lanes=lanes, horizon=game.periods, params=params, traces=True)
    same = np.ones(lanes, bool)
    for name in ("price", "demand"):
        ours = np.moveaxis(game.stacked(name), 1, -1)
        close = np.isclose(run[f"trace_{name}"].values[0], ours, rtol=1e-3, atol=1e-4 * np.abs(ours).max())
        same &= close.all(axis=tuple(range(close.ndim - 1)))
    if same.mean() < 0.75:
        raise ValueError(f"engine: simulate plays {np.sum(~same)} of {lanes} lanes otherwise than the plain functions do")


def _check_regret(game, best, attained):
    """Raise if a regret is negative, the oracle has regret, or rewards have another mean than stated."""
    scale = np.abs(game.stacked("optimal_reward")).mean() or np.abs(game.stacked("reward")).mean()  # unit of money
    regret = game.stacked("regret")
    if regret.min() < -ROUNDING * scale:
        time = np.unravel_index(regret.argmin(), regret.shape)[0]
        raise ValueError(f"regret: {regret.min():.4g} in period {time}: an action earns more than the oracle promises")
    for one, seller in ((game, "a random seller"), (best, "its oracle")):
        _check_sums(one, best, seller, scale, attained)
    if not attained:
        return
    if np.abs(best.stacked("regret")).max() > ROUNDING * scale:
        raise ValueError(f"regret: that of optimal_action is {np.abs(best.stacked('regret')).max():.4g}, not zero")
    gaps = game.stacked("reward") - np.stack(game.expected)
    error = gaps.std() / np.sqrt(gaps.size)
    if abs(gaps.mean()) > 5 * error + ROUNDING * scale:
        raise ValueError(f"mean: rewards are {gaps.mean():.4g} above expected_reward, {abs(gaps.mean()) / error:.1f} errors")


def _check_sums(game, best, seller, scale, attained):
    """Raise if sums of `optimal_reward` depend on the seller, or differ in expectation from sums of reward plus regret.

    If the oracle is a bound that nobody attains, the sums may only be below. If the oracle plans for an infinite horizon,
    the sums differ by the values of the first and the last state.
    """
    optimal, other = game.stacked("optimal_reward").sum(axis=0), best.stacked("optimal_reward").sum(axis=0)
    gaps = {f"those under its oracle in the same markets, under {seller}": (optimal - other, 1)}
    if not game.env.endless:
        earned = (game.stacked("reward") + game.stacked("regret")).sum(axis=0)
        gaps[f"those of reward and regret, under {seller}"] = (optimal - earned, 1 if attained else 0)
    for what, (gap, both) in gaps.items():
        error = gap.std(ddof=1) / np.sqrt(gap.size)
        beyond = (abs(gap.mean()) if both else gap.mean()) - 5 * error
        if beyond > ROUNDING * scale * game.periods:
            how = f"{gap.mean():.4g} above {what}, with a standard error of {error:.2g}"
            raise ValueError(f"regret: the sums of optimal_reward are {how}; see Environment.optimal_reward")

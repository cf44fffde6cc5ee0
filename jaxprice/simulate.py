"""Run policies in a market over thousands of lanes: the surface of the engine.

A lane is one market and one seed. Lane code is plain and scalar; `lanes.widen` makes it wide, `program.Program` maps it over
devices, `engine` loops over time, and the host goes from checkpoint to checkpoint and from chunk to chunk, so that memory
grows with neither the horizon nor the number of lanes.

Randomness is addressed by (seed, role, time, lane) (`jaxprice.random`): a lane gives the same result in any chunk and on
any number of devices, and all policies meet the same markets and the same buyers.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from jaxprice import checks, engine, random, stats
from jaxprice import devices as device_mesh
from jaxprice.types import Discrete, Interval, Oracle, Policy, Subset

LANES_PER_DEVICE = {"cpu": 2048, "gpu": 2**20, "tpu": 2**17}  # a chunk
CACHE = 2**19  # bytes: on a CPU, what policies know of the lanes that are played together should stay in cache


def simulate(
    env,
    policies,
    *,
    seed=0,
    lanes=1000,
    horizon=1000,
    params=None,
    checkpoints=None,
    quantiles=(0.05, 0.25, 0.5, 0.75, 0.95),
    devices=None,
    chunk=None,
    traces=False,
    progress=False,
):
    """Run policies in a market and return their regret and reward over time, with standard errors.

    Args:
      env: an environment.
      policies: a dict of name -> `Policy`, or one `Policy`.
      seed: integer in `[0, 2**64)`.
      lanes: number of lanes; each has its own buyers, and its own market unless `params` says otherwise.
      horizon: periods. It replaces `params.max_steps_in_episode`.
      params: one market for all lanes; or a batch of markets, every leaf with a leading axis `[lanes]`; or None: each lane
        draws its own from `env.sample_params`.
      checkpoints: increasing times at which statistics are kept, the last one being the horizon; log-spaced by default.
      quantiles: levels of `regret_quantile`.
      devices: a list of JAX devices or how many of the local ones; by default all of them.
      chunk: lanes at a time; by default what suits the device.
      traces: also keep action, price, demand and reward of every lane and period (memory grows with the horizon).
      progress: whether to show a progress bar, or a function called with the number of pulls done since its last call.

    Returns:
      `xarray.Dataset` with coordinates `policy`, `time`, `quantile` and `lane`: cumulative `regret`, `reward`, `revenue`
      and `share` (of the expected reward of the oracle) with their standard errors `*_se`, means over lanes;
      `regret_quantile`; and `lane_regret`, `lane_share` at the horizon. With `traces`, also `trace_*`.

    Raises:
      ValueError: no lanes, a horizon or checkpoints out of range, a policy that cannot act in the environment, params of
        a wrong shape; before anything is traced.
    """
    if isinstance(policies, Policy):
        policies = {"policy": policies}
    if not isinstance(policies, dict):
        raise ValueError(f"policies must be a Policy or a dict of them, got {policies!r}")
    if not policies:
        raise ValueError("policies must name at least one policy, got none")
    for name, policy in policies.items():
        if not isinstance(policy, Policy):
            raise ValueError(f"policies[{name!r}] must be a Policy, got {policy!r}")
    lanes, horizon = checks.positive_int("lanes", lanes), checks.positive_int("horizon", horizon)
    if env.longest is not None and horizon > env.longest:
        raise ValueError(f"horizon must be at most {env.longest}, for which {env.name} was made, got {horizon}")
    for name, policy in policies.items():
        longest = getattr(policy, "longest", None)
        if longest is not None and horizon > longest:
            raise ValueError(f"policy {name!r} was made for at most {longest} periods, got the horizon {horizon}")
    times = _checkpoints(checkpoints, horizon)
    mesh = device_mesh.mesh(devices)
    random.stream(seed, "market")
    batched = params is not None and _is_batched(env, params, lanes)
    if params is not None:
        params = env.solved(params, batched)
    if chunk is not None:
        checks.positive_int("chunk", chunk)
    checks.number("quantiles", quantiles, low=0, high=1)
    sizes = {name: _check_policy(name, policy, env, params, batched) for name, policy in policies.items()}
    bar = _Progress(progress, len(policies) * lanes * horizon, env.name)
    results = {}
    for name, policy in policies.items():
        at_a_time = min(chunk or _lanes_per_device(mesh) * mesh.size, lanes)
        width, tile = _width(mesh, at_a_time, sizes[name])
        one = engine.engine(env, policy, mesh, params is not None, batched, tile)
        summary = stats.Summary(times, quantiles)
        for first in range(0, lanes, at_a_time):
            run = one.run_traced if traces else one.run
            out = run(seed, first, min(at_a_time, lanes - first), width, times, params, functools.partial(bar, name))
            summary.add(*(out if traces else (out,)))
        results[name] = summary.dataset()
    bar.close()
    return stats.join(results, {"environment": env.name, "seed": int(seed), "lanes": lanes, "horizon": horizon})


def rollout(env, policy, *, seed=0, lanes, horizon, params=None):
    """Cumulative metrics at the horizon as a pure function, to be jitted and vmapped over hyperparameters.

        sweep = jax.vmap(lambda scale: rollout(env, ucb1(scale), lanes=1000, horizon=10_000, params=params)["regret"])

    Args:
      env, policy: as in `simulate`; hyperparameters of the policy may be traced.
      seed: integer or uint32 scalar.
      lanes, horizon: static sizes.
      params: one market, or None: each lane draws its own.

    Returns:
      A dict of "regret", "reward", "revenue", "optimal" -> float `[lanes]`; lanes are those of `simulate`.
    """
    return engine.totals(env, policy, seed, lanes, horizon, params)


def _checkpoints(checkpoints, horizon):
    """Times at which statistics are kept, int `[C]`."""
    if checkpoints is None:
        return np.unique(np.round(np.geomspace(1, horizon, 31)).astype(int))
    times = np.asarray(checkpoints)
    whole = times.ndim == 1 and times.size and np.issubdtype(times.dtype, np.integer)
    if not whole or np.any(np.diff(times) <= 0) or times[0] < 1 or times[-1] != horizon:
        raise ValueError(f"checkpoints must be increasing integers from 1 to the horizon {horizon}, got {checkpoints!r}")
    return times


def _is_batched(env, params, lanes):
    """Whether params hold one market (False) or one a lane (True)."""
    kind = jax.eval_shape(env.sample_params, jax.random.key(0))
    if type(params) is not type(kind):
        raise ValueError(f"params must be the {type(kind).__name__} of {env.name}, got a {type(params).__name__}")
    batched = np.ndim(params.max_steps_in_episode) > 0
    sizes = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(params)} if batched else {(lanes,)}
    if sizes != {(lanes,)}:
        raise ValueError(f"params must hold one market or one for each of the {lanes} lanes, got leading axes {sizes}")
    if hasattr(params, "prices") and np.shape(params.prices)[batched:] != kind.prices.shape:
        wanted, got = kind.prices.shape[0], np.shape(params.prices)[batched:]
        raise ValueError(f"params must be those of {env.name} with {wanted} actions, got prices of shape {got}")
    return batched


def _lanes_per_device(mesh):
    """Lanes of a chunk on one device."""
    return LANES_PER_DEVICE.get(mesh.devices.flat[0].platform, 2**17)


def _width(mesh, lanes, size):
    """Lanes to compute where so many are wanted, a multiple of devices and tiles, and the lanes of a tile or None.

    On a CPU the lanes of a device are played a tile after the other, as many together as what a policy knows of them, `size`
    bytes a lane, fits into the cache.
    """
    here = -(-lanes // mesh.size)
    if mesh.devices.flat[0].platform != "cpu" or here * size <= CACHE:
        return here * mesh.size, None
    tiles = -(-here // max(256, CACHE // size))
    here = -(-here // tiles) * tiles
    return here * mesh.size, here // tiles


def _check_policy(name, policy, env, params, batched):
    """Refuse a policy that cannot act in the environment; bytes that it knows of a lane."""
    if isinstance(policy, Oracle):
        return 0
    one = params
    if params is None:
        one = jax.eval_shape(env.sample_params, jax.random.key(0))
    elif batched:
        one = jax.tree.map(lambda x: x[0], params)

    def first_action(key, params):
        key_reset, key_init, key_act = jax.random.split(key, 3)
        obs, _ = env.reset_env(key_reset, params)
        state = policy.init(key_init, env.problem(params).told(obs))
        return policy.act(key_act, state, obs), state

    problem = jax.eval_shape(env.problem, one)
    known = params is not None and not batched  # then policies may check their options against the numbers
    first, given = (functools.partial(first_action, params=one), ()) if known else (first_action, (one,))
    action, state = jax.eval_shape(first, jax.random.key(0), *given)
    space = problem.action_space
    shape, dtype = getattr(action, "shape", None), getattr(action, "dtype", None)
    if shape != space.shape or not jnp.issubdtype(dtype, space.kind):
        wanted = {
            Discrete: "an index of its price grid (an integer scalar)",
            Interval: "a price (a float scalar)",
            Subset: "a set of products (booleans)",
        }[type(space)]
        wanted += f" of shape {space.shape}" if space.shape else ""
        raise ValueError(f"policy {name!r} returns {dtype}{shape}, but {env.name} takes {wanted}")
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))


class _Progress:
    """A progress bar, a callback, or nothing."""

    def __init__(self, progress, total, label):
        self.callback = progress if callable(progress) else None
        self.bar = tqdm(total=total, unit=" pulls", unit_scale=True, desc=label) if progress is True else None

    def __call__(self, name, pulls):
        if self.callback:
            self.callback(pulls)
        if self.bar is not None:
            self.bar.set_postfix_str(name, refresh=False)
            self.bar.update(pulls)

    def close(self):
        if self.bar is not None:
            self.bar.close()

"""Run policies in a market over thousands of lanes: the surface of the engine.

A lane is one market and one seed. Lane code is plain and scalar. `lanes.widen` vectorises it, `program.Program` maps it over
devices, `engine` loops over time, and the host loops over checkpoints and over chunks of lanes.

Memory does not grow with the horizon. It grows with the number of lanes by the following: 16 bytes a lane and policy for
`lane_regret` and `lane_share` (none with `per_lane=False`); params that were given as a batch; up to 64 MB of numbers for
exact quantiles; and up to 256 MB of drawn markets, cached for the next policy. Compiled code is cached for the latest
policies of each maker (`program_cache`), some MB each, so the memory of a long sweep over a hyperparameter stops growing.

Randomness is addressed by (seed, role, time, lane) (`jaxprice.random`). A lane therefore gives the same result in any chunk
and on any number of devices, and all policies meet the same markets and the same buyers. There are exceptions in the last
digits on CPUs: those of `etc_glm`, and of some markets (drawn `SegmentedValuation`, `LowRankDemand`, `NetworkRevenue` and
`Storefront`, and `MultiProduct`), depend on the number of lanes, because XLA compiles their sums anew for each number.
"""

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import xarray as xr
from jax.typing import ArrayLike
from jaxtyping import Float
from tqdm import tqdm

from jaxprice import checks, engine, preparation, random, rehearsal, stats
from jaxprice import devices as device_mesh
from jaxprice.environment import Environment
from jaxprice.types import Policy

LANES_PER_DEVICE = {"cpu": 2048, "gpu": 2**20, "tpu": 2**17}  # a chunk
VECTORS = 64  # lanes: four of the widest vectors
CACHE = 2**19  # bytes: on a CPU, the policy states of the lanes played together should fit into the cache of a core


def simulate(
    env: Environment,
    policies: Mapping[str, Policy] | Policy,
    *,
    seed: int = 0,
    lanes: int = 1000,
    horizon: int = 1000,
    params: Any = None,
    checkpoints: Sequence[int] | np.ndarray | None = None,
    quantiles: Any = (0.05, 0.25, 0.5, 0.75, 0.95),
    devices: Any = None,
    chunk: int | None = None,
    traces: bool = False,
    per_lane: bool = True,
    progress: bool | Callable[[int], object] = False,
) -> xr.Dataset:
    """Run policies in a market and return their regret and reward over time, with standard errors.

    Args:
      env: an environment.
      policies: a dict of name -> `Policy`, or one `Policy`.
      seed: integer in `[0, 2**64)`.
      lanes: number of lanes; each has its own buyers, and its own market unless `params` says otherwise.
      horizon: periods. It replaces `params.max_steps_in_episode`.
      params: one market for all lanes; or a batch of markets, every leaf with a leading axis `[lanes]`; or None, in which
        case each lane draws its own from `env.sample_params`.
      checkpoints: increasing times at which statistics are stored; the last one is the horizon. Log-spaced by default.
      quantiles: levels of `regret_quantile`.
      devices: a list of JAX devices, or a number of local devices; by default all local devices.
      chunk: number of lanes run at a time; the default depends on the device.
      traces: also store the action, price, demand and reward of every lane and period (memory grows with the horizon).
      per_lane: whether to store the regret and the share of every lane, 16 bytes a lane and policy.
      progress: True shows a progress bar; a function is called with the number of pulls done since its last call.

    Returns:
      `xarray.Dataset` with coordinates `policy`, `time`, `quantile` and `lane`. It holds the cumulative `regret`, `reward`,
      `revenue` and `share` (of the expected reward of the oracle) as means over lanes, with standard errors `*_se`;
      `regret_quantile`; and `lane_regret` and `lane_share` at the horizon. With `traces`, also `trace_*`.

      The share of a lane is NaN where the expected reward of the oracle is not positive, and a mean over such lanes is NaN
      too. A warning says so if this happens at the horizon. Quantiles are exact up to 2**24 numbers (lanes times
      checkpoints), and within .5 % beyond.

    Raises:
      ValueError: before the first period, if an argument is of a wrong kind or out of range, if a policy cannot act in the
        environment, or if params belong to another market or an impossible one. During the run, if a market terminates
        before the horizon.
    """
    if checks.is_traced((seed, params)):
        raise ValueError("simulate goes from checkpoint to checkpoint and cannot be traced: jaxprice.rollout can")
    if checks.setting("jax_disable_jit"):
        raise ValueError("simulate plays compiled code, which disable_jit rules out: jaxprice.rollout plays plain code too")
    play = preparation.prepare(env, policies, seed, lanes, horizon, params)
    lanes, horizon = play.lanes, play.horizon
    times, quantiles = preparation.checkpoints(checkpoints, horizon), preparation.levels(quantiles)
    mesh = device_mesh.mesh(devices)
    chunk = lanes_per_device(mesh) * mesh.size if chunk is None else checks.positive_int("chunk", chunk)
    traces, per_lane = checks.boolean("traces", traces), checks.boolean("per_lane", per_lane)
    if not (progress is None or isinstance(progress, bool | np.bool_) or callable(progress)):
        raise ValueError(f"progress must be True, False or a function, got {checks.shown(progress)}")
    sizes, ends = rehearsal.rehearse(env, play), rehearsal.may_end(env, play)
    results, worthless = {}, 0
    with _Progress(progress, len(play.policies) * lanes * horizon, env.name) as bar:
        for name, policy in play.policies.items():
            at_a_time = min(chunk, lanes)
            width, tile = width_of(mesh, at_a_time, *sizes[name])
            one = engine.engine(env, policy, mesh, play.params is not None, play.batched, tile, ends)
            summary = stats.Summary(times, quantiles, per_lane)
            for first in range(0, lanes, at_a_time):
                run = one.run_traced if traces else one.run
                size = min(at_a_time, lanes - first)
                try:
                    with random.explained():
                        out = run(play.seed, first, size, width, times, play.params, functools.partial(bar, name))
                except FloatingPointError as error:  # under jax_debug_nans and jax_debug_infs
                    raise FloatingPointError(f"policy {name!r} in {env.name}: {error}") from error
                summary.add(*(out if traces else (out,)))
            results[name] = summary.dataset()
            worthless = max(worthless, summary.worthless)
    if worthless:
        why = f"the oracle expects to earn nothing in {worthless} of {lanes} lanes"
        warnings.warn(f"share is NaN at the horizon in {env.name}: {why}", stacklevel=2)
    return stats.join(results, {"environment": env.name, "seed": play.seed, "lanes": lanes, "horizon": horizon})


def rollout(
    env: Environment, policy: Policy, *, seed: ArrayLike = 0, lanes: int, horizon: int, params: Any = None
) -> dict[str, Float[jax.Array, " lanes"]]:
    """Cumulative metrics at the horizon, as a pure function that can be jitted and vmapped over hyperparameters.

        sweep = jax.vmap(lambda scale: rollout(env, ucb1(scale), lanes=1000, horizon=10_000, params=params)["regret"])

    Args:
      env, policy: as in `simulate`; hyperparameters of the policy may be traced.
      seed: integer in `[0, 2**64)`, or a traced integer scalar.
      lanes, horizon: static sizes.
      params: as in `simulate`; the numbers may be traced. This function solves the tables of the oracle for them.

    Returns:
      A dict of "regret", "reward", "revenue", "optimal" -> float `[lanes]`, for the same lanes as `simulate`. The metrics of
      a lane are NaN if its market terminated before the horizon; `simulate` raises in that case.

    Raises:
      ValueError: as in `simulate`; traced numbers are not checked.
    """
    if isinstance(policy, dict):
        raise ValueError(f"policy must be one Policy, got a dict of {len(policy)}; simulate takes several")
    play = preparation.prepare(env, policy, seed, lanes, horizon, params)
    rehearsal.rehearse(env, play)
    with random.explained():
        return engine.totals(env, policy, play, rehearsal.may_end(env, play))


def lanes_per_device(mesh):
    """Number of lanes of a chunk on one device."""
    return LANES_PER_DEVICE.get(mesh.devices.flat[0].platform, 2**17)


def width_of(mesh, lanes, size, speaks):
    """The number of lanes to compute, a multiple of devices and tiles, and the number of lanes in a tile or None.

    On a CPU, the lanes of a device are played in tiles, one tile after the other. The policy states of a tile, `size` bytes
    a lane, fit into the cache. A tile is a multiple of `VECTORS` lanes, because XLA compiles different code for smaller
    numbers of lanes, with different rounding. If lanes have effects such as prints (`speaks`), the number is rounded up only
    to fill devices and tiles.
    """
    vectors = 1 if speaks else VECTORS
    here = -(-lanes // mesh.size)
    if mesh.devices.flat[0].platform != "cpu":
        return here * mesh.size, None
    tiles = -(-here // max(256, CACHE // size)) if here * size > CACHE else 1
    tile = -(-here // (tiles * vectors)) * vectors
    return tile * tiles * mesh.size, tile if here * size > CACHE else None


class _Progress:
    """A progress bar, a callback, or nothing."""

    def __init__(self, progress, total, label):
        self.callback = progress if callable(progress) else None
        self.bar = tqdm(total=total, unit=" pulls", unit_scale=True, desc=label) if not self.callback and progress else None

    def __call__(self, name, pulls):
        if self.callback:
            self.callback(pulls)
        if self.bar is not None:
            self.bar.set_postfix_str(name, refresh=False)
            self.bar.update(pulls)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.bar is not None:
            self.bar.close()

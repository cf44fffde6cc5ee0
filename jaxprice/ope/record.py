"""Record a policy in a market, over thousands of lanes: a decision log with propensities, and the truth beside it.

    log = jaxprice.record(env, policies.thompson(), seed=0, lanes=1000, horizon=500)                      # `DecisionLog`
    log, truth = jaxprice.record(env, policies.exp3(), seed=0, lanes=1000, horizon=500, truth=True)

The decisions are those of `simulate(..., traces=True)` with the same seed. A lane is an independent log, so that the arrays
are `[lanes, T]`. The truth is the exact expected reward of every action in every logged decision: with it, the value of a
target policy q on the logged states is known, and is no estimate,

    V(q) = mean over decisions of sum_k q(k | state, observation) truth_k.

Where a market forbids actions (`Environment.allowed`), the mask is logged. The logged action is the one that was taken: the
nearest allowed one, with the probability of all actions that lead to it.

In a market whose state depends on earlier prices (stock, reference prices), V(q) is the value of one decision by q in the
states of the logging policy, and not of a whole season of q; for that, `simulate` q.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from jaxprice import checks, engine, preparation, random, recording, rehearsal
from jaxprice import devices as device_mesh
from jaxprice.environment import Environment
from jaxprice.lanes import needed
from jaxprice.ope.log import DecisionLog
from jaxprice.ope.propensities import certain_action, counted, density, formula, kind, one_hot
from jaxprice.ope.target import to_nearest_allowed
from jaxprice.simulate import lanes_per_device, width_of
from jaxprice.types import Discrete, Interval, Oracle, Policy

APART = 0x5EED  # separates the keys of counted propensities from those of the policy


@dataclasses.dataclass(frozen=True)
class _Look:
    """What is recorded of a period; see `record`.

    Attributes:
      propensities: True, False or a function.
      draws: number of draws where probabilities are counted.
      at: actions whose expected reward is recorded, a tuple; or a function of the observation; or None.
      grid: number of prices, 0 for prices from an interval.
    """

    propensities: Any
    draws: int
    at: Any
    grid: int

    def __call__(self, lane, streams, number, time, params, before, carry):
        """The decision of one lane in one period, a dict of arrays."""
        sale, state = carry.transition, carry.policy
        seen = {
            "observation": sale.observation,
            "action": sale.action,
            "price": sale.price,
            "demand": sale.demand,
            "reward": sale.reward,
            "next_observation": sale.next_observation,
        }
        allowed = lane.env.allowed(before, params)
        if allowed is not None:
            seen["allowed"] = jnp.asarray(allowed, bool)
        if self.at is not None:
            actions = self.at(sale.observation) if callable(self.at) else np.asarray(self.at)
            seen["truth"] = jax.vmap(lambda action: lane.env.expected_reward(before, action, params))(jnp.asarray(actions))
        if self.propensities is False:
            return seen
        policy = lane.policy if self.propensities is True else lane.policy._replace(probabilities=self.propensities)
        if not self.grid:
            return seen | {"propensity": density(policy, state, sale.observation, sale.action)}
        key = jax.random.fold_in(random.address(streams["act"], time, number), APART)
        found = self.law(policy, state, sale, key)
        return seen | (found if allowed is None else self.moved(found, seen["allowed"], sale.action))

    def law(self, policy, state, sale, key):
        """Probabilities of the actions of a grid."""
        if isinstance(policy, Oracle):
            return {"probabilities": one_hot(sale.action, self.grid)}
        how = kind(policy, state, sale.observation)
        if how == "formula":
            return {"probabilities": formula(policy, state, sale.observation)}
        if how == "certain":
            return {"probabilities": one_hot(certain_action(policy, state, sale.observation), self.grid)}
        found, errors = counted(policy, state, sale.observation, key, self.draws, self.grid, sale.action)
        return {"probabilities": found, "propensity_se": errors[sale.action]}

    def moved(self, found, allowed, action):
        """`law` after the market has taken the nearest allowed action in the place of a forbidden one."""
        p = jnp.minimum(to_nearest_allowed(found["probabilities"], allowed), 1.0)  # a sum may be rounded up
        counted = {}
        if "propensity_se" in found:
            counted["propensity_se"] = jnp.sqrt(p[action] * (1 - p[action]) / (self.draws + 1))
        return {"probabilities": p} | counted


def record(
    env: Environment,
    policy: Policy,
    *,
    seed: int = 0,
    lanes: int = 1000,
    horizon: int = 1000,
    params: Any = None,
    propensities: bool | Callable = True,
    draws: int = 200,
    truth: Any = False,
    devices: Any = None,
    chunk: int | None = None,
) -> DecisionLog | tuple[DecisionLog, Float[Array, "lanes T num_actions"]]:
    """Play a policy in a market and log every decision.

    Args:
      env, seed, lanes, horizon, params, devices, chunk: as in `simulate`.
      policy: the logging policy, which posts one price a period, from a grid or from an interval.
      propensities: True for the probabilities of `ope.propensities`; False to leave them out, as in most records of shops
        (the column is NaN: see `ope.estimated_propensities`); or a function as `Policy.probabilities`, for a policy that has
        none.
      draws: number of draws a decision where probabilities are counted. With five prices, the integral of Thompson sampling
        takes as long as about 600 draws; `policy._replace(probabilities=None)` is counted instead.
      truth: True for the expected reward of every action of the grid; or the actions `[A]` for which it is wanted, indices
        or prices; or a function from an observation to such actions, code for one lane.

    Returns:
      The `DecisionLog`, leaves `[lanes, T, ...]` with T = `horizon`. With several products under one action, `price` and
      `demand` are `[lanes, T, n]`. With `truth` a tuple: the log, and the expected rewards, float32 `[lanes, T, A]`.

    Raises:
      ValueError: as in `simulate`; or an action is no single price, or the density of a policy's prices is not known.
    """
    if checks.is_traced((seed, params)):
        raise ValueError("record plays compiled code and cannot be traced")
    if not isinstance(policy, Policy):
        raise ValueError(f"policy must be one Policy, got {checks.shown(policy)}{preparation.hint(policy)}")
    play = preparation.prepare(env, policy, seed, lanes, horizon, params)
    space = jax.eval_shape(env.problem, play.known).action_space
    look = _Look(*_options(env, policy, space, propensities, draws, truth))
    mesh = device_mesh.mesh(devices)
    chunk = lanes_per_device(mesh) * mesh.size if chunk is None else checks.positive_int("chunk", chunk)
    sizes, ends = rehearsal.rehearse(env, play), rehearsal.may_end(env, play)
    at_a_time = min(chunk, play.lanes)
    width, _ = width_of(mesh, at_a_time, *sizes["policy"])
    one, parts = engine.engine(env, policy, mesh, play.params is not None, play.batched, None, ends), []
    for first in range(0, play.lanes, at_a_time):
        size = min(at_a_time, play.lanes - first)
        with random.explained():
            parts.append(recording.record(one, look, play.seed, first, size, width, play.horizon, play.params))
    seen = jax.tree.map(lambda *x: jnp.asarray(np.concatenate(x)), *parts)
    log = _log(seen, play, look, _prices(env, play, look))
    return (log, seen["truth"]) if look.at is not None else log


def _options(env, policy, space, propensities, draws, truth):
    """The checked fields of `_Look`."""
    grid = space.n if isinstance(space, Discrete) else 0
    if not isinstance(space, Discrete | Interval) or space.shape:
        raise ValueError(f"env must take one action a period, a price of a grid or of an interval, {env.name} takes {space}")
    if not (isinstance(propensities, bool | np.bool_) or callable(propensities)):
        raise ValueError(f"propensities must be True, False or a function, got {checks.shown(propensities)}")
    if not grid and propensities is True and policy.probabilities is None:
        raise ValueError(
            f"propensities must be False or a function in {env.name}, whose prices come from an interval: the density of "
            "this policy's prices is not known"
        )
    at = None
    if callable(truth):
        at = truth
    elif isinstance(truth, bool | np.bool_):
        if truth and not grid:
            raise ValueError("truth must be prices, or a function of the observation, if prices come from an interval")
        at = tuple(range(grid)) if truth else None
    else:
        wanted = checks.array("truth", truth, (None,))
        at = (
            tuple(checks.whole("truth", x, 0, grid - 1) for x in np.asarray(truth).tolist())
            if grid
            else tuple(wanted.tolist())
        )
    propensities = bool(propensities) if not callable(propensities) else propensities
    return propensities, checks.positive_int("draws", draws), at, grid


def _prices(env, play, look):
    """The price grid, float `[num_prices]`; None if lanes have grids of their own, or prices come from an interval."""
    if not look.grid:
        return None
    leaves, structure = jax.tree.flatten(play.known)
    unknown = [x for x in leaves if isinstance(x, jax.ShapeDtypeStruct)]

    def prices(unknown):
        rest = iter(unknown)
        params = structure.unflatten([next(rest) if isinstance(x, jax.ShapeDtypeStruct) else x for x in leaves])
        return jnp.asarray(env.problem(params).prices, jnp.float32)

    closed = jax.make_jaxpr(prices)(unknown)
    if needed(closed.jaxpr, closed.jaxpr.outvars).intersection(closed.jaxpr.invars):
        return None
    return prices([jnp.zeros(x.shape, x.dtype) for x in unknown])


def _log(seen, play, look, prices):
    """The `DecisionLog` of recorded arrays."""
    shape = play.lanes, play.horizon
    columns = {name: seen[name] for name in ("observation", "action", "price", "demand", "reward", "next_observation")}
    for name in ("probabilities", "propensity_se", "allowed"):
        columns[name] = seen.get(name)
    if columns["probabilities"] is not None:
        columns["propensity"] = jnp.take_along_axis(columns["probabilities"], seen["action"][..., None], axis=-1)[..., 0]
    else:
        columns["propensity"] = seen.get("propensity", jnp.full(shape, jnp.nan, jnp.float32))
    time = jnp.broadcast_to(jnp.arange(play.horizon, dtype=jnp.int32), shape)
    return DecisionLog(**columns, time=time, prices=prices)

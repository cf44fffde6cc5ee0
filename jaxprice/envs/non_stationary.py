"""Demand that changes over time: a wrapper for any market with a myopic oracle.

The market of period t is one of M given markets, or a mixture of two of them; its oracle changes with it. With t = 0, 1, ...
and theta_m the numbers of market m:

| path (`envs.paths`) | market of period t |
|---|---|
| Piecewise(changes) | theta_m after m of the `changes` (first periods of the new markets) |
| Calendar(slots) | theta_{slots[t mod P]}: days of the week, a promotion calendar |
| Regimes(transition) | theta_m, m a Markov chain that starts in market 0 |
| Season(period, phase) | theta_0 + w (theta_1 - theta_0), w = (1 + sin(2 pi (t / period + phase))) / 2 |
| Drift(step, budget) | the same, w a walk of steps N(0, step^2) from 1/2, reflected into [0, 1], of total length `budget` |

Regret is relative to the best price of each period. If the wrapped market is stationary with a price grid,
`info["variation"]` is the sup norm of the change of its mean demands; its sum is the variation V of the literature. If all
markets are equal, every period equals that of the wrapped market, bit for bit.

Sources: O. Besbes, A. Zeevi (2011), "On the minimax complexity of pricing in a changing environment",
doi:10.1287/opre.1100.0867; N. B. Keskin, A. Zeevi (2017), "Chasing demand: learning and earning in a changing environment",
doi:10.1287/moor.2016.0807.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.typing import ArrayLike

from jaxprice import checks, random, rules
from jaxprice.environment import Environment
from jaxprice.envs.market import State as MyopicState
from jaxprice.envs.options import choice, inner, market, option, periods, whole
from jaxprice.envs.paths import PATHS, Calendar, Drift, Path, Piecewise, Regimes, Season, checked


@struct.dataclass
class Params:
    """One market that changes.

    Attributes:
      markets: params of the wrapped environment, every leaf with a leading axis `[M]`.
      path: the path of changes, one of `PATHS`.
      max_steps_in_episode: horizon.
    """

    markets: Any
    path: Path
    max_steps_in_episode: ArrayLike


@struct.dataclass
class State:
    """Number of periods played, int scalar; state of the path; and state of the wrapped market."""

    time: jax.Array
    path: jax.Array
    market: Any


@market(
    kind="any market",
    what="any market with a myopic oracle, moving: change points, calendar, regimes, season, drift",
    paper="Besbes and Zeevi (2011); Keskin and Zeevi (2017)",
    oracle="best price of each period",
    merit="regret, variation",
)
@dataclasses.dataclass(frozen=True)
class NonStationary(Environment):
    """A market with changing numbers.

    Observation, action and reward: those of the wrapped market.
    Oracle: the best action of each period, and its expected reward in it.

    Attributes:
      base: the wrapped environment.
      num_slots: number P of slots of a calendar; None: one for each market.
    """

    base: Environment
    kind: str = choice("piecewise", "how the market moves", PATHS)
    num_markets: int = option(2, "number of markets; seasons and drift go between two", whole)
    horizon: int = periods()
    num_slots: int | None = None

    def check_options(self):
        checks.fits(num_markets=self.num_markets, of_markets=self.num_markets)
        if self.base.tables or isinstance(self.base, NonStationary):
            raise ValueError(f"market must have a myopic oracle, but that of {self.base.name} plans ahead or moves already")
        if PATHS[self.kind].blends and self.num_markets != 2:
            between = f"for kind {self.kind!r}, which goes between two markets"
            raise ValueError(f"num_markets must be 2 {between}, got {self.num_markets}")

    @classmethod
    def make(
        cls,
        market="PostedPrice",
        kind="piecewise",
        *,
        options=None,
        markets=None,
        num_markets=2,
        changes=None,
        slots=None,
        transition=None,
        period=None,
        phase=0.0,
        step=None,
        budget=None,
        **choices,
    ):
        """A market that changes, and its params.

        Args:
          market: the wrapped market: a name that `jaxprice.make` knows, or an environment.
          kind: "piecewise", "calendar", "regimes", "season" or "drift".
          options: options of the wrapped market, a dict.
          markets: a list of params of the wrapped environment; by default `num_markets` draws of its task distribution.
          num_markets: number of markets; "season" and "drift" move between two.
          changes: piecewise: first period of each market except the first, `[M - 1]`, increasing, in `[1, horizon)`.
          slots: calendar: market of each slot, `[P]`, integers in `[0, M)`.
          transition: regimes: probabilities of the next market, `[M, M]`.
          period: season: number of periods of a cycle (at least 2); by default a quarter of the horizon.
          phase: season: its shift, as a share of the cycle.
          step: drift: standard deviation of a step; by default 1 / sqrt(horizon).
          budget: drift: largest total distance; by default unlimited.
          **choices: fields of the class.

        Raises:
          ValueError: an unknown market or kind, an option of another kind, change points beyond the horizon, probabilities
            that do not sum to one, a market whose oracle plans ahead.
        """
        checks.choice("kind", kind, PATHS)
        base = inner(market, options)
        if markets is not None and not (isinstance(markets, list | tuple) and markets):
            raise ValueError(f"markets must be a list of params of {base.name}, got {checks.shown(markets)}")
        env = cls(base, kind, num_markets if markets is None else len(markets), **choices)
        params = env.default_params()
        if markets is not None:
            for one in markets:
                base.check_params(one)
            stacked = jax.tree.map(lambda *x: np.stack([np.asarray(one) for one in x]), *markets)
            params = dataclasses.replace(params, markets=stacked)
        told = {"changes": changes, "slots": slots, "transition": transition, "period": period, "step": step}
        told = {name: value for name, value in (told | {"budget": budget}).items() if value is not None}
        checks.number("phase", phase, scalar=True)
        told |= {"phase": phase} if kind == "season" or phase != 0.0 else {}
        path = env.default_path()
        allowed = sorted(field.name for field in dataclasses.fields(path))
        if set(told) - set(allowed):
            other = sorted(set(told) - set(allowed))[0]
            raise ValueError(f"{other} is not an option of kind {kind!r}, which has {allowed}")
        told = {name: checked(name, value, env.num_markets, env.horizon) for name, value in told.items()}
        path = dataclasses.replace(path, **told)
        if slots is not None:
            env = dataclasses.replace(env, num_slots=len(slots))
        return env, dataclasses.replace(params, path=path)

    @property
    def infinite(self):
        return ("budget", *self.base.infinite)

    @property
    def name(self):
        return f"NonStationary-{self.kind}-{self.base.name}"

    def default_params(self):
        draw = jax.jit(lambda: self.sample_params(random.address(random.stream(0, "market"), 0, 0)))
        return jax.tree.map(np.asarray, draw())

    def sample_params(self, key):
        """M markets of the wrapped task distribution; change points and the phase of a season are uniform over time."""
        key_markets, key_path = jax.random.split(key)
        markets = jax.vmap(self.base.sample_params)(jax.random.split(key_markets, self.num_markets))
        return self.params_of(markets, self.sample_path(key_path))

    def params_of(self, markets, path):
        """Params with the given markets (stacked) and path."""
        return Params(markets, path, np.int32(self.horizon))

    def sample_path(self, key):
        """A path of this kind: the default path with its random parts drawn."""
        m = self.num_markets
        if self.kind == "piecewise":
            u = jnp.sort(jax.random.uniform(key, (m - 1,), jnp.float32))
            return Piecewise(1 + jnp.floor(u * (self.horizon - 1)).astype(jnp.int32))
        if self.kind == "season":
            return Season(np.float32(self.horizon / 4), jax.random.uniform(key, dtype=jnp.float32))
        return self.default_path()

    def default_path(self):
        """The default path of `make`."""
        m, horizon = self.num_markets, self.horizon
        match self.kind:
            case "piecewise":
                return Piecewise(np.maximum(np.arange(1, m) * horizon // m, 1).astype(np.int32))
            case "calendar":
                return Calendar(np.arange(self.num_slots or m, dtype=np.int32) % m)
            case "regimes":
                leave = np.float32(min(m / horizon, 0.5))
                others = (1 - np.eye(m, dtype=np.float32)) * leave / max(m - 1, 1)
                return Regimes(others + np.eye(m, dtype=np.float32) * (1 - leave if m > 1 else 1))
            case "season":
                return Season(np.float32(horizon / 4), np.float32(0))
            case _:
                return Drift(np.float32(horizon**-0.5), np.float32(np.inf))

    def rules(self, params):
        yield from super().rules(params)
        inside = rules.flat(params.markets)
        for names, holds, wanted in rules.within("markets", self.base.rules(inside)):
            yield names, np.all(np.reshape(holds, (-1, self.num_markets, *np.shape(holds)[1:])), axis=1), wanted
        yield from params.path.rules(params, self.num_markets)

    def problem(self, params):
        return self.base.problem(self.market(params.path.start(), params))

    def market(self, path_state, params):
        """Params of the wrapped environment for the given state of the path."""
        if not params.path.blends:
            one = jax.tree.map(lambda x: jnp.asarray(x)[path_state], params.markets)
        else:
            weight = path_state[0] if jnp.ndim(path_state) else path_state

            def blend(x):
                x = jnp.asarray(x)
                return x[0] + weight * (x[1] - x[0]) if jnp.issubdtype(x.dtype, jnp.floating) else x[0]

            one = jax.tree.map(blend, params.markets)
        return dataclasses.replace(one, max_steps_in_episode=params.max_steps_in_episode)

    def reset_env(self, key, params):
        path = params.path.start()
        obs, market = self.base.reset_env(key, self.market(path, params))
        return obs, State(jnp.int32(0), path, market)

    def step_env(self, key, state, action, params):
        now = self.market(state.path, params)
        obs, market, reward, terminated, info = self.base.step_env(key, state.market, action, now)
        path = params.path.move(jax.random.fold_in(key, 2), state.path, state.time + 1)
        moved = self.base.refresh(market, self.market(path, params))
        if isinstance(market, MyopicState) and market.mean_demand.size:
            info = info | {"variation": jnp.max(jnp.abs(moved.mean_demand - market.mean_demand))}
        return obs, State(state.time + 1, path, moved), reward, terminated, info

    def expected_reward(self, state, action, params):
        return self.base.expected_reward(state.market, action, self.market(state.path, params))

    def allowed(self, state, params):
        return self.base.allowed(state.market, self.market(state.path, params))

    def optimal_reward(self, state, params):
        return self.base.optimal_reward(state.market, self.market(state.path, params))

    def optimal_action(self, state, params):
        return self.base.optimal_action(state.market, self.market(state.path, params))

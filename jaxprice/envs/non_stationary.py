"""Demand that moves: a wrapper that lets any market with a myopic oracle change over time.

The market of period t is one of M given markets, or lies between two of them; its oracle moves along. With t = 0, 1, ... and
theta_m the numbers of market m:

| path | market of period t |
|---|---|
| Piecewise(changes) | theta_m after m of the `changes` (the first periods of the new markets) |
| Calendar(slots) | theta_{slots[t mod P]}: days of the week, a promotion calendar |
| Regimes(transition) | theta_m, m a Markov chain that starts in market 0 |
| Season(period, phase) | theta_0 + w (theta_1 - theta_0), w = (1 + sin(2 pi (t / period + phase))) / 2 |
| Drift(step, budget) | the same, w a walk of steps N(0, step^2) from 1/2, reflected into [0, 1], that goes `budget` in all |

Regret is against the best price of each period. Where the wrapped market is stationary with a price grid,
`info["variation"]` is the sup norm of the change of its mean demands; its sum is the variation V of the literature. With
markets that are all the same, every period equals the wrapped market's, bit by bit.

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

from jaxprice import checks, random, rules
from jaxprice.envs.market import State as MyopicState
from jaxprice.types import Environment


class Path:
    """How the market moves. `start` and `move` give the path's state, a scalar; `blends`: it lies between two markets."""

    blends = False

    @staticmethod
    def rules(params, count):
        """What must hold of `params.path` for so many markets, as in `Environment.rules`."""
        raise NotImplementedError

    def start(self):
        """State in period 0."""
        return jnp.int32(0)

    def move(self, key, state, time):
        """State in period `time`, from that of the period before."""
        raise NotImplementedError


@struct.dataclass
class Piecewise(Path):
    """Change points: first period of each market but the first, int `[M - 1]`, increasing."""

    changes: jax.Array

    @staticmethod
    def rules(params, count):
        changes = params.path.changes
        rises = (changes >= 1).all(axis=1) & (np.diff(changes, axis=1) >= 0).all(axis=1)
        yield "path.changes", rises, "changes of at least 1 in order"

    def move(self, key, state, time):
        return jnp.sum(time >= jnp.asarray(self.changes)).astype(jnp.int32)


@struct.dataclass
class Calendar(Path):
    """The market of each slot of a calendar that repeats, int `[P]`."""

    slots: jax.Array

    @staticmethod
    def rules(params, count):
        slots = params.path.slots
        yield "path.slots", (slots >= 0) & (slots < count), f"slots in [0, {count})"

    def start(self):
        return jnp.asarray(self.slots, jnp.int32)[0]

    def move(self, key, state, time):
        slots = jnp.asarray(self.slots, jnp.int32)
        return slots[time % slots.shape[0]]


@struct.dataclass
class Regimes(Path):
    """A Markov chain over markets: probabilities of the next one, float `[M, M]`."""

    transition: jax.Array

    @staticmethod
    def rules(params, count):
        return rules.distributions(params, "path.transition")

    def move(self, key, state, time):
        return random.choose(jax.random.uniform(key, dtype=jnp.float32), jnp.asarray(self.transition)[state])


@struct.dataclass
class Season(Path):
    """A sine between two markets: its period, and its phase as a share of the period; float scalars."""

    period: jax.Array
    phase: jax.Array
    blends = True

    @staticmethod
    def rules(params, count):
        return rules.above(params, 0, "path.period")

    def start(self):
        return self._weight(0)

    def move(self, key, state, time):
        return self._weight(time)

    def _weight(self, time):
        turn = jnp.mod(time / self.period + self.phase, 1.0)
        return 0.5 + 0.5 * jnp.sin(2 * jnp.pi * turn)


@struct.dataclass
class Drift(Path):
    """A reflected random walk between two markets: standard deviation of a step, and the distance it may go in all."""

    step: jax.Array
    budget: jax.Array
    blends = True

    @staticmethod
    def rules(params, count):
        return rules.at_least(params, 0, "path.step", "path.budget")

    def start(self):
        return jnp.stack([jnp.float32(0.5), jnp.float32(0)])  # position, distance gone

    def move(self, key, state, time):
        here, gone = state
        move = self.step * jax.random.normal(key, dtype=jnp.float32)
        there = jnp.abs(jnp.mod(here + move + 1, 2.0) - 1)  # reflected at both ends
        left = jnp.maximum(self.budget - gone, 0.0)
        there = here + jnp.clip(there - here, -left, left)
        return jnp.stack([there, gone + jnp.abs(there - here)])


PATHS = {"piecewise": Piecewise, "calendar": Calendar, "regimes": Regimes, "season": Season, "drift": Drift}


@struct.dataclass
class Params:
    """One market that moves.

    Attributes:
      markets: params of the wrapped environment, every leaf with a leading axis `[M]`.
      path: how it moves, one of `PATHS`.
      max_steps_in_episode: horizon.
    """

    markets: Any
    path: Path
    max_steps_in_episode: jax.Array


@struct.dataclass
class State:
    """Periods played, int scalar; state of the path; and state of the wrapped market."""

    time: jax.Array
    path: jax.Array
    market: Any


@dataclasses.dataclass(frozen=True)
class NonStationary(Environment):
    """A market whose numbers move; observation, action and reward are those of the wrapped market.

    Observation, action and reward: those of the wrapped market.
    Oracle: the best action of each period, and its expected reward then.

    Attributes:
      base: the wrapped environment.
      kind: name of the path, a key of `PATHS`.
      num_markets: number of markets M.
      horizon: of every market drawn.
      num_slots: slots of a calendar P; None: one for each market.
    """

    base: Environment
    kind: str = "piecewise"
    num_markets: int = 2
    horizon: int = 1000
    num_slots: int | None = None

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
        """A path of this kind: the default one but for what is random."""
        m = self.num_markets
        if self.kind == "piecewise":
            u = jnp.sort(jax.random.uniform(key, (m - 1,), jnp.float32))
            return Piecewise(1 + jnp.floor(u * (self.horizon - 1)).astype(jnp.int32))
        if self.kind == "season":
            return Season(np.float32(self.horizon / 4), jax.random.uniform(key, dtype=jnp.float32))
        return self.default_path()

    def default_path(self):
        """The path that `make` takes when it is given nothing about it."""
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
        """Params of the wrapped environment in the given state of the path."""
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

    def optimal_reward(self, state, params):
        return self.base.optimal_reward(state.market, self.market(state.path, params))

    def optimal_action(self, state, params):
        return self.base.optimal_action(state.market, self.market(state.path, params))


def make(
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
    horizon=1000,
):
    """A market that moves, and its params.

    Args:
      market: the wrapped market: a name that `jaxprice.make` knows, or an environment.
      kind: "piecewise", "calendar", "regimes", "season" or "drift".
      options: options of the wrapped market, a dict.
      markets: a list of params of the wrapped environment; by default `num_markets` draws of its task distribution.
      num_markets: number of markets; seasons and drift go between two.
      changes: piecewise: first period of each market but the first, `[M - 1]`, increasing, in `[1, horizon)`.
      slots: calendar: market of each slot, `[P]`, integers in `[0, M)`.
      transition: regimes: probabilities of the next market, `[M, M]`.
      period, phase: season: periods of a cycle (at least 2), by default a quarter of the horizon; shift as a share of it.
      step, budget: drift: standard deviation of a step, by default 1 / sqrt(horizon); distance it may go in all.
      horizon: periods in an episode.

    Returns:
      `(environment, params)`.

    Raises:
      ValueError: an unknown market or kind, an option of another kind, change points past the horizon, probabilities that do
        not sum to one, a market whose oracle plans ahead.
    """
    from jaxprice import envs

    checks.choice("kind", kind, PATHS)
    horizon = checks.positive_int("horizon", horizon)
    options = checks.options("options", options)
    if isinstance(market, Environment):
        if options:
            raise ValueError(f"options are those of a market given by name, but market is {market!r}")
        base = market
    else:
        base = envs.make(checks.choice("market", market, envs.list_envs()), **options)[0]
    if base.tables or isinstance(base, NonStationary):
        raise ValueError(f"market must have a myopic oracle, but that of {base.name} plans ahead or moves already")
    if markets is not None and not (isinstance(markets, list | tuple) and markets):
        raise ValueError(f"markets must be a list of params of {base.name}, got {checks.shown(markets)}")
    count = len(markets) if markets is not None else checks.positive_int("num_markets", num_markets)
    checks.fits(num_markets=count, of_markets=count)
    if PATHS[kind].blends and count != 2:
        raise ValueError(f"num_markets must be 2 for kind {kind!r}, which goes between two markets, got {count}")
    env = NonStationary(base, kind, count, horizon)
    params = env.default_params()
    if markets is not None:
        for one in markets:
            base.check_params(one)
        stacked = jax.tree.map(lambda *x: np.stack([np.asarray(one) for one in x]), *markets)
        params = dataclasses.replace(params, markets=stacked)
    given = {
        name: value
        for name, value in (
            ("changes", changes),
            ("slots", slots),
            ("transition", transition),
            ("period", period),
            ("step", step),
            ("budget", budget),
        )
        if value is not None
    }
    checks.number("phase", phase, scalar=True)
    given |= {"phase": phase} if kind == "season" or phase != 0.0 else {}
    allowed = {field.name for field in dataclasses.fields(PATHS[kind])}
    if set(given) - allowed:
        raise ValueError(f"{sorted(set(given) - allowed)[0]} is not an option of kind {kind!r}, which has {sorted(allowed)}")
    path = dataclasses.replace(
        env.default_path(), **{name: _checked(name, value, count, horizon) for name, value in given.items()}
    )
    if slots is not None:
        env = dataclasses.replace(env, num_slots=len(path.slots))
    return env, dataclasses.replace(params, path=path)


def _checked(name, value, count, horizon):
    """A number of a path, as an array."""
    if name == "changes":
        array = checks.array(name, value, (count - 1,)) if count > 1 else np.zeros(0)
        if np.any(array != np.round(array)) or np.any(np.diff(array) <= 0) or np.any(array < 1) or np.any(array >= horizon):
            raise ValueError(f"changes must be increasing integers in [1, {horizon}), before the horizon, got {value!r}")
        return array.astype(np.int32)
    if name == "slots":
        array = checks.array(name, value, (None,), low=0, high=count - 1)
        if np.any(array != np.round(array)):
            raise ValueError(f"slots must be integers in [0, {count}), got {value!r}")
        return array.astype(np.int32)
    if name == "transition":
        array = checks.array(name, value, (count, count), low=0, high=1)
        if np.any(np.abs(array.sum(axis=1) - 1) > 1e-5):
            raise ValueError(f"transition must have rows that sum to one, got {array.sum(axis=1).tolist()}")
        return array
    low = {"period": 2.0, "phase": -np.inf}.get(name, 0.0)
    return np.float32(checks.number(name, value, low=low, scalar=True))

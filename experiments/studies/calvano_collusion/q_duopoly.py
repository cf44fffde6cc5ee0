"""Q-learning sellers in a logit oligopoly, played to convergence: the simulation of Calvano et al. (2020).

Each of n sellers has a table Q_i(s, a), where s are the last prices of all sellers (K^n states). In period t = 1, 2, ...
every seller sets a uniformly random price with probability exp(-decay t), otherwise its greedy price g_i(s). All earn, and
s' are the new prices:

    Q_i(s, a_i) <- Q_i(s, a_i) + rate (profit_i + discount max_b Q_i(s', b) - Q_i(s, a_i))

for all at once, with the maximum before the period. The greedy price of a state stays until its value falls below another;
then the first price with the largest value replaces it. At first Q_i(s, a) is the mean profit of a against uniformly random
rivals divided by 1 - discount, and the first state is uniformly random. A run has converged when the greedy prices of all
sellers in the visited state have not changed for `window` consecutive periods. The period of a change counts as the first,
as in the authors' program, and there is one count for all sellers.

Only the visited state can change its greedy price. So a period costs the same for any number of states, except for a search
of one row when the greedy price has lost value. On a CPU a device plays one run after another: a run's tables stay in the
nearest cache, and each run ends at its own time. XLA:CPU compiles a small loop to one kernel
(`xla_cpu_small_while_loop_byte_threshold`; `whole_loops` raises that limit) if it need not copy a table: hence `_once`. On
other devices all runs are played side by side, and converged runs learn at rate zero. Random numbers are addressed by (seed,
lane, period), so a run does not depend on the others. There is one uniform number u for each seller and period; u < e
explores, and then u / e is again uniform.

`policies.q_learning` with `policies.sellers` makes the same update (tested), but the engine plays a fixed horizon without a
test for convergence; hence the separate loop here.

Source: E. Calvano, G. Calzolari, V. Denicolo, S. Pastorello (2020), "Artificial intelligence, algorithmic pricing, and
collusion", doi:10.1257/aer.20190623, and the authors' program (openICPSR 119462).
"""

import functools
import os
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from jaxprice import checks, devices, random

WINDOW = 100_000  # periods without a change
CAP = 10**9  # periods after which a run counts as not converged
BLOCK = 64  # number of periods whose random numbers are drawn together


def whole_loops():
    """Let XLA:CPU compile loops over larger tables to one kernel; call it before the first computation of a process."""
    option = "xla_cpu_small_while_loop_byte_threshold"
    if option not in os.environ.get("XLA_FLAGS", ""):
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_extra_options={option}=1000000000"


class Run(NamedTuple):
    """State of one run.

    Attributes:
      time: number of periods played, int scalar.
      calm: number of periods since the last change of a greedy price, int scalar.
      state: the next state, int scalar.
      played: the state of the last period, int scalar.
      table: Q of each seller, n arrays `[K^n * K]`, money.
      value: its maximum in each state, n arrays `[K^n]`, money.
      greedy: index of the greedy price in each state, n int arrays `[K^n]`.
    """

    time: Any
    calm: Any
    state: Any
    played: Any
    table: tuple
    value: tuple
    greedy: tuple


class Rules(NamedTuple):
    """Numbers of a run: rate, decay and discount, float scalars; window and cap, int scalars; profits `n` arrays `[K^n]`."""

    rate: Any
    decay: Any
    discount: Any
    window: Any
    cap: Any
    profits: tuple


def converge(
    game,
    lanes,
    *,
    rate=0.15,
    decay=4e-6,
    discount=0.95,
    window=WINDOW,
    cap=CAP,
    seed=0,
    dtype=np.float32,
    mesh=None,
    wide=None,
):
    """Play runs until convergence.

    Args:
      game: a `greedy_play.Game`.
      lanes: numbers of the runs, int `[L]`, which address their random numbers; or their number, counting from 0.
      rate, decay: one number, or one a run, `[L]`.
      discount: weight of the next period, in [0, 1).
      window: number of periods without a change after which a run has converged.
      cap: number of periods after which a run ends without convergence.
      seed: integer in `[0, 2**64)`.
      dtype: type of the tables: float32, or float64 with `jax.enable_x64`.
      mesh: from `jaxprice.devices.mesh`; by default all local devices.
      wide: whether to play runs side by side; by default not on a CPU.

    Returns:
      `(Run, converged)`: `Run` of arrays with a leading axis `[L]`, whose `time` includes the window; bool `[L]`.

    Raises:
      ValueError: a number out of range.
    """
    lanes = np.arange(checks.positive_int("lanes", lanes)) if np.ndim(lanes) == 0 else np.asarray(lanes)
    if lanes.ndim != 1 or not lanes.size or not np.issubdtype(lanes.dtype, np.integer) or lanes.min() < 0:
        raise ValueError(f"lanes must be a number of runs, or their numbers from 0 on, got {lanes!r}")
    checks.number("rate", rate, low=0, high=1)
    checks.number("decay", decay, low=0)
    checks.number("discount", discount, low=0, high=1 - 1e-6, scalar=True)
    limits = [min(checks.positive_int(name, x), 2**31 - 1 - BLOCK) for name, x in (("window", window), ("cap", cap))]
    for name, value in (("rate", rate), ("decay", decay)):
        if np.shape(value) not in ((), lanes.shape):
            raise ValueError(f"{name} must be one number or one a run, {lanes.shape}, got shape {np.shape(value)}")
    mesh = devices.mesh() if mesh is None else mesh
    wide = mesh.devices.flat[0].platform != "cpu" if wide is None else wide
    streams = {role: jnp.asarray(random.stream(seed, role)) for role in ("init", "act")}
    extra = -lanes.size % mesh.size  # padding runs, which end at once
    spread = [np.broadcast_to(np.asarray(x), lanes.shape) for x in (lanes, rate, decay, limits[1])]
    spread = [np.concatenate([x, np.repeat(x[-1:], extra)]) for x in spread]
    spread[3][lanes.size :] = 0
    shared = limits[0], *(np.asarray(x, dtype) for x in (discount, game.profits.T, game.initial(discount)))
    spread = [x.astype(t) for x, t in zip(spread, (np.uint32, dtype, np.float32, np.int32), strict=True)]
    run = _program(mesh, wide, *game.prices.shape[::-1])(streams, np.int32(shared[0]), *shared[1:], *spread)
    run = jax.tree.map(lambda x: np.asarray(x)[: lanes.size], run)
    return run, run.calm >= window


@functools.cache
def _program(mesh, wide, n, size):
    """Compiled `_play`, runs spread over a mesh."""
    each, shared = NamedSharding(mesh, P(devices.AXIS)), NamedSharding(mesh, P())
    play = functools.partial(_play, wide, n, size)
    specs = (P(),) * 5 + (P(devices.AXIS),) * 4
    mapped = jax.shard_map(play, mesh=mesh, in_specs=specs, out_specs=P(devices.AXIS), check_vma=False)
    return jax.jit(mapped, in_shardings=(shared,) * 5 + (each,) * 4)


def _play(wide, n, size, streams, window, discount, profits, initial, lanes, rate, decay, cap):
    """Runs of one device; the arguments from `lanes` on have a leading axis."""
    first = _first_state(streams["init"], lanes, size**n)

    def begin(state):
        return Run(
            *(jnp.int32(0), jnp.int32(0), state, jnp.int32(0)),
            tuple(jnp.tile(initial[i], size**n) for i in range(n)),
            tuple(jnp.full(size**n, jnp.max(initial[i])) for i in range(n)),
            tuple(jnp.full(size**n, jnp.argmax(initial[i]), jnp.int32) for i in range(n)),
        )

    def rules(rate, decay, cap):
        return Rules(rate, decay, discount, window, cap, tuple(profits[i] for i in range(n)))

    def forced(lane, rule, run):
        return explore(streams["act"], lane, run.time + jnp.arange(1, BLOCK + 1, dtype=jnp.int32), rule.decay, n, size)

    if not wide:

        def alone(lane, rate, decay, cap, state):
            rule = rules(rate, decay, cap)

            def block(run):
                draws = forced(lane, rule, run)
                going = lambda carry: (carry[0] < BLOCK) & ~_ended(rule, carry[1])  # noqa: E731
                step = lambda carry: (carry[0] + 1, period(rule, _column(draws, carry[0], n), carry[1], size))  # noqa: E731
                return lax.while_loop(going, step, (jnp.int32(0), run))[1]

            return lax.while_loop(lambda run: ~_ended(rule, run), block, begin(state))

        return lax.map(lambda args: alone(*args), (lanes, rate, decay, cap, first))

    def step(k, draws, rule, run):
        return period(rule, _column(draws, k, n), run, size)

    every = rules(rate, decay, cap)
    axes = Rules(0, 0, None, None, 0, None)

    def block(run):
        draws = jax.vmap(forced, (0, axes, 0))(lanes, every, run)
        return lax.fori_loop(0, BLOCK, lambda k, run: jax.vmap(step, (None, 0, axes, 0))(k, draws, every, run), run)

    return lax.while_loop(lambda run: ~jnp.all(_ended(every, run)), block, jax.vmap(begin)(first))


def explore(words, lane, times, decay, n, size):
    """Random prices of the periods `times` `[T]`, int `[n, T]`; -1 if a seller does not explore."""
    count = times.shape[0]
    k0, k1, lane = (jnp.broadcast_to(x, (count,)) for x in (words[0], words[1] + times.astype(jnp.uint32), lane))
    u = random.bits((k0, k1, lane), 32, (n,), lanes_last=True).astype(jnp.float32) * np.float32(2.0**-32)
    chance = jnp.exp(-decay * times.astype(jnp.float32))[None]
    price = jnp.minimum(jnp.floor(u / jnp.maximum(chance, np.float32(1e-30)) * size), size - 1).astype(jnp.int32)
    return jnp.where(u < chance, price, -1)


def period(rules, forced, run, size):
    """One period of one run; a run that has ended stays as it is.

    Args:
      rules: `Rules`.
      forced: index of the price that each seller explores, or -1; n int scalars.
      run: `Run`.
      size: number K of prices of a seller.
    """
    live, s, n = ~_ended(rules, run), run.state, len(run.table)
    rate = jnp.where(live, rules.rate, 0)

    def choose(s, rate, forced, run, profits):
        best = [_at(greedy, s) for greedy in run.greedy]
        actions = [jnp.where(f < 0, b, f) for f, b in zip(forced, best, strict=True)]
        after = functools.reduce(lambda joint, a: joint * size + a, actions)
        learned = []
        for i in range(n):
            old = _at(run.table[i], s * size + actions[i])
            target = _at(profits[i], after) + rules.discount * _at(run.value[i], after)
            learned.append(old + rate * (target - old))
        return best, [_at(value, s) for value in run.value], actions, after, learned

    best, top, actions, after, learned = _once(run.time >= 0, choose, s, rate, forced, run, rules.profits)
    table, value, greedy, same = [], [], [], jnp.bool_(True)
    for i in range(n):
        rows = _put(run.table[i], s * size + actions[i], learned[i])
        loses = (actions[i] == best[i]) & (learned[i] < top[i])
        new_top, new_best = lax.cond(loses, _search(size), _raise, rows, s, learned[i], top[i], actions[i], best[i])
        same &= new_best == best[i]
        table.append(rows)
        value.append(_put(run.value[i], s, new_top))
        greedy.append(_put(run.greedy[i], s, new_best))
    calm = jnp.where(same, run.calm + 1, 1)
    clock = run.time + 1, calm, after, s
    clock = [jnp.where(live, new, old) for new, old in zip(clock, run[:4], strict=True)]
    return Run(*clock, tuple(table), tuple(value), tuple(greedy))


def _search(size):
    """The largest value of a state, and the first price with this value."""

    def search(rows, s, *_):
        row = lax.dynamic_slice(rows, (s * size,), (size,))
        return jnp.max(row), jnp.argmax(row).astype(jnp.int32)

    return search


def _raise(rows, s, learned, top, action, best):
    """The same for updates in which only a value above the largest matters."""
    return jnp.maximum(learned, top), jnp.where(learned > top, action, best)


def _once(always, function, *operands):
    """`function(*operands)`, in a branch that is always taken: otherwise XLA:CPU reads after a write, and copies tables."""
    shapes = jax.eval_shape(function, *operands)
    return lax.cond(always, function, lambda *_: jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes), *operands)


def _ended(rules, run):
    return (run.calm >= rules.window) | (run.time >= rules.cap)


def _first_state(words, lanes, states):
    """Uniformly random states, int `[L]`, of the runs `lanes` `[L]`."""
    key = (*(jnp.broadcast_to(word, lanes.shape) for word in words), lanes)
    u = random.bits(key, 32, (1,), lanes_last=True)[0].astype(jnp.float32) * np.float32(2.0**-32)
    return jnp.minimum(jnp.floor(u * states), states - 1).astype(jnp.int32)


def _column(x, k, n):
    """`x[:, k]` as n scalars."""
    return [lax.dynamic_slice(x, (np.int32(i), k), (1, 1))[0, 0] for i in range(n)]


def _at(x, k):
    return lax.dynamic_slice(x, (k,), (1,))[0]


def _put(x, k, value):
    return lax.dynamic_update_slice(x, value[None], (k,))

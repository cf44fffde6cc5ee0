"""Play of sellers that have stopped learning: limit cycles, forced deviations, best replies.

Every seller of an oligopoly (`Game`) sets the price that a fixed table assigns to the last prices of all sellers, so play
eventually enters a cycle. Profits and prices are means over this cycle. `deviate` forces a seller to deviate once. Whether
play on the cycle is an equilibrium depends on the allowed deviations. `one_period` allows a seller to leave its table for
one period, as in the authors' program. `losses` compares its table with a best reply to those of its rivals, found by value
iteration, which may deviate in every period.

Arrays of tables, `greedy`, are int `[runs, n, K^n]`: index of the price of each seller in each state. The states of a cycle
are the pair `visited` of int arrays `[V]` that `limit_cycles` returns: number of the run, and state.

Source: E. Calvano, G. Calzolari, V. Denicolo, S. Pastorello (2020), "Artificial intelligence, algorithmic pricing, and
collusion", doi:10.1257/aer.20190623.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxprice
from jaxprice.oracles import logit_pricing

FAR = 400  # periods after which discounted profits are negligible: .95^400 = 1e-9
EQUAL = 1e-7  # relative tolerance for equal values: profits have seven digits


class Game(NamedTuple):
    """A stage game on grids of prices; states and joint actions have the same numbering, the first seller varying slowest.

    Attributes:
      prices: grid of each seller, `[K, n]`.
      profits: profit of each seller for every joint action, `[K^n, n]`.
      nash, monopoly: mean profit of a seller in the one-shot equilibrium and in the joint monopoly, off the grid.
    """

    prices: np.ndarray
    profits: np.ndarray
    nash: float
    monopoly: float

    def gain(self, profit):
        """Position of a mean profit between Nash (0) and monopoly (1)."""
        return (profit - self.nash) / (self.monopoly - self.nash)

    def actions(self, joint):
        """Price index of each seller, int `[..., n]`, for joint actions `[...]`."""
        return np.stack(np.unravel_index(joint, (len(self.prices),) * self.prices.shape[1]), axis=-1)

    def joint(self, actions):
        """Number of a joint action, int `[...]`, for price indices `[..., n]`."""
        return np.ravel_multi_index(tuple(np.moveaxis(actions, -1, 0)), (len(self.prices),) * self.prices.shape[1])

    def initial(self, discount):
        """Q before the first period, the same in all states, float `[n, K]`."""
        n, size = self.prices.shape[1], len(self.prices)
        shaped = self.profits.reshape((size,) * n + (n,))
        return np.stack([shaped[..., i].mean(tuple(j for j in range(n) if j != i)) for i in range(n)]) / (1 - discount)


def game(num_sellers=2, **market):
    """The `Game` of `LogitOligopoly`; by default that of Calvano et al.

    Args:
      num_sellers: n.
      **market: other arguments of `LogitOligopoly`, without capacity and noise.
    """
    env, params = jaxprice.make("LogitOligopoly", num_sellers=num_sellers, **market)
    prices = np.asarray(env.grid(params))
    every = np.stack(np.unravel_index(np.arange(len(prices) ** num_sellers), (len(prices),) * num_sellers), axis=-1)
    profits = env.profits(jnp.asarray(prices[every, np.arange(num_sellers)]), params)
    ends = (float(jnp.mean(env.profits(at, params))) for at in (env.nash(params), env.monopoly(params)))
    return Game(prices.astype(float), np.asarray(profits, float), *ends)


def limit_cycles(game, greedy, start):
    """The states of the limit cycle of each run.

    Args:
      game: a `Game`.
      greedy: int `[runs, n, K^n]`.
      start: the initial state of each run, int `[runs]`.

    Returns:
      `(lanes, states)`, int `[V]` each: number of the run and state, over all states of the cycles of all runs.
    """
    lanes, states = np.arange(len(start)), np.asarray(start)
    for _ in range(len(game.profits)):  # every path closes within this many steps
        states = game.joint(greedy[lanes, :, states])
    first, visits = states, [(lanes, states)]
    while lanes.size:
        states = game.joint(greedy[lanes, :, states])
        open_ = states != first[lanes]
        lanes, states = lanes[open_], states[open_]
        visits.append((lanes, states))
    return tuple(np.concatenate(part) for part in zip(*visits, strict=True))


def described(game, visited):
    """Profit gain, mean price and number of states of each run's limit cycle."""
    lanes, states = visited
    prices = game.prices[game.actions(states), np.arange(game.prices.shape[1])]
    return {
        "gain": _each(lanes, game.gain(game.profits[states].mean(axis=-1))),
        "price": _each(lanes, prices.mean(axis=-1)),
        "length": np.bincount(lanes),
    }


def deviate(game, greedy, visited, discount, shown):
    """Force each seller, in each state of the cycle, to play its best static reply on the grid for one period.

    Args:
      game, greedy, visited: see the module.
      discount: weight of the next period.
      shown: number of periods from the deviation on whose prices are recorded.

    Returns:
      A dict of means over the states of a run's cycle and over deviators. `path`, `[runs, 2, shown + 1]`: prices of the
      deviator and (mean) of its rivals, from the period before the deviation. `pays`, `[runs]`: share of the deviations to
      another price than planned that raise the deviator's discounted profits. `worth`, `[runs]`: the relative gain. NaN if
      there are none.
    """
    lanes, states = visited
    n = game.prices.shape[1]
    planned, paths, real, worth = greedy[lanes, :, states], [], [], []
    for i in range(n):
        forced = planned.copy()
        forced[:, i] = _static_profits(game, planned, i).argmax(axis=1)
        now, path, earned = [game.joint(forced), game.joint(planned)], [states], np.zeros((2, len(lanes)))
        for t in range(FAR):
            earned += discount**t * game.profits[np.stack(now), i]
            path.append(now[0])
            now = [game.joint(greedy[lanes, :, x]) for x in now]
        prices = game.prices[game.actions(np.stack(path[: shown + 1])), np.arange(n)]
        paths.append([prices[..., i], np.delete(prices, i, axis=-1).mean(axis=-1)])
        real.append(forced[:, i] != planned[:, i])
        worth.append(earned[0] / earned[1] - 1)
    real, worth, runs = np.array(real), np.array(worth), len(greedy)

    def per_deviation(values):
        sums = [np.sum([np.bincount(lanes, x, runs) for x in which], axis=0) for which in (values * real, real)]
        return np.divide(*sums, out=np.full(runs, np.nan), where=sums[1] > 0)

    mean = np.mean(paths, axis=0)  # [2, shown + 1, V]
    return {
        "path": np.array([[_each(lanes, x) for x in side] for side in mean]).transpose(2, 0, 1),
        "pays": per_deviation(worth > 0),
        "worth": per_deviation(worth),
    }


def one_period(game, greedy, visited, discount):
    """Whether a seller gains by another price for one period, if all follow their tables afterwards.

    This is the test of the authors' program (`computeEqCheck`): in each state of the cycle each seller tries each price. It
    is weaker than a test of best replies, because off the cycle the seller's own table need not be optimal.

    Args:
      game, greedy, visited: see the module.
      discount: weight of the next period.

    Returns:
      A dict: `equilibrium`, bool `[runs]`, whether no seller gains in any state of the cycle; `kept`, `[runs]`, the share of
      prices on the cycle from which no deviation gains.
    """
    lanes, states = visited
    planned, kept = greedy[lanes, :, states], []
    for i in range(planned.shape[1]):
        worth = _discounted(game, greedy, lanes, game.joint(_options(game, planned, i)).T, discount)[..., i]
        own = np.take_along_axis(worth, planned[None, :, i].astype(int), axis=0)[0]
        kept.append(1 - own / worth.max(axis=0) < EQUAL)
    kept = np.mean(kept, axis=0)
    return {"equilibrium": np.bincount(lanes, kept < 1) == 0, "kept": _each(lanes, kept)}


def losses(game, greedy, visited, discount):
    """Loss of fixed tables relative to best replies to one another, by value iteration in double precision.

    Args:
      game, greedy, visited: see the module.
      discount: weight of the next period.

    Returns:
      A dict: `path_loss`, `[runs]`, share of a best reply's discounted profits that planned play loses, mean over the states
      of the cycle and over sellers; `best_path`, bool `[runs]`, whether every price on the cycle is part of a best reply;
      `best_states`, `[runs]`, the share of all states in which all prices are.
    """
    lanes, states = visited
    size, n = game.prices.shape
    earned = _discounted(game, greedy, lanes, game.joint(greedy[lanes, :, states]), discount)
    gaps, lost = [], []
    for i in range(n):
        actions = np.repeat(greedy.transpose(0, 2, 1)[:, :, None], size, axis=2)
        actions[..., i] = np.arange(size)
        joint = game.joint(actions)
        with jax.enable_x64(True):
            values = jax.vmap(logit_pricing.dynamic_best_response, (0, 0, None))(game.profits[joint, i], joint, discount)
        values = np.asarray(values)
        own = np.take_along_axis(values, greedy[:, i, :, None].astype(int), axis=-1)[..., 0]
        top = values.max(axis=-1)
        gaps.append(1 - own / top)
        lost.append(1 - earned[:, i] / top[lanes, states])
    best = np.max(gaps, axis=0) < EQUAL
    return {
        "path_loss": _each(lanes, np.mean(lost, axis=0)),
        "best_path": np.bincount(lanes, ~best[lanes, states]) == 0,
        "best_states": best.mean(axis=1),
    }


def _discounted(game, greedy, lanes, now, discount):
    """Discounted profits of all sellers, `[..., V, n]`, who play `now`, int `[..., V]`, and then follow their tables."""
    earned = np.zeros((*now.shape, game.prices.shape[1]))
    for t in range(FAR):
        earned += discount**t * game.profits[now]
        now = game.joint(greedy[lanes, :, now])
    return earned


def _options(game, planned, i):
    """Every price of seller i beside the planned prices of the others, `[V, n]`: int `[V, K, n]`."""
    options = np.repeat(planned[:, None], len(game.prices), axis=1)
    options[:, :, i] = np.arange(len(game.prices))
    return options


def _static_profits(game, planned, i):
    """Profit of seller i at each of its prices, with the planned prices of the others `[V, n]`: float `[V, K]`."""
    return game.profits[game.joint(_options(game, planned, i)), i]


def _each(lanes, values):
    """Mean over the states of each run's cycle, `[runs]`."""
    return np.bincount(lanes, values) / np.bincount(lanes)

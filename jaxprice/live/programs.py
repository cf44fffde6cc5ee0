"""Compiled code of a session: how products start, how a quote is made, and how a sale is learned.

Each program works on rows, one a product (`packing`). The code of one row is the policy's own, made wide by `lanes.widen` as
in the engine, with the same addressed keys: a product is a lane and its quote number is the period. Programs are compiled
for 1, 16, 256 and 4096 rows. A call with another number of rows is cut into pieces, and the last one is filled up. The
pieces of a call depend on its length alone, so a journal that is replayed call by call gives the same bits.

Leaves of the state that are the same for every product and that `update` returns unchanged (a price grid, the facts of the
problem) are held once, and not in the rows.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt32

from jaxprice import random
from jaxprice.lanes import depends, widen
from jaxprice.live.packing import Packing
from jaxprice.ope.propensities import counted, density, formula, kind
from jaxprice.program_cache import ProgramCache
from jaxprice.types import Discrete, Policy, Problem, Transition

SIZES = 1, 16, 256, 4096  # rows for which a program is compiled
APART = 0x5EED  # separates the keys of counted propensities from those of the policy, as in `ope.record`
ANSWER = 4  # words of the answer to a quote: action, proposed action, price, propensity
FACTS = 4  # words of what was sold: action, price, demand, reward
_made = ProgramCache()


class Choices(NamedTuple):
    """What is compiled besides the policy and the problem.

    Attributes:
      propensity: whether the propensity of a quote is computed.
      draws: number of draws where it must be counted; 0 leaves it unknown.
      guarded: whether prices are kept within a band.
    """

    propensity: bool
    draws: int
    guarded: bool


class Programs:
    """The programs of one policy in one problem."""

    def __init__(self, policy: Policy, problem: Problem, seed: int, choices: Choices):
        self.policy, self.problem, self.choices = policy, problem, choices
        self.streams = {role: random.stream(seed, role) for role in ("init", "act", "update")}
        self.grid = isinstance(problem.action_space, Discrete)
        self.prices = np.asarray(problem.prices, np.float32)
        self.seen = Packing(problem.observation)
        number = jax.ShapeDtypeStruct((), jnp.uint32)
        state = jax.eval_shape(self._init, number)
        own = self._own(number, state)
        leaves, self.structure = jax.tree.flatten(state)
        self.own = own
        self.state = Packing([x for x, flag in zip(leaves, own, strict=True) if flag])
        self.rule = self._rule(state)
        self._start = jax.jit(lambda numbers: widen(self._start_one, (-1,))(numbers).T)
        self._act = jax.jit(lambda shared, rows, given: widen(self._act_one, (None, -1, -1))(shared, rows.T, given.T).T)
        self._learn = jax.jit(lambda shared, rows, given: widen(self._learn_one, (None, -1, -1))(shared, rows.T, given.T).T)

    def shared(self) -> list:
        """The leaves that all products have in common, as the policy starts with them."""
        leaves = jax.jit(lambda: jax.tree.leaves(self._init(jnp.uint32(0))))()
        return [x for x, flag in zip(leaves, self.own, strict=True) if not flag]

    def start(self, products: int) -> UInt32[np.ndarray, "products words"]:
        """The states of products 0, 1, ... before the first sale."""
        return _in_pieces(self._start, self.state.words, np.arange(products, dtype=np.uint32))

    def act(self, shared, rows, given) -> UInt32[np.ndarray, "count 4"]:
        """Answers to quotes, see `ANSWER`.

        Args:
          shared: see `shared`.
          rows: states, `[count, words]`.
          given: product, quote number, lowest and highest price, and what the seller sees, uint32 `[count, 4 + seen.words]`.
        """
        return _in_pieces(functools.partial(self._act, shared), ANSWER, rows, given)

    def learn(self, shared, rows, given) -> UInt32[np.ndarray, "count words"]:
        """States after sales.

        Args:
          shared, rows: as in `act`.
          given: product, quote number, `FACTS`, and what the seller saw before and after, uint32
            `[count, 6 + 2 * seen.words]`.
        """
        return _in_pieces(functools.partial(self._learn, shared), self.state.words, rows, given)

    def _init(self, number):
        return self.policy.init(random.address(self.streams["init"], 0, number), self.problem)

    def _own(self, number, state):
        """Which leaves of the state each product has for itself."""
        apart = depends(self._init, (-1,), number)
        scalar: Any = functools.partial(jax.ShapeDtypeStruct, (), jnp.float32)
        action: Any = jax.ShapeDtypeStruct((), jnp.int32 if self.grid else jnp.float32)
        seen = self.problem.observation
        sale = Transition(seen, action, scalar(), scalar(), scalar(), seen)

        def update(state, number, sale):
            return self.policy.update(random.address(self.streams["update"], number, number), state, sale)

        jaxpr = jax.make_jaxpr(update)(state, number, sale).jaxpr
        kept = [a is b for a, b in zip(jaxpr.invars, jaxpr.outvars, strict=False)]
        return [differs or not same for differs, same in zip(apart, kept, strict=True)]

    def _rule(self, state):
        """How the propensity of a quote is found: by which part of `ope.propensities`, or "" if it is not."""
        if not self.choices.propensity:
            return ""
        if not self.grid:
            return "density" if self.policy.probabilities is not None else ""
        found = kind(self.policy, state, self.problem.observation)
        return "" if found == "counted" and not self.choices.draws else found

    def _whole(self, shared, row):
        """The state of a row."""
        mine, common = iter(self.state.unpack(row)), iter(shared)
        return self.structure.unflatten([next(mine) if flag else next(common) for flag in self.own])

    def _row(self, state):
        return self.state.pack([x for x, flag in zip(jax.tree.leaves(state), self.own, strict=True) if flag])

    def _start_one(self, number):
        return self._row(self._init(number))

    def _act_one(self, shared, row, given):
        state, product, number = self._whole(shared, row), given[0], given[1]
        low, high = (_float(given[k]) for k in (2, 3))
        seen = self.seen.unpack(given[4:])
        key = random.address(self.streams["act"], number, product)
        proposed = jnp.asarray(self.policy.act(key, state, seen), jnp.int32 if self.grid else jnp.float32)
        if not self.grid:
            free = jnp.clip(proposed, jnp.float32(self.problem.low), jnp.float32(self.problem.high))
            price = jnp.clip(free, low, high) if self.choices.guarded else free
            action = jnp.where(price == free, proposed, price)
            p = density(self.policy, state, seen, proposed) if self.rule else jnp.float32(jnp.nan)
            return jnp.stack([*map(_word, (action, proposed, price)), _word(jnp.where(price == free, p, jnp.nan))])
        prices = jnp.asarray(self.prices)
        moved = _moved(prices, low, high) if self.choices.guarded else jnp.arange(len(self.prices), dtype=jnp.int32)
        action = moved[proposed] if self.choices.guarded else proposed
        p = jnp.float32(jnp.nan)
        if self.rule == "certain":
            p = jnp.float32(1)
        elif self.rule:
            law = self._law(state, seen, jax.random.fold_in(key, APART), proposed)
            p = jnp.minimum(jnp.sum(jnp.where(moved == action, law, 0.0)), 1.0) if self.choices.guarded else law[action]
        return jnp.stack([*map(_word, (action, proposed, prices[action], p))])

    def _law(self, state, seen, key, action):
        """Probabilities of all actions of the grid."""
        if self.rule == "formula":
            return formula(self.policy, state, seen)
        return counted(self.policy, state, seen, key, self.choices.draws, len(self.prices), action)[0]

    def _learn_one(self, shared, row, given):
        state, product, number = self._whole(shared, row), given[0], given[1]
        action = given[2].astype(jnp.int32) if self.grid else _float(given[2])
        price, demand, reward = (_float(given[k]) for k in (3, 4, 5))
        before, after = (self.seen.unpack(given[k : k + self.seen.words]) for k in (6, 6 + self.seen.words))
        sale = Transition(before, action, price, demand, reward, after)
        return self._row(self.policy.update(random.address(self.streams["update"], number, product), state, sale))


def programs(name: tuple, policy: Policy, problem: Problem, seed: int, choices: Choices) -> Programs:
    """The `Programs` for these arguments, cached under `name`, which identifies policy and problem."""
    key = *name, seed, choices
    return _made.find(name[0], key, Programs, policy, problem, seed, choices)


def _moved(prices, low, high):
    """The action that is posted for each action of a grid: that with the nearest price of those nearest to the band."""
    outside = jnp.maximum(jnp.maximum(low - prices, prices - high), 0.0)
    free = outside <= jnp.min(outside) + 1e-6 * jnp.max(prices)
    distance = jnp.where(free[None, :], jnp.abs(prices[None, :] - prices[:, None]), jnp.inf)
    return jnp.argmin(distance, axis=1).astype(jnp.int32)


def _in_pieces(program, words, *columns):
    """Call a program on pieces of at most `SIZES[-1]` rows; the last is filled with copies of its first row."""
    count, parts = len(columns[0]), []
    for first in range(0, count, SIZES[-1]):
        piece = [x[first : first + SIZES[-1]] for x in columns]
        size = next(size for size in SIZES if size >= len(piece[0]))
        if (lacks := size - len(piece[0])) > 0:
            piece = [np.concatenate([x, np.repeat(x[:1], lacks, axis=0)]) for x in piece]
        parts.append(np.asarray(program(*piece))[: size - lacks])
    return parts[0] if len(parts) == 1 else np.concatenate([np.zeros((0, words), np.uint32), *parts])


def _float(word):
    return jax.lax.bitcast_convert_type(word, jnp.float32)


def _word(x):
    return jax.lax.bitcast_convert_type(x, jnp.uint32)

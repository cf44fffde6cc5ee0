"""Running means stay correct after 2^24 sales; without compensation of rounding errors they would decrease.

The start is a mean of .8 of 2^24 signals, and the following sales are four ones for each zero, so .8 stays correct. A step
of (1 - .8) / 2^24 is below half the spacing of .8 in float32, and one of (0 - .8) / 2^24 is above it: a plain mean decreases
by about .0024 in the 200,000 sales here.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from harness import problem_of

from jaxprice import policies
from jaxprice.types import Transition

LATE, SALES = 2**24, 200_000


def process(name):
    """A Gaussian process over prices whose standard deviation at each is that of a mean of 2^24 signals."""

    def start(state):
        size = state.mean.shape[0]
        root = jnp.eye(size, state.root.shape[1], dtype=jnp.float32) * state.noise / LATE**0.5
        return state.replace(time=jnp.int32(LATE), mean=jnp.full(size, 0.8, jnp.float32), root=root)

    return "pricing", policies.make(name), start, lambda state: (state.mean[1], state.mean[0]), ("lost",)


def ball(name):
    """The baseline of a gradient policy: the mean revenue so far."""

    def start(state):
        return state.replace(ball=state.ball.replace(time=jnp.int32(LATE), mean=jnp.float32(0.8)))

    return "low rank", policies.make(name, baseline=True), start, lambda state: (state.ball.mean,), ("ball", "lost")


def averages():
    """Average demand in each of two columns, which take turns."""

    def start(state):
        full = jnp.full_like(state.averages, 0.8)
        return state.replace(ball=state.ball.replace(time=jnp.int32(2 * LATE)), averages=full)

    return "low rank", policies.opol(rank=2), start, lambda state: tuple(state.averages.reshape(-1)), ("lost",)


def prices():
    """The regression of prices on features, all of them the first alone."""

    def start(state):
        size = state.price.shape[0]
        first = jnp.zeros(size).at[0].set(1.0)
        factor = jnp.eye(size, dtype=jnp.float32) / LATE**0.5
        demand = state.demand.replace(mean=0.8 * first, factor=factor)
        return state.replace(time=jnp.int32(LATE), price=0.8 * first, demand=demand)

    def means(state):
        return state.inner.price[0], state.inner.demand.mean[0]

    return "features, elasticity", policies.random_price_shocks(), start, means, ("inner", "price_lost")


CASES = {
    "gp_ucb": lambda: process("gp_ucb"),
    "gp_thompson": lambda: process("gp_thompson"),
    "opok, baseline": lambda: ball("opok"),
    "opol, baseline": lambda: ball("opol"),
    "opol, averages": averages,
    "random_price_shocks, prices": prices,
}


def sale_of(problem, x):
    """A sale of which everything seen is `x`, a float scalar: signal, demand, reward and price; the first feature is 1."""
    observation = jnp.zeros(3 + problem.context_size, jnp.float32).at[3].set(1.0, mode="drop")
    shape = getattr(problem.action_space, "shape", ())
    every = jnp.full(shape, x, jnp.float32)
    action = every if problem.prices is None else jnp.int32(1)
    return Transition(observation, action, every, every, x, observation)


def without(state, path):
    """The state as if rounding had kept nothing."""
    name, *rest = path
    inner = getattr(state, name)
    return state.replace(**{name: without(inner, rest) if rest else jnp.zeros_like(inner)})


@pytest.mark.parametrize("case", CASES)
def test_running_means_stay(case):
    label, policy, start, means, path = CASES[case]()
    problem = problem_of(label)
    first = policy.init(jax.random.key(0), problem)
    late = first.replace(inner=start(first.inner)) if path[0] == "inner" else start(first)
    before = np.asarray(jnp.stack(means(late)))

    def play(bare):
        def step(i, state):
            x = jnp.where(i // 2 % 5 == 0, jnp.float32(0), jnp.float32(1))  # pairs, for the columns that take turns
            after = policy.update(jax.random.key(1), state, sale_of(problem, x))
            return without(after, path) if bare else after

        return np.asarray(jnp.stack(means(jax.jit(lambda s: jax.lax.fori_loop(0, SALES, step, s))(late))))

    np.testing.assert_allclose(play(False), before, atol=2e-5)
    assert abs(play(True)[0] - 0.8) > 1e-3

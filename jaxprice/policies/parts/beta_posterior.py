"""The common part of policies with Beta posteriors: state, learning signal, and a check that demand is Bernoulli.

Each price has an independent Beta(a, b) prior on its purchase probability. After s_k sales and f_k refusals at price k the
posterior is Beta(a + s_k, b + f_k), and every buyer of a period counts as one observation. When learning from reward, the
signal x in [0, 1] first becomes a success with probability x (Agrawal and Goyal). Signals and weights are as in `ucb1`,
posteriors as in `thompson`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Int, Key, Num

from jaxprice import checks, samplers
from jaxprice.policies.parts import arms, totals
from jaxprice.types import Policy, Problem, Transition


@struct.dataclass
class State:
    """State of a policy that decides by its posteriors.

    Attributes:
      time: number of the next period, from 1, int scalar.
      signal: the learning signal.
      a, b: shapes of the posteriors, float `[num_prices]`; both are growing sums (`totals`).
      lost: rounding errors of both, float `[num_prices]` each.
      buyers: number of observations a period.
    """

    time: Int[Array, ""]
    signal: arms.Signal
    a: Float[Array, " num_prices"]
    b: Float[Array, " num_prices"]
    lost: tuple[Float[Array, " num_prices"], Float[Array, " num_prices"]]
    buyers: int = struct.field(pytree_node=False)

    @property
    def mean(self) -> Float[Array, " num_prices"]:
        """Posterior means, float `[num_prices]`."""
        return self.a / (self.a + self.b)


def posterior_policy(
    name: str, a: ArrayLike, b: ArrayLike, signal: str, choose: Callable, chances: Callable | None = None
) -> Policy:
    """Build a policy that keeps Beta posteriors and plays the action that `choose` returns.

    Args:
      name: name of the policy, for error messages.
      a, b: shapes of the prior, at least 1; may be traced.
      signal: "demand" or "reward".
      choose: `(key, state) -> action`.
      chances: `state -> probabilities` of that action, float `[num_prices]`; None where no formula is known.

    Raises:
      ValueError: shapes below 1, or an unknown signal; at `init`, a market without a price grid or Bernoulli demand.
    """
    checks.number("a", a, low=1)
    checks.number("b", b, low=1)
    arms.check_signal(signal)

    def init(key, problem):
        del key
        check_bernoulli(problem, name)
        zeros = jnp.zeros(problem.num_prices, jnp.float32)
        learned = arms.learn(problem, signal, name)
        return State(jnp.int32(1), learned, zeros + a, zeros + b, (zeros, zeros), problem.buyers)

    def act(key, state, observation):
        del observation
        return choose(key, state)

    def update(key, state, transition):
        trials, wins = trials_and_wins(key, state, transition)
        shapes = grow(state, transition.action, wins, trials - wins)
        return State(state.time + 1, state.signal, *shapes, state.buyers)

    return Policy(init, act, update, arms.of_state(chances))


def grow(
    state: Any, action: Int[ArrayLike, ""], wins: Num[Array, ""] | float, losses: Num[Array, ""] | float
) -> tuple[
    Float[Array, " num_prices"], Float[Array, " num_prices"], tuple[Float[Array, " num_prices"], Float[Array, " num_prices"]]
]:
    """`(a, b, lost)` of a state after the given numbers of wins and losses at an action, float scalars."""
    here, long = jnp.arange(state.a.shape[0], dtype=jnp.int32) == action, state.a + state.b >= totals.LONG
    a, less = totals.plus(state.a, state.lost[0], jnp.where(here, wins, 0.0), long)
    b, lost = totals.plus(state.b, state.lost[1], jnp.where(here, losses, 0.0), long)
    return a, b, (less, lost)


def draw_best(
    key: Key[Array, ""], weights: Float[Array, " num_prices"], a: Float[Array, " num_prices"], b: Float[Array, " num_prices"]
) -> Int[Array, ""]:
    """The arm with the best draw from Beta posteriors with shapes `a`, `b`, float `[num_prices]`, at least 1."""
    z1, z2 = samplers.normal_pair_from_word(jax.random.bits(key, a.shape, jnp.uint32))
    return jnp.argmax(weights * samplers.beta(z1, z2, a, b))


def check_bernoulli(problem: Problem, name: str) -> None:
    """Raise if Beta posteriors do not fit the demand.

    Raises:
      ValueError: demand is not Bernoulli.
    """
    if problem.noise != "bernoulli":
        raise ValueError(f"{name} needs bernoulli demand, this market has {problem.noise}; see gaussian_thompson")


def trials_and_wins(
    key: Key[Array, ""], state: Any, transition: Transition
) -> tuple[Num[Array, ""] | float, Num[Array, ""] | float]:
    """Number of Bernoulli trials of one period and number of wins, float scalars.

    Each buyer is a trial. When learning from reward there is one trial, and the reward is the probability to win it.

    Args:
      key: key of the coin, used only when learning from reward.
      state: with `signal`, an `arms.Signal`, and the number of `buyers`.
      transition: the period.
    """
    x = state.signal.of(transition)
    if state.signal.source == "reward":
        return jnp.float32(1), (jax.random.uniform(key, dtype=jnp.float32) < x).astype(jnp.float32)
    return jnp.float32(state.buyers), state.buyers * x

"""The common part of index policies over a price grid: the signal that they learn from a sale, and sums over the arms.

When learning from demand (`signal="demand"`), the signal of an arm is the conversion rate x = demand / buyers, and its value
is margin * x: the seller knows the margin of every price and has only demand to learn. When learning from reward
(`signal="reward"`), x = reward / (buyers * largest margin), and all arms have the same scale, as in a plain bandit. If no
margin is positive, the largest absolute margin takes the place of the largest. With Bernoulli demand both signals are in [0,
1], as the bounds of bandit algorithms require; in a bandit they are equal.
"""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import struct
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Int, Num

from jaxprice import checks
from jaxprice.policies.parts import totals
from jaxprice.types import Discrete, Interval, Policy, Problem, Transition

SIGNALS = ("demand", "reward")
NEVER = 1e-12  # stands for a count of zero: it avoids a division by zero and vanishes in rounding after the first pull


@struct.dataclass
class Signal:
    """The learning signal: the number that a policy learns from a transition.

    Attributes:
      weights: value of a signal of one for each arm, float `[num_prices]`.
      unit: demand or reward that corresponds to a signal of one, float scalar.
      source: "demand" or "reward".
    """

    weights: Float[Array, " num_prices"]
    unit: Float[Array, ""]
    source: str = struct.field(pytree_node=False)

    def of(self, transition: Transition) -> Float[Array, ""]:
        """The signal of one period, float scalar."""
        return (transition.demand if self.source == "demand" else transition.reward) / self.unit


@struct.dataclass
class Sums:
    """Sums over the pulls of each arm.

    Float32 drops an addend below half the spacing of a sum (`totals`). So pulls are counted in integers. Signals are summed
    in blocks of `totals.LONG` pulls of an arm: one sum for the current block, and one for all earlier blocks.

    Attributes:
      pulls: number of pulls of each arm, int `[num_prices]`.
      since: sum of signals in the current block, float `[num_prices]`.
      before: sum of signals in the earlier blocks, float `[num_prices]`.
    """

    pulls: Int[Array, " num_prices"]
    since: Float[Array, " num_prices"]
    before: Float[Array, " num_prices"]

    @property
    def counts(self) -> Float[Array, " num_prices"]:
        """Number of pulls of each arm, float `[num_prices]`; `NEVER` before the first."""
        return jnp.maximum(self.pulls.astype(jnp.float32), NEVER)

    @property
    def sums(self) -> Float[Array, " num_prices"]:
        """Sum of signals of each arm, float `[num_prices]`."""
        return self.before + self.since

    def add(self, action: Int[ArrayLike, ""], signal: Num[Array, ""] | float) -> "Sums":
        """The sums after one more pull."""
        here = jnp.arange(self.pulls.shape[0], dtype=jnp.int32) == action
        pulls, since = self.pulls + here.astype(jnp.int32), self.since + jnp.where(here, signal, 0.0)
        full = here & (pulls % totals.LONG == 0)
        return Sums(pulls, jnp.where(full, 0.0, since), self.before + jnp.where(full, since, 0.0))


@struct.dataclass
class IndexState:
    """State of a policy that decides by sums over arms.

    Attributes:
      time: number of the next pull, from 1, int scalar.
      signal: the learning signal.
      arms: the sums.
    """

    time: Int[Array, ""]
    signal: Signal
    arms: Sums


def best(index: Float[Array, " num_prices"], arms: Any) -> Int[Array, ""]:
    """The arm to play: the first arm without pulls, otherwise the first arm with the largest index.

    Args:
      index: float `[num_prices]`.
      arms: `Sums`.

    Returns:
      int scalar.
    """
    return jnp.argmax(jnp.where(arms.counts < 0.5, jnp.inf, index))


def index_policy(name: str, signal: str, choose: Callable, chances: Callable | None = None) -> Policy:
    """Build a policy that keeps sums over arms and plays the action that `choose` returns.

    Args:
      name: name of the policy, for error messages.
      signal: "demand" or "reward".
      choose: `(key, state) -> action`.
      chances: `state -> probabilities` of that action, float `[num_prices]`; None where no formula is known.

    Raises:
      ValueError: an unknown signal; at `init`, a market without a price grid.
    """
    check_signal(signal)

    def init(key, problem):
        del key
        return IndexState(jnp.int32(1), learn(problem, signal, name), no_sums(problem))

    def act(key, state, observation):
        del observation
        return choose(key, state)

    def update(key, state, transition):
        del key
        sums = state.arms.add(transition.action, state.signal.of(transition))
        return IndexState(state.time + 1, state.signal, sums)

    return Policy(init, act, update, of_state(chances))


def of_state(chances: Callable | None) -> Callable | None:
    """`Policy.probabilities` of a policy that does not look at the observation; None for None."""
    return None if chances is None else lambda state, observation: chances(state)


def greedy_or_even(greedy: Int[Array, ""], rate: Num[Array, ""] | float, size: int) -> Float[Array, " num_prices"]:
    """Probabilities of `size` arms if a random one is played with probability `rate`, at most one, else the greedy one."""
    rate = jnp.minimum(jnp.asarray(rate, jnp.float32), 1.0)
    return rate / size + (1 - rate) * (jnp.arange(size, dtype=jnp.int32) == greedy).astype(jnp.float32)


def check_signal(signal: str) -> str:
    """Raise if a signal is unknown.

    Raises:
      ValueError: it is neither "demand" nor "reward".
    """
    return checks.choice("signal", signal, SIGNALS)


def require_grid(problem: Problem, name: str) -> None:
    """Raise if a problem has no price grid.

    Raises:
      ValueError: any price in an interval may be posted.
    """
    if not isinstance(problem.action_space, Discrete):
        kind = "any price in an interval" if isinstance(problem.action_space, Interval) else "sets of products"
        raise ValueError(f"{name} chooses from a price grid, but this market takes {kind}")
    if problem.action_space.shape:
        raise ValueError(f"{name} sets one price, but this market has {problem.action_space.shape[0]} sellers")


def learn(problem: Problem, signal: str, name: str) -> Signal:
    """The `Signal` of a problem with a price grid."""
    require_grid(problem, name)
    margins = jnp.asarray(problem.margins, jnp.float32)
    if margins.ndim == 2 and signal == "demand":
        raise ValueError(
            f"{name} learns one demand a price, but here an action prices several products: use signal='reward'"
        )
    if margins.ndim == 2:
        margins = jnp.sum(margins, axis=1)
    if signal == "demand":
        return Signal(margins, jnp.float32(problem.buyers), signal)
    largest = jnp.max(margins)
    largest = jnp.where(largest > 0, largest, jnp.maximum(jnp.max(jnp.abs(margins)), 1e-30))  # cost above all prices
    return Signal(jnp.broadcast_to(largest, margins.shape), problem.buyers * largest, signal)


def noise_of_signal(
    problem: Problem, noise: Num[Array, ""] | float | None = None, least: Num[Array, ""] | float = 1e-6
) -> Float[Array, ""]:
    """Standard deviation of the signal of a period, which is a mean over its buyers, float32 scalar.

    It is `noise` if that is given. Otherwise, if the noise of the market is Gaussian, it is `noise_scale` of the demand of a
    period divided by `buyers`, at least `least`. Otherwise it is 1/2 divided by the root of `buyers`, an upper bound for a
    mean of purchases. When learning from reward, prices with less than the largest margin have a smaller deviation.
    """
    if noise is None and problem.noise == "gaussian":
        noise = jnp.maximum(jnp.asarray(problem.noise_scale, jnp.float32) / problem.buyers, least)
    return jnp.asarray(0.5 / math.sqrt(problem.buyers) if noise is None else noise, jnp.float32)


def no_sums(problem: Problem) -> Sums:
    """Sums before the first pull."""
    zeros = jnp.zeros(problem.num_prices, jnp.float32)
    return Sums(zeros.astype(jnp.int32), zeros, zeros)

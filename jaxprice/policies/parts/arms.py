"""What index policies over a price grid share: what they learn from a sale, and sums over the arms.

Learning from demand (`signal="demand"`), an arm's signal is the conversion rate x = demand / buyers, and its value is margin
* x: the seller knows the margin of every price and has only demand to learn. Learning from reward (`signal="reward"`), x =
reward / (buyers * largest margin), the one of largest size where none is positive, and all arms have the same scale: the
plain bandit. With Bernoulli demand both signals are in [0, 1], as the bounds of bandit algorithms want; in a bandit they are
the same.
"""

import math

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks
from jaxprice.policies.parts import totals
from jaxprice.types import Discrete, Interval, Policy

SIGNALS = ("demand", "reward")
NEVER = 1e-12  # stands for a count of zero: it avoids a division by zero and vanishes in rounding after the first pull


@struct.dataclass
class Signal:
    """What is learned from a transition.

    Attributes:
      weights: value of a signal of one at each arm, float `[num_prices]`.
      unit: demand or reward that makes a signal of one, float scalar.
      source: "demand" or "reward".
    """

    weights: jax.Array
    unit: jax.Array
    source: str = struct.field(pytree_node=False)

    def of(self, transition):
        """The signal of one period, float scalar."""
        return (transition.demand if self.source == "demand" else transition.reward) / self.unit


@struct.dataclass
class Sums:
    """Sums over the pulls of each arm.

    Float32 drops an addend below half the spacing of a sum (`totals`). So pulls are counted by integers, and signals summed
    in blocks of `totals.LONG` pulls of an arm: the sum under way, and that of the blocks before it.

    Attributes:
      pulls: of each arm, int `[num_prices]`.
      since: signals of the block under way, float `[num_prices]`.
      before: signals of the blocks before it, float `[num_prices]`.
    """

    pulls: jax.Array
    since: jax.Array
    before: jax.Array

    @property
    def counts(self):
        """Pulls of each arm, float `[num_prices]`; `NEVER` before the first."""
        return jnp.maximum(self.pulls.astype(jnp.float32), NEVER)

    @property
    def sums(self):
        """Signals of each arm, float `[num_prices]`."""
        return self.before + self.since

    def add(self, action, signal):
        """The sums after one more pull."""
        here = jnp.arange(self.pulls.shape[0], dtype=jnp.int32) == action
        pulls, since = self.pulls + here.astype(jnp.int32), self.since + jnp.where(here, signal, 0.0)
        full = here & (pulls % totals.LONG == 0)
        return Sums(pulls, jnp.where(full, 0.0, since), self.before + jnp.where(full, since, 0.0))


@struct.dataclass
class IndexState:
    """State of a policy that plays by sums over arms.

    Attributes:
      time: number of the next pull, from 1, int scalar.
      signal: what a sale teaches.
      arms: the sums.
    """

    time: jax.Array
    signal: Signal
    arms: Sums


def best(index, arms):
    """The arm to play: the first one never pulled, else the first with the largest index.

    Args:
      index: float `[num_prices]`.
      arms: `Sums`.

    Returns:
      int scalar.
    """
    return jnp.argmax(jnp.where(arms.counts < 0.5, jnp.inf, index))


def index_policy(name, signal, choose):
    """The policy that keeps sums over arms and plays what `choose` says.

    Args:
      name: of the policy, for error messages.
      signal: "demand" or "reward".
      choose: `(key, state) -> action`.

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

    return Policy(init, act, update)


def check_signal(signal):
    """Refuse an unknown signal.

    Raises:
      ValueError: it is neither "demand" nor "reward".
    """
    return checks.choice("signal", signal, SIGNALS)


def require_grid(problem, name):
    """Refuse a problem without a price grid.

    Raises:
      ValueError: any price in an interval may be posted.
    """
    if not isinstance(problem.action_space, Discrete):
        kind = "any price in an interval" if isinstance(problem.action_space, Interval) else "sets of products"
        raise ValueError(f"{name} chooses from a price grid, but this market takes {kind}")
    if problem.action_space.shape:
        raise ValueError(f"{name} sets one price, but this market has {problem.action_space.shape[0]} sellers")


def learn(problem, signal, name):
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
    largest = jnp.where(largest > 0, largest, jnp.maximum(jnp.max(jnp.abs(margins)), 1e-30))  # cost above every price
    return Signal(jnp.broadcast_to(largest, margins.shape), problem.buyers * largest, signal)


def noise_of_signal(problem, noise=None, least=1e-6):
    """Standard deviation of the signal of a period, which is a mean over its buyers, float32 scalar.

    The number given; else the market's where its noise is Gaussian, `noise_scale` of the demand of a period over `buyers`,
    at least `least`; else 1/2 over the root of `buyers`, which no average of purchases exceeds. Learning from reward, a
    price with less than the largest margin has less.
    """
    if noise is None and problem.noise == "gaussian":
        noise = jnp.maximum(jnp.asarray(problem.noise_scale, jnp.float32) / problem.buyers, least)
    return jnp.asarray(0.5 / math.sqrt(problem.buyers) if noise is None else noise, jnp.float32)


def no_sums(problem):
    """Sums before the first pull."""
    zeros = jnp.zeros(problem.num_prices, jnp.float32)
    return Sums(zeros.astype(jnp.int32), zeros, zeros)

"""Exp4: exponential weights over rules that map a context to a price, for adversarial contexts and demand.

The rules ("experts") here are two-price rules. Rule (i, k, l) posts price k to buyers whose feature i is below its mean so
far (this buyer included), and price l to others, for every feature i and all prices k, l; with k = l it ignores the context.
One more rule draws a uniformly random price, as the theorem requires. That makes N = d K^2 + 1 rules. With advice q_n(j),
the probability that rule n posts j, mixing g and gains x = reward / (buyers * largest margin) in [0, 1],

    p_j = (1 - g) sum_n v_n q_n(j) / sum_n v_n + g / K,      v_n <- v_n exp(g q_n(j) x / (p_j K))   after price j.

Gains outside [0, 1] are mapped to it by their range so far (`exponential`). The default mixing, the smaller of 1 and
sqrt(K log N / ((e - 1) T)), needs the horizon. State: N floats; a period costs O(N).

Regret against the best rule: at most 2 sqrt(e - 1) sqrt(T K log N) = 2.63 sqrt(T K log N). The regret that `simulate`
reports is against the best price for each buyer, and stays linear unless a rule posts that price.

Source: P. Auer, N. Cesa-Bianchi, Y. Freund, R. E. Schapire (2002), "The nonstochastic multiarmed bandit problem",
doi:10.1137/S0097539701398375, section 7.
"""

import math

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks, random, samplers
from jaxprice.policies.parts import arms, exponential, features, totals
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy


@struct.dataclass
class State:
    """State of Exp4.

    Attributes:
      time: number of contexts in the mean, int scalar.
      mixing: float scalar.
      signal: the learning signal.
      range: range of the gains.
      mean, lost: mean context so far, and its rounding error (`totals`), float `[d]`.
      log_weights: log weights of the rules by price below, price above and feature, float `[K, K, d]`.
      uniform: log weight of the uniform rule, float scalar. The largest log weight of all is near zero.
    """

    time: jax.Array
    mixing: jax.Array
    signal: arms.Signal
    range: exponential.Range
    mean: jax.Array
    lost: jax.Array
    log_weights: jax.Array
    uniform: jax.Array


@policy_maker(source="Auer et al. (2002)", regret="sqrt(K T log N)", feedback="reward")
def exp4(mixing=None):
    """Exp4 over two-price rules.

    Args:
      mixing: probability of a uniformly random price, in (0, 1]; may be traced. By default tuned to the horizon.

    Raises:
      ValueError: a mixing out of range; at `init`, no price grid or no context.
    """
    if mixing is not None:
        checks.number("mixing", mixing, low=1e-9, high=1)

    def init(key, problem):
        del key
        features.describe(problem, "disjoint", "exp4")
        size, d = problem.num_prices, problem.context_size
        rules = d * size**2 + 1
        tuned = jnp.sqrt(size * math.log(rules) / ((math.e - 1) * jnp.asarray(problem.horizon, jnp.float32)))
        rate = jnp.minimum(1.0, tuned) if mixing is None else jnp.float32(mixing)
        nothing = jnp.zeros((size, size, d), jnp.float32)
        signal, gains = arms.learn(problem, "reward", "exp4"), exponential.unit_range()
        mean = jnp.zeros(d, jnp.float32)
        return State(jnp.int32(0), rate, signal, gains, mean, mean, nothing, jnp.float32(0))

    def act(key, state, observation):
        _, below, _ = compare(state, observation)
        return random.choose(samplers.uniform(jax.random.bits(key, (), jnp.uint32)), probabilities(state, below))

    def update(key, state, transition):
        del key
        mean, below, lost = compare(state, transition.observation)
        size, action = state.log_weights.shape[0], transition.action
        chance = probabilities(state, below)[action]
        seen, gain = state.range.place(state.signal.of(transition))
        step = state.mixing * gain / (chance * size)
        chosen = (jnp.arange(size) == action).astype(jnp.float32)
        advice = jnp.where(below[None, None, :], chosen[:, None, None], chosen[None, :, None])
        log_weights, uniform = state.log_weights + step * advice, state.uniform + step / size
        largest = jnp.maximum(jnp.max(log_weights), uniform)
        return State(state.time + 1, state.mixing, state.signal, seen, mean, lost, log_weights - largest, uniform - largest)

    def chances(state, observation):
        _, below, _ = compare(state, observation)
        return probabilities(state, below)

    return Policy(init, act, update, chances)


def probabilities(state, below):
    """Probability of each price, float `[K]`, for features below their mean as given, bool `[d]`."""
    size = state.log_weights.shape[0]
    weights, uniform = jnp.exp(state.log_weights), jnp.exp(state.uniform)
    if_below = features.contract(jnp.ones(size, jnp.float32), weights, axis=1)
    if_above = jnp.sum(weights, axis=0)
    votes = jnp.sum(jnp.where(below[None, :], if_below, if_above), axis=1) + uniform / size
    return (1 - state.mixing) * votes / jnp.sum(votes) + state.mixing / size


def compare(state, observation):
    """The mean context including this one, which features are below it, and its rounding error."""
    context, count = observation[-state.mean.shape[0] :], state.time + 1
    step = (context - state.mean) / count.astype(jnp.float32)
    mean, lost = totals.plus(state.mean, state.lost, step, count >= totals.LONG)
    return mean, context < mean, lost

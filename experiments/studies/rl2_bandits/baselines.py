"""Baselines of Duan et al. (2016), Table 1, as in its text and its authors' scripts: policies for one lane.

The bandit has k Bernoulli arms with means iid U[0, 1] and n pulls; the score is the expected total reward. Every arm starts
with one success and one failure, a = 1 + s and b = 1 + f, so that a / (a + b) is the posterior mean under that prior. All
argmaxes take the first of equals. This is worse than a random choice: the first arms are exploited before others are tried.

    Random      uniform
    Greedy      argmax a / (a + b)
    eps-greedy  uniform with probability eps, otherwise greedy; eps in 0, .1, ..., 1
    UCB1        argmax a / (a + b) + c sqrt(2 log t / (a + b)), t past pulls; c in 0, .1, ..., 1 (Audibert and Munos)
    TS          argmax of one draw from the posterior: `policies.thompson`
    OTS         among N joint draws of all arms, argmax of the draw with the largest joint density; N in 1, ..., 20
    Gittins     the best approximation for each n and k: see below

With t = 0, UCB1 as written takes the logarithm of zero. All scores are then NaN, and their argmax is arm 0. All arms are
equal at that time, so a bonus of zero gives the same choice. This OTS differs from that of May et al.,
`policies.optimistic_thompson`, which takes the larger of draw and posterior mean.

Gittins: the paper uses the best-performing approximation in each setting. Those in its scripts are

1. the closed form of Whittle, with m = a / (a + b), M = a + b and v = m (1 - m),

       m + v / (M sqrt((2 log(1 / g) + 1 / M) v) + m - 1/2),      at g = 1;

2. the largest mean reward over deterministic stopping horizons up to 500. The posterior mean is a martingale, so every
   horizon gives m: this equals Greedy;
3. calibration against a sure reward on a lattice that ends at a + b = 1000, with the best discount of .9, .99, .999 and
   .9999 (they use a grid of sure rewards, here it is interpolated, to 4e-4). Their script looks (a, b) up at (a + 1, b + 1)
   and always with .9999; here the table is read at the right place. It is the only one of the three that comes near the
   printed total of 500 pulls and 50 arms.

None of these baselines knows the horizon.

Sources: Y. Duan, J. Schulman, X. Chen, P. L. Bartlett, I. Sutskever, P. Abbeel (2016), "RL^2: fast reinforcement learning
via slow reinforcement learning", arXiv:1611.02779; B. C. May, N. Korda, A. Lee, D. S. Leslie (2012), "Optimistic Bayesian
sampling in contextual-bandit problems", JMLR 13, 2069-2106; J. C. Gittins (1979), doi:10.1111/j.2517-6161.1979.tb01068.x;
J.-Y. Audibert, R. Munos (2011), "Introduction to bandits: algorithms and theory", tutorial at ICML.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxprice import checks, samplers
from jaxprice.policies.parts.beta_posterior import check_bernoulli, posterior_policy
from jaxprice.types import Policy


@struct.dataclass
class State:
    """State of an index policy: successes and pulls, int `[num_arms]`, and the index of each arm, float `[num_arms]`."""

    wins: jax.Array
    pulls: jax.Array
    index: jax.Array


def index_policy(table):
    """The first arm with the largest index, which depends on the arm's own successes and pulls.

    Args:
      table: index of each state, float `[(size + 1) (size + 2) / 2]` in the order of `states`, or its `ranks`; may be
        traced. It must cover the horizon.

    Raises:
      ValueError: the table has another length; at `init`, demand is not that of one Bernoulli buyer.
    """
    length = np.shape(table)[0] if np.ndim(table) == 1 else 0
    size = int(np.sqrt(2 * length)) - 1
    if length < 1 or (size + 1) * (size + 2) // 2 != length:
        raise ValueError(f"table must hold (size + 1) (size + 2) / 2 states, got shape {np.shape(table)}")

    def init(key, problem):
        del key
        check_bernoulli(problem, "index_policy")
        if problem.buyers != 1:
            raise ValueError(f"index_policy takes one buyer a period, this market has {problem.buyers}")
        none = jnp.zeros(problem.num_prices, jnp.int32)
        return State(none, none, jnp.zeros(problem.num_prices, jnp.float32) + jnp.asarray(table)[0])

    def act(key, state, observation):
        del key, observation
        return jnp.argmax(state.index)

    def update(key, state, transition):
        del key
        arm = transition.action
        wins = state.wins[arm] + (transition.demand > 0.5).astype(jnp.int32)
        pulls = state.pulls[arm] + 1
        index = jnp.asarray(table, jnp.float32)[jnp.minimum(pulls * (pulls + 1) // 2 + wins, length - 1)]
        return State(state.wins.at[arm].set(wins), state.pulls.at[arm].set(pulls), state.index.at[arm].set(index))

    return Policy(init, act, update)


def ucb1(c):
    """UCB1 that starts with one success and one failure an arm; `c` is at least 0 and may be traced."""
    checks.number("c", c, low=0)

    def choose(key, state):
        del key
        size = state.a + state.b
        log_time = jnp.log(jnp.maximum(state.time - 1, 1).astype(jnp.float32))
        return jnp.argmax(state.a / size + c * jnp.sqrt(2 * log_time / size))

    return posterior_policy("ucb1", 1, 1, "demand", choose)


def epsilon_greedy(epsilon):
    """A random arm with probability `epsilon`, in [0, 1] (may be traced); otherwise the first with the largest mean."""
    checks.number("epsilon", epsilon, low=0, high=1)

    def choose(key, state):
        coin, which = samplers.uniform(jax.random.bits(key, (2,), jnp.uint32))
        arm = jnp.floor(which * state.a.shape[0]).astype(jnp.int32)
        return jnp.where(coin < epsilon, arm, jnp.argmax(state.a / (state.a + state.b)).astype(jnp.int32))

    return posterior_policy("epsilon_greedy", 1, 1, "demand", choose)


def ots_map(draws):
    """The best arm of the joint posterior draw with the largest density, among a number of draws that may be traced."""
    checks.number("draws", draws, low=1)

    def choose(key, state):
        def another(i, kept):
            largest, arm = kept
            z1, z2 = samplers.normal_pair_from_word(jax.random.bits(jax.random.fold_in(key, i), state.a.shape, jnp.uint32))
            x = samplers.beta(z1, z2, state.a, state.b)
            rest = jnp.log(jnp.maximum(1 - x, 2.0**-126))
            density = jnp.sum((state.a - 1) * jnp.log(x) + (state.b - 1) * rest)
            better = (i == 0) | (density > largest)
            return jnp.where(better, density, largest), jnp.where(better, jnp.argmax(x).astype(jnp.int32), arm)

        return jax.lax.fori_loop(0, draws, another, (jnp.float32(-jnp.inf), jnp.int32(0)))[1]

    return posterior_policy("ots_map", 1, 1, "demand", choose)


def states(size):
    """Shapes `(a, b)` of all posteriors with up to `size` pulls, float64: by pulls, then by successes."""
    pulls = np.repeat(np.arange(checks.positive_int("size", size) + 1), np.arange(1, size + 2))
    wins = np.arange(pulls.size) - pulls * (pulls + 1) // 2
    return 1.0 + wins, 1.0 + pulls - wins


def ranks(table):
    """Indices as float32 ranks, equal if indices agree to 1e-10, so that rounding neither makes nor breaks a tie."""
    return np.unique(np.round(table, 10), return_inverse=True)[1].astype(np.float32)


def posterior_mean(size):
    """Posterior mean of each state, float64 in the order of `states`; also the index over stopping horizons."""
    a, b = states(size)
    return a / (a + b)


def closed_form(size, discount=1.0):
    """Whittle's closed form of the Gittins index, float64 in the order of `states`; a discount in (0, 1]."""
    checks.number("discount", discount, low=1e-3, high=1, scalar=True)
    a, b = states(size)
    mean, total = a / (a + b), a + b
    variance = mean * (1 - mean)
    return mean + variance / (total * np.sqrt((2 * np.log(1 / discount) + 1 / total) * variance) + mean - 0.5)


def calibrated(size, discount, end=1000, points=500):
    """Gittins indices by calibration, float64 in the order of `states`.

    An arm is played, or permanently exchanged for a sure reward r. The gain of playing once more and then optimally, minus r
    and times 1 - g, is d(a, b) = (1 - g) (m - r) + g (m max(0, d(a + 1, b)) + (1 - m) max(0, d(a, b + 1))). The index is the
    r with d = 0, by linear interpolation between two of the given number of `points`. The lattice ends at a + b = `end` with
    d = m - r.

    Raises:
      ValueError: a discount outside [.001, .99999], or a lattice that ends before `size` pulls.
    """
    checks.number("discount", discount, low=1e-3, high=0.99999, scalar=True)
    if checks.positive_int("end", end) < checks.positive_int("size", size) + 2:
        raise ValueError(f"end must be at least size + 2 = {size + 2}, got {end}")
    reward = (1 - np.cos(np.linspace(0, np.pi, points + 1))) / 2
    table, later = np.zeros((size + 1) * (size + 2) // 2), None
    for pulls in range(end - 2, -1, -1):
        mean = ((1 + np.arange(pulls + 1)) / (2 + pulls))[:, None]
        gain = mean - reward
        if later is not None:
            gain *= 1 - discount
            gain += discount * (mean * later[1:] + (1 - mean) * later[:-1])
        if pulls <= size:
            low = np.clip(np.sum(gain > 0, axis=1) - 1, 0, points - 1)
            f0, f1 = (np.take_along_axis(gain, low[:, None] + i, 1)[:, 0] for i in (0, 1))
            first = pulls * (pulls + 1) // 2
            table[first : first + pulls + 1] = reward[low] + (reward[low + 1] - reward[low]) * f0 / (f0 - f1)
        later = np.maximum(gain, 0, out=gain)
    return table

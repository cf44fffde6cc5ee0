"""Thompson sampling with the true prior: a posterior over markets drawn from any task distribution.

M markets are drawn once from `env.sample_params`. In each period one of them is drawn from the posterior over the M markets,
and its best price is posted. With mean demand d_mk of market m at price k, and a sale of y units from n buyers at price k,

    log w_m' = log w_m + y log d_mk + (n - y) log(1 - d_mk)        each buyer buys or not,
    log w_m' = log w_m + y log d_mk - n d_mk                       Poisson,
    log w_m' = log w_m - (y - n d_mk)^2 / (2 sigma^2)              Gaussian.

This is exact Thompson sampling for the uniform prior on the M markets. It approaches exact Thompson sampling for the task
distribution as M grows: after 100 sales at ten prices, the posterior is still wide compared with the distance between a few
thousand markets. With `greedy`, the seller posts the price with the highest posterior mean profit; such a seller puts no
value on learning.

If demand is a table over prices, the table of each market is computed once. Other markets have methods for the decision of a
seller who sees an observation and believes in `params` (`Environment.believed` and `offer`). With features, d_mk is the
demand of the present buyer. With a limited stock, the worth of a price is d_mk (p_k - cost - v_m), where v_m is the value of
the sold unit in market m, given the stock and the time left. The greedy seller is then the QMDP rule of partially observed
decision problems: it plans as if the market became known in the next period.

Regret: Bayesian regret O(sqrt(K T)) over the prior (Russo and Van Roy).

Sources: W. R. Thompson (1933), doi:10.1093/biomet/25.3-4.285; D. Russo, B. Van Roy (2014), "Learning to optimize via
posterior sampling", arXiv:1301.2609; M. L. Littman, A. R. Cassandra, L. P. Kaelbling (1995), "Learning policies for
partially observable environments: scaling up", doi:10.1016/B978-1-55860-377-6.50052-9 (QMDP).
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxprice import checks, random, samplers
from jaxprice.environment import Environment
from jaxprice.policies.registry import maker_with_arguments
from jaxprice.types import Discrete, Policy, Problem


@struct.dataclass
class State:
    """State of the policy.

    Attributes:
      problem: the problem of the seller.
      log_weights: log weights of the markets, the largest is zero, float `[markets]`.
    """

    problem: Problem
    log_weights: jax.Array


class Tables:
    """Markets whose demand is a table over prices: `means`, float `[markets, num_prices]`."""

    def __init__(self, means):
        self.means = means

    def of_all(self, state, observation, action):
        """Mean demand of one buyer at `action` in each market, float `[markets]`."""
        del state, observation
        return jnp.asarray(self.means.T)[action]

    def of_one(self, state, observation, number):
        """The worth of each price in market `number`, float `[num_prices]`."""
        del observation
        return state.problem.margins * jnp.asarray(self.means)[number]

    def in_mean(self, state, observation, weights):
        """The mean worth of each price over markets, up to a factor, float `[num_prices]`."""
        del observation
        return state.problem.margins * jnp.sum(weights[:, None] * self.means, axis=0)


class Markets:
    """Markets with `believed` and `offer`: `params`, leaves `[markets, ...]`; the interface is that of `Tables`."""

    def __init__(self, env, params, actions):
        self.env, self.params, self.actions = env, params, actions

    def offers(self, state, observation, params):
        """A function from an action to its mean demand and worth in the market `params`."""
        known, params = self.env.believed(observation, params, state.problem)
        return lambda action: self.env.offer(known, action, params)

    def of_all(self, state, observation, action):
        return jax.vmap(lambda params: self.offers(state, observation, params)(action)[0])(self.params)

    def of_one(self, state, observation, number):
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf)[number], self.params)
        return jax.vmap(self.offers(state, observation, params))(jnp.arange(self.actions, dtype=jnp.int32))[1]

    def in_mean(self, state, observation, weights):
        every = jnp.arange(self.actions, dtype=jnp.int32)
        worth = jax.vmap(lambda params: jax.vmap(self.offers(state, observation, params))(every)[1])(self.params)
        return jnp.sum(weights[:, None] * worth, axis=0)


@maker_with_arguments
def prior_thompson(env, markets=2000, seed=0, greedy=False):
    """Thompson sampling with the task distribution of `env` as its prior.

    Args:
      env: an environment with a grid of prices: one whose state has the `mean_demand` of each price (`MyopicMarket`),
        one with `believed` and `offer` (`LinearValuation`, `GLMDemand`, `FiniteInventory`, `AirlineSeason`, where sold-out
        days count as if all demand had been seen), or a wrapper of these.
      markets: number M of drawn markets, at most 100,000. Each takes one number in the state of a lane.
      seed: seed of that draw; the markets differ from those that `simulate` draws with the same seed.
      greedy: whether to post the price with the largest posterior mean worth instead.

    Raises:
      ValueError: the environment is another one, or a number is out of range; at `init`, the market has other actions.
    """
    if checks.positive_int("markets", markets) > 100_000:
        raise ValueError(f"markets must be at most 100000, got {markets}")
    space = env.action_space()
    if not isinstance(space, Discrete) or space.shape:
        raise ValueError(f"prior_thompson chooses from a price grid, {env.name} takes {space}")
    words = random.stream(seed, "init")  # another stream than that of the markets of lanes

    def drawn(number):
        key = random.address(words, 0, number)
        params = jax.tree.map(jnp.asarray, env.sample_params(key))
        table = getattr(env.reset_env(jax.random.fold_in(key, 1), params)[1], "mean_demand", jnp.zeros(0))
        return params, table

    tables = jax.eval_shape(drawn, jnp.uint32(0))[1].size
    if not tables and not _believes(env):
        raise ValueError(
            f"prior_thompson needs a market whose mean demand is a table over prices, or that has `believed` and `offer`, "
            f"got {env.name}"
        )
    numbers = jnp.arange(markets, dtype=jnp.uint32)
    params, means = jax.tree.map(np.asarray, jax.jit(jax.vmap(drawn))(numbers))
    known = Tables(np.float32(means)) if tables else Markets(env, params, space.n)

    def init(key, problem):
        del key
        theirs = problem.action_space
        if not isinstance(theirs, Discrete) or theirs.shape or theirs.n != space.n:
            raise ValueError(f"prior_thompson was made for {space.n} prices, this market takes {theirs}")
        return State(dataclasses.replace(problem, observation=None), jnp.zeros(markets, jnp.float32))

    def act(key, state, observation):
        weights = jnp.exp(state.log_weights)
        if greedy:
            return jnp.argmax(known.in_mean(state, observation, weights)).astype(jnp.int32)
        summed = jnp.cumsum(weights)
        u = samplers.uniform(jax.random.bits(key, (), jnp.uint32))
        number = jnp.minimum(jnp.sum(summed < u * summed[-1], dtype=jnp.int32), markets - 1)
        return jnp.argmax(known.of_one(state, observation, number)).astype(jnp.int32)

    act.markets = known  # read by explanations: the state has only their weights

    def update(key, state, transition):
        del key
        mean = known.of_all(state, transition.observation, transition.action)
        sold, buyers = transition.demand, state.problem.buyers
        if state.problem.noise == "gaussian":
            sigma = jnp.maximum(jnp.asarray(state.problem.noise_scale, jnp.float32), 1e-6)
            likely = -0.5 * ((sold - buyers * mean) / sigma) ** 2
        elif state.problem.noise == "poisson":
            likely = sold * jnp.log(jnp.maximum(mean, 1e-12)) - buyers * mean
        else:
            rest = jnp.maximum(1 - mean, 1e-12)
            likely = sold * jnp.log(jnp.maximum(mean, 1e-12)) + (buyers - sold) * jnp.log(rest)
        new = state.log_weights + likely
        return state.replace(log_weights=new - jnp.max(new))

    def probabilities(state, observation):
        def best(number):
            return jnp.argmax(known.of_one(state, observation, number))

        choices, weights = jax.vmap(best)(jnp.arange(markets, dtype=jnp.int32)), jnp.exp(state.log_weights)
        hits = jnp.arange(space.n, dtype=choices.dtype)[:, None] == choices[None, :]
        return jnp.sum(jnp.where(hits, weights[None, :], 0.0), axis=1) / jnp.sum(weights)

    return Policy(init, act, update, None if greedy else probabilities)


def _believes(env):
    """Whether a market, or the market inside a wrapper, has `believed` and `offer`."""
    inner = getattr(env, "base", env)
    return type(inner).believed is not Environment.believed

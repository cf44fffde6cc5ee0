"""The exact expected reward of a deterministic policy in a Bernoulli bandit with a Beta prior, by enumeration of rewards.

In n pulls, a deterministic policy meets one of 2^n strings of rewards, and the string determines its state. The policy plays
all strings, as one batch of lanes: in each lane, the market pays the reward of the string, whatever arm is pulled. With s_i
and f_i successes and failures of arm i so far, the next pull of arm i succeeds under the prior with probability
m_i = (a + s_i) / (a + b + s_i + f_i). The weight of a string is the product of m_i or 1 - m_i along it, and

    value = sum over strings of weight x successes.

The weights sum to one for any policy that does not know a reward before its pull. The policy runs in its usual precision.
The weights are computed on the host in float64, so the value is exact for the actions that were played.

The bandit's own `step_env` makes the transitions: an arm with mean one always pays, an arm with mean zero never pays.

Source: the definition of the expectation under the posterior predictive distribution; for that distribution see D. A. Berry,
B. Fristedt (1985), "Bandit problems", doi:10.1007/978-94-015-3711-7.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from jaxprice import checks
from jaxprice.types import Oracle, Policy, Transition

LONGEST = 16  # pulls


def value(env: Any, policy: Policy, horizon: int, a: float = 1.0, b: float = 1.0) -> float:
    """Expected total reward of a deterministic policy.

    Args:
      env: a `BernoulliBandit`; all its arms have the prior Beta(a, b).
      policy: a deterministic `Policy`: a bandit policy, or a trained agent that plays its best action.
      horizon: number of pulls, at most `LONGEST`.
      a, b: shapes of the prior, above 0.

    Returns:
      A float.

    Raises:
      ValueError: the market is another one, the policy knows the market or its actions depend on its key, a number is out of
        range, or the weights do not sum to one within 1e-4.
    """
    checks.number("a", a, low=1e-6, scalar=True)
    checks.number("b", b, low=1e-6, scalar=True)
    rewards, actions = paths(env, policy, horizon)
    return float(_weights(rewards, actions, env.num_arms, a, b) @ rewards.sum(axis=1))


def paths(
    env: Any, policy: Policy, horizon: int
) -> tuple[Int[np.ndarray, "2**{horizon} {horizon}"], Int[np.ndarray, "2**{horizon} {horizon}"]]:
    """All strings of rewards, and the arms that the policy pulls along each string.

    Args:
      env, policy, horizon: as in `value`.

    Returns:
      `(rewards, actions)`, int `[2^horizon, horizon]` each.

    Raises:
      ValueError: as in `value`.
    """
    if getattr(env, "noise", None) != "bernoulli" or not hasattr(env, "num_arms"):
        raise ValueError(f"env must be a BernoulliBandit, got {env!r}")
    if not isinstance(policy, Policy) or isinstance(policy, Oracle):
        raise ValueError(f"policy must be a Policy that does not know the market, got {policy!r}")
    if checks.positive_int("horizon", horizon) > LONGEST:
        raise ValueError(f"horizon must be at most {LONGEST}, which has 2^{LONGEST} strings of rewards, got {horizon}")
    rewards = (np.arange(2**horizon)[:, None] >> np.arange(horizon - 1, -1, -1)) & 1
    actions, others = (np.asarray(_play(env, policy, jax.random.key(seed), rewards.astype(np.float32))) for seed in (0, 1))
    if np.any(actions != others):
        raise ValueError(f"policy must be deterministic, but {np.sum(actions != others)} actions changed with the key")
    return rewards, actions


@functools.partial(jax.jit, static_argnums=(0, 1))
def _play(env, policy, key, rewards):
    """Actions `[strings, horizon]` for strings of rewards `[strings, horizon]`."""
    horizon = rewards.shape[1]
    params = jax.tree.map(jnp.asarray, env.default_params())
    params = dataclasses.replace(params, max_steps_in_episode=jnp.int32(horizon))

    def pull(carry, now):
        obs, env_state, state = carry
        time, reward = now
        key_act, key_demand, key_update = jax.random.split(jax.random.fold_in(key, time), 3)
        sure = dataclasses.replace(params, means=jnp.broadcast_to(reward, params.means.shape))
        action = policy.act(key_act, state, obs)
        after, env_state, earned, _, info = env.step_env(key_demand, env.refresh(env_state, sure), action, sure)
        seen = Transition(obs, action, info["price"], info["demand"], earned, after)
        return (after, env_state, policy.update(key_update, state, seen)), action

    def lane(rewards):
        key_reset, key_init = jax.random.split(jax.random.fold_in(key, horizon))
        obs, env_state = env.reset_env(key_reset, params)
        state = policy.init(key_init, env.problem(params).with_observation(obs))
        return jax.lax.scan(pull, (obs, env_state, state), (jnp.arange(horizon), rewards))[1]

    return jax.vmap(lane)(rewards)


def _weights(rewards, actions, arms, a, b):
    """Probability of each string under the prior, float64 `[strings]`."""
    strings = np.arange(len(rewards))
    wins, pulls, weights = np.zeros((len(rewards), arms)), np.zeros((len(rewards), arms)), np.ones(len(rewards))
    for reward, action in zip(rewards.T, actions.T, strict=True):
        mean = (a + wins[strings, action]) / (a + b + pulls[strings, action])
        weights *= np.where(reward == 1, mean, 1 - mean)
        wins[strings, action] += reward
        pulls[strings, action] += 1
    if abs(weights.sum() - 1) > 1e-4:
        raise ValueError(
            f"the weights of all strings must sum to 1, got {weights.sum()}: the policy knows rewards beforehand"
        )
    return weights

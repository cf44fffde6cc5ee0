"""RL^2: an agent with memory, trained by reinforcement learning over whole lifetimes, by PPO or by A2C.

A lifetime of T periods in a market drawn from the task distribution is one episode. The memory persists through it, so the
weights learn how to learn in a market. With rewards r_t in units, and v_t the value of the network times T,

    A_t = sum_(i >= 0) (g l)^i d_(t+i),   d_t = r_t - r' + g v_(t+1) - v_t,   v_T = 0,   R_t = A_t + v_t,

where g is the discount, l the trace and r' the mean reward of the batch. The policy solves

    max  min(q_t A_t, clip(q_t, 1 - c, 1 + c) A_t) + h_t entropy,      q_t = pi(a_t) / pi_old(a_t),

where A_t is normalised: its mean over lanes at the same t is subtracted, and it is divided by its standard deviation. The
weight h_t falls to zero. The value fits R_t / T in mean square. Several passes over several minibatches of lifetimes are
PPO. A single pass over the whole batch, where q_t = 1, is A2C.

Departures from Duan et al.: PPO replaces TRPO. The time left is an input unless `Inputs(time=False)`. Means over lanes at
the same t are subtracted from advantages, because the problem is not discounted. Rewards are centred, which does not change
the optimal policy.

G. Gatti Pinheiro, M. Defoin-Platel, J.-C. Regin (2022), doi:10.3390/a15050142, were the first to train an LSTM by PPO so
that it earns while it learns, on flights with seats (`AirlineSeason`). Their LSTM runs over the flights on sale, not over
time. The past reaches it through the seats sold and an estimate of demand from the last 22 days. New here is the return as
regret against an exact oracle, which has a smaller variance (see `lifetimes`).

Sources: Y. Duan et al. (2016), arXiv:1611.02779; J. X. Wang et al. (2016), arXiv:1611.05763; J. Schulman et al. (2017),
"Proximal policy optimization algorithms", arXiv:1707.06347; V. Mnih et al. (2016), arXiv:1602.01783.
"""

import dataclasses
from typing import Any

import chex
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxprice import checks
from jaxprice.agents import learning, lifetimes


@dataclasses.dataclass(frozen=True)
class PPO:
    """One update by PPO.

    Attributes:
      epochs: number of passes over the lifetimes.
    """

    epochs: int = 2

    def __post_init__(self):
        object.__setattr__(self, "epochs", checks.positive_int("epochs", self.epochs))

    def __call__(self, training, state, hyper, streams, lanes, share):
        """The signature of a learner in `learning`."""
        play, optimiser = training.play, learning.adam(training.clip_norm)
        lives = jax.vmap(jax.vmap(play.live, (None, None, 0)), (None, None, 0))(state.weights, streams, lanes)
        advantage, returns = advantages(lives, hyper, play.horizon)
        batch = lives, advantage, returns

        def loss(weights, batch):
            lives, advantage, returns = batch
            says = play.says(weights, lives)
            log_probs = jax.nn.log_softmax(says.logits)
            mine = jnp.take_along_axis(log_probs, lives.action[..., None], -1)[..., 0]
            chex.assert_equal_shape((mine, lives.log_prob, advantage, returns, says.value))
            ratio = jnp.exp(mine - lives.log_prob)
            cut = jnp.clip(ratio, 1 - hyper.clip, 1 + hyper.clip)
            gain = jnp.minimum(ratio * advantage, cut * advantage).mean()
            entropy = -jnp.sum(jnp.exp(log_probs) * log_probs, axis=-1).mean()
            value = jnp.mean((says.value - returns / play.horizon) ** 2)
            total = -gain + hyper.value_weight * value - hyper.entropy * (1 - share) * entropy
            return total, {"loss": total, "value_loss": value, "entropy": entropy}

        def minibatch(state, batch):
            gradient, metrics = jax.grad(loss, has_aux=True)(state.weights, batch)
            gradient, metrics = learning.over_devices((gradient, metrics))
            return learning.descend(optimiser, state, gradient, hyper, share), metrics

        def epoch(state, _):
            return jax.lax.scan(minibatch, state, batch)

        state, metrics = jax.lax.scan(epoch, state, None, length=self.epochs)
        metrics = jax.tree.map(jnp.mean, metrics)
        return state, metrics | learning.over_devices({"reward": lives.reward.sum(axis=-1).mean()})


def a2c():
    """One update by A2C: PPO with one pass; use it with one minibatch."""
    return PPO(epochs=1)


def advantages(lives: Any, hyper: Any, horizon: Any) -> tuple[Float[Array, "*lanes T"], Float[Array, "*lanes T"]]:
    """Normalised advantages, and returns, both `[..., T]`."""
    chex.assert_equal_shape((lives.reward, lives.value))  # else they would broadcast
    centred = lives.reward - learning.over_devices(lives.reward.mean())
    values = lives.value * horizon
    later = jnp.concatenate([values[..., 1:], jnp.zeros_like(values[..., :1])], axis=-1)
    errors = centred + hyper.discount * later - values

    def back(ahead, error):
        ahead = error + hyper.discount * hyper.trace * ahead
        return ahead, ahead

    _, raw = jax.lax.scan(back, jnp.zeros_like(errors[..., 0]), jnp.moveaxis(errors, -1, 0), reverse=True)
    raw = jnp.moveaxis(raw, 0, -1)
    axes = tuple(range(raw.ndim - 1))
    level = raw - learning.over_devices(raw.mean(axis=axes))
    spread = jnp.sqrt(learning.over_devices(jnp.mean(level**2)))
    return level / jnp.maximum(spread, 1e-8), raw + values


def train(
    env,
    network,
    *,
    horizon,
    updates,
    seeds=0,
    algorithm="ppo",
    lanes=256,
    minibatches=4,
    hyper=None,
    return_reward="sampled",
    **options,
):
    """Train agents by reinforcement learning.

    Args:
      env: the market; agents learn from its task distribution.
      network: from `networks.make`.
      horizon: number of periods of a lifetime.
      updates: total number of updates.
      seeds: one integer, or one integer a run.
      algorithm: "ppo" or "a2c".
      lanes, minibatches: number of lifetimes in an update, and number of parts of an update (A2C: 1).
      hyper: `learning.Hyper`.
      return_reward: see `lifetimes`.
      **options: options of `learning.run`.

    Returns:
      `(weights, curve)`, see `learning.run`.

    Raises:
      ValueError: bad input.
    """
    checks.choice("algorithm", algorithm, ("ppo", "a2c"))
    play = lifetimes.Play(env, network, horizon, return_reward=return_reward)
    learn = a2c() if algorithm == "a2c" else PPO()
    minibatches = checks.positive_int("minibatches", minibatches)
    training = learning.Training(play, lanes, 1 if algorithm == "a2c" else minibatches)
    hyper = learning.Hyper() if hyper is None else hyper
    return learning.run(training, learn, hyper, seeds, updates, **{"judge": "argmax", **options})

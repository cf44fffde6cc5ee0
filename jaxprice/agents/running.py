"""Running statistics: mean and variance of observations, and the scale of rewards, which learners divide by.

Batches are merged exactly: with n, m, s the count, mean and mean square deviation so far, and n', m', s' those of a batch,

    m <- m + (m' - m) n' / (n + n'),    s <- (n s + n' s' + (m' - m)^2 n n' / (n + n')) / (n + n').

The scale of rewards is the root mean square of their discounted sum so far, kept for every lane since its episode began. It
is of the size of the values. Engstrom et al. describe the standard deviation, which is zero where rewards are constant.

Rewards are centred if the mean of all rewards so far is subtracted first (Naik et al.). Then values hold no common level of
up to 1 / (1 - discount) rewards, beside which the differences between actions are small. Where episodes end after a fixed
number of periods, this changes no comparison of policies; where a policy decides when its episode ends, it would.

Source: T. F. Chan, G. H. Golub, R. J. LeVeque (1983), "Algorithms for computing the sample variance: analysis and
recommendations", doi:10.1080/00031305.1983.10483115; L. Engstrom et al. (2020), "Implementation matters in deep policy
gradients", arXiv:2005.12729 (both normalisations); A. Naik, Y. Wan, M. Tomar, R. S. Sutton (2024), "Reward centering",
arXiv:2405.09999.
"""

import jax
import jax.numpy as jnp
from flax import struct


@struct.dataclass
class Running:
    """Statistics of numbers `[...]`.

    Attributes:
      count: numbers so far, float scalar; at most `LONGEST`, after which old numbers are slowly forgotten.
      mean, variance: float `[...]`.
    """

    count: jax.Array
    mean: jax.Array
    variance: jax.Array


LONGEST = 2.0**22  # so that counts stay exact in float32
SMALL = 1e-12  # added under a root


def start(shape=()):
    """Statistics of no numbers: mean zero and variance one, which the first batch replaces."""
    return Running(jnp.float32(0), jnp.zeros(shape, jnp.float32), jnp.ones(shape, jnp.float32))


def add(running, batch):
    """Statistics with a batch, float `[n, ...]`."""
    size = jnp.float32(batch.shape[0])
    mean, variance = batch.mean(axis=0), batch.var(axis=0)
    count = running.count + size
    apart = mean - running.mean
    level = running.mean + apart * (size / count)
    spread = (running.count * running.variance + size * variance + apart**2 * (running.count * size / count)) / count
    return Running(jnp.minimum(count, LONGEST), level, spread)


@struct.dataclass
class RewardScale:
    """Scale of rewards.

    Attributes:
      sums: discounted sum of the rewards of each lane since its episode began, less their level, float `[lanes]`.
      seen: statistics of these sums.
      each: statistics of single rewards, if they are centred.
    """

    sums: jax.Array
    seen: Running
    each: Running

    @property
    def level(self):
        """The number that is subtracted from a reward, float scalar; zero where rewards are not centred."""
        return self.each.mean

    @property
    def scale(self):
        """The number that rewards are divided by, float scalar."""
        square = self.seen.variance + self.seen.mean**2 + (1e-4 * self.level) ** 2  # not rounding where all are alike
        return jnp.where((self.seen.count > 0) & (square > 0), jnp.sqrt(square + SMALL), 1.0)


def start_rewards(lanes):
    """The scale of no rewards: one."""
    return RewardScale(jnp.zeros(lanes, jnp.float32), start(), start())


def add_rewards(scale, rewards, done, discount, centred=False):
    """The scale with rewards `[T, lanes]` of periods that ended an episode where `done`."""
    each = add(scale.each, rewards.reshape(-1)) if centred else scale.each

    def period(sums, now):
        reward, ends = now
        sums = discount * sums + reward
        return jnp.where(ends, 0.0, sums), sums

    sums, all_sums = jax.lax.scan(period, scale.sums, (rewards - each.mean, done))
    return RewardScale(sums, add(scale.seen, all_sums.reshape(-1)), each)

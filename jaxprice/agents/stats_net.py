"""A network on sufficient statistics: counts and mean demand of each action, with no recurrence.

Each action k has a row of features:

    m_k = (1 + s_k) / (2 + n_k),   sqrt(m_k (1 - m_k) / (3 + n_k)),   log(1 + n_k),   1{n_k = 0},   price,   w_k,   w_k m_k,

where n_k is its number of plays, s_k its demand per buyer, and w_k the profit of a sale; and the share and the logarithm of
the periods left. Other entries of the observation are appended to every row. Rows pass through shared layers. They exchange
information through their mean, their maximum and, with `attention`, a layer of self-attention. Each row gives one logit. The
network is equivariant to the order of the actions and accepts any number of them; features, not positions, show the order of
prices. It is a learner on given statistics, not a learner in context.

Source: M. Zaheer et al. (2017), "Deep sets", arXiv:1703.06114.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxprice.agents.inputs import Output


class StatsNet(nn.Module):
    """Equivariant network on the statistics of the actions.

    Attributes:
      size: width.
      attention: whether rows attend to each other.
      head_scale: scale of the initial weights of the policy head.
    """

    size: int = 32
    attention: bool = False
    head_scale: float = 0.01

    def setup(self):
        self.first, self.second = nn.Dense(self.size), nn.Dense(self.size)
        self.policy = nn.Dense(1, kernel_init=nn.initializers.orthogonal(self.head_scale))
        self.value_hidden = nn.Dense(self.size)
        self.value = nn.Dense(1, kernel_init=nn.initializers.zeros_init())
        if self.attention:
            self.attend = nn.Dense(3 * self.size, use_bias=False)

    def start(self, facts: Any) -> Float[Array, "2 actions"]:
        """Counts and sums before the first period, `[2, actions]`."""
        return jnp.zeros((2, facts.margins.shape[0]), jnp.float32)

    def step(self, memory: Float[Array, "2 actions"], facts: Any, seen: Any) -> tuple[Float[Array, "2 actions"], Output]:
        """One decision: `(memory, Output)`."""
        memory = memory + played(facts, seen)
        return memory, self.decide(facts, seen, memory)

    def apply_sequence(self, facts: Any, seen: Any) -> Output:
        """All decisions of a lifetime: `Output` with a leading axis `[T]`."""
        sums = jnp.cumsum(jax.vmap(played, (None, 0))(facts, seen), axis=0)
        return jax.vmap(self.decide, (None, 0, 0))(facts, seen, sums)

    def decide(self, facts: Any, seen: Any, sums: Float[Array, "2 actions"]) -> Output:
        """The `Output` of one decision."""
        rows = nn.gelu(self.first(features(facts, seen, sums)))
        if self.attention:
            query, key, value = jnp.split(self.attend(rows), 3, axis=-1)
            rows = rows + jax.nn.softmax(query @ key.T / self.size**0.5) @ value
        pooled = jnp.concatenate([rows.max(axis=0), rows.mean(axis=0)])
        every = jnp.broadcast_to(pooled, (rows.shape[0], pooled.shape[0]))
        rows = nn.gelu(self.second(jnp.concatenate([rows, every], axis=-1)))
        return Output(self.policy(rows)[:, 0], self.value(nn.tanh(self.value_hidden(pooled)))[0])


def played(facts: Any, seen: Any) -> Float[Array, "2 actions"]:
    """The increments of counts and sums from the last period, `[2, actions]`."""
    hot = jax.nn.one_hot(seen.action, facts.margins.shape[0], dtype=jnp.float32)
    return jnp.stack([hot, hot * seen.demand])


def features(facts: Any, seen: Any, sums: Float[Array, "2 actions"]) -> Float[Array, "actions features"]:
    """Features of the actions, `[actions, features]`."""
    counts, demand = sums
    mean = (1 + demand) / (2 + counts)
    deviation = jnp.sqrt(jnp.maximum(mean * (1 - mean), 0.0) / (3 + counts))
    left = jnp.maximum(facts.horizon - seen.time.astype(jnp.float32), 1.0)
    columns = [
        2 * mean - 1,
        4 * deviation,
        jnp.log1p(counts) / 3,
        (counts == 0).astype(jnp.float32),
        facts.prices,
        facts.margins,
        2 * facts.margins * mean - 1,
        jnp.broadcast_to(left / facts.horizon, mean.shape),
        jnp.broadcast_to(jnp.log(left) / 4, mean.shape),
    ]
    shown = jnp.broadcast_to(seen.observation, (mean.shape[0], seen.observation.shape[0]))
    return jnp.concatenate([jnp.stack(columns, axis=-1), shown], axis=-1)

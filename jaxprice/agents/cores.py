"""Memory modules between the inputs and the heads of an agent, for one lane.

    start() -> memory                        before the first period
    step(memory, token) -> memory, hidden    one period, with a memory of constant size
    apply_sequence(tokens[T]) -> hidden[T]   all periods of a lifetime at once

- `GRU`, `LSTM`, `MinGRU`: see `recurrence`.
- `Transformer`: causal attention with learned positions and a cache of keys and values, for at most `longest` periods.
- `Memoryless`: a perceptron of the token, for the ablation without memory.
- `Perceptron`: layers on the token, with layer normalisation if asked: for markets whose observation tells the state.

Source: A. Vaswani et al. (2017), arXiv:1706.03762; and those of `recurrence`.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from jaxprice.agents.recurrence import GRU, LSTM, MinGRU, normed


class Transformer(nn.Module):
    """Causal transformer.

    Attributes:
      size: width, a multiple of `heads`.
      layers, heads: number of blocks, and of attention heads.
      longest: largest number of periods of a lifetime.
    """

    size: int = 64
    layers: int = 2
    heads: int = 4
    longest: int = 128

    def setup(self):
        if self.size % self.heads:
            raise ValueError(f"size must be a multiple of heads, got {self.size} and {self.heads}")
        self.embed = nn.Dense(self.size)
        self.position = self.param("position", nn.initializers.normal(0.02), (self.longest, self.size), jnp.float32)
        self.attend = [nn.Dense(3 * self.size, use_bias=False) for _ in range(self.layers)]
        self.out = [nn.Dense(self.size) for _ in range(self.layers)]
        self.wide = [nn.Dense(4 * self.size) for _ in range(self.layers)]
        self.narrow = [nn.Dense(self.size) for _ in range(self.layers)]

    def start(self) -> tuple[Int[Array, ""], Float[Array, "layers 2 longest size"]]:
        return jnp.int32(0), jnp.zeros((self.layers, 2, self.longest, self.size), jnp.float32)

    def step(self, memory: Any, token: Float[Array, " D"]) -> tuple[Any, Float[Array, " size"]]:
        time, cache = memory
        x = self.embed(token) + self.position[time]
        seen = jnp.arange(self.longest, dtype=jnp.int32) <= time
        for block in range(self.layers):
            query, key, value = jnp.split(self.attend[block](normed(x)), 3)
            cache = cache.at[block, 0, time].set(key).at[block, 1, time].set(value)
            x = self.rest(block, x, self.mixed(query[None], *cache[block], seen[None])[0])
        return (time + 1, cache), normed(x)

    def apply_sequence(self, tokens: Float[Array, "T D"]) -> Float[Array, "T size"]:
        length = tokens.shape[0]
        if length > self.longest:
            raise ValueError(f"the transformer was made for lifetimes of {self.longest} periods at most, got {length}")
        x = self.embed(tokens) + self.position[:length]
        causal = jnp.tril(jnp.ones((length, length), bool))
        for block in range(self.layers):
            query, key, value = jnp.split(self.attend[block](normed(x)), 3, axis=-1)
            x = self.rest(block, x, self.mixed(query, key, value, causal))
        return normed(x)

    def mixed(
        self,
        query: Float[Array, "Q size"],
        key: Float[Array, "K size"],
        value: Float[Array, "K size"],
        seen: Bool[Array, "Q K"],
    ) -> Float[Array, "Q size"]:
        """Values weighted by attention, float `[queries, size]`; `seen` `[queries, keys]`."""
        query, key, value = (x.reshape(x.shape[0], self.heads, -1) for x in (query, key, value))
        scores = jnp.einsum("qhd,khd->hqk", query, key) / query.shape[-1] ** 0.5
        weights = jax.nn.softmax(jnp.where(seen, scores, -1e30), axis=-1)
        return jnp.einsum("hqk,khd->qhd", weights, value).reshape(query.shape[0], self.size)

    def rest(self, block: int, x: Float[Array, "*T size"], mixed: Float[Array, "*T size"]) -> Float[Array, "*T size"]:
        """The rest of the block, after its attention."""
        x = x + self.out[block](mixed)
        return x + self.narrow[block](nn.gelu(self.wide[block](normed(x))))


class Memoryless(nn.Module):
    """Two layers of `size` units on the token alone."""

    size: int = 64

    def setup(self):
        self.first, self.second = nn.Dense(self.size), nn.Dense(self.size)

    def start(self) -> tuple[()]:
        return ()

    def step(self, memory: Any, token: Float[Array, " D"]) -> tuple[Any, Float[Array, " size"]]:
        return memory, self.apply_sequence(token)

    def apply_sequence(self, tokens: Float[Array, "... D"]) -> Float[Array, "... size"]:
        return nn.tanh(self.second(nn.tanh(self.first(tokens))))


class Perceptron(nn.Module):
    """`layers` layers of `size` units on the token alone.

    Attributes:
      size: width.
      layers: number of layers.
      tanh: whether units are tanh; otherwise rectified linear.
      layer_norm: whether a layer is normalised before its units, without scale and shift.
    """

    size: int = 64
    layers: int = 2
    tanh: bool = False
    layer_norm: bool = False

    def setup(self):
        scale = nn.initializers.orthogonal(2**0.5)
        self.dense = [nn.Dense(self.size, kernel_init=scale) for _ in range(self.layers)]

    def start(self):
        return ()

    def step(self, memory, token):
        return memory, self.apply_sequence(token)

    def apply_sequence(self, tokens):
        x = tokens
        for dense in self.dense:
            x = dense(x)
            if self.layer_norm:
                x = x - x.mean(axis=-1, keepdims=True)
                x = normed(x)
            x = nn.tanh(x) if self.tanh else nn.relu(x)
        return x


CORES = {
    "gru": GRU,
    "lstm": LSTM,
    "min_gru": MinGRU,
    "transformer": Transformer,
    "none": Memoryless,
    "mlp": Perceptron,
}

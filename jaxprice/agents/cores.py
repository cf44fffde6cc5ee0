"""Memory modules between the inputs and the heads of an agent, for one lane.

- `GRU`, h' = (1 - z) h + z c: the memory of RL^2. The bias of the update gate starts at -1. With `chrono` = n, the initial
  time scales of the gates range from 1 to n periods (Tallec and Ollivier).
- `LSTM`: the memory of Wang et al.; the bias of the forget gate starts at 1.
- `MinGRU`: residual blocks, each a gated linear recurrence h' = (1 - z) h + z c and a two-layer perceptron. z and c depend
  on the token alone, so a lifetime is one associative scan. Initial gate biases range from -4 to 1.
- `Transformer`: causal attention with learned positions and a cache of keys and values, for at most `longest` periods.
- `Memoryless`: a perceptron of the token, for the ablation without memory.
- `Perceptron`: layers on the token, with layer normalisation if asked: for markets whose observation tells the state.

Source: K. Cho et al. (2014), arXiv:1406.1078; S. Hochreiter, J. Schmidhuber (1997), doi:10.1162/neco.1997.9.8.1735; L.
Feng, F. Tung, M. O. Ahmed, Y. Bengio, H. Hajimirsadeghi (2024), "Were RNNs all we needed?", arXiv:2410.01201; A. Vaswani et
al. (2017), arXiv:1706.03762; J. X. Wang et al. (2016), "Learning to reinforcement learn", arXiv:1611.05763; C. Tallec, Y.
Ollivier (2018), "Can recurrent neural networks warp time?", arXiv:1804.11188.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

SMALL = 1e-6  # added to the mean square under a root


class GRU(nn.Module):
    """Gated recurrent unit.

    Attributes:
      size: number of units.
      chrono: longest initial time scale, in periods; 0 means a bias of -1 for all units.
    """

    size: int = 64
    chrono: int = 0

    def setup(self):
        self.into = nn.Dense(3 * self.size, bias_init=self.gate_bias)
        self.gates = nn.Dense(2 * self.size, use_bias=False, kernel_init=_orthogonal_blocks(2))
        self.candidate = nn.Dense(self.size, use_bias=False, kernel_init=nn.initializers.orthogonal())

    def gate_bias(self, key: Any, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Float[Array, " gates"]:
        """Biases of the update gate, the reset gate and the candidate."""
        update = jnp.full(self.size, -1.0)
        if self.chrono:
            update = -jnp.log(jnp.linspace(1.0, self.chrono, self.size))
        return jnp.concatenate([update, jnp.zeros(2 * self.size)]).astype(dtype)

    def start(self) -> Float[Array, " size"]:
        return jnp.zeros(self.size, jnp.float32)

    def step(self, memory: Any, token: Float[Array, " D"]) -> tuple[Any, Float[Array, " size"]]:
        memory = self.advance(memory, self.into(token))
        return memory, memory

    def apply_sequence(self, tokens: Float[Array, "T D"]) -> Float[Array, "T size"]:
        return nn.scan(
            lambda self, memory, into: (new := self.advance(memory, into), new),
            variable_broadcast="params",
            split_rngs={"params": False},
        )(self, self.start(), self.into(tokens))[1]

    def advance(self, h: Float[Array, " size"], into: Float[Array, " gates"]) -> Float[Array, " size"]:
        """The next state, given the projected token `[3 size]`."""
        update, reset, fresh = jnp.split(into, 3)
        of_update, of_reset = jnp.split(self.gates(h), 2)
        z, r = nn.sigmoid(update + of_update), nn.sigmoid(reset + of_reset)
        return (1 - z) * h + z * nn.tanh(fresh + self.candidate(r * h))


class LSTM(nn.Module):
    """Long short-term memory with `size` units."""

    size: int = 64

    def setup(self):
        self.into = nn.Dense(4 * self.size, bias_init=self.gate_bias)
        self.gates = nn.Dense(4 * self.size, use_bias=False, kernel_init=_orthogonal_blocks(4))

    def gate_bias(self, key: Any, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Float[Array, " gates"]:
        """Biases of the input, forget and output gates and of the candidate."""
        return jnp.repeat(jnp.array([0.0, 1.0, 0.0, 0.0]), self.size).astype(dtype)

    def start(self) -> tuple[Float[Array, " size"], Float[Array, " size"]]:
        return jnp.zeros(self.size, jnp.float32), jnp.zeros(self.size, jnp.float32)

    def step(self, memory: Any, token: Float[Array, " D"]) -> tuple[Any, Float[Array, " size"]]:
        memory = self.advance(memory, self.into(token))
        return memory, memory[0]

    def apply_sequence(self, tokens: Float[Array, "T D"]) -> Float[Array, "T size"]:
        return nn.scan(
            lambda self, memory, into: (new := self.advance(memory, into), new[0]),
            variable_broadcast="params",
            split_rngs={"params": False},
        )(self, self.start(), self.into(tokens))[1]

    def advance(
        self, memory: tuple[Float[Array, " size"], Float[Array, " size"]], into: Float[Array, " gates"]
    ) -> tuple[Float[Array, " size"], Float[Array, " size"]]:
        """The next state `(h, c)`, given the projected token `[4 size]`."""
        h, c = memory
        write, keep, show, fresh = jnp.split(into + self.gates(h), 4)
        c = nn.sigmoid(keep) * c + nn.sigmoid(write) * nn.tanh(fresh)
        return nn.sigmoid(show) * nn.tanh(c), c


class MinGRU(nn.Module):
    """Residual blocks of a gated linear recurrence.

    Attributes:
      size: width.
      layers: number of blocks.
    """

    size: int = 64
    layers: int = 2

    def setup(self):
        half = nn.initializers.variance_scaling(0.25, "fan_in", "truncated_normal")
        self.embed = nn.Dense(self.size)
        self.gate = [nn.Dense(2 * self.size, bias_init=self.gate_bias) for _ in range(self.layers)]
        self.out = [nn.Dense(self.size, kernel_init=half) for _ in range(self.layers)]
        self.wide = [nn.Dense(2 * self.size) for _ in range(self.layers)]
        self.narrow = [nn.Dense(self.size, kernel_init=half) for _ in range(self.layers)]

    def gate_bias(self, key: Any, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Float[Array, " gates"]:
        """Biases of the gates, which cover a range of time scales, and of the candidates."""
        return jnp.concatenate([jnp.linspace(-4.0, 1.0, self.size), jnp.zeros(self.size)]).astype(dtype)

    def start(self) -> Float[Array, "layers size"]:
        return jnp.zeros((self.layers, self.size), jnp.float32)

    def step(self, memory: Any, token: Float[Array, " D"]) -> tuple[Any, Float[Array, " size"]]:
        x, states = self.embed(token), []
        for block in range(self.layers):
            keep, write = self.recurrence(block, x)
            states.append(keep * memory[block] + write)
            x = self.rest(block, x, states[-1])
        return jnp.stack(states), _normed(x)

    def apply_sequence(self, tokens: Float[Array, "T D"]) -> Float[Array, "T size"]:
        x = self.embed(tokens)
        for block in range(self.layers):
            x = self.rest(block, x, linear_recurrence(*self.recurrence(block, x)))
        return _normed(x)

    def recurrence(self, block: int, x: Float[Array, "*T size"]) -> tuple[Float[Array, "*T size"], Float[Array, "*T size"]]:
        """The share of the state that is retained, and the value that is written."""
        gate, fresh = jnp.split(self.gate[block](_normed(x)), 2, axis=-1)
        z = nn.sigmoid(gate)
        return 1 - z, z * fresh

    def rest(self, block: int, x: Float[Array, "*T size"], h: Float[Array, "*T size"]) -> Float[Array, "*T size"]:
        """The rest of the block, after its recurrence."""
        x = x + self.out[block](nn.gelu(h))
        return x + self.narrow[block](nn.gelu(self.wide[block](_normed(x))))


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
            query, key, value = jnp.split(self.attend[block](_normed(x)), 3)
            cache = cache.at[block, 0, time].set(key).at[block, 1, time].set(value)
            x = self.rest(block, x, self.mixed(query[None], *cache[block], seen[None])[0])
        return (time + 1, cache), _normed(x)

    def apply_sequence(self, tokens: Float[Array, "T D"]) -> Float[Array, "T size"]:
        length = tokens.shape[0]
        if length > self.longest:
            raise ValueError(f"the transformer was made for lifetimes of {self.longest} periods at most, got {length}")
        x = self.embed(tokens) + self.position[:length]
        causal = jnp.tril(jnp.ones((length, length), bool))
        for block in range(self.layers):
            query, key, value = jnp.split(self.attend[block](_normed(x)), 3, axis=-1)
            x = self.rest(block, x, self.mixed(query, key, value, causal))
        return _normed(x)

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
        return x + self.narrow[block](nn.gelu(self.wide[block](_normed(x))))


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
                x = _normed(x)
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


def linear_recurrence(keep: Float[Array, "T size"], write: Float[Array, "T size"]) -> Float[Array, "T size"]:
    """h_t = keep_t h_(t-1) + write_t with h_(-1) = 0, `[T, size]`: an associative scan, or a loop on CPUs, where memory
    traffic counts more than depth."""
    if jax.default_backend() == "cpu":
        return jax.lax.scan(lambda h, x: (new := x[0] * h + x[1], new), jnp.zeros_like(write[0]), (keep, write))[1]
    return jax.lax.associative_scan(lambda a, b: (a[0] * b[0], b[0] * a[1] + b[1]), (keep, write))[1]


def _normed(x):
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + SMALL)


def _orthogonal_blocks(count):
    """An initialiser that puts orthogonal square blocks side by side."""

    def initialise(key, shape, dtype=jnp.float32):
        square = (shape[0], shape[1] // count)
        return jnp.concatenate(
            [nn.initializers.orthogonal()(k, square, dtype) for k in jax.random.split(key, count)], axis=1
        )

    return initialise

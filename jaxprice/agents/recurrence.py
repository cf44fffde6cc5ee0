"""Recurrent memory modules between the inputs and the heads of an agent, for one lane; the interface is that of `cores`.

- `GRU`, h' = (1 - z) h + z c: the memory of RL^2. The bias of the update gate starts at -1. With `chrono` = n, the initial
  time scales of the gates range from 1 to n periods (Tallec and Ollivier).
- `LSTM`: the memory of Wang et al.; the bias of the forget gate starts at 1.
- `MinGRU`: residual blocks, each a gated linear recurrence h' = (1 - z) h + z c and a two-layer perceptron. z and c depend
  on the token alone, so a lifetime is one associative scan. Initial gate biases range from -4 to 1.

Source: K. Cho et al. (2014), arXiv:1406.1078; S. Hochreiter, J. Schmidhuber (1997), doi:10.1162/neco.1997.9.8.1735; L.
Feng, F. Tung, M. O. Ahmed, Y. Bengio, H. Hajimirsadeghi (2024), "Were RNNs all we needed?", arXiv:2410.01201; J. X. Wang et
al. (2016), "Learning to reinforcement learn", arXiv:1611.05763; C. Tallec, Y. Ollivier (2018), "Can recurrent neural
networks warp time?", arXiv:1804.11188.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

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
        return jnp.stack(states), normed(x)

    def apply_sequence(self, tokens: Float[Array, "T D"]) -> Float[Array, "T size"]:
        x = self.embed(tokens)
        for block in range(self.layers):
            x = self.rest(block, x, linear_recurrence(*self.recurrence(block, x)))
        return normed(x)

    def recurrence(self, block: int, x: Float[Array, "*T size"]) -> tuple[Float[Array, "*T size"], Float[Array, "*T size"]]:
        """The share of the state that is retained, and the value that is written."""
        gate, fresh = jnp.split(self.gate[block](normed(x)), 2, axis=-1)
        z = nn.sigmoid(gate)
        return 1 - z, z * fresh

    def rest(self, block: int, x: Float[Array, "*T size"], h: Float[Array, "*T size"]) -> Float[Array, "*T size"]:
        """The rest of the block, after its recurrence."""
        x = x + self.out[block](nn.gelu(h))
        return x + self.narrow[block](nn.gelu(self.wide[block](normed(x))))


def linear_recurrence(keep: Float[Array, "T size"], write: Float[Array, "T size"]) -> Float[Array, "T size"]:
    """h_t = keep_t h_(t-1) + write_t with h_(-1) = 0, `[T, size]`: an associative scan, or a loop on CPUs, where memory
    traffic counts more than depth."""
    if jax.default_backend() == "cpu":
        return jax.lax.scan(lambda h, x: (new := x[0] * h + x[1], new), jnp.zeros_like(write[0]), (keep, write))[1]
    return jax.lax.associative_scan(lambda a, b: (a[0] * b[0], b[0] * a[1] + b[1]), (keep, write))[1]


def normed(x: Float[Array, "... size"]) -> Float[Array, "... size"]:
    """Numbers divided by their root mean square over the last axis."""
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + SMALL)


def _orthogonal_blocks(count):
    """An initialiser that puts orthogonal square blocks side by side."""

    def initialise(key, shape, dtype=jnp.float32):
        square = (shape[0], shape[1] // count)
        return jnp.concatenate(
            [nn.initializers.orthogonal()(k, square, dtype) for k in jax.random.split(key, count)], axis=1
        )

    return initialise

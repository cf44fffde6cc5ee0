"""A small network for the signal of a price given the context, and its training sale by sale.

The input for price k is z_k = (x, s_k): the context, and the price in units of the highest. In the form "arms" it is (x,
e_k) with the k-th unit vector, for arms of equal price, which a network of the price cannot distinguish (`features`). With L
hidden layers of m units,

    h_0 = z,   h_l = max(0, W_l'h_{l-1} + b_l),   f(z) = v'h_L + c.

Start. Every layer consists of two copies of a layer of half the width, h_l = (u_l, u_l), and v = (w, -w). So f = 0
everywhere before the first sale, but its gradient is not zero (Zhou, Li and Gu). Entries of the halves of W_l are N(0, 2 /
n) with n inputs, those of w are N(0, 1 / n), and b = c = 0. They are drawn with the key of `init`.

Training. The last M sales are in a ring buffer, in blocks of B rows. After each sale Adam makes `steps` steps, each on one
block, in turn. With N blocks that hold sales, the loss of block j is

    (1/B) sum_{i in block j} (f(z_i) - y_i)^2 / 2  +  ridge / (2 B N) |weights - those of the start|^2,

where 1e-4 replaces Adam's 1e-8, so that gradients as small as rounding errors move nothing. The sum over all blocks is the
ridge objective on the buffer, divided by B. (A penalty on the weights themselves would pull a network to zero before it has
learned anything, and its gradient vanishes there.) Every sale costs the same work and memory. Training draws no random
numbers. Lanes that share a clock share the position in the buffer, so the write is a slice. The papers train occasionally,
on all data, for many more steps.

Tangent bounds (`neural_ucb`, `neural_thompson`). With g(z) = df(z) / dweights, the uncertainty of f is given by

    sigma(z)^2 = ridge sum_i g_i(z)^2 / U_i,      U = ridge + sum g(z)^2 over the sales, entry by entry:

This is ridge regression on the gradients, with the Gram matrix reduced to its diagonal.

Sources: D. P. Kingma, J. Ba (2015), "Adam", arXiv:1412.6980; D. Zhou, L. Li, Q. Gu (2020), arXiv:1911.04462 (the start).
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float, Int, Key, Num

from jaxprice import checks, samplers
from jaxprice.policies.parts import arms, features
from jaxprice.types import Policy, Transition

EPSILON = 1e-4  # epsilon of Adam: a gradient as small as rounding errors must not make a full step


class Network(nn.Module):
    """The network: `hidden` is h_L `[..., m]`, a call is f `[...]`."""

    width: int
    depth: int

    def setup(self):
        layer = functools.partial(nn.Dense, dtype=jnp.float32, param_dtype=jnp.float32, precision="highest")
        self.layers = [layer(self.width, name=f"hidden_{i}") for i in range(self.depth)]
        self.output = layer(1, name="output")

    def hidden(self, x: Float[Array, "... n"]) -> Float[Array, "... width"]:
        for layer in self.layers:
            x = jnp.maximum(layer(x), 0.0)
        return x

    def __call__(self, x):
        return self.output(self.hidden(x))[..., 0]


@struct.dataclass
class Learned:
    """State of a policy with a network.

    Attributes:
      time: number of the next sale, from 1, int scalar.
      signal: the learning signal.
      form: prices and context.
      weights: weights of the network, a tree.
      origin: initial weights.
      optimiser: state of Adam.
      inputs, signals: the ring buffer, float `[memory, n]` and `[memory]`.
    """

    time: jax.Array
    signal: arms.Signal
    form: features.Features
    weights: Any
    origin: Any
    optimiser: Any
    inputs: jax.Array
    signals: jax.Array

    def prices(self, observation: Num[Array, " n"]) -> Float[Array, "num_prices inputs"]:
        """Inputs of all prices, float `[num_prices, n]`."""
        context, levels = self.form.context(observation), self.form.levels
        told = jnp.eye(levels.shape[0], dtype=jnp.float32) if self.form.form == "arms" else levels[:, None]
        return jnp.concatenate([jnp.broadcast_to(context, (levels.shape[0], context.shape[0])), told], axis=1)

    def price(self, transition: Transition) -> Float[Array, " inputs"]:
        """Input of the price that was posted, float `[n]`."""
        return self.form.of(self.form.context(transition.observation), transition.action)


class Trainer:
    """Network, optimiser and loss for given options; the state is `Learned`."""

    def __init__(self, name, width, depth, memory, batch, steps, rate, ridge, form, signal):
        for option, value in (("width", width), ("depth", depth), ("memory", memory), ("batch", batch), ("steps", steps)):
            checks.positive_int(option, value)
        if width % 2:
            raise ValueError(f"width must be even, since layers start as two halves, got {width}")
        if memory % batch:
            raise ValueError(f"memory must be a multiple of batch, got memory={memory} and batch={batch}")
        checks.number("rate", rate, low=0)
        checks.number("ridge", ridge, low=1e-6)
        arms.check_signal(signal)
        self.form = form if form is None else checks.choice("form", form, features.INPUTS)
        self.name, self.memory, self.batch, self.steps, self.ridge, self.source = name, memory, batch, steps, ridge, signal
        self.network, self.optimiser = Network(width, depth), optax.adam(rate, eps=EPSILON)

    def init(self, key, problem):
        """The state before the first sale."""
        form = features.describe(problem, self.form, self.name, usual="additive", alike="arms")
        size = form.shape[0]
        weights = start(key, size, self.network.width, self.network.depth)
        inputs = jnp.zeros((self.memory, size), jnp.float32)
        learned = arms.learn(problem, self.source, self.name)
        return Learned(jnp.int32(1), learned, form, weights, weights, self.optimiser.init(weights), inputs, inputs[:, 0])

    def value(self, weights: Any, x: Float[Array, "... inputs"]) -> Any:
        """f, float `[...]`, for inputs `[..., n]`."""
        return self.network.apply({"params": weights}, x)

    def hidden(self, weights: Any, x: Float[Array, "... inputs"]) -> Any:
        """h_L, float `[..., width]`, for inputs `[..., n]`."""
        return self.network.apply({"params": weights}, x, method="hidden")

    def loss(
        self,
        weights: Any,
        origin: Any,
        inputs: Float[Array, "batch n"],
        signals: Float[Array, " batch"],
        filled: Int[ArrayLike, ""],
        blocks: Num[ArrayLike, ""],
    ) -> Float[Array, ""]:
        """Loss of a block; only its first `filled` rows count."""
        error = self.value(weights, inputs) - signals
        counts = jnp.arange(self.batch, dtype=jnp.int32) < filled
        moved = jax.tree.leaves(jax.tree.map(jnp.subtract, weights, origin))
        squares = sum(jnp.sum(leaf * leaf) for leaf in moved)
        return (jnp.sum(jnp.where(counts, error * error, 0.0)) + self.ridge / blocks * squares) / (2 * self.batch)

    def learn(self, state: Learned, transition: Transition) -> Learned:
        """The state after one more sale."""
        place = (state.time - 1) % self.memory
        inputs = lax.dynamic_update_index_in_dim(state.inputs, state.price(transition), place, 0)
        signals = lax.dynamic_update_index_in_dim(state.signals, state.signal.of(transition), place, 0)
        held = jnp.minimum(state.time, self.memory)
        blocks = (held + self.batch - 1) // self.batch

        def step(i, carry):
            weights, optimiser = carry
            first = ((state.time * self.steps + i) % blocks) * self.batch
            rows, targets = (lax.dynamic_slice_in_dim(x, first, self.batch) for x in (inputs, signals))
            slope = jax.grad(self.loss)(weights, state.origin, rows, targets, held - first, blocks.astype(jnp.float32))
            change, optimiser = self.optimiser.update(slope, optimiser)
            return jax.tree.map(jnp.add, weights, change), optimiser

        weights, optimiser = lax.fori_loop(0, self.steps, step, (state.weights, state.optimiser))
        return Learned(state.time + 1, state.signal, state.form, weights, state.origin, optimiser, inputs, signals)


def start(key: Key[Array, ""], size: int, width: int, depth: int) -> dict[str, dict[str, Float[Array, "..."]]]:
    """The weights before the first sale, in the layout of flax: `{layer: {"kernel", "bias"}}`."""
    half = width // 2
    fans = [size, *[half] * depth]
    words = jax.random.bits(key, (sum(fan * half for fan in fans[:-1]) + half,), jnp.uint32)
    draws, weights, used = samplers.normal(words), {}, 0
    for i, fan in enumerate(fans[:-1]):
        block = jnp.sqrt(jnp.float32(2 / fan)) * draws[used : used + fan * half].reshape(fan, half)
        used += fan * half
        rows = [block, block] if i == 0 else [block, jnp.zeros_like(block)]
        kernel = jnp.concatenate(rows, axis=1)
        if i:
            kernel = jnp.concatenate([kernel, jnp.roll(kernel, half, axis=1)], axis=0)
        weights[f"hidden_{i}"] = {"kernel": kernel, "bias": jnp.zeros(width, jnp.float32)}
    last = jnp.sqrt(jnp.float32(1 / half)) * draws[used:, None]
    weights["output"] = {"kernel": jnp.concatenate([last, -last]), "bias": jnp.zeros(1, jnp.float32)}
    return weights


@struct.dataclass
class Tangent:
    """State of a policy that decides by tangent bounds: the network, and U, a tree like that of its weights."""

    learned: Learned
    gram: Any


def tangent_policy(trainer: Trainer, choose: Callable) -> Policy:
    """Build a policy that trains a network and plays the action that `choose` returns.

    Args:
      trainer: the `Trainer`.
      choose: `(key, signal, f, sigma) -> action`, with f and sigma of each price, float `[num_prices]`.
    """
    gradient = jax.grad(trainer.value)

    def init(key, problem):
        learned = trainer.init(key, problem)
        ridge = jnp.asarray(trainer.ridge, jnp.float32)
        return Tangent(learned, jax.tree.map(lambda leaf: jnp.broadcast_to(ridge, leaf.shape), learned.weights))

    def act(key, state, observation):
        inputs, weights = state.learned.prices(observation), state.learned.weights
        slopes = jax.vmap(gradient, (None, 0))(weights, inputs)
        parts = jax.tree.map(lambda g, u: jnp.sum(g * g / u[None], axis=tuple(range(1, g.ndim))), slopes, state.gram)
        spread = jnp.sqrt(trainer.ridge * sum(jax.tree.leaves(parts)))
        return choose(key, state.learned.signal, trainer.value(weights, inputs), spread)

    def update(key, state, transition):
        del key
        slope = gradient(state.learned.weights, state.learned.price(transition))
        gram = jax.tree.map(lambda u, g: u + g * g, state.gram, slope)
        return Tangent(trainer.learn(state.learned, transition), gram)

    return Policy(init, act, update)

"""Networks that learn in context: one interface for every kind of memory.

    start(facts) -> memory                                     before the first period
    step(memory, facts, seen) -> memory, output                one decision, with a memory of constant size
    apply_sequence(facts, seen[T]) -> output[T]                all decisions of a lifetime at once, for training

These are for one lane, with `Facts` and `Seen` of `inputs`; an `Output` holds logits `[actions]` and a value. A scan of
`step` over a lifetime gives the same result as `apply_sequence`. `make` builds a network by name:

| name | memory | parallel over time |
|---|---|---|
| "gru", "lstm" | recurrent, as in RL^2 | inputs only |
| "min_gru" | gated linear recurrence, residual blocks | all |
| "transformer" | keys and values of every period | all |
| "stats" | counts and sums of each action; equivariant to the order of actions | all |
| "seller" | filters of the demand curve and statistics of each action, at several time scales; equivariant | network only |
| "none" | none; for ablations | all |
| "mlp" | none; for markets whose observation tells the state | all |
| "gaussian" | as "mlp"; for prices of an interval, its output is a `squashed.Law` | all |

`SequenceNetwork` puts inputs and heads around a core of `cores`; `stats_net` has the network on statistics, and `seller_net`
the one of the seller for all markets.

Sources: as in `cores`, `recurrence`, `stats_net` and `seller_net`.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxprice import checks, devices
from jaxprice.agents import cores, squashed
from jaxprice.agents.inputs import Inputs, Output
from jaxprice.agents.seller_net import SellerNet
from jaxprice.agents.stats_net import StatsNet

ANY_ACTIONS = ("stats", "seller")  # these take any number of actions, and have inputs of their own
NAMES = (*cores.CORES, *ANY_ACTIONS)  # networks that choose one of a number of actions
DEEPEST = 256  # largest number of layers; each one is traced separately


class SequenceNetwork(nn.Module):
    """A core between an input layer and two heads.

    Attributes:
      core: one of `cores`.
      actions: number of actions.
      inputs: the inputs of the network.
      head_scale: scale of the initial weights of the policy head; .01 for reinforcement learning, .1 for imitation.
      normalised: whether tokens are normalised by the statistics in `weights["stats"]`, see `running`.
      dueling: whether the logits are the values of actions, made of the value of the state and of advantages (`dqn`).
    """

    core: nn.Module
    actions: int
    inputs: Inputs
    head_scale: float = 0.01
    normalised: bool = False
    dueling: bool = False

    def setup(self):
        if self.normalised:
            self.normal = Normaliser()
        self.policy = nn.Dense(self.actions, kernel_init=nn.initializers.orthogonal(self.head_scale))
        self.value_hidden = nn.Dense(self.core.size, kernel_init=nn.initializers.orthogonal(2**0.5))
        self.value = nn.Dense(1, kernel_init=nn.initializers.zeros_init())

    def start(self, facts):
        """Memory before the first period."""
        del facts
        return self.core.start()

    def step(self, memory, facts, seen):
        """One decision: `(memory, Output)`."""
        return self.decide(memory, self.inputs.token(facts, seen))

    def decide(self, memory, token):
        """One decision from the token, float `[D]`: `(memory, Output)`."""
        memory, hidden = self.core.step(memory, self.normal(token) if self.normalised else token)
        return memory, self.heads(hidden)

    def first(self, token):
        """The first decision; weights are made by it (`init(key, token, method="first")`)."""
        return self.decide(self.core.start(), token)

    def apply_sequence(self, facts, seen):
        """All decisions of a lifetime: `Output` with a leading axis `[T]`."""
        tokens = jax.vmap(self.inputs.token, (None, 0))(facts, seen)
        return self.heads(self.core.apply_sequence(self.normal(tokens) if self.normalised else tokens))

    def heads(self, hidden):
        """Logits and value of hidden states `[..., size]`."""
        logits, value = self.policy(hidden), self.value(nn.tanh(self.value_hidden(hidden)))[..., 0]
        if self.dueling:
            logits = value[..., None] + logits - logits.mean(axis=-1, keepdims=True)
        return Output(logits, value)


class GaussianNetwork(SequenceNetwork):
    """A core with one head, whose output is a `squashed.Law` of `actions` numbers."""

    def setup(self):
        if self.normalised:
            self.normal = Normaliser()
        self.policy = nn.Dense(2 * self.actions, kernel_init=nn.initializers.orthogonal(self.head_scale))

    def heads(self, hidden):
        """The laws of hidden states `[..., size]`."""
        mean, log_std = jnp.split(self.policy(hidden), 2, axis=-1)
        return squashed.Law(mean, jnp.clip(log_std, squashed.NARROWEST, squashed.WIDEST))


class Critic(nn.Module):
    """The value of an action `[..., d]` between bounds, for a normalised token `[..., D]`: float `[...]`.

    Attributes:
      size, layers: of a perceptron.
    """

    size: int
    layers: int

    @nn.compact
    def __call__(self, token, action):
        core = cores.Perceptron(self.size, self.layers)
        hidden = core.apply_sequence(jnp.concatenate([token, action], axis=-1))
        return nn.Dense(1, kernel_init=nn.initializers.orthogonal(1.0))(hidden)[..., 0]


class Normaliser(nn.Module):
    """Tokens minus their mean, divided by their standard deviation, cut at +-10; without gradient in the statistics."""

    @nn.compact
    def __call__(self, tokens):
        mean = self.variable("stats", "mean", jnp.zeros, tokens.shape[-1:], jnp.float32)
        variance = self.variable("stats", "variance", jnp.ones, tokens.shape[-1:], jnp.float32)
        level, scale = map(jax.lax.stop_gradient, (mean.value, jnp.sqrt(variance.value + 1e-8)))
        return jnp.clip((tokens - level) / scale, -10.0, 10.0)


def make(name, *, actions, inputs=None, head_scale=0.01, normalised=False, dueling=False, **options):
    """Build a network by name.

    Args:
      name: one of `NAMES`, or "gaussian".
      actions: number of actions; "stats" and "seller" take any; for "gaussian", number of entries of an action.
      inputs: `Inputs`, or None for the default ones; "stats" and "seller" have their own inputs.
      head_scale: scale of the initial weights of the policy head.
      normalised, dueling: see `SequenceNetwork`; not for "stats" and "seller".
      **options: options of the core, see `cores`; for "stats" and "seller", see `stats_net` and `seller_net`.

    Raises:
      ValueError: an unknown name or option, or a value out of range.
    """
    devices.use_cpu_cores()
    checks.choice("network", name, (*NAMES, "gaussian"))
    actions = checks.positive_int("actions", actions)
    inputs = Inputs() if inputs is None else inputs
    if not isinstance(inputs, Inputs):
        raise ValueError(f"inputs must be agents.Inputs, got {checks.shown(inputs)}")
    checks.number("head_scale", head_scale, low=0, scalar=True)
    shape: dict[str, Any] = {
        "normalised": checks.boolean("normalised", normalised),
        "dueling": checks.boolean("dueling", dueling),
    }
    kind: Any = {"stats": StatsNet, "seller": SellerNet}.get(name) or cores.CORES["mlp" if name == "gaussian" else name]
    allowed = {key for key in kind.__dataclass_fields__ if key not in ("parent", "name", "head_scale")}
    if unknown := sorted(set(options) - allowed):
        raise ValueError(f"network {name!r} takes the options {sorted(allowed)}, got {unknown}")
    options = {key: _option(key, value) for key, value in options.items()}
    if name == "transformer":
        size, heads = (options.get(key, getattr(kind, key)) for key in ("size", "heads"))
        if size % heads:
            raise ValueError(f"size must be a multiple of heads, got {size} and {heads}")
    if name in ANY_ACTIONS:
        if any(shape.values()):
            raise ValueError(f"network {name!r} has neither normalised nor dueling")
        return kind(head_scale=float(head_scale), **options)
    if name == "gaussian" and dueling:
        raise ValueError("network 'gaussian' has no dueling")
    made = GaussianNetwork if name == "gaussian" else SequenceNetwork
    return made(kind(**options), actions, inputs, float(head_scale), **shape)


def _option(key, value) -> Any:
    """An option of a core, after checks."""
    if key in ("attention", "tanh", "layer_norm"):
        return checks.boolean(key, value)
    return checks.whole(key, value, 0 if key == "chrono" else 1, DEEPEST if key == "layers" else checks.LARGEST)


def check(network):
    """Raise if an object is not a network.

    Raises:
      ValueError: it lacks a method or attribute that the module requires.
    """
    if not isinstance(network, nn.Module) or not all(hasattr(network, m) for m in ("start", "step", "apply_sequence")):
        raise ValueError(f"network must be one of agents.networks.make, got {checks.shown(network)}")


def initial(network, key, facts, seen):
    """New weights, from `facts` and `seen` of one lane."""
    with_time = jax.tree.map(lambda x: jnp.asarray(x)[None], seen)
    return network.init(key, facts, with_time, method="apply_sequence")

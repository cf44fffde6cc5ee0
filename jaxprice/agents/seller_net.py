"""The network of the seller for all markets: one set of weights for any grid of prices.

Its memory is a hand-made summary of the sales, not a recurrence: `seller_memory` has filters of the demand curve under
several hypotheses, statistics of each action, and what is left of the stock. Each action k has a row of numbers, and the
market has a row in common; both are without units. Rows pass through shared layers,

    h_k = gelu(A row_k + B common),    h_k <- h_k + gelu(C (h_k, max_j h_j, mean_j h_j)),
    logit_k = 10 (a . h_k + b . row_k),

so the network is equivariant to the order of the actions and takes any number of them. The vector a starts near zero, and b
at a rule that needs no training. Let l_k be the expected loss of an action to the best one, and t_k the deviation of its
profit over the draws that the identity of the best action explains. The rule plays the price with the smallest l^4 / t, an
information-directed choice that explores less than l^2 / t^2, that of the source. If there are no prices, it plays the arm
with the highest finite-horizon index. Reinforcement learns what to add to the rule. The value is the expected loss to the
oracle until the end, in periods, over the square root of the periods left.

Because no gradient passes through the memory, the decisions of a lifetime are independent examples in training.

Sources: M. Zaheer et al. (2017), "Deep sets", arXiv:1703.06114; D. Russo, B. Van Roy (2018), "Learning to optimize via
information-directed sampling", arXiv:1403.5556 (its variance form); the filter is that of `demand_filter`.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxprice import checks
from jaxprice.agents import demand_filter, inputs, seller_memory
from jaxprice.agents.inputs import Output

SHARP = 10.0  # scale of the logits, so that few steps of training change what is played


class SellerNet(nn.Module):
    """Equivariant network on the summary of the sales.

    Attributes:
      size: width.
      layers: number of layers in which actions exchange information.
      head_scale: scale of the initial weights of the policy head.
    """

    size: int = 32
    layers: int = 2
    head_scale: float = 0.01

    def setup(self):
        for k, name in enumerate(("prior_mean", "prior_root", "prior_effects")):
            setattr(self, name, self.param(name, _plain, k))
        self.into, self.common = nn.Dense(self.size), nn.Dense(self.size, use_bias=False)
        self.mix = [nn.Dense(self.size) for _ in range(self.layers)]
        self.pooled = [nn.Dense(self.size, use_bias=False) for _ in range(self.layers)]
        self.policy = nn.Dense(1, kernel_init=nn.initializers.orthogonal(self.head_scale))
        self.direct = nn.Dense(1, use_bias=False, kernel_init=_rule)
        self.value_hidden = nn.Dense(self.size)
        self.value = nn.Dense(1, kernel_init=nn.initializers.zeros_init())

    @staticmethod
    def read(problem):
        """The `Facts` of a problem, with stock, noise and context.

        Raises:
          ValueError: actions are not indices, there are several products or resources, or the context is too long.
        """
        space = inputs.actions_of(problem.action_space)
        if jnp.ndim(problem.prices) != 1 or problem.prices.shape[0] != space.n:
            raise ValueError("the seller takes markets with one product and a price for each action")
        if problem.stock is not None and jnp.ndim(problem.stock):
            raise ValueError(f"the seller takes one stock, this market has {jnp.shape(problem.stock)[0]}")
        if problem.context_size > demand_filter.MOST_FEATURES:
            most = demand_filter.MOST_FEATURES
            raise ValueError(f"the seller takes contexts of at most {most} features, this market has {problem.context_size}")
        checks.choice("noise", problem.noise, ("bernoulli", "poisson", "gaussian"))
        stock = None if problem.stock is None else jnp.asarray(problem.stock, jnp.float32) / problem.buyers
        return dataclasses.replace(
            inputs.of_prices(problem),
            stock=stock,
            noise_scale=jnp.asarray(problem.noise_scale, jnp.float32) / problem.buyers,
            noise=problem.noise,
            context_size=problem.context_size,
        )

    def start(self, facts):
        """The memory before the first period."""
        priors = self.prior_mean, self.prior_root, self.prior_effects
        return seller_memory.start(facts, jax.tree.map(jax.lax.stop_gradient, priors))

    def step(self, memory, facts, seen):
        """One decision: `(memory, Output)`."""
        memory = seller_memory.observed(memory, self.start(facts), facts, seen)
        return memory, self.decide(*seller_memory.rows(memory, facts, seen))

    def apply_sequence(self, facts, seen):
        """All decisions of a lifetime: `Output` with a leading axis `[T]`."""
        return self.decide(*self.evidence(facts, seen))

    def evidence(self, facts, seen):
        """The rows of all decisions of a lifetime, `[T, actions, ROW]` and `[T, COMMON]`; no gradient passes."""
        first = self.start(facts)

        def period(memory, seen):
            memory = seller_memory.observed(memory, first, facts, seen)
            return memory, seller_memory.rows(memory, facts, seen)

        return jax.lax.stop_gradient(jax.lax.scan(period, first, seen)[1])

    def decide(self, rows, common):
        """The `Output` for rows `[..., actions, ROW]` and the row in common `[..., COMMON]`."""
        hidden = nn.gelu(self.into(rows) + self.common(common)[..., None, :])
        for mix, pooled in zip(self.mix, self.pooled, strict=True):
            whole = jnp.concatenate([hidden.max(axis=-2), hidden.mean(axis=-2)], axis=-1)
            hidden = hidden + nn.gelu(mix(hidden) + pooled(whole)[..., None, :])
        logits = SHARP * (self.policy(hidden) + self.direct(rows))[..., 0]
        whole = jnp.concatenate([hidden.max(axis=-2), hidden.mean(axis=-2), common], axis=-1)
        return Output(logits, self.value(nn.tanh(self.value_hidden(whole)))[..., 0])


def _plain(key, part):
    """One part of the plain prior."""
    del key
    return jnp.asarray(seller_memory.plain_priors()[part])


def _rule(key, shape, dtype=jnp.float32):
    """Initial direct weights: the rule of the module."""
    del key
    weights = jnp.zeros(shape, dtype).at[seller_memory.LOST].set(-1.8).at[seller_memory.TOLD].set(0.45)
    return weights.at[seller_memory.ARM_INDEX].set(4.0)

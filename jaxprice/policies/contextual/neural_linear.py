"""Neural-linear Thompson sampling: a network learns features of price and context; a Bayesian regression on them explores.

With inputs z_k = (context, price k), the last hidden layer h of a network trained on the sales (`network`), and
phi_k = (h(z_k), 1), the policy posts the first price with the largest

    w_k phi_k'theta,    theta ~ N(m, v^2 A^-1),    A = ridge / n I + sum phi phi',   m = A^-1 sum phi y,   v = scale * noise,

with n buyers a period and one draw for all prices; signals y, weights w_k and the noise are as in `ucb1` and `lin_ts`. The
network is trained after every sale, but phi uses a copy of its weights that is refreshed once in `every` sales. At a refresh
the regression is computed again from the prior on all sales in the buffer, so that old and new features are never mixed. In
between, each sale is added to it. Sales that have left the buffer are forgotten at a refresh.

Departures. Riquelme et al. have an output and a regression for each action, and an inverse gamma prior on the noise. Here
the price is an input and the noise is a number. They train for many steps at intervals and keep all data. The regression is
`linear_model`, with one rank-one update for each sale in the buffer. If lanes share a clock, that is memory / every updates
a sale on average. If each lane has its own clock, all updates are made after every sale, and most of them are discarded.

Regret: no rate is known; in general it is linear in T, because a small network and a bounded memory leave an error.

Source: C. Riquelme, G. Tucker, J. Snoek (2018), "Deep Bayesian bandits showdown", arXiv:1802.09127.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import lax

from jaxprice import checks
from jaxprice.policies.contextual import network
from jaxprice.policies.parts import arms, features, linear_model
from jaxprice.policies.registry import policy_maker
from jaxprice.types import Policy


@struct.dataclass
class State:
    """State of the policy.

    Attributes:
      noise: standard deviation of a signal, float scalar.
      learned: the network, its training and the stored sales.
      used: weights of the features, a tree like that of the network.
      model: regression on the features of `used`, `[width + 1]`.
      buyers: number of observations a period.
    """

    noise: jax.Array
    learned: network.Learned
    used: Any
    model: linear_model.Model
    buyers: int = struct.field(pytree_node=False)


@policy_maker(
    source="Riquelme, Tucker and Snoek (2018)",
    feedback="demand or reward",
    kinds={"form": "word"},
)
def neural_linear(
    scale=1.0,
    ridge=1.0,
    noise=None,
    rate=0.005,
    every=100,
    steps=1,
    width=16,
    depth=2,
    memory=1024,
    batch=32,
    form=None,
    signal="demand",
):
    """Neural-linear Thompson sampling.

    Args:
      scale: factor of the posterior standard deviations, at least 0; may be traced, as may `ridge` and `rate`.
      ridge: penalty on the squared change of the network's weights and on the squared coefficients, above 0.
      noise: standard deviation of a signal, above 0; by default that of `arms.noise_of_signal`.
      rate: step size of Adam.
      every: number of sales between two refreshes of the features.
      steps: number of steps of Adam after each sale.
      width: number of units of a hidden layer, even.
      depth: number of hidden layers.
      memory: number of stored sales, a multiple of `batch`.
      batch: number of sales in a training step.
      form: "additive", the price is an input, or "arms", each arm has its own input; None: "additive", or "arms" if all
        prices are equal.
      signal: "demand" or "reward", the learning signal.

    Raises:
      ValueError: options out of range, an unknown form or signal; at `init`, no price grid or no context.
    """
    checks.number("scale", scale, low=0)
    checks.positive_int("every", every)
    if noise is not None:
        checks.number("noise", noise, low=1e-6)
    trainer = network.Trainer("neural_linear", width, depth, memory, batch, steps, rate, ridge, form, signal)

    def prior(buyers):
        factor = jnp.eye(width + 1, dtype=jnp.float32) / jnp.sqrt(jnp.asarray(ridge / buyers, jnp.float32))
        zeros = jnp.zeros(width + 1, jnp.float32)
        return linear_model.Model(zeros, factor, zeros)

    def rows(weights, inputs):
        hidden = trainer.hidden(weights, inputs)
        return jnp.concatenate([hidden, jnp.ones((*hidden.shape[:-1], 1), jnp.float32)], axis=-1)

    def refit(learned, buyers):
        """The regression on the sales in the buffer, with the present weights of the network."""
        phis, sales = rows(learned.weights, learned.inputs), learned.time - 1

        def add(i, model):
            return model.revise(phis[i], learned.signals[i], (i < sales).astype(jnp.float32))[0]

        return lax.fori_loop(0, memory, add, prior(buyers))

    def init(key, problem):
        learned = trainer.init(key, problem)
        return State(arms.noise_of_signal(problem, noise), learned, learned.weights, prior(problem.buyers), problem.buyers)

    def act(key, state, observation):
        phis, model = rows(state.used, state.learned.prices(observation)), state.model
        z = linear_model.normals(key, (width + 1,))
        theta = model.mean + scale * state.noise * features.total(z, model.factor.T)
        return jnp.argmax(state.learned.signal.weights * jnp.sum(phis * theta[None], axis=1))

    def update(key, state, transition):
        del key
        learned = trainer.learn(state.learned, transition)
        phi = rows(state.used, state.learned.price(transition))

        def renew():
            return learned.weights, refit(learned, state.buyers)

        def keep():
            return state.used, state.model.revise(phi, learned.signal.of(transition))[0]

        used, model = lax.cond(state.learned.time % every == 0, renew, keep)
        return State(state.noise, learned, used, model, state.buyers)

    return Policy(init, act, update)

"""NeuralUCB: a network of the signal of a price, and the price with the largest upper confidence bound by its gradient.

With inputs z_k = (context, price k), a network f and its gradient g_k = df(z_k) / dweights (`network`), the price
posted is the first with the largest

    w_k (f(z_k) + scale sigma_k),      sigma_k^2 = ridge sum_i g_ki^2 / U_i,      U = ridge + sum g^2 over the sales,

signals y and weights w_k as in `ucb1`: learning from demand, the bonus is price-scaled. The gradients of the sales are those
at the weights of their time; ties go to the lowest price.

Departures. The paper keeps the matrix Z = ridge I + sum g g' / m (m the width); here it is its diagonal, as in the authors'
public code, since the matrix grows with the square of the number of weights: the bonus forgets which weights act
together. As there, m is left out, so ridge stands for ridge m. The network is small and trained as `network` says, by
default one step of Adam a sale, where they train for many steps.

Regret: O(D sqrt(T)) up to logarithms, D the effective dimension of the tangent kernel, for the full matrix and a network
whose width is a high power of T; for the diagonal none is known.

Source: D. Zhou, L. Li, Q. Gu (2020), "Neural contextual bandits with UCB-based exploration", arXiv:1911.04462.
"""

import jax.numpy as jnp

from jaxprice import checks
from jaxprice.policies.contextual import network
from jaxprice.policies.registry import policy_maker


@policy_maker(
    source="Zhou, Li and Gu (2020)",
    regret="D sqrt(T) for the full matrix",
    feedback="demand or reward",
    kinds={"form": "word"},
)
def neural_ucb(
    scale=0.03, ridge=0.1, rate=0.005, steps=1, width=32, depth=1, memory=512, batch=32, form=None, signal="demand"
):
    """NeuralUCB, with the diagonal of the Gram matrix of gradients.

    Args:
      scale: width of the confidence bound, at least 0; may be traced, as may `ridge` and `rate`.
      ridge: penalty on the squared change of the weights, and U before the first sale, above 0.
      rate: step size of Adam.
      steps: steps of Adam after each sale.
      width: units of a hidden layer, an even number.
      depth: number of hidden layers.
      memory: sales kept for training, a multiple of `batch`.
      batch: sales in a step of training.
      form: "additive", the price is an input, or "arms", each arm has one of its own; None: "additive", or "arms" where all
        have one price.
      signal: "demand" or "reward", what it learns from.

    Raises:
      ValueError: options out of range, an unknown form or signal; at `init`, no price grid or no context.
    """
    checks.number("scale", scale, low=0)
    trainer = network.Trainer("neural_ucb", width, depth, memory, batch, steps, rate, ridge, form, signal)

    def choose(key, signal, mean, spread):
        del key
        return jnp.argmax(signal.weights * (mean + scale * spread))

    return network.tangent_policy(trainer, choose)

"""NeuralUCB: a network for the signal of a price, and the price with the largest upper confidence bound from its gradient.

With inputs z_k = (context, price k), a network f and its gradient g_k = df(z_k) / dweights (`network`), the policy posts the
first price with the largest

    w_k (f(z_k) + scale sigma_k),      sigma_k^2 = ridge sum_i g_ki^2 / U_i,      U = ridge + sum g^2 over the sales,

with signals y and weights w_k as in `ucb1`: when learning from demand, the bonus is scaled by the price. The gradient of a
sale is taken at the weights of its time. Ties go to the lowest price.

Departures. The paper uses the matrix Z = ridge I + sum g g' / m (m the width). Here U is its diagonal, as in the authors'
public code, because the matrix grows with the square of the number of weights; the bonus then ignores correlations between
weights. As in that code, m is left out, so ridge stands for ridge m. The network is small and trained as in `network`, by
default one step of Adam a sale; the authors train for many steps.

Regret: O(D sqrt(T)) up to logarithms, with D the effective dimension of the tangent kernel, for the full matrix and a
network whose width is a high power of T; for the diagonal no rate is known.

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
      steps: number of steps of Adam after each sale.
      width: number of units of a hidden layer, even.
      depth: number of hidden layers.
      memory: number of sales stored for training, a multiple of `batch`.
      batch: number of sales in a training step.
      form: "additive", the price is an input, or "arms", each arm has its own input; None: "additive", or "arms" if all
        prices are equal.
      signal: "demand" or "reward", the learning signal.

    Raises:
      ValueError: options out of range, an unknown form or signal; at `init`, no price grid or no context.
    """
    checks.number("scale", scale, low=0)
    trainer = network.Trainer("neural_ucb", width, depth, memory, batch, steps, rate, ridge, form, signal)

    def choose(key, signal, mean, spread):
        del key
        return jnp.argmax(signal.weights * (mean + scale * spread))

    return network.tangent_policy(trainer, choose)

"""Neural Thompson sampling: a network for the signal of a price, and draws around it with a width from its gradient.

With inputs z_k = (context, price k), a network f and its gradient g_k = df(z_k) / dweights (`network`), the policy posts the
first price with the largest w_k v_k, where independently for each price

    v_k ~ N(f(z_k), (scale sigma_k)^2),   sigma_k^2 = ridge sum_i g_ki^2 / U_i,   U = ridge + sum g^2 over the sales,

with signals y and weights w_k as in `ucb1`. As in the paper, values are drawn, not weights.

Departures. The paper uses the matrix U = ridge I + sum g g' / m (m the width). Here U is its diagonal and m is left out, as
in the authors' public code (see `neural_ucb`). The network is small and trained as in `network`, by default one step of Adam
a sale; the authors train for many steps.

Regret: O(D sqrt(T)) up to logarithms, with D the effective dimension of the tangent kernel, for the full matrix and a
network whose width is a high power of T; for the diagonal no rate is known.

Source: W. Zhang, D. Zhou, L. Li, Q. Gu (2021), "Neural Thompson sampling", arXiv:2010.00827.
"""

import jax.numpy as jnp

from jaxprice import checks
from jaxprice.policies.contextual import network
from jaxprice.policies.parts import linear_model
from jaxprice.policies.registry import policy_maker


@policy_maker(
    source="Zhang, Zhou, Li and Gu (2021)",
    regret="D sqrt(T) for the full matrix",
    feedback="demand or reward",
    kinds={"form": "word"},
)
def neural_thompson(
    scale=0.1, ridge=0.1, rate=0.005, steps=1, width=32, depth=1, memory=512, batch=32, form=None, signal="demand"
):
    """Neural Thompson sampling, with the diagonal of the Gram matrix of gradients.

    Args:
      scale: factor of the standard deviations of the draws, at least 0; may be traced, as may `ridge` and `rate`.
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
    trainer = network.Trainer("neural_thompson", width, depth, memory, batch, steps, rate, ridge, form, signal)

    def choose(key, signal, mean, spread):
        return jnp.argmax(signal.weights * (mean + scale * spread * linear_model.normals(key, mean.shape)))

    return network.tangent_policy(trainer, choose)

"""Neural Thompson sampling: a network of the signal of a price, and draws around it as wide as its gradient says.

With inputs z_k = (context, price k), a network f and its gradient g_k = df(z_k) / dweights (`network`), the price
posted is the first with the largest w_k v_k, where independently for each price

    v_k ~ N(f(z_k), (scale sigma_k)^2),   sigma_k^2 = ridge sum_i g_ki^2 / U_i,   U = ridge + sum g^2 over the sales,

signals y and weights w_k as in `ucb1`. Values are drawn, not weights, as in the paper.

Departures. The paper keeps the matrix U = ridge I + sum g g' / m (m the width); here it is its diagonal and m is left out,
as in the authors' public code (see `neural_ucb`). The network is small and trained as `network` says, by default
one step of Adam a sale, where they train for many steps.

Regret: O(D sqrt(T)) up to logarithms, D the effective dimension of the tangent kernel, for the full matrix and a network
whose width is a high power of T; for the diagonal none is known.

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
      scale: standard deviations of the draws are multiplied by this, at least 0; may be traced, as may `ridge` and `rate`.
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
    trainer = network.Trainer("neural_thompson", width, depth, memory, batch, steps, rate, ridge, form, signal)

    def choose(key, signal, mean, spread):
        return jnp.argmax(signal.weights * (mean + scale * spread * linear_model.normals(key, mean.shape)))

    return network.tangent_policy(trainer, choose)

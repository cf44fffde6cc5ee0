"""Supervised learning in context: a network learns the action of a teacher at every period of a lifetime.

The loss is the cross-entropy of the teacher's action at every period. The algorithm depends on which policy acts and which
one teaches:

| | acts | teaches | converges to |
|---|---|---|---|
| on-policy distillation | the agent itself | a policy that is better, or an oracle that knows the prior | the teacher |
| decision-pretrained transformer (DPT) | another policy, say `thompson` | the market's own oracle | Thompson sampling |

A DPT agent must be deployed by sampling: it learns the posterior probability that an action is best, and playing the most
probable action does not explore. With `actor=None`, it learns from the histories that it produces itself.

Training a pretrained seller also on histories of its own is due to H. Wang, Y. Pan, F. Sun, S. Liu, K. Talluri, G. Chen, X.
Li (2024), arXiv:2405.14219. They mix the agent's actions into training and teach the best action of the market. New here is
that any policy can teach, including exact ones such as the finite-horizon Gittins policy of a bandit or a seller that knows
the true prior. The agent's largest logit then converges to an action that explores as the teacher does.

Sources: S. Ross, G. J. Gordon, J. A. Bagnell (2011), "A reduction of imitation learning and structured prediction to
no-regret online learning", arXiv:1011.0686; J. Lee, A. Xie, A. Pacchiano, Y. Chandak, C. Finn, O. Nachum, E. Brunskill
(2023), "Supervised pretraining can learn in-context reinforcement learning", arXiv:2306.14892.
"""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import optax

from jaxprice import checks
from jaxprice.agents import learning, lifetimes
from jaxprice.types import Oracle, Policy


@dataclasses.dataclass(frozen=True)
class CrossEntropy:
    """One update on the labels of a batch of lifetimes."""

    def __call__(self, training, state, hyper, streams, lanes, share):
        """The signature of a learner in `learning`."""
        play, optimiser = training.play, learning.adam(training.clip_norm)

        def loss(weights, lives):
            says = play.says(weights, lives)
            chex.assert_equal_shape_prefix((says.logits, lives.label), lives.label.ndim)
            error = optax.softmax_cross_entropy_with_integer_labels(says.logits, lives.label).mean()
            agrees = jnp.mean(jnp.argmax(says.logits, axis=-1) == lives.label)
            return error, {"loss": error, "agreement": agrees}

        def minibatch(state, lanes):
            lives = jax.vmap(play.live, (None, None, 0))(state.weights, streams, lanes)
            gradient, metrics = learning.over_devices(jax.grad(loss, has_aux=True)(state.weights, lives))
            return learning.descend(optimiser, state, gradient, hyper, share), metrics

        state, metrics = jax.lax.scan(minibatch, state, lanes)
        return state, jax.tree.map(jnp.mean, metrics)


def train(env, network, teacher, *, horizon, updates, seeds=0, actor=None, lanes=64, hyper=None, deploy=None, **options):
    """Train agents on a teacher's actions.

    Args:
      env: the market; agents learn from its task distribution.
      network: from `networks.make`.
      teacher: a `Policy`, or `policies.oracle()` for the best action of the market.
      horizon: number of periods of a lifetime.
      updates: total number of updates.
      seeds: one integer, or one integer a run.
      actor: a `Policy` that produces the histories; None means the agent itself.
      lanes: number of lifetimes in an update.
      hyper: `learning.Hyper`; by default a learning rate of 2e-3, weight decay 1e-4, and warm-up over a tenth of the
        updates.
      deploy: "sample" or "argmax", how agents act when they are scored; by default "sample" if the market's oracle teaches.
      **options: options of `learning.run`.

    Returns:
      `(weights, curve)`, see `learning.run`.

    Raises:
      ValueError: bad input.
    """
    if not isinstance(teacher, Policy):
        raise ValueError(f"teacher must be a Policy, got {checks.shown(teacher)}")
    if deploy is None:
        deploy = "sample" if isinstance(teacher, Oracle) else "argmax"
    checks.choice("deploy", deploy, ("sample", "argmax"))
    play = lifetimes.Play(env, network, horizon, actor=actor, teacher=teacher)
    training = learning.Training(play, lanes, 1, clip_norm=1.0)
    hyper = learning.Hyper(learning_rate=2e-3, decay=1e-4, warm_up=0.1) if hyper is None else hyper
    return learning.run(training, CrossEntropy(), hyper, seeds, updates, judge=deploy, **options)

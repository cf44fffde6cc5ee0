"""Oracle: the seller who knows the market; its regret is zero.

This is the one policy that needs the truth, so the engine plays the environment's `optimal_action` in its place.
"""

from jaxprice.policies.registry import policy_maker
from jaxprice.types import Oracle


@policy_maker(regret="0", feedback="the market itself")
def oracle():
    """The best action of the market in every period; it works only inside the engine (`simulate`, `rollout`)."""

    def init(key, problem):
        raise ValueError("the oracle has no state of its own: run it with jaxprice.simulate")

    def act(key, state, observation):
        raise ValueError("the oracle cannot act from what a seller knows: run it with jaxprice.simulate")

    def update(key, state, transition):
        raise ValueError("the oracle does not learn: run it with jaxprice.simulate")

    return Oracle(init, act, update)

"""Learned policies: networks with a memory, trained over a distribution of markets, deployed with frozen weights.

Two phases: meta-training (`rl2.train`, `imitation.train`) fits the weights on many markets; in meta-inference all learning
happens in the agent's memory. A trained agent is a `Policy` like any other:

    network = agents.networks.make("min_gru", actions=5)
    weights, curve = agents.rl2.train(env, network, horizon=100, updates=400, return_reward="posterior_mean")
    policy = agents.Agent("min_gru", 5, agents.one(weights)).policy()
"""

import jax
import numpy as np

from jaxprice import checks
from jaxprice.agents import imitation, learning, lifetimes, networks, rl2
from jaxprice.agents.inputs import Inputs
from jaxprice.agents.learning import Hyper
from jaxprice.agents.trained import Agent, list_agents, load, load_agent, save

__all__ = [
    "Agent",
    "Hyper",
    "Inputs",
    "imitation",
    "learning",
    "lifetimes",
    "list_agents",
    "load",
    "load_agent",
    "networks",
    "one",
    "rl2",
    "save",
]


def one(weights, run=0):
    """The weights of one run of those that training returns.

    Raises:
      ValueError: there is no such run.
    """
    counts = {np.shape(x)[:1] for x in jax.tree.leaves(weights)}
    if len(counts) != 1 or counts == {()}:
        shapes = checks.shown(jax.tree.map(np.shape, weights))
        raise ValueError(f"weights must have a leading axis of runs, got shapes {shapes}")
    (((count,)),) = counts
    run = checks.whole("run", run, -count, count - 1)
    return jax.tree.map(lambda x: x[run], weights)

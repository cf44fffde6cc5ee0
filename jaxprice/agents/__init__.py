"""Learned policies: networks with a memory, trained over a distribution of markets and deployed with frozen weights.

There are two phases. Meta-training (`rl2.train`, `imitation.train`) fits the weights on many markets. In meta-inference, all
learning happens in the agent's memory. A trained agent is a `Policy` like any other:

    network = agents.networks.make("min_gru", actions=5)
    weights, curve = agents.rl2.train(env, network, horizon=100, updates=400, return_reward="posterior_mean")
    policy = agents.Agent("min_gru", 5, agents.one(weights)).policy()

Prior art. Training one seller over many markets is not new; `rl2` and `imitation` name their algorithms.

- G. Gatti Pinheiro, M. Defoin-Platel, J.-C. Regin (2022), "Outsmarting human design in airline revenue management",
  doi:10.3390/a15050142: PPO with an LSTM on seasons with stock; each season has a new random demand curve.
- H. Wang, Y. Pan, F. Sun, S. Liu, K. Talluri, G. Chen, X. Li (2024), "Understanding the training and generalization of
  pretrained transformer for sequential decision making", arXiv:2405.14219: bandits, dynamic pricing, newsvendor.
- "OMGPT" (2025), arXiv:2505.13580: one architecture for pricing, inventory, allocation and queues, with one model for each.
- R. Narad (2024), github.com/ReubenNarad/pricing_transformer: a decision-pretrained transformer for pricing.
- Y. Zhang, E. Chen, Y. Yan (2025), "Transfer faster, price smarter", arXiv:2505.17203: statistical transfer from other
  markets, with rates of regret.
- P. Friedrich, B. Pasztor, G. Ramponi (2025), "Learning collusion in episodic, inventory-constrained markets",
  arXiv:2410.18871: PPO and DQN sellers with stock against each other, in JAX, beside computed equilibria.
- "Causal-aware foundation-model for bilevel optimization in discrete choice settings" (2026), arXiv:2605.06941: elasticity
  learned in context, with a language model's prior for new products.

New here are the comparisons for an agent: the exact optimum of its market, the Bayes optimum and the Gittins policy of its
bandit, and sellers that know the true prior. New are also one interface for all markets and policies, intervals, and speed.
"""

import jax
import numpy as np

from jaxprice import checks
from jaxprice.agents import dqn, imitation, learning, lifetimes, networks, ppo, pqn, rl2, sac, worlds
from jaxprice.agents.inputs import Inputs
from jaxprice.agents.learning import Hyper
from jaxprice.agents.outside import from_act
from jaxprice.agents.trained import Agent, list_agents, load, load_agent, save

__all__ = [
    "Agent",
    "Hyper",
    "Inputs",
    "dqn",
    "from_act",
    "imitation",
    "learning",
    "lifetimes",
    "list_agents",
    "load",
    "load_agent",
    "networks",
    "one",
    "ppo",
    "pqn",
    "rl2",
    "sac",
    "save",
    "worlds",
]


def one(weights, run=0):
    """The weights of one run, from the weights that training returns.

    Raises:
      ValueError: the run does not exist.
    """
    counts = {np.shape(x)[:1] for x in jax.tree.leaves(weights)}
    if len(counts) != 1 or counts == {()}:
        shapes = checks.shown(jax.tree.map(np.shape, weights))
        raise ValueError(f"weights must have a leading axis of runs, got shapes {shapes}")
    (((count,)),) = counts
    run = checks.whole("run", run, -count, count - 1)
    return jax.tree.map(lambda x: x[run], weights)

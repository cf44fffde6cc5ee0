"""Bandits with contexts: what a wheel and a table of labelled rows share.

A subclass says what each arm would sell to the buyer who is here, `means`, how sales are drawn, and where buyers come from.
All arms have the same price, so that they differ by their number alone: linear policies take them in the "disjoint" form,
networks in the form "arms". In every period E optimal_reward = E (reward + regret), whatever the seller does.
"""

import dataclasses

import jax.numpy as jnp

from jaxprice.envs.market import moving, observe, sale, same
from jaxprice.types import Environment


class ContextualBandit(Environment):
    """Shared steps of bandits with contexts.

    A subclass has params with `prices`, `cost` and `max_steps_in_episode`, a state with `time` and `context`, and the
    methods below.
    """

    def start(self, key, params):
        """The state before the first period."""
        raise NotImplementedError

    def move(self, key, state, params):
        """The state of the next period, but for its time."""
        raise NotImplementedError

    def means(self, state, params):
        """Expected demand for each arm from the buyer who is here, float `[num_arms]`."""
        raise NotImplementedError

    def draw(self, key, mean, params):
        """Demand with the given mean."""
        raise NotImplementedError

    def reset_env(self, key, params):
        state = self.start(key, params)
        return self._see(state, jnp.float32(0), jnp.float32(0), params), state

    def step_env(self, key, state, action, params):
        rewards, means = self._rewards(state, params), self.means(state, params)
        best = self.optimal_action(state, params)
        price = jnp.asarray(params.prices)[action]
        demand = self.draw(key, means[action], params)
        optimal = jnp.max(rewards)
        regret = jnp.where(same(action, best), 0.0, optimal - rewards[action])
        info = sale(price, demand, (price - params.cost) * demand, regret, optimal)
        state = dataclasses.replace(self.move(moving(key), state, params), time=state.time + 1)
        return self._see(state, price, demand, params), state, info["reward"], jnp.bool_(False), info

    def expected_reward(self, state, action, params):
        return self._rewards(state, params)[action]

    def optimal_action(self, state, params):
        return jnp.argmax(self._rewards(state, params)).astype(jnp.int32)

    def optimal_reward(self, state, params):
        return jnp.max(self._rewards(state, params))

    def _rewards(self, state, params):
        """Expected reward of each arm, float `[num_arms]`."""
        return (jnp.asarray(params.prices) - params.cost) * self.means(state, params)

    def _see(self, state, price, demand, params):
        return observe(state.time / params.max_steps_in_episode, price, demand, state.context)

"""Lifetimes of an agent: it plays a market of the task distribution from the first sale to the horizon, with a full record.

Randomness is addressed by (seed, role, lane, time), as in the engine. Lane n of a seed therefore meets the same market and
the same buyers under any policy and on any number of devices.

A learner is trained on one of the following rewards, in units of `inputs.Facts.unit`:

| `return_reward` | definition | needs |
|---|---|---|
| "sampled" | the realised reward of the action | nothing |
| "mean" | its expectation in this market | the truth, which a simulator has |
| "regret" | minus the expected loss relative to the oracle | the truth and the oracle |
| "posterior_mean" | its expectation given the history, (1 + s) / (2 + n) | Bernoulli arms with uniform prior |

Given the history, all four have the same mean, except for the oracle's reward, which no action changes. So the policy
gradient is unbiased with each of them, and only its variance differs. In a lifetime of 10 pulls of five arms, the posterior
mean has the smallest variance. Over 100 periods, most of the variance comes from differences in worth between markets, and
regret removes it. If an action changes the future (stock), regret includes the change in future value under the oracle, so
the credit for later effects is immediate. The inputs of the network are always the sampled results.

Where the market forbids an action (`Environment.allowed`), the nearest allowed one is carried out: it earns the reward, and
the agent sees it as its last action. The record holds the action that was chosen, to which the log-probability belongs.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from jaxprice import checks, random
from jaxprice.agents import inputs, networks
from jaxprice.environment import Environment
from jaxprice.envs.bernoulli_bandit import BernoulliBandit
from jaxprice.types import Oracle, Policy, Transition

RETURN_REWARDS = ("sampled", "mean", "regret", "posterior_mean")


@struct.dataclass
class Lifetime:
    """The record of one lane; arrays have a leading axis `[T]`, except `facts`.

    Attributes:
      facts, seen: the inputs of the agent.
      action: the action chosen, int `[T]`.
      log_prob: log-probability of the action under the agent's weights, `[T]`; zero if another policy acted.
      value: the agent's value, `[T]`.
      reward: the reward for training, in units, `[T]`.
      expected, optimal: expected reward of the action and of the oracle, in money, `[T]`.
      label: the teacher's action, an allowed one, int `[T]`; zero without a teacher.
    """

    facts: inputs.Facts | None
    seen: inputs.Seen
    action: jax.Array
    log_prob: jax.Array
    value: jax.Array
    reward: jax.Array
    expected: jax.Array
    optimal: jax.Array
    label: jax.Array


@dataclasses.dataclass(frozen=True)
class Play:
    """Market, network and policies of a lifetime.

    Raises:
      ValueError: the network does not suit the market, by its actions or its longest lifetime; or another argument is wrong.

    Attributes:
      env: the market and its task distribution.
      network: the network of the agent.
      horizon: number of periods of a lifetime.
      return_reward: see the module.
      deploy: "sample" or "argmax", how the agent acts.
      actor: a `Policy` that acts instead of the agent, or None.
      teacher: a `Policy` or `Oracle` whose action is the label, or None.
    """

    env: Environment
    network: Any
    horizon: int
    return_reward: str = "sampled"
    deploy: str = "sample"
    actor: Policy | None = None
    teacher: Policy | None = None

    def __post_init__(self):
        if not isinstance(self.env, Environment):
            raise ValueError(f"env must be an environment, as jaxprice.make(...)[0], got {checks.shown(self.env)}")
        networks.check(self.network)
        object.__setattr__(self, "horizon", checks.positive_int("horizon", self.horizon))
        checks.choice("return_reward", self.return_reward, RETURN_REWARDS)
        checks.choice("deploy", self.deploy, ("sample", "argmax"))
        if self.return_reward == "posterior_mean" and not isinstance(self.env, BernoulliBandit):
            raise ValueError(f"return_reward 'posterior_mean' needs a BernoulliBandit, got {self.env.name}; take 'mean'")
        if self.env.longest is not None and self.horizon > self.env.longest:
            raise ValueError(f"horizon must be at most {self.env.longest} in {self.env.name}, got {self.horizon}")
        wanted = inputs.actions_of(self.env.action_space()).n
        if (actions := getattr(self.network, "actions", wanted)) != wanted:
            raise ValueError(f"network must have the {wanted} actions of {self.env.name}, got one of {actions} actions")
        players = {"network": getattr(self.network, "core", None), "actor": self.actor, "teacher": self.teacher}
        for name, player in players.items():
            longest = getattr(player, "longest", None)
            if longest is not None and self.horizon > longest:
                raise ValueError(f"{name} was made for at most {longest} periods, got the horizon {self.horizon}")
            if name != "network" and not isinstance(player, Policy | None):
                raise ValueError(f"{name} must be a Policy, got {checks.shown(player)}")

    def open(self, streams, number):
        """Draw a market of the task distribution: `(params, problem, observation, state)`."""
        params = self.env.draw_params(random.address(streams["market"], 0, number), jnp.int32(self.horizon))
        params = jax.tree.map(jnp.asarray, params)
        obs, state = self.env.reset_env(random.address(streams["reset"], 0, number), params)
        return params, self.env.problem(params).with_observation(obs), obs, state

    def example(self):
        """`Facts` and `Seen` of one market before the first decision."""
        _, problem, obs, _ = self.open(streams(0), jnp.uint32(0))
        return inputs.reader(self.network)(problem), inputs.before(problem, obs)

    def live(self, weights, streams, number):
        """The `Lifetime` of lane `number`.

        Args:
          weights: weights of the network.
          streams: from `streams`.
          number: lane number, uint32 scalar.
        """
        params, problem, obs, state = self.open(streams, number)
        facts, seen = inputs.reader(self.network)(problem), inputs.before(problem, obs)
        memory = self.network.apply(weights, facts, method="start")
        others = {"actor": self.actor, "teacher": self.teacher}
        others = {who: policy for who, policy in others.items() if policy is not None}
        knows = {
            who: policy.init(jax.random.fold_in(random.address(streams["init"], 0, number), k), problem)
            for k, (who, policy) in enumerate(others.items())
            if not isinstance(policy, Oracle)
        }
        counts = jnp.zeros((2, facts.margins.shape[0]), jnp.float32)

        def asked(who, key, knows, obs, state):
            if isinstance(others[who], Oracle):
                return jnp.asarray(self.env.optimal_action(state, params), jnp.int32)
            action = others[who].act(key, knows[who], obs)
            if jnp.shape(action) or not jnp.issubdtype(jnp.result_type(action), jnp.integer):
                raise ValueError(f"{who} must choose one action by its index, it gave {jax.eval_shape(lambda: action)}")
            return jnp.asarray(action, jnp.int32)

        def period(carry, time):
            seen, memory, obs, state, knows, counts = carry
            keys = {role: random.address(streams[role], time, number) for role in ("act", "demand", "update")}
            memory, says = self.network.apply(weights, memory, facts, seen, method="step")
            log_probs = jax.nn.log_softmax(says.logits)
            if "actor" in others:
                action = asked("actor", jax.random.fold_in(keys["act"], 1), knows, obs, state)
            elif self.deploy == "argmax":
                action = jnp.argmax(says.logits).astype(jnp.int32)
            else:
                action = jax.random.categorical(keys["act"], says.logits).astype(jnp.int32)
            label = jnp.int32(0)
            if "teacher" in others:
                label = asked("teacher", jax.random.fold_in(keys["act"], 2), knows, obs, state)
                label = self.env.carried_out(state, label, params)
            chosen = action
            action = self.env.carried_out(state, chosen, params)
            expected = self.env.expected_reward(state, action, params)
            optimal = self.env.optimal_reward(state, params)
            next_obs, state, reward, _, info = self.env.step_env(keys["demand"], state, action, params)
            sale = Transition(obs, action, info["price"], info["demand"], reward, next_obs)
            now = Lifetime(
                facts=None,
                seen=seen,
                action=chosen,
                log_prob=jnp.float32(0) if "actor" in others else log_probs[chosen],
                value=says.value,
                reward=self.counted(facts, reward, expected, info["regret"], counts, action),
                expected=jnp.asarray(expected, jnp.float32),
                optimal=jnp.asarray(optimal, jnp.float32),
                label=label,
            )
            hot = jax.nn.one_hot(action, counts.shape[1], dtype=jnp.float32)
            counts = counts + jnp.stack([hot, hot * reward / facts.unit])
            knows = {
                who: others[who].update(jax.random.fold_in(keys["update"], k), knows[who], sale)
                for k, who in enumerate(others)
                if who in knows
            }
            return (inputs.after(facts, seen, sale), memory, next_obs, state, knows, counts), now

        carry = seen, memory, obs, state, knows, counts
        _, life = jax.lax.scan(period, carry, jnp.arange(self.horizon, dtype=jnp.int32))
        return dataclasses.replace(life, facts=facts)

    def says(self, weights, lives):
        """The `Output` of the network at every period of `lives` `[lanes]`, for given weights: `[lanes, T]`."""
        network = self.network
        whole = jax.vmap(lambda facts, seen: network.apply(weights, facts, seen, method="apply_sequence"))
        return whole(lives.facts, lives.seen)

    def counted(self, facts, reward, expected, regret, counts, action):
        """The reward that is summed into the return, in units."""
        if self.return_reward == "posterior_mean":
            return (1 + counts[1, action]) / (2 + counts[0, action])
        kinds = {"sampled": reward, "mean": expected, "regret": -regret}
        return jnp.asarray(kinds[self.return_reward], jnp.float32) / facts.unit


def streams(seed):
    """Streams of random words by role, for a seed that is an integer or a uint32 scalar."""
    return {role: jnp.asarray(random.stream(seed, role)) for role in random.ROLES}

"""The learners of the study: Q-learning with a table, and networks by any trainer of `jaxprice.agents`.

What they learned is a map from places of the rival's price to places of their own, int `[50]`.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies.kastius_schlosser.exact import DISCOUNT, PRICES, RIVALS, market
from jaxprice import policies
from jaxprice.agents import dqn, sac
from jaxprice.types import Transition

EPISODE = 100  # periods after which a learner starts again from the first price
TABLE = {"discount": DISCOUNT, "rate": 1.0, "power": 0.7, "epsilon": 0.3, "initial": 800.0}
NETWORK = {"size": 128, "layers": 2, "capacity": 100_000}
SWITCHES = {"double": True, "dueling": True, "prioritised": True, "n_step": 1, "centred": False}
LEARNERS = {  # name -> function of rival, periods, runs, points and seed; each is a cell for each rival
    "DQN": lambda *told: network(dqn.train, *told, **NETWORK, **SWITCHES, hyper=dqn.Hyper(discount=DISCOUNT, epsilon=0.3)),
    "SAC": lambda name, periods, *told: network(
        sac.train, name, periods // 4, *told, **NETWORK, any_price=True, hyper=sac.Hyper(discount=DISCOUNT)
    ),
}


def tables(periods, runs, points, seed):
    """Greedy maps of Q-learning against every rival, along a learning curve.

    Args:
      periods: in which a run learns.
      runs, points: number of runs, and of points of the curve.
      seed: of everything drawn.

    Returns:
      a dict with "maps", int `[rivals, points, runs, 50]`, and "periods", int `[points]`.
    """
    env = market("fixed 20", horizon=EPISODE)[0]
    learner = policies.q_learning(bins=(1, 1, 1, PRICES.size), low=1.0, high=50.0, **TABLE)
    every = [market(name, horizon=EPISODE)[1] for name in RIVALS]
    params = jax.tree.map(lambda *x: jnp.stack([jnp.asarray(y) for y in x]), *every)
    episodes = max(1, round(periods / EPISODE / points))

    def period(params, carry, key):
        observation, state, memory = carry
        keys = jax.random.split(key, 3)
        action = learner.act(keys[0], memory, observation)
        after, state, reward, _, info = env.step_env(keys[1], state, action, params)
        seen = Transition(observation, action, info["price"], info["demand"], reward, after)
        return (after, state, learner.update(keys[2], memory, seen)), None

    def run(params, key):
        def episode(memory, key):
            first = *env.reset_env(key, params), memory
            return jax.lax.scan(functools.partial(period, params), first, jax.random.split(key, EPISODE))[0][2], None

        def point(memory, key):
            memory = jax.lax.scan(episode, memory, jax.random.split(key, episodes))[0]
            return memory, jnp.argmax(memory.table, axis=1).astype(jnp.int8)

        memory = learner.init(key, env.problem(params))
        return jax.lax.scan(point, memory, jax.random.split(key, points))[1]

    keys = jax.random.split(jax.random.key(seed), runs)
    maps = jax.jit(jax.vmap(jax.vmap(run, (None, 0), 1), (0, None)))(params, keys)
    return {"maps": maps, "periods": episodes * EPISODE * np.arange(1, points + 1)}


def network(train, name, periods, runs, points, seed, **options):
    """Maps of trained networks, int `[runs, 50]`, and their curve of long-run earnings as a share of the best ones.

    Args:
      train: `dqn.train`, or the `train` of another learner.
      name: of the rival.
      periods, runs, points, seed: as in `tables`.
      **options: of `train`; with `any_price` the learner posts prices of the interval.
    """
    free = options.pop("any_price", False)
    env, params = market(name, horizon=EPISODE, any_price=free)
    seeds = 1000 * seed + np.arange(runs)
    options |= {"points": points, "horizon": EPISODE, "held_out": 1}  # episodes of a frozen seller are all the same
    result = train(env, params, steps=periods, seeds=seeds, **options)
    maps = np.stack([map_of(result.policy(run), env, params) for run in range(result.runs)])
    return {"maps": maps, "periods": result.curve["steps"], "share": result.curve["held_out"]}


def map_of(policy, env, params):
    """The places of a frozen seller's prices at each price of the rival, int `[50]`, after the first period."""
    key, problem = jax.random.key(0), env.problem(params)
    first, state = env.reset_env(key, params)
    memory = policy.init(key, problem.with_observation(first))
    action = policy.act(key, memory, first)
    after, _, reward, _, info = env.step_env(key, state, action, params)
    rivals = jnp.asarray(params.prices)

    def price(rival):
        seen = after.at[3].set(rival)
        sold = Transition(first, action, info["price"], info["demand"], reward, seen)
        return policy.act(key, policy.update(key, memory, sold), seen)

    actions = jax.jit(jax.vmap(price))(rivals)
    if env.any_price:
        actions = jnp.abs(jnp.asarray(actions)[:, None] - rivals).argmin(axis=1)
    return np.asarray(actions, np.int8)

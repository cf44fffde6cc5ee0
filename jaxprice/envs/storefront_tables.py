"""The oracle of a storefront: mean components of every action, the best action, and the Pareto front of the components."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jaxprice.envs.customers import COMPONENTS, means
from jaxprice.envs.planning import long_run
from jaxprice.oracles import dynamic_programming


def components_of(env, params):
    """Mean components, `[S, T, A, 5]`."""
    shape = (*env.sizes[3:], env.num_types, env.num_actions)
    cells = (jnp.ravel(x) for x in np.indices(shape))

    def mean_components(phase, competitor, loyalty, customer, action):
        price, offer, product, exposure = env.parts(action)
        return means(phase, competitor, loyalty, customer, price, offer, product, exposure, params)

    table = jax.vmap(mean_components)(*cells)
    return table.reshape(-1, env.num_types, env.num_actions, len(COMPONENTS))


def filled(env, params, components):
    """Params with the oracle's tables, from mean components `[S, T, A, 5]`."""
    _, _, _, phases, levels, loyalties = env.sizes
    shape = (phases, levels, loyalties, env.num_types, env.num_prices, env.num_actions // env.num_prices)
    reward = jnp.einsum("stai,i->sta", components, params.weights, precision="highest").reshape(shape)
    content = components[..., 4].reshape(shape)
    rise, fall = params.rise * content, params.fall * (1 - content)

    def values(worth):
        """Q, float `[f, c, l, t, price, rest]`."""
        after = jnp.roll(worth.reshape(phases, levels, loyalties), -1, axis=0)
        after = jnp.einsum("ckd,fdl->fclk", params.competition, after, precision="highest")
        upper = jnp.concatenate([after[:, :, 1:], after[:, :, -1:]], axis=2) - after
        lower = jnp.concatenate([after[:, :, :1], after[:, :, :-1]], axis=2) - after
        stay, upper, lower = (x[:, :, :, None, :, None] for x in (after, upper, lower))
        return reward + stay + rise * upper + fall * lower

    def backup(worth):
        most = jnp.max(values(worth), axis=(4, 5)).reshape(-1, env.num_types)
        return jnp.einsum("st,t->s", most, params.types, precision="highest")

    value, worth = long_run(backup, jnp.zeros(phases * levels * loyalties, jnp.float32))
    table = values(worth).reshape(-1, env.num_types, env.num_actions)
    regrets = jnp.max(table, axis=2, keepdims=True) - table
    best = jnp.argmin(regrets, axis=2).astype(jnp.int32)
    return dataclasses.replace(params, worth=worth, regrets=regrets, best=best, value=value)


def pareto_front(env, params, weights):
    """Gains `[W, 5]` and policies `[W, S, T]` that are optimal for weights `[W, 5]`; see `Storefront.pareto_front`."""
    table = components_of(env, params)
    states, customers = np.indices(table.shape[:2])

    def one(weight):
        best = filled(env, dataclasses.replace(params, weights=weight), table).best
        seen = table[states, customers, best]
        rewards = jnp.einsum("t,sti->si", params.types, seen, precision="highest")
        return dynamic_programming.policy_gain(rewards, _chain(env, params, best, seen[..., 4])), best

    return jax.vmap(one)(weights)


def _chain(env, params, best, content):
    """Transition matrix `[S, S]` of a policy `[S, T]`, for the probabilities of satisfaction `[S, T]`."""
    _, _, _, phases, levels, loyalties = env.sizes
    shape = (phases, levels, loyalties, env.num_types)
    best, content, row = best.reshape(shape), content.reshape(shape), np.arange(loyalties)
    up, down = params.rise * content, params.fall * (1 - content)
    changes = (
        chance[..., None] * np.eye(loyalties)[np.clip(row + step, 0, loyalties - 1)][None, None, :, None]
        for step, chance in ((1, up), (-1, down), (0, 1 - up - down))
    )
    price = best // (env.num_actions // env.num_prices)
    moves = jnp.asarray(params.competition)[np.arange(levels)[None, :, None, None], price]  # [f, c, l, t, c']
    season = np.roll(np.eye(phases), 1, axis=1)
    terms = season, params.types, moves, sum(changes)
    joint = jnp.einsum("fg,t,fcltd,fcltm->fclgdm", *terms, precision="highest")
    return joint.reshape(phases * levels * loyalties, -1)

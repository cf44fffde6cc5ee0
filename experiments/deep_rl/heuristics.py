"""Sellers without training on the markets of `deep_rl`: benchmarks, and the classic heuristics of each market.

Sellers that are functions of the state have exact shares. The others are simulated, all with the same buyers, and have a
standard error over lanes: from regret, which is less noisy than reward (in `NetworkRevenue` from reward, because regret
there is against a bound). A seller that learns does so in the one season of its lane, without training before.
"""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np

import jaxprice
from experiments.deep_rl import chains
from jaxprice import policies
from jaxprice.oracles import replenishment


def exact(market):
    """Name -> exact share of a seller who knows the market and plays it without planning (but for the optimum)."""
    chain, every = market.chain, jnp.arange(market.actions, dtype=jnp.int32)
    fixed = jax.jit(jax.vmap(lambda action: chains.share(chain, chains.always(action))[0]))(every)
    found = {"optimum": 1.0, "best fixed action": float(jnp.max(fixed))}
    found["best action of a period"] = float(jax.jit(lambda: chains.share(chain, chains.myopic(chain, market.actions))[0])())
    if market.name == "Replenishment":
        costs = (getattr(market.params, name) for name in ("cost", "holding", "shortage"))
        price, level, _ = replenishment.myopic_base_stock(market.params.pmf, market.params.prices, *costs)
        found["base stock without the fixed cost"] = float(fixed[int(price) * market.env.num_levels + int(level)])
    return found


def sellers(market):
    """Name -> policy of the sellers that are simulated."""
    params, made = market.params, {"random action": policies.random_price()}
    if market.name in ("FiniteInventory", "NetworkRevenue"):
        several = market.name == "NetworkRevenue"
        known = np.append(params.demand, np.zeros((1, 2)), axis=0) if several else np.asarray(params.demand)
        made |= {
            "fluid programme, known demand": policies.lp_resolving(demand=known),
            "fluid programme, learned demand": policies.lp_resolving(),
            "Thompson with inventory": policies.ts_update(),
        }
    if market.name == "FiniteInventory":
        made["run-out price, known demand"] = policies.run_out_price(demand=np.asarray(params.demand))
        made["dynamic programme of a guess"] = policies.dp_pricing()
    if market.name in ("ReferencePrice", "ReactiveRival"):
        made |= {"UCB1": policies.ucb1(), "Thompson (Gaussian)": policies.gaussian_thompson()}
    return made


def simulated(market, lanes, seed):
    """Name -> share and its standard error, from `lanes` seasons of the sellers of `sellers`."""
    chain = market.chain
    settings = {"lanes": lanes, "seed": seed, "horizon": chain.horizon, "params": market.params}
    out = jaxprice.simulate(market.env, sellers(market), **settings)
    last = out.isel(time=-1)
    if market.name == "NetworkRevenue":
        share, error = last["reward"] / chain.optimum, last["reward_se"] / chain.optimum
    else:
        share, error = 1 - last["regret"] / chain.optimum, last["regret_se"] / chain.optimum
    return {str(name): (float(share.sel(policy=name)), float(error.sel(policy=name))) for name in out["policy"].values}


@contextlib.contextmanager
def compiled_quickly():
    """Compile with few optimisations inside: nearly all time of these short simulations is compilation."""
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)


def measured(market, lanes, seed):
    """The cell of a market: names, shares and standard errors (0 if exact), arrays `[sellers]`."""
    with compiled_quickly():
        rows = {name: (share, 0.0) for name, share in exact(market).items()} | simulated(market, lanes, seed)
    share, error = np.array(list(rows.values())).T
    return {"name": np.array(list(rows)), "share": share, "se": error}

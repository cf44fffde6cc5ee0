"""Markets of `gatti_pinheiro`, and the two things done with them: play a seller, train an agent."""

import functools
from typing import NamedTuple

import jax
import numpy as np

import jaxprice
from experiments.studies.gatti_pinheiro import sellers
from jaxprice import agents
from jaxprice.agents import rl2

FRAT5 = (1.5, 4.3)
DAYS, WARM_UP, FLIGHTS = 440, 66, 22  # of a season; that the authors leave out; open at once
FEW = (50.0, 110.0, 230.0)  # fares of the markets with an exact Bayes optimum


class Market(NamedTuple):
    """A market of the study.

    Attributes:
      options: of `AirlineSeason`.
      arrivals: number of values of arrivals in the grid of types.
      periods: periods of a day.
    """

    options: dict
    arrivals: int = 1
    periods: int = 1

    @property
    def env(self):
        """The environment."""
        return jaxprice.make("AirlineSeason", frat5_range=FRAT5, **self.options)[0]


MARKETS = {
    "season": Market({"days": 1, "arrivals": 4.0, "stock": 25, "horizon": DAYS}),
    "22 flights": Market({"days": 1, "arrivals": 4 / FLIGHTS, "stock": 10, "horizon": DAYS * FLIGHTS}, periods=FLIGHTS),
    "seats": Market({"days": 22, "arrivals": (50.0, 85.0), "stock": 50, "horizon": DAYS}, arrivals=8),
    "22 days": Market({"days": 1, "arrivals": 4.0, "stock": 25, "horizon": 22, "prices": FEW}),
    "20 seats": Market({"days": 11, "arrivals": 44.0, "stock": 20, "horizon": 11, "prices": FEW}),
}


@functools.cache
def types(name):
    """The grid of types of a market."""
    step = 0.1 if name == "seats" else 0.05
    return sellers.types_of(MARKETS[name].env, step=step, arrivals=MARKETS[name].arrivals)


def drawn(name, lanes):
    """Markets `[lanes]`, frat5 evenly spread over its range, and arrivals over theirs in another order."""
    env = MARKETS[name].env
    places = (np.arange(lanes) + 0.5) / lanes
    (low, high), (least, most) = env.frat5_range, env.arrivals_range
    golden = (np.arange(lanes) * 0.6180339887498949) % 1  # a low-discrepancy sequence beside the even one
    solve = jax.jit(jax.vmap(lambda frat5, arrivals: env.solve(env.params_of(frat5, arrivals))))
    return jax.device_get(solve(np.float32(low + places * (high - low)), np.float32(least + golden * (most - least))))


def play(name, policy, lanes, seed):
    """Regret of every lane and the expected revenue of the oracle, over all days and over those after the warm-up.

    Returns:
      dict: "regret" and "best", float `[2, lanes]`, and "frat5" `[lanes]`.
    """
    market, params = MARKETS[name], drawn(name, lanes)
    env, horizon, early = market.env, market.options["horizon"], WARM_UP * market.periods
    settings = {"seed": seed, "lanes": lanes, "params": params}

    def total(periods):
        out = jaxprice.simulate(env, policy, horizon=periods, checkpoints=[periods], **settings)
        return np.asarray(out["lane_regret"].values[0], float)

    value = np.asarray(jax.jit(jax.vmap(env.season_value))(params), float)
    if market.periods > 1:  # traces would be long; a shorter season has the same first days
        whole = total(horizon)
        regret = [whole, whole - total(early)]
    else:
        out = jaxprice.simulate(env, {"seller": policy}, horizon=horizon, traces=True, **settings)
        traced = np.asarray(out["trace_regret"].values, float).reshape(horizon, lanes)
        regret = [traced.sum(axis=0), traced[early:].sum(axis=0)]
    best = [value, value * max(1 - early / horizon, 0.0)]
    return {"regret": np.array(regret), "best": np.array(best), "frat5": np.asarray(params.frat5, float)}


class Recipe(NamedTuple):
    """Training of an agent.

    Attributes:
      network, options: of `agents.networks.make`.
      updates, lanes: of `rl2.train`.
      rate, entropy: learning rate and weight of the entropy.
    """

    network: str
    options: tuple
    updates: int
    lanes: int
    rate: float = 2e-3
    entropy: float = 0.03


RECIPES = {
    "season": Recipe("stats", (), 200, 64),
    "seats": Recipe("stats", (), 200, 64),
    "22 days": Recipe("stats", (), 400, 256, 3e-3, 0.05),
    "20 seats": Recipe("stats", (), 200, 256, 3e-3, 0.05),
}


@functools.cache
def trained(name, recipe, seed):
    """An agent trained on a market: `(policy, curve)`."""
    env = MARKETS[name].env
    network = agents.networks.make(recipe.network, actions=len(env.prices), **dict(recipe.options))
    hyper = agents.Hyper(learning_rate=recipe.rate, entropy=recipe.entropy, trace=0.97, warm_up=0.05)
    settings = {"horizon": env.horizon, "updates": recipe.updates, "lanes": recipe.lanes, "hyper": hyper, "seeds": seed}
    settings |= {"return_reward": "regret", "chunk": max(1, recipe.updates // 10), "held_out": 256}
    weights, curve = rl2.train(env, network, **settings)
    agent = agents.Agent(recipe.network, len(env.prices), agents.one(weights), dict(recipe.options))
    return agent.policy(), {key: np.asarray(curve[key])[:, 0] for key in ("update", "held_out", "wall_s", "cpu_s")}

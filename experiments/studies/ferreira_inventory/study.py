"""Ferreira, Simchi-Levi and Wang (2018): Thompson sampling with a limited stock, one product and networks.

One product: prices 29.90, 34.90, 39.90, 44.90 and the offer of nothing, purchase probabilities .8, .6, .3, .1, seasons of T
= 500 to 10,000, stock alpha T for alpha = .25 and .5. Networks: two products, three resources, five price vectors, Poisson
demand of three families, stock (3, 5, 7) T. The paper plots the earned percent of the fluid bound T z and prints no numbers.
We compare with an independent replication, 500 runs of each case, and for alpha = .25 with a re-run by other code
(`numbers.py`).

    python -m experiments.studies.ferreira_inventory                    # 500 simulations, as in the paper; networks fewer
    python -m experiments.studies.ferreira_inventory --preset full      # 50,000; for a GPU

A cell is one season of one market with all sellers. One product: the percent is 100 (V - regret) / (T z), with V the exact
optimum by dynamic programming and regret the expected loss of each price; its error is smaller than that of revenue itself.
Networks: mean revenue. Also exact: z, and V in percent of T z. The exponent is the slope of log(T z - revenue) over log T.

Open points in the paper or in ours. BZ explores for T^(2/3) periods, then plays the programme's mix for the stock left, each
price for its share of the time (`blind_network`). Accounts of that step differ: mean sales or means of a posterior, a mix
drawn in every period or not, the choice among equally good mixes, an action that never sold or nothing. The difference is up
to six points at T = 500 with alpha = .25: other code earns 84.7 with our account, as ours does, and the replication earns
78.8. "blind pricing" is Besbes and Zeevi's earlier policy, which posts one price. PD-BwK and LP-UCB have theoretical
constants, not tuned, and assume a largest demand of 10 units if it is Poisson. The replication's PD-BwK is an LP-UCB with
another bonus and is not compared. Thompson sampling that ignores stock requires Bernoulli demand, so it plays one product
only. By default networks have only the first seasons.

Source: K. J. Ferreira, D. Simchi-Levi, H. Wang (2018), "Online network revenue management using Thompson sampling",
doi:10.1287/opre.2018.1755.
"""

import dataclasses
import functools
import math
from typing import NamedTuple

import jax
import numpy as np

import jaxprice
from experiments.frame import study
from experiments.studies.ferreira_inventory import numbers
from jaxprice import policies, stats
from jaxprice.envs import finite_inventory, network_revenue
from jaxprice.oracles import fluid_lp, inventory

PRICES, DEMAND = (29.9, 34.9, 39.9, 44.9), finite_inventory.DEFAULT_DEMAND
NETWORK, USE = np.array(network_revenue.PRICES), np.array(network_revenue.CONSUMPTION)
STOCK, FAMILIES = np.array(network_revenue.STOCK_RATE), tuple(network_revenue.FAMILIES)
ALPHAS = {"alpha 0.25": 0.25, "alpha 0.5": 0.5}
SEASONS = numbers.SEASONS


class Sizes(NamedTuple):
    """Simulations and number of `SEASONS`, of one product and of each network; batches; sellers, see `study.chosen`."""

    lanes: int
    seasons: int
    network_lanes: int
    network_seasons: int
    batches: int = 10
    sellers: tuple[str, ...] = ()

    def horizons(self, market):
        """The seasons played in a market."""
        return SEASONS[: self.seasons if market in ALPHAS else self.network_seasons]


@functools.cache
def sellers(market):
    """Name -> policy, for the market with this name."""
    largest = {"largest": 10.0} if market in FAMILIES else {}
    shared = {
        "TS-update": policies.ts_update(),
        "TS-fixed": policies.ts_fixed(),
        "BZ": policies.blind_network(),
        "PD-BwK": policies.primal_dual_bwk(**largest),
        "LP-UCB": policies.lp_ucb(**largest),
    }
    if market in FAMILIES:
        return shared | {"demand known, solved once": policies.oracle()}
    return shared | {
        "blind pricing": policies.blind_pricing(),
        "Thompson, stock ignored": policies.thompson(),
        "demand known, solved once": known(resolve=False),
        "demand known, re-solved": known(resolve=True),
    }


@functools.cache
def known(resolve):
    """The seller who knows demand; one object, so that its compiled code is cached."""
    return policies.lp_resolving(demand=(*DEMAND, 0.0), resolve=resolve)


def playing(sizes, market):
    """The sellers of a market that the sizes name."""
    every = sellers(market)
    return {name: every[name] for name in study.chosen(every, sizes.sellers)}


@functools.lru_cache(maxsize=1)
def product(longest):
    """One product for all seasons up to the longest and all stocks: one environment, compiled once, and its params."""
    sizes = {"stock": int(max(ALPHAS.values()) * longest), "horizon": longest}
    return jaxprice.make("FiniteInventory", demand=DEMAND, prices=PRICES, shut_off=True, **sizes)


def network(family, horizon):
    """A network with its stock and season, in an environment that all of them share."""
    env, demand = jaxprice.envs.NetworkRevenue(), network_revenue.FAMILIES[family](NETWORK)
    params = env.params_of(NETWORK, demand, USE, horizon * STOCK)
    return env, env.solved(dataclasses.replace(params, max_steps_in_episode=np.int32(horizon)))


def play(sizes, seed, market, horizon):
    """A season with all sellers of a market: number -> `[sellers]`, or `[sellers, lanes]`."""
    if market in FAMILIES:
        env, params = network(market, horizon)
        lanes = sizes.network_lanes
    else:
        env, params = product(sizes.horizons(market)[-1])
        params, lanes = dataclasses.replace(params, stock=np.int32(ALPHAS[market] * horizon)), sizes.lanes
    run = {"seed": seed, "lanes": lanes, "horizon": horizon, "params": params, "checkpoints": [horizon]}
    result = jaxprice.simulate(env, playing(sizes, market), **run).isel(time=0)
    names = "reward", "reward_se", "regret", "regret_se", "lane_regret"
    return {name: result[name].transpose("policy", ...).values for name in names}


def play_exact(sizes):
    """Market -> fluid bound of a period; market + " optimum" -> optimal value of each season, `[seasons]`."""
    worth = np.asarray(product(SEASONS[sizes.seasons - 1])[1].values)
    exact = {}
    for market, alpha in ALPHAS.items():
        exact[f"{market} optimum"] = [worth[T, 1 : int(alpha * T) + 1].sum(dtype=float) for T in sizes.horizons(market)]
    with jax.enable_x64(True):
        exact |= {market: inventory.fluid_prices(PRICES, DEMAND, alpha)[0] for market, alpha in ALPHAS.items()}
        for family in FAMILIES:
            demand = network_revenue.FAMILIES[family](NETWORK)
            exact[family] = fluid_lp.fluid_lp((NETWORK * demand).sum(axis=1), demand @ USE, STOCK)[0]
        return {name: np.asarray(value) for name, value in exact.items()}


def cells(sizes, seed):
    """Cell name -> function that computes it."""
    seasons = {(market, T): f"{market}, {T}" for market in (*ALPHAS, *FAMILIES) for T in sizes.horizons(market)}
    played = {name: functools.partial(play, sizes, seed, *season) for season, name in seasons.items()}
    return {"exact": functools.partial(play_exact, sizes)} | played


def percents(sizes, results):
    """(market, seller, season) -> percent of the fluid bound, its error, and the deviation of a season's revenue."""
    exact, made = results["exact"], {}
    for market in (*ALPHAS, *FAMILIES):
        for k, T in enumerate(sizes.horizons(market)):
            run = results[f"{market}, {T}"]
            earned, error = run["reward"], run["reward_se"]
            spread = error * math.sqrt(run["lane_regret"].shape[1])
            if market in ALPHAS:
                earned, error = exact[f"{market} optimum"][k] - run["regret"], run["regret_se"]
            table = 100 * np.stack([earned, error, spread], axis=1) / (T * exact[market])
            made |= {(market, name, T): tuple(row) for name, row in zip(playing(sizes, market), table.tolist(), strict=True)}
    return made


def exponents(sizes, results, market):
    """Seller -> growth exponent of its loss relative to the fluid bound, and its error over batches of simulations."""
    exact, losses = results["exact"], []
    for k, T in enumerate(sizes.horizons(market)):
        batches = np.array_split(results[f"{market}, {T}"]["lane_regret"], sizes.batches, axis=1)
        least = T * exact[market] - exact[f"{market} optimum"][k]
        losses.append([least + batch.mean(axis=1) for batch in batches])
    slopes = np.apply_along_axis(lambda loss: stats.growth_exponent(sizes.horizons(market), loss), 0, np.array(losses))
    return {name: study.mean(each) for name, each in zip(playing(sizes, market), slopes.T, strict=True)}


def rows(sizes, results):
    """The table."""
    exact, table = results["exact"], []
    for market in (*ALPHAS, *FAMILIES):
        table.append(study.Row(f"exact, {market}, bound of a period", float(exact[market]), 0.0))
        for k, T in enumerate(sizes.horizons(market) if market in ALPHAS else ()):
            share = 100 * exact[f"{market} optimum"][k] / (T * exact[market])
            table.append(study.Row(f"exact, {market}, {T}, optimum, percent of the bound", float(share), 0.0))
    for (market, name, T), (*ours, spread) in percents(sizes, results).items():
        for suffix, more in numbers.beside(market, name, T, spread).items():
            table.append(study.Row(f"{market}, {name}, {T}{suffix}", *ours, **more))
    for market in ALPHAS if sizes.seasons > 1 else ():
        table += [study.Row(f"exponent, {market}, {name}", *x) for name, x in exponents(sizes, results, market).items()]
    return table


def plot_figure(figure, sizes, results, rows):
    """Percent of the fluid bound over seasons: one product above, networks below."""
    figure.set_size_inches(12, 8)
    values, exact = percents(sizes, results), results["exact"]
    (*products, legend), networks = figure.subplots(2, 3)
    colours = {name: f"C{i}" for i, name in enumerate(sellers("alpha 0.25"))}
    for market, axes in zip((*ALPHAS, *FAMILIES), (*products, *networks), strict=True):
        seasons = np.array(sizes.horizons(market))
        reach = stats.critical(sizes.lanes if market in ALPHAS else sizes.network_lanes)
        for name in playing(sizes, market):
            mean, error, _ = np.transpose([values[market, name, T] for T in seasons])
            axes.errorbar(seasons, mean, reach * error, label=name, color=colours[name], marker="o", ms=3, lw=1.2)
            if name in numbers.STORED[market]:
                known, errors = (np.array(x[: len(seasons)]) for x in numbers.STORED[market][name])
                axes.errorbar(seasons, known, stats.critical(500) * errors, fmt="x", color=colours[name], ms=7, lw=0.8)
        if market in ALPHAS:
            optimum = 100 * exact[f"{market} optimum"] / (seasons * exact[market])
            axes.plot(seasons, optimum, "k--", lw=1, label="optimum, exact")
        title = f"one product, stock {ALPHAS[market]:g} T" if market in ALPHAS else f"network, {market} demand"
        axes.set(xscale="log", title=title, xlabel="periods T", ylabel="percent of the fluid bound", xticks=seasons)
        axes.set_xticklabels([f"{T:,}" for T in seasons], fontsize=8)
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    products[0].plot([], [], "x", color="0.4", label="replication, 500 simulations")
    legend.axis("off")
    legend.legend(*products[0].get_legend_handles_labels(), loc="center", fontsize=9)
    figure.suptitle(f"{sizes.lanes:,} simulations of one product, {sizes.network_lanes:,} of each network; 95 % intervals")


STUDY = study.Study(
    name="ferreira_inventory",
    title="Ferreira, Simchi-Levi and Wang (2018), percent of the fluid bound with limited stock",
    presets={
        "smoke": Sizes(20, 1, 20, 1, sellers=("TS-update",)),
        "default": Sizes(500, 5, 100, 3),
        "full": Sizes(50_000, 5, 10_000, 5),
    },
    cells=cells,
    rows=rows,
    plot_figure=plot_figure,
    public="a public replication reports 32 to 37 minutes on 16 cores for one of the figures",
)

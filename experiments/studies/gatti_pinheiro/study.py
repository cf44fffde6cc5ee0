"""Gatti Pinheiro, Defoin-Platel and Regin (2022): an airline that earns while it learns its customers' willingness to pay.

    python -m experiments.studies.gatti_pinheiro                   # four and a half minutes of CPU time
    python -m experiments.studies.gatti_pinheiro --preset smoke

Every season draws frat5 ~ U[1.5, 4.3], the fare in units of the lowest one that half of the customers pay. Customers are
Poisson and buy with negative-exponential probability (`AirlineSeason`). The fares are 50, 70, ..., 230. All numbers are
percent of the revenue of the oracle, which knows frat5: mean regret over mean optimal revenue, exact expectations given the
fares that a seller posted. Seasons are spread evenly over frat5.

| market | what |
|---|---|
| season | the paper's first one: 440 days, 4 customers a day, seats that never bind, one fare a day for all open flights |
| 22 flights | the same with a fare for each of 22 open flights, as in the paper: 4 / 22 customers a day and flight |
| seats | the paper's second demand: 50 to 85 customers a flight, unknown too, 50 seats, 22 days; flights in turn |
| 22 days | a short season with three fares, whose Bayes optimum is exact |
| 20 seats | a flight of 11 days with 20 seats and three fares, whose Bayes optimum is exact |

Sellers: the authors' revenue management system (RMS), which posts the best fare of an estimate from the last 22 days; their
heuristic, which adds experiments (`sellers`), with the best of several eta on other seasons; both with all days remembered;
Thompson sampling and QMDP with the exact posterior; and an agent trained by PPO from expected regret, which sees counts and
sales of every fare since the first day. It is trained for the season of 22 days, and in the full preset for the others too;
an update of 64 seasons of 440 days takes .7 s of CPU time. The exact bounds: the oracle is above every seller, and the Bayes
optimum is the most that a seller can earn who does not know frat5. In the season of 440 days it is between the best seller
and the oracle. With all days remembered the best eta is the largest that was tried.

What the authors have and we do not. Their seller prices 22 flights at once in the second market too. Ours prices one flight
after another, so it sees a 22nd of the customers. Their agent sees, of the past, the seats sold on each open flight and the
estimate from the last 22 days; its LSTM runs over flights, not over days. So their agent and their RMS have the same memory,
and ours has a longer one. They leave the first 66 days out (three times 22, in their program), so both numbers are here.

Constants are from the authors' program: 440 days, 22 days and flights, 10 fares, 4 customers a flight in the first market,
U[50, 85] in the second, 50 seats, the ranges, the window of 22 days, the random start of the estimate. The values of eta are
ours. The paper shows results in figures only, for 2,560 seasons, and we had the program and the abstract: nothing printed is
compared. "published" in the table are our exact values beside simulations of the same sellers.

Source: G. Gatti Pinheiro, M. Defoin-Platel, J.-C. Regin (2022), "Outsmarting human design in airline revenue management",
Algorithms 15(5), 142, doi:10.3390/a15050142; code "Talos", github.com/GiovanniGatti/talos.
"""

import functools
import math
from typing import NamedTuple

import jax
import numpy as np

import jaxprice
from experiments.frame import study
from experiments.studies.gatti_pinheiro import markets, sellers
from jaxprice import policies, stats
from jaxprice.oracles import bayes_single_leg

ETAS = (30.0, 100.0, 300.0, 1000.0, 3000.0, 10_000.0)
MEMORIES = {"22 days": 22, "all days": None}
EXACT = ("22 days", "20 seats")
BANDS = ((1.5, 2.2), (2.2, 2.9), (2.9, 3.6), (3.6, 4.3))  # of frat5
AGENT = "RL2 agent"


class Sizes(NamedTuple):
    """The amount of simulation.

    Attributes:
      lanes: number of seasons.
      flights: number of seasons with 22 flights; 0 leaves them out.
      types: numbers of types in the exact optima; the last one is reported.
      agents: markets for which an agent is trained.
      training: share of the updates of the recipes.
    """

    lanes: int
    flights: int
    types: tuple[int, ...]
    agents: tuple[str, ...]
    training: float = 1.0


@functools.cache
def flight(name, types):
    """A market with few fares as a problem of Bayes, with that many types of frat5."""
    env = markets.MARKETS[name].env
    low, high = env.frat5_range
    frat5 = low + (high - low) * (np.arange(types) + 0.5) / types
    one = name != "22 days"  # a day's seats do not bind there
    return bayes_single_leg.Flight(
        fares=env.prices,
        rates=tuple(math.log(2) / (frat5 - 1)),
        mean=env.arrivals_range[0] / env.days,
        days=env.horizon,
        seats=env.capacity if one else None,
    )


def exact_cell(name, types):
    """Exact revenues for each number of types, `[types]`."""
    found = []
    for count in types:
        made = flight(name, count)
        thompson, qmdp = (bayes_single_leg.value(made, rule(made)) for rule in RULES.values())
        found.append((bayes_single_leg.clairvoyant(made), bayes_single_leg.optimum(made), thompson, qmdp))
    return dict(zip(("oracle", "Bayes optimum", *RULES), np.transpose(found), strict=True))


RULES = {"Thompson": bayes_single_leg.thompson, "QMDP": bayes_single_leg.qmdp}


@functools.cache
def tuned(seed, lanes):
    """Percent lost by the heuristic for each memory and eta, on other seasons, float `[memories, etas]`."""
    env, params, types = markets.MARKETS["season"].env, markets.drawn("season", lanes), markets.types("season")
    value, lost = np.asarray(jax.vmap(env.season_value)(params), float).mean(), []
    for window in MEMORIES.values():

        @jax.jit
        def regret(eta, window=window):
            seller = sellers.forecast_and_optimise(types, window, eta)
            settings = {"seed": seed + 1_000_003, "lanes": lanes, "horizon": markets.DAYS, "params": params}
            return jaxprice.rollout(env, seller, **settings)["regret"]

        lost.append([100 * np.asarray(regret(np.float32(eta)), float).mean() / value for eta in ETAS])
    return np.array(lost)


def seller_of(name, market, seed, lanes):
    """A seller by its name in a market; `lanes`: seasons with which eta is chosen."""
    types, periods = markets.types(market), markets.MARKETS[market].periods
    kind, _, memory = name.partition(", ")
    if kind in RULES:
        return sellers.posterior_seller(types, greedy=kind == "QMDP")
    if kind == "random fares":
        return policies.random_price()
    if kind == "RMS":
        return sellers.forecast_and_optimise(types, MEMORIES[memory], flights=periods)
    lost = tuned(seed, lanes)[list(MEMORIES).index(memory)]
    return sellers.forecast_and_optimise(types, MEMORIES[memory], ETAS[lost.argmin()], periods)


def played(market):
    """Names of the sellers without training in a market."""
    rms, heuristic = ([f"{kind}, {memory}" for memory in MEMORIES] for kind in ("RMS", "heuristic"))
    return {
        "season": ["random fares", *rms, *heuristic, *RULES],
        "22 flights": ["RMS, 22 days", "heuristic, 22 days"],
        "seats": ["random fares", *rms, *RULES],
    }.get(market, ["random fares", *RULES])


def seller_cell(market, name, lanes, seed, others):
    """The losses of a seller without training."""
    return markets.play(market, seller_of(name, market, seed, others), lanes, seed)


def agent_cell(market, recipe, lanes, seed):
    """The losses of an agent, trained now, and its learning curve."""
    policy, curve = markets.trained(market, recipe, seed)
    return markets.play(market, policy, lanes, seed) | {f"curve_{key}": x for key, x in curve.items()}


def cells(sizes, seed):
    """Exact values, the choice of eta, and every seller in every market."""
    out = {f"exact, {name}": functools.partial(exact_cell, name, sizes.types) for name in EXACT}
    others = max(sizes.lanes // 4, 16)
    out["eta"] = lambda: {"lost": tuned(seed, others)}
    for market in markets.MARKETS:
        lanes = sizes.flights if market == "22 flights" else sizes.lanes
        for name in played(market) if lanes else ():
            out[f"{market}, {name}"] = functools.partial(seller_cell, market, name, lanes, seed, others)
    for market in sizes.agents:
        recipe = markets.RECIPES[market]
        recipe = recipe._replace(updates=max(2, round(sizes.training * recipe.updates)))
        out[f"{market}, {AGENT}"] = functools.partial(agent_cell, market, recipe, sizes.lanes, seed)
    return out


def share(cell, days=0, band=None):
    """Percent of the oracle's revenue and its standard error; `days` 1: after the warm-up; `band`: a range of frat5."""
    low, high = (0.0, math.inf) if band is None else band
    here = (cell["frat5"] >= low) & (cell["frat5"] < high)
    regret, best = cell["regret"][days][here], cell["best"][days][here]
    lost = regret.sum() / best.sum()
    error = (regret - lost * best).std(ddof=1) / math.sqrt(here.sum()) / best.mean()
    return 100 * (1 - lost), 100 * error


def rows(sizes, results):
    """Percent of the oracle's revenue by market, seller, days and frat5; the exact values; the chosen eta."""
    out = []

    def add(cell, ours, se=0.0, **more):
        out.append(study.Row(cell, float(ours), float(se), **more))

    for name in EXACT:
        exact = results[f"exact, {name}"]
        for seller in ("Bayes optimum", *RULES):
            values = 100 * exact[seller] / exact["oracle"]
            step = f"{sizes.types[-2]} types: {values[-2]:.4f}" if len(values) > 1 else ""
            add(f"{name}, {seller}, exact, {sizes.types[-1]} types", values[-1], note=step)
    for key, cell in results.items():
        market, _, seller = key.partition(", ")
        if "regret" not in cell:
            continue
        known = {}
        if market in EXACT and seller in RULES:
            exact = results[f"exact, {market}"]
            value = 100 * exact[seller][-1] / exact["oracle"][-1]
            known = {"published": float(value), "published_se": 0.0, "kind": "own", "source": "exact"}
        add(key, *share(cell), **known)
        if market in EXACT:
            continue
        add(f"{key}, after {markets.WARM_UP} days", *share(cell, 1))
        if market != "22 flights":
            for band in BANDS:
                add(f"{key}, frat5 {band[0]}-{band[1]}", *share(cell, 0, band))
    for memory, lost in zip(MEMORIES, results["eta"]["lost"], strict=True):
        note = ", ".join(f"{eta:g}: {100 - x:.2f} %" for eta, x in zip(ETAS, lost, strict=True))
        add(f"eta of the heuristic, {memory}", ETAS[lost.argmin()], note=note)
    return out


def plot_figure(figure, sizes, results, rows):
    """Percent of the oracle by frat5, the sweep of eta, and the sellers beside the exact Bayes optimum."""
    figure.set_size_inches(13, 5)
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.3, 0.8, 1.2))
    reach = float(stats.critical())
    centres, edges = [sum(band) / 2 for band in NARROW], NARROW
    for k, (key, cell) in enumerate((key, cell) for key, cell in results.items() if key.startswith("season, ")):
        name = key.removeprefix("season, ")
        if name == "random fares":
            continue
        mean, error = np.transpose([share(cell, 0, band) for band in edges])
        style = "-" if name == AGENT else "--" if name in RULES else ":"
        left.errorbar(centres, mean, reach * error, fmt=f"C{k}o{style}", ms=3, capsize=2, lw=1.3, label=name)
    left.axhline(100, color="k", lw=0.8)
    left.set(xlabel="frat5", ylabel="% of the oracle's revenue", title="440 days, frat5 unknown")
    for memory, lost in zip(MEMORIES, results["eta"]["lost"], strict=True):
        middle.semilogx(ETAS, 100 - lost, "o-", ms=3, label=f"heuristic, {memory}")
    middle.set(xlabel="eta", title="experiments (other seasons)")
    place, ticks = 0, []
    for name in ("seats", *EXACT):
        if name in EXACT:
            exact = results[f"exact, {name}"]
            bound = 100 * exact["Bayes optimum"][-1] / exact["oracle"][-1]
            right.plot([bound] * 2, [place - 0.4, place + len(played(name)) + 0.2], "k-", lw=1)
        for key in [key for key in results if key.startswith(f"{name}, ") and "random" not in key]:
            mean, error = share(results[key])
            right.errorbar(mean, place, xerr=reach * error, fmt="C0o" if AGENT in key else "C1o", ms=4, capsize=2)
            ticks.append((place, key))
            place += 1
        place += 0.6
    right.set_yticks(*zip(*ticks, strict=True), fontsize=7)
    right.invert_yaxis()
    right.set(xlabel="% of the oracle (line: exact Bayes optimum)", title="seats, and short seasons")
    for ax in (left, middle, right):
        ax.grid(alpha=0.3)
    left.legend(fontsize=7)
    middle.legend(fontsize=7)


NARROW = tuple((1.5 + 0.4 * k, 1.9 + 0.4 * k) for k in range(7))

STUDY = study.Study(
    name="gatti_pinheiro",
    title="Gatti Pinheiro, Defoin-Platel and Regin (2022): earning while learning in airline revenue management",
    presets={
        "smoke": Sizes(32, 0, (3, 4), ("22 days",), 0.002),
        "default": Sizes(1024, 128, (10, 20), ("22 days",)),
        "full": Sizes(10_240, 2560, (28, 56), ("season", "seats", *EXACT), 5.0),
    },
    cells=cells,
    rows=rows,
    plot_figure=plot_figure,
)

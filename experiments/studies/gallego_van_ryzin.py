"""Gallego and van Ryzin (1994): earnings of the optimal, the fixed and the learned price from n units in one season.

    python -m experiments.studies.gallego_van_ryzin                   # two minutes on two cores
    python -m experiments.studies.gallego_van_ryzin --preset smoke

Customers arrive as a Poisson process and buy at price p with probability exp(-p). m is the expected number of sales in the
season at the price 1, which is optimal with unlimited stock.

Exact. The optimal revenue is J*(n, m) = log sum_{i <= n} m^i / i!. The fluid bound is J^D = s (1 + log(m / s)) with s =
min(n, m). J^FP is the revenue of the constant price that sells s units on average, at least (1 - 1 / (2 sqrt s)) J*. The
numbers in the column "published" are these closed forms at n = m = 10, computed to the digits given; we did not have the
paper's own table.

Simulated, n = m = 10. The season is divided into periods with at most one customer, which changes the optimal revenue by
O(dt). V(dt) is computed exactly for several dt. The finest division, that of the simulation, changes revenue by less than
the standard error of J*. Ratios use the loss of each price against V(dt), which varies less than revenue.

Learned. Seasons have T = round(2 e n) customers, one a period, so m = T / e is twice the stock and the fluid price is 1 +
log 2. The seller does not know demand. The table has its share of V, the optimal revenue of exactly this season over all
prices. Known demand is beside it: the optimum on the grid and its certainty equivalents. Sellers with a grid have 13 prices
from .5 to 3.5; blind pricing has the interval and tries 6 (n / 10)^(1/4) prices. As n grows, the loss of one constant price
decreases as n^(-1/2), that of blind pricing as n^(-1/4) (Besbes and Zeevi). A standard error is over batches of seeds.

Sources: G. Gallego, G. van Ryzin (1994), "Optimal dynamic pricing of inventories with stochastic demand over finite
horizons", doi:10.1287/mnsc.40.8.999; O. Besbes, A. Zeevi (2009), doi:10.1287/opre.1080.0640; K. J. Ferreira,
D. Simchi-Levi, H. Wang (2018), doi:10.1287/opre.2018.1755; S. Jasin, S. Kumar (2012), doi:10.1287/moor.1120.0537.
"""

import dataclasses
import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize
from scipy import stats as laws

import jaxprice
from experiments.frame import study
from jaxprice import policies, stats
from jaxprice.demand import Exponential
from jaxprice.oracles import inventory

UNITS = 10  # n = m of the exact numbers
PUBLISHED = {"J*": 9.46050, "p*": 1.24154, "J* / J^D": 0.9461, "J^FP / J*": 0.9248, "best fixed price / J*": 0.9805}
STOCKS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)  # n = m
AT = STOCKS.index(UNITS)
CUTS = (100, 400, 1600, 6400)  # numbers of periods of a season
GRID = np.linspace(0.5, 3.5, 13)
KNOWN = ("optimal on the grid", "run-out price, known demand", "LP re-solved, known demand")
LEARNED = ("run-out price", "LP re-solved", "blind pricing", "TS-fixed", "TS-update")
SELLERS = (*KNOWN, *LEARNED)


class Sizes(NamedTuple):
    """The amount of simulation.

    Attributes:
      lanes: number of seasons with n = m = 10.
      periods: number of periods of such a season.
      stocks: values of n of the seasons in which demand is learned.
      batches, seasons: number of batches of seeds, and of seasons in each.
      sellers: names of the sellers in them, see `study.chosen`.
    """

    lanes: int
    periods: int
    stocks: tuple[int, ...]
    batches: int
    seasons: int
    sellers: tuple[str, ...] = ()


@functools.cache
def worths(stock, periods, arrival=1.0):
    """Exact worth of every unit over all prices, if a customer comes in a period with probability `arrival`, float64.

    The shape is `[periods + 1, stock + 1]`, as in `inventory.marginal_values`.
    """
    with jax.enable_x64(True):
        made = jax.jit(lambda: inventory.marginal_values(lambda worth: arrival * jnp.exp(-1 - worth), periods, stock))
        return np.asarray(made())


def optimum(stock, table, periods):
    """Exact optimal revenue V of a season."""
    return float(table[periods, 1 : stock + 1].sum())


def one_price(stock, periods, price):
    """Exact expected revenue of a constant price, with one customer a period: price * E[min(stock, binomial)]."""
    return price * float(np.sum(laws.binom.sf(np.arange(stock), periods, np.exp(-price))))


@functools.cache
def single_prices():
    """For n = m = `STOCKS`: revenue of the fluid price, that of the best constant price, and this price, float64."""
    stock = np.array(STOCKS)[:, None]

    def earned(prices):
        with jax.enable_x64(True):
            return np.asarray(inventory.fixed_price_value(stock, 1.0 * stock, prices))

    low, high = np.full(len(STOCKS), 0.9), np.full(len(STOCKS), 2.2)
    for _ in range(3):
        prices = np.linspace(low, high, 27, axis=1)
        value = earned(prices)
        best = prices[np.arange(len(STOCKS)), value.argmax(axis=1)]
        low, high = best - 0.1 * (high - low), best + 0.1 * (high - low)
    with jax.enable_x64(True):
        fluid = np.broadcast_to(np.asarray(inventory.run_out_price(stock, 1.0 * stock)), prices.shape)
    return earned(fluid)[:, 0], value.max(axis=1), best


def exact_cell():
    """Values, prices and ratios for n = m = `STOCKS`, and V for all `CUTS`."""
    stock = np.array(STOCKS)
    with jax.enable_x64(True):
        value, price = jax.jit(inventory.gallego_van_ryzin)(stock, 1.0 * stock)
        fluid = inventory.deterministic_bound(stock, 1.0 * stock)
    fixed, best, _ = single_prices()
    cut = [optimum(UNITS, worths(UNITS, periods, UNITS * math.e / periods), periods) for periods in CUTS]
    return {"value": value, "price": price, "fluid": fluid, "fixed": fixed, "best": best, "cut": cut}


def simulated_cell(sizes, seed):
    """Revenue of the optimal and of two fixed prices with n = m = 10."""
    market = {"low": 0.25, "high": 5.0, "stock": UNITS, "horizon": sizes.periods, "arrivals": UNITS * math.e}
    env, params = jaxprice.make("FiniteInventory", demand=Exponential(1.0, 1.0), **market)
    best = float(single_prices()[2][AT])
    sellers = {"optimal": policies.oracle(), "FP": policies.fixed_price(1.0), "best fixed": policies.fixed_price(best)}
    out = jaxprice.simulate(
        env, sellers, seed=seed, lanes=sizes.lanes, horizon=sizes.periods, params=params, checkpoints=[sizes.periods]
    )
    numbers = {name: out[name].values[:, -1] for name in ("reward", "reward_se", "share", "share_se")}
    return numbers | {"cut": optimum(UNITS, worths(UNITS, sizes.periods, UNITS * math.e / sizes.periods), sizes.periods)}


def season_of(stock):
    """Number of customers in the season of a stock."""
    return round(2 * math.e * stock)


def seller_of(name, stock):
    """The seller for a stock."""
    demand = np.exp(-GRID)
    return {
        "optimal on the grid": lambda: policies.dp_pricing(demand, capacity=1024),
        "run-out price, known demand": lambda: policies.run_out_price(demand),
        "LP re-solved, known demand": lambda: policies.lp_resolving(demand),
        "run-out price": policies.run_out_price,
        "LP re-solved": policies.lp_resolving,
        "blind pricing": lambda: policies.blind_pricing(num_prices=round(6 * (stock / 10) ** 0.25)),
        "TS-fixed": policies.ts_fixed,
        "TS-update": policies.ts_update,
    }[name]()


def season_cell(name, sizes, seed):
    """Share of V that a seller earns, float `[batches, stocks]`."""
    largest = max(sizes.stocks)
    market = {"low": GRID[0], "high": GRID[-1]} if name == "blind pricing" else {"prices": GRID}
    market |= {"stock": largest, "horizon": season_of(largest)}
    env, params = jaxprice.make("FiniteInventory", demand=Exponential(1.0, 1.0), **market)
    free, share, policy = worths(largest, season_of(largest)), np.zeros((sizes.batches, len(sizes.stocks))), None
    for k, stock in enumerate(sizes.stocks):
        if policy is None or name == "blind pricing":  # the others are compiled once for all stocks
            policy = seller_of(name, stock)
        season, here = season_of(stock), dataclasses.replace(params, stock=np.int32(stock))
        scale = np.asarray(params.values)[season, 1 : stock + 1].astype(float).sum() / optimum(stock, free, season)
        for batch in range(sizes.batches):
            number = seed + 1000 * (batch + 1) + k
            played = {"lanes": sizes.seasons, "horizon": season, "params": here, "checkpoints": [season]}
            share[batch, k] = jaxprice.simulate(env, policy, seed=number, **played)["share"].values[0, -1] * scale
    return {"share": share}


def cells(sizes, seed):
    """The exact values, the season of 10 units, and every seller."""
    out = {"exact": exact_cell, "simulated": functools.partial(simulated_cell, sizes, seed)}
    return out | {name: functools.partial(season_cell, name, sizes, seed) for name in study.chosen(SELLERS, sizes.sellers)}


def ratios(exact):
    """Name in `PUBLISHED` -> float `[STOCKS]`."""
    names, value = [*PUBLISHED], exact["value"]
    found = value, exact["price"], value / exact["fluid"], exact["fixed"] / value, exact["best"] / value
    return dict(zip(names, found, strict=True))


@functools.cache
def one_price_shares(stocks):
    """Exact shares of V, by name, of the fluid price 1 + log(m / n) and of the best single price, float `[stocks]`."""
    out, free = [], worths(max(stocks), season_of(max(stocks)))
    for stock in stocks:
        season = season_of(stock)
        best = optimize.minimize_scalar(lambda price, n=stock, T=season: -one_price(n, T, price), bounds=(1.2, 2.6)).fun
        fluid = one_price(stock, season, 1 + math.log(season / math.e / stock))
        out.append(np.array([fluid, -best]) / optimum(stock, free, season))
    return dict(zip(("fluid price kept", "best price kept"), np.transpose(out), strict=True))


def rows(sizes, results):
    """Exact ratios, the error of the division into periods, simulated ratios, and earnings of sellers."""
    exact, simulated, known, out = results["exact"], results["simulated"], ratios(results["exact"]), []
    stocks = np.array(STOCKS)

    def add(cell, ours, se=0.0, formula=None, **more):
        if formula:
            digits = 4 if "/" in formula else 5
            known = {"published": PUBLISHED[formula], "digits": digits, "kind": "derived"}
            more |= known | {"source": "closed form, worked out"}
        out.append(study.Row(cell, float(ours), float(se), **more))

    for name in PUBLISHED:
        add(f"{name}, n = m = 10, exact", known[name][AT], formula=name)
    for n in (1, 100, 1000):
        least = f"guarantee: at least {1 - 0.5 / math.sqrt(n):.4f}"
        add(f"J^FP / J*, n = m = {n}, exact", known["J^FP / J*"][STOCKS.index(n)], source=least)
    late = stocks >= 100
    for name, source in (("J^FP / J*", "guarantee: -1/2"), ("best fixed price / J*", "")):
        slope = stats.growth_exponent(stocks[late], 1 - known[name][late])
        add(f"slope of log(1 - {name}), n = m >= 100", slope, source=source)
    error = np.asarray(exact["cut"]) / exact["value"][AT] - 1
    for k in (0, -1):
        add(f"V(dt) / J* - 1, %, {CUTS[k]} periods, exact", 100 * error[k])
    add("order of V(dt) - J* in dt", -stats.growth_exponent(CUTS[1:], np.abs(error[1:])), source="theory: 1")
    value, cut = float(exact["value"][AT]), float(simulated["cut"])
    note = f"simulated in {sizes.periods} periods, V(dt) = (1 {cut / value - 1:+.5f}) J*"
    add("J*, simulated", simulated["reward"][0], simulated["reward_se"][0], "J*", note=note)
    for k, name in ((1, "J^FP / J*"), (2, "best fixed price / J*")):
        share, se = (simulated[key][k] * cut / value for key in ("share", "share_se"))
        add(f"{name}, simulated", share, se, name, note=note)
    for name, share in one_price_shares(sizes.stocks).items():
        for n, ours in zip(sizes.stocks, share, strict=True):
            add(f"{name}, n={n}, share of V, exact", ours)
    for name in study.chosen(SELLERS, sizes.sellers):
        share = results[name]["share"]
        for n, ours in zip(sizes.stocks, share.T, strict=True):
            add(f"{name}, n={n}, share of V", *study.mean(ours))
        if name in LEARNED:
            slopes, blind = [stats.growth_exponent(sizes.stocks, 1 - row) for row in share], {}
            if name == "blind pricing":
                blind = {
                    "source": "theory: -1/4",
                    "note": "the 6 prices at n = 10 happen to hold 1.7, next to the fluid price",
                }
            add(f"{name}, slope of log(1 - share) over log n", *study.mean(slopes), **blind)
    return out


def plot_figure(figure, sizes, results, rows):
    """Ratios against n, the error of the division against dt, and the loss of every seller against n."""
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 0.8, 1.4))
    exact, simulated, known = results["exact"], results["simulated"], ratios(results["exact"])
    for name in ("J* / J^D", "best fixed price / J*", "J^FP / J*"):
        left.plot(STOCKS, known[name], "o-", ms=3, label=name)
    left.plot(STOCKS, 1 - 0.5 / np.sqrt(STOCKS), "k:", label="guarantee of J^FP")
    value = exact["value"][AT]
    left.plot([UNITS] * 2, np.asarray(simulated["share"])[1:] * simulated["cut"] / value, "kx", label="simulated")
    left.set(xscale="log", xlabel="n = m", ylabel="ratio", title="exact ratios", ylim=(0.45, 1.02))
    steps, error = UNITS * math.e / np.array(CUTS), 100 * np.abs(np.asarray(exact["cut"]) / value - 1)
    middle.loglog(steps, error, "o-", ms=3, label="exact")
    middle.loglog(steps, error[-1] * steps / steps[-1], "k:", label="order 1")
    middle.set(xlabel="customers a period", ylabel="V(dt) - J*, % of J*", title="cut, n = m = 10")
    for style, (name, share) in zip(("k--", "k:"), one_price_shares(sizes.stocks).items(), strict=True):
        right.plot(sizes.stocks, 100 * (1 - share), style, label=f"{name} (exact)")
    for name in study.chosen(SELLERS, sizes.sellers):
        loss = 100 * (1 - results[name]["share"])
        mean, error = study.band(loss)
        mark = "o-" if name in LEARNED else "s--"
        right.errorbar(sizes.stocks, mean, error, fmt=mark, ms=3, capsize=2, label=name)
    right.set(xscale="log", yscale="log", xlabel="n, with m = 2 n", ylabel="loss, % of V", title="known and learned demand")
    for ax in (left, middle, right):
        ax.grid(alpha=0.3)
    left.legend(fontsize=7)
    middle.legend(fontsize=7)
    right.legend(fontsize=7, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.12))


STUDY = study.Study(
    name="gallego_van_ryzin",
    title="Gallego and van Ryzin (1994): a stock sold in one season at the optimal, a fixed or a learned price",
    presets={
        "smoke": Sizes(500, 400, (10, 20), 2, 50, ("optimal on the grid", "TS-update")),
        "default": Sizes(20_000, 4000, (10, 40, 160, 640), 4, 500),
        "full": Sizes(1_000_000, 40_000, (10, 40, 160, 640), 20, 10_000),
    },
    cells=cells,
    rows=rows,
    plot_figure=plot_figure,
)

if __name__ == "__main__":
    study.command(STUDY)

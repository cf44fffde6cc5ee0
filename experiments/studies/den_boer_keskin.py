"""Reference prices: a seller with occasional test prices never learns demand; a seller with slow-moving prices does.

    python -m experiments.studies.den_boer_keskin                  # about three minutes on two cores
    python -m experiments.studies.den_boer_keskin --preset smoke   # seconds
    python -m experiments.studies.den_boer_keskin --preset full    # 64 times the periods, eight times the lanes: for a GPU

Published, as figures without numbers: with loss-averse buyers the regret of iterated least squares with deterministic
testing (ILS-dt) grows linearly, and without reference effects as sqrt(T) up to a logarithm (Figure 2). The regret of
slow-moving prices grows as sqrt(T) (Figure 4). Demand is 1.1 - .5 p + .1 (r - p)^+ - .3 (p - r)^+ with noise of standard
deviation .1, r' = .1 r + .9 p, prices in [.5, 1.5], tests at .8333 and 1.1667; slow-moving prices start at 1 +- .1.

A cell is one policy in one market, `batches` times `lanes` lanes. An exponent is the slope of log regret over log time at
the ends of the slow-moving episodes (2^k - 2 periods), over the last six doublings of time and over the last two; its error
is that of the mean over batches. The noise is as large as the first step of the price, so slow-moving prices know almost
nothing for ten thousand periods: their exponent then still decreases towards 1/2, which only the last doublings show. Regret
is relative to the long-run average optimum, which knows the reference; the paper's clairvoyant has the same average.
Gain-seeking buyers (the two effects exchanged), for whom price cycles earn more than any constant price, are our addition;
the paper's policy for them, cyclical skimming, is not in the library.

The limit of ILS-dt is exact as well. With tests at p1 and p2, all other prices at p and r = p, the limit of the
least-squares slope over 2 sqrt(t) tests is

    S(p) = ((p1 - p) D1 + (p2 - p) D2) / ((p1 - p)^2 + (p2 - p)^2),        p = d(p) / |S(p)|,

where D1 and D2 are the differences of demand at the tests from d(p) = a - b p, p2 meets buyers used to p1, and p is the
greedy price for the line of slope S through (p, d(p)). This is the limit without noise. With noise greedy prices vary, which
reveals part of the true slope: most runs stay near the wrong price, and a few drift away from it.

Source: A. V. den Boer, N. B. Keskin (2022), "Dynamic pricing with demand learning and reference effects",
doi:10.1287/mnsc.2021.4234.
"""

import dataclasses
import functools
from typing import NamedTuple

import numpy as np
from scipy import optimize

import jaxprice
from experiments.frame import study
from jaxprice import policies, stats

WINDOWS = (6, 2)  # numbers of last doublings of time for the fits of exponents
SOURCE = "den Boer and Keskin (2022)"
DEMAND = {"intercept": 1.1, "slope": 0.5, "memory": 0.1, "noise_scale": 0.1, "low": 0.5, "high": 1.5}
MARKETS = {
    "loss-averse": {"gain": 0.1, "loss": 0.3},
    "no reference effect": {"gain": 0.0, "loss": 0.0},
    "gain-seeking": {"gain": 0.3, "loss": 0.1},
}
POLICIES = {"ILS-dt": policies.deterministic_testing(), "slow-moving": policies.slow_moving()}
# cell -> (theoretical rate, place of its proof)
PLAYED = {
    ("ILS-dt", "loss-averse"): ("T", "Figure 2"),
    ("ILS-dt", "no reference effect"): ("T^1/2 log T", "Figure 2"),
    ("slow-moving", "loss-averse"): ("T^1/2", "Figure 4"),
    ("slow-moving", "no reference effect"): ("T^1/2", "theory"),
    ("slow-moving", "gain-seeking"): ("T", "theory"),
}


class Sizes(NamedTuple):
    """Doublings of the horizon (2^doublings - 2 periods), lanes of a batch, batches."""

    doublings: int
    lanes: int
    batches: int


PRESETS = {"smoke": Sizes(10, 8, 4), "default": Sizes(16, 32, 6), "full": Sizes(22, 256, 8)}


@functools.cache
def market(name):
    """`(environment, params)` of one of `MARKETS`."""
    return jaxprice.make("ReferencePrice", **DEMAND, **MARKETS[name])


def times(doublings):
    """Ends of the slow-moving episodes: `[doublings - 1]`."""
    return 2 ** np.arange(2, doublings + 1) - 2


def tests():
    """The two test prices of ILS-dt."""
    return tuple(DEMAND["low"] + share * (DEMAND["high"] - DEMAND["low"]) for share in (1 / 3, 2 / 3))


def best_price():
    """The best constant price."""
    return DEMAND["intercept"] / (2 * DEMAND["slope"])


def earned(price):
    """Profit of a constant price in a period."""
    return price * (DEMAND["intercept"] - DEMAND["slope"] * price)


def limit_price(gain, loss):
    """The limit of ILS-dt without noise; see the module."""
    first, second = tests()
    a, b, memory = DEMAND["intercept"], DEMAND["slope"], DEMAND["memory"]

    def surprise(price, reference, base):
        return -b * (price - base) + gain * max(reference - price, 0.0) - loss * max(price - reference, 0.0)

    def excess(p):
        after = memory * p + (1 - memory) * first
        changes = surprise(first, p, p), surprise(second, after, p)
        away = first - p, second - p
        slope = np.dot(away, changes) / np.dot(away, away)
        return p - (a - b * p) / -slope

    return optimize.brentq(excess, DEMAND["low"], DEMAND["high"], xtol=1e-12)


def play(sizes, seed, policy, name):
    """Mean regret of each batch `[batches, times]`, and at the end of the horizon of each lane `[batches * lanes]`."""
    env, params = market(name)
    when = times(sizes.doublings)
    run = functools.partial(
        jaxprice.simulate, env, POLICIES[policy], lanes=sizes.lanes, horizon=int(when[-1]), checkpoints=when, params=params
    )
    batches = [run(seed=1000 * seed + batch) for batch in range(sizes.batches)]
    curves = np.stack([batch["regret"].values[0] for batch in batches])
    return {"regret": curves, "last": np.concatenate([batch["lane_regret"].values[0] for batch in batches])}


def prices(sizes, seed, policy, noise):
    """Price in each of a few lanes, averaged over the time since the previous checkpoint, `[times, lanes]`."""
    env, params = market("loss-averse")
    params = dataclasses.replace(params, noise_scale=np.float32(noise))
    when = times(sizes.doublings)
    play = dict(seed=seed, lanes=sizes.lanes, horizon=int(when[-1]), checkpoints=when, params=params, traces=True)
    posted = jaxprice.simulate(env, POLICIES[policy], **play)["trace_price"].values[0].astype(float)
    return {"price": np.stack([piece.mean(axis=0) for piece in np.split(posted, when[:-1])])}


def cells(sizes, seed):
    """Regret over time, prices over time, and the oracles."""
    played = {f"{policy}, {name}": functools.partial(play, sizes, seed, policy, name) for policy, name in PLAYED}
    traced = {
        "prices of ILS-dt": functools.partial(prices, sizes, seed, "ILS-dt", DEMAND["noise_scale"]),
        "prices of slow-moving": functools.partial(prices, sizes, seed, "slow-moving", DEMAND["noise_scale"]),
        "prices of ILS-dt, no noise": functools.partial(prices, sizes, seed, "ILS-dt", 0.0),
    }
    exact = {f"oracle, {name}": functools.partial(oracle, name) for name in MARKETS}
    return played | traced | exact


def oracle(name):
    """The long-run average reward of the seller who knows everything."""
    return {"value": market(name)[1].value}


def slopes(curves, doublings, window):
    """Exponent of each batch over the last `window` doublings, `[batches]`, from regret `[batches, times]`."""
    last = slice(-window - 1, None)
    return [stats.growth_exponent(times(doublings)[last], np.maximum(curve[last], 1e-9)) for curve in curves]


def rows(sizes, results):
    """Exponents, regrets, final prices, exact values."""
    made = []
    for (policy, name), (rate, where) in PLAYED.items():
        found = results[f"{policy}, {name}"]
        source = "theory" if where == "theory" else f"{SOURCE}, {where}"
        for window in WINDOWS:
            slope = study.mean(slopes(found["regret"], sizes.doublings, window))
            about = f"published as a rate: {rate}"
            made.append(study.Row(f"{policy}, {name}: exponent, {window} doublings", *slope, source=source, note=about))
        made.append(study.Row(f"{policy}, {name}: regret", *study.mean(found["last"]), source=source))
    for policy in POLICIES:
        made.append(
            study.Row(f"{policy}, loss-averse: last prices", *study.mean(results[f"prices of {policy}"]["price"][-1]))
        )
    ending = limit_price(**MARKETS["loss-averse"])
    simulated = float(results["prices of ILS-dt, no noise"]["price"][-1, 0])
    exact = {
        "best price that stays, closed form": best_price(),
        "ILS-dt without noise: last prices": simulated,
        "ILS-dt without noise: limit, fixed point": ending,
        "regret of a period at that limit": earned(best_price()) - earned(ending),
        "revenue of the best price that stays, closed form": earned(best_price()),
        **{f"revenue of the oracle, {name}": float(results[f"oracle, {name}"]["value"]) for name in MARKETS},
    }
    return made + [study.Row(name, value, 0.0) for name, value in exact.items()]


def plot_figure(figure, sizes, results, rows):
    """Figures 2 and 4 of the paper, and the prices that explain them."""
    when = times(sizes.doublings)
    figure.set_size_inches(12, 4.2)
    two, four, paths = figure.subplots(1, 3)
    colours = {"loss-averse": "C3", "no reference effect": "C0", "gain-seeking": "C2"}
    panels = {"ILS-dt": (two, "ILS-dt (Figure 2)"), "slow-moving": (four, "Slow-moving prices (Figure 4)")}
    for policy, name in PLAYED:
        axes = panels[policy][0]
        curves = results[f"{policy}, {name}"]["regret"]
        mean, error = study.band(curves)
        axes.fill_between(when, mean - error, mean + error, color=colours[name], alpha=0.25, lw=0)
        axes.plot(when, mean, "o-", ms=3, color=colours[name], label=name)
    for axes, title in panels.values():
        for power, style in ((1.0, ":"), (0.5, "--")):
            anchor = axes.get_lines()[0].get_ydata()[-1]
            axes.plot(when, anchor * (when / when[-1]) ** power, style, color="0.5", lw=1, label=f"$T^{{{power:g}}}$")
        axes.set(xscale="log", yscale="log", xlabel="periods T", ylabel="regret", title=title)
        axes.legend(fontsize=8)
    for policy, colour in (("ILS-dt", "C3"), ("slow-moving", "C1")):
        seen = results[f"prices of {policy}"]["price"]
        low, middle, high = np.quantile(seen, [0.1, 0.5, 0.9], axis=1)
        paths.fill_between(when, low, high, color=colour, alpha=0.2, lw=0)
        paths.plot(when, middle, color=colour, label=f"{policy}: median, 80 % of runs")
    paths.plot(when, results["prices of ILS-dt, no noise"]["price"][:, 0], color="C4", label="ILS-dt without noise")
    paths.axhline(best_price(), color="0.2", lw=1, label="best price")
    paths.axhline(limit_price(**MARKETS["loss-averse"]), color="C4", lw=1, ls=":", label="fixed point of ILS-dt")
    paths.set(xscale="log", ylim=(0.4, 1.55), xlabel="periods", ylabel="price", title="Prices, loss-averse buyers")
    paths.legend(fontsize=8, loc="lower right")


STUDY = study.Study(
    name="den_boer_keskin",
    title="Testing and slow-moving prices under reference effects (den Boer and Keskin 2022)",
    presets=PRESETS,
    cells=cells,
    rows=rows,
    plot_figure=plot_figure,
)

if __name__ == "__main__":
    study.command(STUDY)

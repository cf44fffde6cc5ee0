"""Kleinberg and Leighton (2003): three kinds of valuations, three rates of regret.

    python -m experiments.studies.kleinberg_leighton                   # two minutes on two cores
    python -m experiments.studies.kleinberg_leighton --preset smoke

n buyers arrive in sequence, and buy if the posted price in [0, 1] is at most their valuation. The paper proves rates and
prints no experiment. Every n is a separate run, because the sellers depend on n. The standard error of a slope is over
batches of lanes.

| valuations | seller | upper bound | benchmark |
|---|---|---|---|
| identical: v ~ U[0, 1], one for each lane | `valuation_search` | O(log log n), at most 2 a phase | v |
| independent | `kleinberg_leighton`: UCB1 on (n / log n)^(1/4) prices | O(sqrt(n log n)) | best price of the curve |
| fixed in advance | the same: Exp3 on (n / log n)^(1/3) prices | O(n^(2/3) (log n)^(1/3)) | best single price in hindsight |

Identical: the regret of runs with n = 2^2^k is compared with log2 log2 n; its slope with respect to log2 log2 n is beside
that with respect to log2 n. Phases are counted as in the paper, steps 1/2, 1/4, 1/16, ..., until the width is 1 / n.

Independent: valuations are uniform on [0, h]. With h = 1 the best price 1/2 is on the seller's grid if its size is even; so
the slope is also computed with a random h from [.6, 1] in each lane. UCB1 reaches its rate late: with few buyers it tries
all prices equally and regret is linear. So the slope over all n is followed by the slope between the last two, of regret
divided by sqrt(log n), or by (log n)^(1/3) for adversaries: the bound without its logarithm.

Adversaries are oblivious: their sequences do not depend on the sales, but may depend on the seller's algorithm.

    against UCB1    v_t = just below the t-th price, in turn, of the grid for independent valuations: UCB1 has no sale to
                    learn from, so it posts its prices in turn and never sells anything
    between prices  all valuations are just below a price of Exp3's grid near 1/2: the grid itself loses 1 / K a period
    low, then high  .35 for the first n / 2 buyers, .95 for the others

"UCB1" there is the seller for independent valuations; it shows the cost of the harder problem for a seller not designed for
it. The regret of Exp3 is also given as a share of the proved bound: 2 sqrt(e - 1) sqrt(n K log K) against the best of its K
prices (Auer et al.), plus n / K for the prices between them.

Sources: R. Kleinberg, T. Leighton (2003), "The value of knowing a demand curve: bounds on regret for online posted-price
auctions", doi:10.1109/SFCS.2003.1238232; P. Auer, N. Cesa-Bianchi, Y. Freund, R. E. Schapire (2002),
doi:10.1137/S0097539701398375.
"""

import dataclasses
import functools
import math
from typing import NamedTuple

import jax
import numpy as np

import jaxprice
from experiments.frame import study
from jaxprice import policies, stats
from jaxprice.demand import Atoms, Linear
from jaxprice.envs.non_stationary import Calendar, NonStationary
from jaxprice.policies.posted_price.kleinberg_leighton import grid_size

MARKETS = 32  # places for the valuations of an adversary
SEQUENCES = ("against UCB1", "between prices", "low, then high")
CURVES = ("h = 1", "h in [.6, 1]")


class Sizes(NamedTuple):
    """The amount of simulation.

    Attributes:
      values: number of lanes of the search, each with its own valuation.
      searches: numbers of buyers n for the search.
      buyers: numbers of buyers n for the two others.
      batches, lanes: number of batches of seeds, and of lanes in each.
    """

    values: int
    searches: tuple[int, ...]
    buyers: tuple[int, ...]
    batches: int
    lanes: int


def phases(n):
    """Number of phases of the search until the width is 1 / n: steps 2^-1, 2^-2, 2^-4, ..."""
    step, count = 0.5, 1
    while step > 1 / n:
        step, count = step * step, count + 1
    return count


def search_cell(n, sizes, seed):
    """Regret of the search for a valuation in every lane."""
    one = Atoms(np.array([0.5], np.float32), np.array([1.0], np.float32))
    env, params = jaxprice.make("PostedPrice", demand=one, num_prices=None, low=0.0, high=1.0)
    values = np.random.default_rng([seed, n]).uniform(size=(sizes.values, 1)).astype(np.float32)
    params = spread(params, sizes.values)
    params = dataclasses.replace(params, demand=Atoms(values, np.ones_like(values)))
    out = jaxprice.simulate(
        env, policies.valuation_search(), seed=seed, lanes=sizes.values, horizon=n, params=params, checkpoints=[n]
    )
    return {"regret": out["lane_regret"].values[0]}


def spread(params, lanes):
    """The same market in every lane, as a batch."""
    return jax.tree.map(lambda x: np.broadcast_to(np.asarray(x), (lanes, *np.shape(x))), params)


def independent_cell(n, sizes, seed):
    """Mean regret against the best price of the curve, float `[curves, batches]`."""
    env, params = jaxprice.make("PostedPrice", demand=Linear(1.0, 1.0), num_prices=None, low=0.0, high=1.0)
    lanes, policy, out = sizes.batches * sizes.lanes, policies.kleinberg_leighton(horizon=n), []
    draws = np.random.default_rng([seed, n]).uniform(0.6, 1.0, lanes).astype(np.float32)
    for k, highest in enumerate((np.ones_like(draws), draws)):
        markets = dataclasses.replace(spread(params, lanes), demand=Linear(np.ones_like(highest), 1 / highest))
        run = jaxprice.simulate(env, policy, seed=seed + n + k, lanes=lanes, horizon=n, params=markets, checkpoints=[n])
        out.append(run["lane_regret"].values[0].reshape(sizes.batches, -1).mean(axis=1))
    return {"regret": out}


def sequence(name, n):
    """Valuations of an adversary who knows n: `(values, which)`, float32 `[<= MARKETS]` and int32 `[n]`."""
    time = np.arange(n)
    if name == "low, then high":
        values, which = [0.35, 0.95], time >= n // 2
    elif name == "between prices":
        size = grid_size(n, "adversarial")
        values, which = [(size // 2 + 1 - 1e-3) / size], 0 * time
    else:
        size = grid_size(n)
        values, which = (np.arange(1, size + 1) - 1e-3) / size, time % size
    return np.asarray(values, np.float32), np.asarray(which, np.int32)


def best_in_hindsight(values, which):
    """Revenue of the best single price against a sequence; one of the valuations is best."""
    counts = np.bincount(which, minlength=len(values))
    return max(float(v) * int(counts[values >= v].sum()) for v in values)


def adversarial_market(n):
    """A market whose valuations follow a calendar of n periods, and its params."""
    one = Atoms(np.array([0.5], np.float32), np.array([1.0], np.float32))
    base, params = jaxprice.make("PostedPrice", demand=one, num_prices=None, low=0.0, high=1.0)
    env = NonStationary(base, "calendar", MARKETS, num_slots=n)
    return env, env.params_of(spread(params, MARKETS), env.default_path())


def against(name, n, env, params, policy, seed, lanes):
    """Regret of a seller against a sequence, float `[lanes]`; the market's own oracle knows all valuations."""
    values, which = sequence(name, n)
    padded = np.zeros((MARKETS, 1), np.float32)
    padded[: len(values), 0] = values
    markets = dataclasses.replace(params.markets, demand=Atoms(padded, np.ones_like(padded)))
    params = dataclasses.replace(params, markets=markets, path=Calendar(which))
    out = jaxprice.simulate(env, policy, seed=seed, lanes=lanes, horizon=n, params=params, checkpoints=[n])
    return out["lane_regret"].values[0] - values[which].sum(dtype=float) + best_in_hindsight(values, which)


def adversarial_cell(n, sizes, seed):
    """Mean regret of Exp3, float `[sequences, batches]`, and of UCB1, which is deterministic, float `[sequences]`."""
    env, params = adversarial_market(n)
    exp3, lanes = policies.kleinberg_leighton(horizon=n, valuations="adversarial"), sizes.batches * sizes.lanes
    ucb1 = policies.kleinberg_leighton(horizon=n)
    regret = [against(name, n, env, params, exp3, seed + n + k, lanes) for k, name in enumerate(SEQUENCES)]
    regret = np.reshape(regret, (len(SEQUENCES), sizes.batches, -1)).mean(axis=2)
    return {"regret": regret, "ucb1": [against(name, n, env, params, ucb1, seed, 2)[0] for name in SEQUENCES]}


def cells(sizes, seed):
    """One cell for each kind of valuations and n."""
    kinds = ("identical", search_cell, sizes.searches), ("independent", independent_cell, sizes.buyers)
    kinds = *kinds, ("adversarial", adversarial_cell, sizes.buyers)
    return {f"{kind}, n={n}": functools.partial(make, n, sizes, seed) for kind, make, ns in kinds for n in ns}


def regrets(kind, ns, results, key="regret"):
    """Entries of cells for each n, stacked along a last axis."""
    return np.stack([np.asarray(results[f"{kind}, n={n}"][key], float) for n in ns], axis=-1)


def slope_rows(cell, ns, regret, power, bound, ceiling):
    """The slope of log regret `[batches, ns]` over log n; without the bound's logarithm, between the last two n."""
    plain = study.mean([stats.growth_exponent(ns, row) for row in regret])
    local = [np.diff(np.log(row / np.log(ns) ** power)) / np.diff(np.log(ns)) for row in regret]
    last, first = study.mean([row[-1] for row in local]), np.mean([row[0] for row in local])
    note = "within the bound" if last[0] <= ceiling + 2 * last[1] else "still above the bound's exponent"
    note += f"; between the first two {first:.3f}"
    return [
        study.Row(f"{cell}, slope", *plain, source=bound),
        study.Row(f"{cell}, last slope, no logarithm", *last, source=f"theory: at most {ceiling:.3g}", note=note),
    ]


def proved(n):
    """The proved bound on the regret of Exp3, against the best of its prices and for the prices between them."""
    size = grid_size(n, "adversarial")
    return 2 * math.sqrt((math.e - 1) * n * size * math.log(size)) + n / size


def rows(sizes, results):
    """Regret at every n, and slopes."""
    out, n = [], np.array(sizes.searches)
    found = regrets("identical", n, results)
    loglog = np.log2(np.log2(n))
    for k, one in enumerate(n):
        bound, mean = 2 * phases(one) + 1, study.mean(found[:, k])
        worst = f"largest {found[:, k].max():.2f}, bound 2 x {phases(one)} phases + 1 = {bound}"
        out.append(study.Row(f"identical, n={one}, regret", *mean, source="O(log log n)", note=worst))
    batches = np.array_split(found, 8)
    for name, x in (("log2 log2 n", loglog), ("log2 n", np.log2(n))):
        slopes = [np.polyfit(x[-3:], batch.mean(axis=0)[-3:], 1)[0] for batch in batches]
        source = "theory: a constant" if "log2 log2" in name else "theory: falls to 0"
        out.append(study.Row(f"identical, regret for one more {name}", *study.mean(slopes), source=source))
    n = np.array(sizes.buyers)
    for curve, regret in zip(CURVES, regrets("independent", n, results), strict=True):
        cell = f"independent, {curve}"
        out.append(study.Row(f"{cell}, n={n[-1]}, regret", *study.mean(regret[:, -1])))
        out += slope_rows(cell, n, regret, 1 / 2, "O(sqrt(n log n))", 1 / 2)
    exp3, ucb1 = regrets("adversarial", n, results), regrets("adversarial", n, results, "ucb1")
    for name, ours, other in zip(SEQUENCES, exp3, ucb1, strict=True):
        cell = f"adversary: {name}"
        out.append(study.Row(f"{cell}, Exp3, n={n[-1]}, regret", *study.mean(ours[:, -1])))
        out += slope_rows(f"{cell}, Exp3", n, ours, 1 / 3, "O(n^(2/3) (log n)^(1/3))", 2 / 3)
        note = "it never sells" if name == SEQUENCES[0] else "no bound"
        out.append(study.Row(f"{cell}, UCB1, n={n[-1]}, regret / n", other[-1] / n[-1], 0.0, note=note))
        out.append(study.Row(f"{cell}, Exp3, n={n[-1]}, regret / n", *study.mean(ours[:, -1] / n[-1])))
        most = max(ours[:, k].mean() / proved(one) for k, one in enumerate(n.tolist()))
        out.append(study.Row(f"{cell}, Exp3, largest regret / bound", float(most), 0.0, source="theory: at most 1"))
    return out


def plot_figure(figure, sizes, results, rows):
    """Regret against n for the three kinds of valuations, with the rates of the bounds through the last point."""
    left, middle, right = figure.subplots(1, 3)
    n = np.array(sizes.searches)
    found = regrets("identical", n, results)
    left.errorbar(n, *study.band(found), marker="o", ms=3, capsize=3, label="search, mean")
    left.plot(n, found.max(axis=0), "^:", ms=3, label="search, largest")
    left.plot(n, [2 * phases(one) + 1 for one in n], "k--", label="2 phases(n) + 1")
    left.set(xscale="log", xlabel="n", ylabel="regret", title="identical: log log n", ylim=(0, None))
    n = np.array(sizes.buyers)
    for ax, kind, names in ((middle, "independent", CURVES), (right, "adversarial", SEQUENCES)):
        last = 0.0
        for name, regret in zip(names, regrets(kind, n, results), strict=True):
            seller = "UCB1" if kind == "independent" else "Exp3"
            ax.errorbar(n, *study.band(regret), marker="o", ms=3, capsize=3, label=f"{seller}, {name}")
            last = max(last, regret.mean(axis=0)[-1])
        rate = np.sqrt(n * np.log(n)) if kind == "independent" else n ** (2 / 3) * np.log(n) ** (1 / 3)
        label = "sqrt(n log n)" if kind == "independent" else "n^2/3 log^1/3 n"
        ax.plot(n, last * rate / rate[-1], "k:", label=label)
        ax.set(xscale="log", yscale="log", xlabel="n", title=f"{kind}: {label}")
    for name, regret in zip(SEQUENCES, regrets("adversarial", n, results, "ucb1"), strict=True):
        right.plot(n, regret, "x--", ms=4, alpha=0.6, label=f"UCB1, {name}")
    for ax in (left, middle, right):
        ax.grid(alpha=0.3)
        ax.legend(fontsize=7)


STUDY = study.Study(
    name="kleinberg_leighton",
    title="Kleinberg and Leighton (2003): regret against identical, independent and adversarial valuations",
    presets={
        "smoke": Sizes(32, (4, 16), (250, 1000), 2, 8),
        "default": Sizes(2000, (4, 16, 256, 65_536), (1000, 4000, 16_000, 64_000, 256_000), 8, 32),
        "full": Sizes(100_000, (4, 16, 256, 65_536), (1000, 4000, 16_000, 64_000, 256_000, 1_024_000), 16, 1000),
    },
    cells=cells,
    rows=rows,
    plot_figure=plot_figure,
)

if __name__ == "__main__":
    study.command(STUDY)

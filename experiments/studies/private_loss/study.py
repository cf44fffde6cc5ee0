"""The cost of privacy: percentage regret of private and of non-private pricing over T.

    python -m experiments.studies.private_loss                  # about three minutes on two cores
    python -m experiments.studies.private_loss --preset smoke   # seconds
    python -m experiments.studies.private_loss --preset full    # the paper's horizons for all, 33 times its runs: for a GPU

Chen, Miao and Wang (2023) print percentage regret of their two algorithms, with central and with local trust, for T = 500,
2500, 12500, 62500 and epsilon = .01, .1, 1, 10, and of the first algorithm without noise, in 30 runs: 36 cells. We have
eight of them, a row of each algorithm (`PRINTED`), and compare those. Demand is .4 + .6 x1 + .6 x2 - .2 p + nu, nu ~ U[-.1,
.1], features x ~ U[0, 1]^2, prices in [.5, 4.5]. The constants of the tests are those of the experiments, c1 = .001 sqrt(log
T), c1' = .01 c2, c2 = log(T)^2 / epsilon, k1 = .001 sqrt(log T), k2 = .1 log T. The theory gives T^(2/3) + T^(1/3) / epsilon
with central trust and T^(3/4) / epsilon^(1/2) with local trust, with other constants.

A cell is one algorithm and epsilon (a row: and T). Percentage regret is the mean over lanes of regret divided by the
optimum's expected revenue, in percent. An exponent is the slope of log regret over log T over all horizons; its error is
over `batches` groups of lanes.

A test with central trust waits for c2 buyers at each price of a cube. If epsilon is small, fewer arrive, and the five prices
are offered to the end, at a loss that is a closed form. Tests with local trust do not wait, and noise decides them.

Revenue. The algorithms require revenue in [0, 1], but in this market it is not: demand, as printed, falls to -.6 at high
prices, and p y is between -2.7 and 3.6125.
"raw revenue" is the paper's experiment, compared with the printed numbers: tests see p y unchanged, and features are divided
into ceil(sqrt(J)) parts each. The noise is that for revenue in [0, 1], so privacy is weaker than epsilon says.
"scaled": tests see revenue scaled to [0, 1] by its smallest and largest value, as the guarantee requires. Gaps between
prices are then a 6.3th as large relative to the same margins. J is rounded to the nearest square.
"losses cut" is the result of clipping at zero, which `private_quadrisection` does by default: for cubes of buyers with low
valuations all high prices look the same, and these cubes offer them permanently.
In all three the policy has a tree for each price, with up to three levels fewer than the paper's tree over all periods (see
the policy). If tests pass by noise alone, as at epsilon = .01, ours pass less often (`NOTE`).

Beside it is the same comparison with a known form of demand, in a market with demand .9 + .45 x1 + .45 x2 - .2 p, which is
never negative, and 41 prices: the linear policy of Chen, Simchi-Levi and Wang (2022) in the form of `private_pricing`
(sqrt(T / epsilon) up to logs with central trust), LinUCB, which has no noise, and quadrisection.

Sources: X. Chen, S. Miao, Y. Wang (2023), "Differential privacy in personalized pricing with nonparametric demand models",
doi:10.1287/opre.2022.2347, arXiv:2109.04615; X. Chen, D. Simchi-Levi, Y. Wang (2022), "Privacy-preserving dynamic
personalized pricing with demand learning", arXiv:2009.12920.
"""

import functools
import math
from typing import NamedTuple

import jax
import numpy as np

import jaxprice
from experiments.frame import study
from experiments.studies.private_loss.market import (
    BOUNDS,
    GRID,
    LOW,
    PAPER,
    POSITIVE,
    SLOPE,
    WIDTH,
    market,
    optimum,
    revenues,
    unlearned,
)
from jaxprice import Policy, policies, stats
from jaxprice.policies.personal.private_quadrisection import side_of

CUBES, LINEAR = "Chen, Miao and Wang (2023)", "Chen, Simchi-Levi and Wang (2022)"
HORIZONS, RUNS = (500, 2500, 12500, 62500), 30  # numbers of the paper
PRINTED = {("central", 0.01): (34.70, 33.63, 30.51, 27.21), ("local", 0.1): (22.89, 17.66, 15.95, 14.80)}

NOTE = (
    "print lies between ours, with noise of a tree for each price, and ours with noise of as many levels as a tree over all "
    "periods, which loses 34.6 +- .2, 32.8 +- .2, 29.0 +- .2 at T = 500, 2,500, 12,500"
)


class Sizes(NamedTuple):
    """The amount of play.

    Attributes:
      horizons, epsilons: values for all series; series with printed numbers have the horizons `printed`.
      lanes: number of runs.
      batches: number of groups of runs, for standard errors of exponents.
    """

    horizons: tuple[int, ...]
    epsilons: tuple[float, ...]
    lanes: int
    batches: int
    panels: tuple[str, ...] = ("central", "local", "positive")
    printed: tuple[int, ...] = HORIZONS


PRESETS = {
    "smoke": Sizes((300, 500), (1.0,), 6, 2, ("central",), (300, 500)),
    "default": Sizes((500, 2500, 12500), (0.01, 0.1, 1.0, 10.0), 30, 5),
    "full": Sizes(HORIZONS, (0.01, 0.1, 1.0, 10.0), 1000, 10),
}


def told_losses(policy, least):
    """A wrapper that subtracts the smallest value from the revenue that a policy sees."""

    def update(key, state, transition):
        return policy.update(key, state, transition.replace(reward=transition.reward - least))

    return Policy(policy.init, policy.act, update)


@functools.cache
def compiled(kind, trust, cubes, private, lanes, raw):
    """A policy in its market as a compiled function, for any epsilon and demand with as many cubes, and one horizon.

    Args:
      kind: "cubes" (Chen, Miao and Wang) or "linear" (Chen, Simchi-Levi and Wang; LinUCB without noise).
      trust: "central" or "local".
      cubes: number of cubes; 0 for the linear policies.
      private: whether there is noise.
      lanes: number of lanes.
      raw: whether tests see revenue unchanged.

    Returns:
      `(seed, epsilon, horizon, params, least, most) -> percentage regret [lanes]`, with the smallest and largest revenue.
    """
    env, _ = market(PAPER, GRID if kind == "linear" else None)

    def seller(epsilon, least, most):
        epsilon = epsilon if private else None
        if raw:
            return policies.private_quadrisection(trust, epsilon, cubes=cubes, ceiling=1.0, cut=False, **BOUNDS)
        if kind == "cubes":
            made = policies.private_quadrisection(trust, epsilon, cubes=cubes, ceiling=most - least, **BOUNDS)
            return told_losses(made, least)
        largest, radius = sum(POSITIVE) + WIDTH - SLOPE * LOW, (1 + 2 / 3) ** 0.5
        if private:
            return policies.private_pricing(trust, epsilon, radius=radius, ceiling=largest)
        return policies.lin_ucb(form="joint")

    @functools.partial(jax.jit, static_argnums=2)
    def loss(seed, epsilon, horizon, params, least, most):
        out = jaxprice.rollout(env, seller(epsilon, least, most), seed=seed, lanes=lanes, horizon=horizon, params=params)
        return 100 * out["regret"] / out["optimal"]

    return loss


def cubes_of(trust, epsilon, horizon, raw=False):
    """Number of cubes of the theory, rounded to a square: the nearest one, or with raw revenue the next, as in the paper."""
    if not raw:
        return side_of(trust, epsilon, horizon, None, 2) ** 2
    wanted = math.ceil(horizon ** (1 / 3) if trust == "central" else (epsilon * horizon**0.5) ** 0.5)
    return math.ceil(math.sqrt(wanted)) ** 2


def horizons_of(sizes, trust, epsilon, told):
    """The horizons of a series."""
    return sizes.printed if told == "raw" and (trust, epsilon) in PRINTED else sizes.horizons


def play(sizes, seed, kind, demand, trust, epsilon, told):
    """Percentage regret of each lane at each horizon, `[horizons, lanes]`."""
    _, params = market(demand, GRID if kind == "linear" else None)
    least, most = revenues(demand)
    numbers = [np.float32(x) for x in (0.0 if told == "cut" else least, most)]
    losses = []
    for horizon in horizons_of(sizes, trust, epsilon, told):
        cubes = cubes_of(trust, epsilon, horizon, told == "raw") if kind == "cubes" else 0
        run = compiled(kind, trust, cubes, epsilon is not None, sizes.lanes, told == "raw")
        losses.append(run(np.uint32(seed), np.float32(epsilon or 0.0), horizon, params, *numbers))
    return {"loss": np.stack(losses)}


def series(sizes):
    """Name of a cell -> the last arguments of `play`: kind, demand, trust, epsilon, and form of revenue."""
    found = {}
    trusts = [trust for trust in ("central", "local") if trust in sizes.panels]
    every = [("central", None), *((trust, epsilon) for trust in trusts for epsilon in sizes.epsilons)]
    for told, name in (("raw", "raw revenue, {}"), ("scaled", "{}")):
        found |= {name.format(named(*each)): ("cubes", PAPER, *each, told) for each in every}
    found["no noise, losses cut"] = "cubes", PAPER, "central", None, "cut"
    if "positive" not in sizes.panels:
        return found
    for epsilon in (None, sizes.epsilons[-1]):
        found[f"positive demand, {named('central', epsilon)}"] = "cubes", POSITIVE, "central", epsilon, "scaled"
    for epsilon in (None, *sizes.epsilons):
        name = "LinUCB" if epsilon is None else f"linear policy, {named('central', epsilon)}"
        found[f"positive demand, {name}"] = "linear", POSITIVE, "central", epsilon, "scaled"
    return found


def named(trust, epsilon):
    """The text of a trust and an epsilon."""
    return "no noise" if epsilon is None else f"{trust}, epsilon = {epsilon:g}"


def cells(sizes, seed):
    """Percentage regret of all series."""
    return {name: functools.partial(play, sizes, seed, *about) for name, about in series(sizes).items()}


def exponents(losses, horizons, batches):
    """Slope of log regret over log T of each group of lanes, from percentages `[horizons, lanes]`."""
    means = losses.reshape(len(horizons), batches, -1).mean(axis=2) * np.asarray(horizons)[:, None]
    return [stats.growth_exponent(horizons, np.maximum(group, 1e-9)) for group in means.T]


def rows(sizes, results):
    """Percentage regret by series and horizon, the exponent of each series, exact optima."""
    made = []
    for name, (kind, _, trust, epsilon, told) in series(sizes).items():
        losses, source = results[name]["loss"], CUBES if kind == "cubes" else LINEAR
        horizons = horizons_of(sizes, trust, epsilon, told)
        printed = dict(zip(HORIZONS, PRINTED.get((trust, epsilon), ()), strict=False)) if told == "raw" else {}
        for T, loss in zip(horizons, losses, strict=True):
            known = {}
            if T in printed:
                spread = loss.std(ddof=1) / math.sqrt(RUNS)
                known = {"published": printed[T], "published_se": spread, "digits": 2, "kind": "printed"}
                known |= {"note": NOTE} if trust == "central" else {}
            made.append(study.Row(f"{name}, T = {T}", *study.mean(loss), source=source, **known))
        theory = "1/2" if kind == "linear" else {"central": "2/3", "local": "3/4"}[trust]
        slope = study.mean(exponents(losses, horizons, sizes.batches))
        made.append(study.Row(f"{name}: exponent of T", *slope, source=source, note=f"theory, as T grows: {theory}"))
    exact = {
        "optimum of a period, closed form": optimum(PAPER),
        "optimum of a period, positive demand, closed form": optimum(POSITIVE),
        "five prices for ever, closed form": unlearned(PAPER),
    }
    return made + [study.Row(name, value, 0.0) for name, value in exact.items()]


def plot_figure(figure, sizes, results, rows):
    """Percentage regret over T: central trust, local trust, linear demand known."""
    figure.set_size_inches(13, 4.4)
    panels = dict(zip(sizes.panels, np.ravel(figure.subplots(1, len(sizes.panels), sharey=True)), strict=True))
    shades, last = {epsilon: f"C{i}" for i, epsilon in enumerate(sizes.epsilons)}, sizes.epsilons[-1]
    for trust, axes in panels.items():
        if trust == "positive":
            continue
        for epsilon in sizes.epsilons:
            losses = results[f"raw revenue, {named(trust, epsilon)}"]["loss"]
            band(axes, horizons_of(sizes, trust, epsilon, "raw"), losses, f"epsilon = {epsilon:g}", color=shades[epsilon])
            if (trust, epsilon) in PRINTED:
                printed = PRINTED[trust, epsilon]
                axes.plot(HORIZONS, printed, "k*", ms=7, label=f"epsilon = {epsilon:g}, printed", zorder=3)
        band(axes, sizes.horizons, results["raw revenue, no noise"]["loss"], "no noise", color="0.2", ls="--")
        axes.set_title(f"Quadrisection, {trust} trust, raw revenue")
    for name, style in (("no noise", {"color": "0.5", "ls": "-."}), ("no noise, losses cut", {"color": "0.6", "ls": ":"})):
        label = f"{name}, revenue scaled" if name == "no noise" else name
        band(panels["central"], sizes.horizons, results[name]["loss"], label, **style)
    if "positive" in panels:
        axes = panels["positive"]
        for epsilon in sizes.epsilons:
            loss = results[f"positive demand, linear policy, {named('central', epsilon)}"]["loss"]
            band(axes, sizes.horizons, loss, f"linear policy, epsilon = {epsilon:g}", color=shades[epsilon])
        band(axes, sizes.horizons, results["positive demand, LinUCB"]["loss"], "LinUCB, no noise", color="0.2", ls=":")
        loss = results["positive demand, no noise"]["loss"]
        band(axes, sizes.horizons, loss, "quadrisection, no noise", color="0.2", ls="--")
        loss = results[f"positive demand, {named('central', last)}"]["loss"]
        band(axes, sizes.horizons, loss, f"quadrisection, epsilon = {last:g}", color=shades[last], ls="--")
        axes.set_title("Positive demand, central trust")
    panels["central"].set_ylabel("percentage regret")
    for axes in panels.values():
        axes.set(xscale="log", yscale="log", xlabel="horizon T")
        axes.legend(fontsize=7)


def band(axes, horizons, losses, name, **style):
    """A curve with its 95 % interval."""
    axes.errorbar(horizons, *study.band(losses, axis=1), marker="o", ms=3, capsize=2, lw=1.2, label=name, **style)


STUDY = study.Study(
    name="private_loss",
    title="What privacy costs in percent of revenue (Chen, Miao, Wang 2023; Chen, Simchi-Levi, Wang 2022)",
    presets=PRESETS,
    cells=cells,
    rows=rows,
    plot_figure=plot_figure,
)

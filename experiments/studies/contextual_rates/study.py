"""Growth of regret with time and with the number of features, for buyers with features: three papers.

    python -m experiments.studies.contextual_rates                  # a few minutes on two cores
    python -m experiments.studies.contextual_rates --preset smoke   # seconds
    python -m experiments.studies.contextual_rates --preset full    # the papers' horizons, features and runs: for a GPU

| paper | published | market | policies |
|---|---|---|---|
| Zhao 2024 | explore then commit: sqrt(d T log T) | `GLMDemand` S1, S2 | ETC |
| Xu 2021 | d log T, also with adversarial contexts; EMLP there almost T | `LinearValuation`, N(0, .25^2) | EMLP, ONSP |
| Xu 2024 | sqrt(d T log T) for any contexts; RMLP-2 against an adversary T | S1; N(0, .5^2) | PwP, RMLP-2 |

No policy has less than sqrt(d T) in the markets of the first and the last paper. All results are published as rates and
figures; we do not have the exponents that Zhao, Jiang and Yu fitted. A cell is a policy in a market with d features: regret
of every lane at the end of each horizon; each horizon is a separate run. Exponents are fitted to mean regret over `batches`
groups of lanes, with the standard error over groups:

    Zhao, Jiang and Yu, their regression:   log R = b0 + bd log d + bT log T + (1/2) log log T;
    all others:                             slope of log R over log T, and over log d at the last but one horizon.

A logarithm has no exponent: its slope decreases as 1 / log T. It is recognised by `steps`, the growth of regret over the
last two doublings of T relative to the two before: 1 for log T, 2 for sqrt(T), 4 for T.

Our choices, where we do not have the papers' numbers. Xu 2021, d = 2: theta = (.6, .6) in the ball of radius 1, i.i.d.
contexts U[-1, 1]^d / sqrt(d); the adversary is the paper's, (1, 0) in the odd epochs of EMLP and (0, 1) in the even ones.
For the growth in d, which is not in their experiments, every entry of theta is .6, so that valuations vary equally for any
d, and the radius is sqrt(d / 2). Xu 2024, d = 2: i.i.d. contexts are those of S1, with logistic noise and personal
sensitivity. Against the adversary x is (1, 0) when our RMLP-2 posts a random price, in the first period of its episodes, t =
1 + k (k - 1) / 2, and (0, 1) otherwise, with theta = (.6, .6) and the same sensitivity for all; "in turns" alternates
between the two. Policies have the defaults of the library.

PwP perturbs its price by min{(d log T / T)^(1/4), g(0) / 10, 1 / 10}. The first term is the smallest only from T of about
2.5e5 (S1) and 8.6e5 (N(0, .5^2)), beyond the paper's 2^16. Up to there the perturbation does not shrink with T.

Sources: Z. Zhao, F. Jiang, Y. Yu (2024), "Contextual dynamic pricing: algorithms, optimality, and local differential privacy
constraints", arXiv:2406.02424; J. Xu, Y.-X. Wang (2021), "Logarithmic regret in feature-based dynamic pricing",
arXiv:2102.10221; J. Xu, Y.-X. Wang (2024), "Pricing with contextual elasticity and heteroscedastic valuation",
arXiv:2312.15999.
"""

import functools
from typing import NamedTuple

import numpy as np
from matplotlib.ticker import NullFormatter

import jaxprice
from experiments.frame import study
from experiments.studies.contextual_rates.markets import XU21, XU24, ZHAO, best_prices, elastic, valuations, zhao
from jaxprice import stats


class Sizes(NamedTuple):
    """The amount of play.

    Attributes:
      instances: instances of the first part.
      features: numbers d of features of the first part.
      horizons: horizons of the first part.
      lanes: number of lanes of all parts.
      sellers: policies of the other parts.
      doublings: log2 of the horizons of the other parts, two apart.
      widths: numbers d of features for the growth of EMLP and ONSP.
      batches: number of groups of lanes for standard errors.
    """

    instances: tuple[str, ...]
    features: tuple[int, ...]
    horizons: tuple[int, ...]
    lanes: int
    sellers: tuple[str, ...]
    doublings: tuple[int, ...]
    widths: tuple[int, ...]
    batches: int


SELLERS = ("EMLP", "ONSP", "PwP", "RMLP-2")
PRESETS = {
    "smoke": Sizes(("S2",), (1,), (250, 1000), 4, ("ONSP",), (4, 6, 8), (), 2),
    "default": Sizes(("S1", "S2"), (1, 9), (2_500, 10_000, 40_000), 32, SELLERS, (8, 10, 12, 14), (2, 8), 4),
    "full": Sizes(
        ("S1", "S2"),
        (1, 4, 9, 16, 25),
        tuple(10_000 * k * k for k in range(1, 8)),
        500,
        SELLERS,
        (8, 10, 12, 14, 16),
        (2, 4, 8, 16),
        10,
    ),
}


def play(sizes, seed, horizons, make):
    """Regret of each lane at the end of each horizon, `[horizons, lanes]`."""
    env, params, policy = make()
    run = functools.partial(jaxprice.simulate, env, policy, seed=seed, lanes=sizes.lanes, params=params)
    ends = [run(horizon=horizon, checkpoints=[horizon])["lane_regret"].values[0] for horizon in horizons]
    return {"regret": np.stack(ends)}


OTHERS = {  # cell -> (source, theoretical rate)
    ("EMLP", "i.i.d.", XU21): "log T",
    ("ONSP", "i.i.d.", XU21): "log T",
    ("EMLP", "adversary", XU21): "almost T",
    ("ONSP", "adversary", XU21): "log T",
    ("PwP", "i.i.d.", XU24): "sqrt(T log T)",
    ("PwP", "adversary", XU24): "sqrt(T log T)",
    ("RMLP-2", "adversary", XU24): "T",
    ("RMLP-2", "in turns", XU24): "sqrt(T)",
}
WIDE = ("EMLP", "ONSP")


def label(policy, contexts, source, d=2):
    """Name of a cell of the second and third part."""
    return f"{policy}, {contexts}, d = {d}, {source[-5:-1]}"


def others(sizes):
    """Cells of the second and third part: `(policy, contexts, source, rate, horizons)`."""
    for (policy, contexts, source), rate in OTHERS.items():
        if policy in sizes.sellers:
            ends = contexts == "adversary" and source == XU21  # there horizons end with an epoch
            yield policy, contexts, source, rate, [2**k - ends for k in sizes.doublings]


def cells(sizes, seed):
    """Regret of all policies in all markets."""
    made, longest = {}, 2 ** sizes.doublings[-1]
    for instance in sizes.instances:
        for d in sizes.features:
            made[f"ETC, {instance}, d = {d}"] = sizes.horizons, functools.partial(zhao, instance, d)
    for policy, contexts, source, _, horizons in others(sizes):
        of = functools.partial(valuations if source == XU21 else elastic, policy, contexts)
        made[label(policy, contexts, source)] = horizons, of if source == XU21 else functools.partial(of, longest)
    for policy in WIDE:
        for d in sizes.widths:
            if d != 2:
                one = functools.partial(valuations, policy, "i.i.d.", d)
                made[label(policy, "i.i.d.", XU21, d)] = [2 ** sizes.doublings[-2]], one
    return {name: functools.partial(play, sizes, seed, *about) for name, about in made.items()}


def grouped(regrets, batches):
    """Mean regret of each group of lanes, `[batches, horizons]`."""
    return regrets.reshape(len(regrets), batches, -1).mean(axis=2).T


def regression(features, horizons, regrets):
    """Exponents of d and of T by the regression of Zhao, Jiang and Yu.

    Args:
      features, horizons: numbers of features and of periods, int `[D]` and `[T]`.
      regrets: mean regret, float `[D, T]`.

    Returns:
      `(bd, bT)`.
    """
    d, t = (grid.ravel() for grid in np.meshgrid(np.log(features), np.log(horizons), indexing="ij"))
    known = np.stack([np.ones_like(d), d, t], axis=1)
    return np.linalg.lstsq(known, np.log(regrets).ravel() - 0.5 * np.log(t), rcond=None)[0][1:]


def steps(curve):
    """Growth between the last two horizons over growth between the two before."""
    return (curve[-1] - curve[-2]) / (curve[-2] - curve[-3])


def rows(sizes, results):
    """Exponents of all parts, with the theoretical rate as a note."""
    made = []
    for instance in sizes.instances:
        found = [grouped(results[f"ETC, {instance}, d = {d}"]["regret"], sizes.batches) for d in sizes.features]
        fitted = [regression(sizes.features, sizes.horizons, means) for means in np.stack(found, axis=1)]
        for name, values in zip("dT", np.transpose(fitted), strict=True):
            if name == "d" and len(sizes.features) == 1:
                continue
            about = "theory: 1/2, the log T of the rate apart"
            made.append(study.Row(f"ETC, {instance}: exponent of {name}", *study.mean(values), source=ZHAO, note=about))
    for policy, contexts, source, rate, when in others(sizes):
        curves = grouped(results[label(policy, contexts, source)]["regret"], sizes.batches)
        slopes = [stats.growth_exponent(when[-3:], np.maximum(curve[-3:], 1e-9)) for curve in curves]
        name, told = f"{policy}, {contexts}", f"published as a rate: {rate}"
        made.append(study.Row(f"{name}: exponent of T", *study.mean(slopes), source=source, note=told))
        made.append(study.Row(f"{name}: steps", *study.mean([steps(curve) for curve in curves]), source=source))
        made.append(study.Row(f"{name}: regret at T = {when[-1]}", *study.mean(curves[:, -1]), source=source))
    if len(sizes.widths) > 1:
        for policy in WIDE:
            ends = np.stack([wide(sizes, results, policy, d) for d in sizes.widths], axis=1)
            slopes = [stats.growth_exponent(sizes.widths, end) for end in ends]
            about = "published as a rate: d"
            made.append(study.Row(f"{policy}, i.i.d.: exponent of d", *study.mean(slopes), source=XU21, note=about))
    low, high = best_prices("S1")
    made += [study.Row("S1: lowest best price", low, 0.0), study.Row("S1: highest best price", high, 0.0)]
    return [*made, study.Row("S2: best price of every buyer", best_prices("S2")[0], 0.0)]


def wide(sizes, results, policy, d):
    """Mean regret of each group of lanes at the last horizon but one, with d features, `[batches]`."""
    regrets = results[label(policy, "i.i.d.", XU21, d)]["regret"]
    return grouped(regrets[-2:-1] if d == 2 else regrets, sizes.batches)[:, 0]


def plot_figure(figure, sizes, results, rows):
    """Regret over time, one panel a paper."""
    figure.set_size_inches(13, 4.4)
    zhao_axes, first, second = figure.subplots(1, 3)
    for instance, style in zip(sizes.instances, ("o-", "s--"), strict=False):
        for i, d in enumerate(sizes.features):
            band(
                zhao_axes,
                sizes.horizons,
                results[f"ETC, {instance}, d = {d}"]["regret"],
                style,
                f"C{i}",
                f"{instance}, d = {d}",
            )
    for i, (policy, contexts, source, _, when) in enumerate(others(sizes)):
        axes = first if source == XU21 else second
        regrets = results[label(policy, contexts, source)]["regret"]
        band(axes, when, regrets, "s--" if contexts == "adversary" else "o-", f"C{i}", f"{policy}, {contexts}")
    titles = {zhao_axes: f"ETC, {ZHAO}", first: XU21, second: XU24}
    for axes, title in titles.items():
        if not axes.get_lines():
            axes.set_axis_off()
            continue
        line = axes.get_lines()[0]
        when, end = line.get_xdata(), axes.get_ylim()[1]
        for power, style in ((0.5, "--"), (1.0, ":")):
            if axes is zhao_axes and power == 1.0:
                continue
            axes.plot(
                when, end * (np.asarray(when) / when[-1]) ** power, style, color="0.6", lw=1, label=f"$T^{{{power:g}}}$"
            )
        axes.set(xscale="log", yscale="log", xlabel="horizon T", ylabel="regret", title=title)
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.legend(fontsize=7)


def band(axes, when, regrets, style, colour, name):
    """A curve with its 95 % interval."""
    axes.errorbar(when, *study.band(regrets, axis=1), fmt=style, ms=3, color=colour, capsize=2, lw=1.2, label=name)


STUDY = study.Study(
    name="contextual_rates",
    title="Growth of regret with time and features (Zhao, Jiang, Yu 2024; Xu, Wang 2021, 2024)",
    presets=PRESETS,
    cells=cells,
    rows=rows,
    plot_figure=plot_figure,
)

"""Sellers that learn against a rival with a fixed rule, as shares of the exact optimum (Kastius and Schlosser 2022).

    python -m experiments.studies.kastius_schlosser                   # minutes on two cores
    python -m experiments.studies.kastius_schlosser --preset smoke    # seconds

The market is `ReactiveRival` with its defaults. Prices are 1, ..., 50, and the rival starts from 30. In a period the seller
answers the rival's price p with a, sells for half a period, the rival answers a with p', and the seller sells for the other
half. Sales are Poisson with mean 800 sigmoid(-3.89 - .56 rank - .01 (a - p) + .07 - .03 (a + p) / 2) a period. Profits are
discounted by .9 a period. The rivals are those of the public code:

| rival | answer to a |
|---|---|
| fixed 20 | 20 |
| two bounds 5, 40 | a - 1; 40 if a - 1 is below 5 |
| two bounds 25, 45 | a - 1; 45 if a - 1 is below 25 |
| cartel 33 | 33 to 33; otherwise a - 1, and 50 to 1 |
| cartel 33, price war | 33 to 33; otherwise a - 1 but at most 20, and 20 if a - 1 is below 10 |

The measure is the paper's: the discounted value V(30) of a seller's prices, at every price of the rival, as a percentage of
the optimal one. Both are exact. The market moves by the rival's price alone, so a frozen seller is a map from prices to
prices, and the optimum is found by policy iteration in float64. The standard error of a learner is that of the mean over
runs; the note has the 95 % interval of Student's t. Long-run profits are those of the cycle that a seller enters from 30, as
a percentage of that of the seller who is optimal for the discounted value.

The paper's sellers train for 500,000 periods, ten runs of DQN and five of SAC. It shows their learning curves as figures. We
have no printed numbers, so the column "published" is empty. Here the learners are:

* Q-learning with a table of 50 x 50 values, learning rate n^-.7 in the n-th visit;
* DQN with the switches of the public code (double, dueling, prioritised replay), and two layers of 128 units. The public
  code has one such layer and learning rate .0005; here it falls from .001;
* SAC with the same layers, where the public code has three. Its prices are rounded to the grid (`any_price`).

The first two explore with probability .3 in the end, as in the public code. All start again from the price 30 every 100
periods. In the default run Q-learning learns for 200,000 periods, DQN for 60,000 and SAC for 15,000, and networks meet the
first three rivals.

Departures. The public code never starts again. It lets DQN choose from 1, ..., 49. Its SAC posts prices in cents, which are
rounded down for the measure; the row "prices in cents" has what they would be worth against the same rivals. Its programme
for the optimum lets the rival of the cartel answer 1 to 1, while its simulation, which is followed here, answers 50.

Source: A. Kastius, R. Schlosser (2022), "Dynamic pricing under competition using reinforcement learning",
doi:10.1057/s41272-021-00285-3. Its public code, github.com/Raandom/rlpricing, has the constants, rivals and settings.
"""

import functools
from typing import NamedTuple

import numpy as np

from experiments.frame import study
from experiments.studies.kastius_schlosser import learners
from experiments.studies.kastius_schlosser.exact import (
    FIRST,
    PRICES,
    RIVALS,
    average,
    in_cents,
    market,
    optimum,
    path,
    rewards,
    worth,
)


class Sizes(NamedTuple):
    """The amount of simulation.

    Attributes:
      periods: in which Q-learning learns.
      steps: in which DQN learns; SAC, for which a period takes several times as long, learns in a quarter of them.
      tables, networks: runs of Q-learning, and of each network.
      points: of a learning curve.
      rivals: number of rivals, the first ones, against which networks learn.
      cents: distance of the prices in cents.
    """

    periods: int
    steps: int
    tables: int
    networks: int
    points: int
    rivals: int = len(RIVALS)
    cents: int = 1


def cells(sizes, seed):
    """Tables, networks, and the values of prices in cents."""
    learned = {
        f"{learner}, {name}": functools.partial(make, name, sizes.steps, sizes.networks, sizes.points, seed)
        for learner, make in learners.LEARNERS.items()
        for name in list(RIVALS)[: sizes.rivals]
    }
    cents = {f"cents, {name}": functools.partial(in_cents, name, sizes.cents) for name in RIVALS}
    return (
        {"Q-learning": functools.partial(learners.tables, sizes.periods, sizes.tables, sizes.points, seed)} | learned | cents
    )


def sellers(reward):
    """Maps of the sellers that do not learn, name -> int `[50]`; the best constant price is that at the first price."""
    places = np.arange(PRICES.size)
    return {
        "undercutting by one": np.maximum(places - 1, 0),
        "best profit of the period": reward.argmax(axis=0),
    }


def rows(sizes, results):
    """Values from 30 as percentages of the optimum, and long-run averages, rival by rival."""
    made, first = [], FIRST
    for number, name in enumerate(RIVALS):
        params = market(name)[1]
        reward, answer = rewards(params)
        values, best = optimum(reward, answer)
        top, mean = values[first], average(reward, answer, best, first)
        made.append(study.Row(f"{name}: optimum, value from {PRICES[FIRST]}", top, 0.0, note="no printed numbers"))
        made.append(study.Row(f"{name}: optimum, profit of a period in the long run", mean, 0.0))
        largest = float(params.value) / mean
        made.append(study.Row(f"{name}: largest long-run profit, % of that", 100 * largest, 0.0))
        made.append(study.Row(f"{name}: prices in cents, %", 100 * float(results[f"cents, {name}"]["value"]) / top, 0.0))
        constant = [worth(reward, answer, np.full_like(best, own))[first] for own in range(PRICES.size)]
        note = f"price {PRICES[int(np.argmax(constant))]}"
        made.append(study.Row(f"{name}: best constant price, %", 100 * max(constant) / top, 0.0, note=note))
        for seller, choices in sellers(reward).items():
            share = 100 * worth(reward, answer, choices)[first] / top
            made.append(study.Row(f"{name}: {seller}, %", share, 0.0))
        for learner, maps in learned_maps(results, number, name).items():
            shares = [100 * worth(reward, answer, choices)[first] / top for choices in maps]
            made.append(told_of(f"{name}: {learner}, %", shares))
            shares = [100 * average(reward, answer, choices, first) / mean for choices in maps]
            made.append(told_of(f"{name}: {learner}, long-run profit, %", shares))
    return made


def learned_maps(results, number, name):
    """Final maps of every learner against a rival, learner -> int `[runs, 50]`."""
    found = {"Q-learning": results["Q-learning"]["maps"][number, -1]}
    found |= {
        learner: results[f"{learner}, {name}"]["maps"] for learner in learners.LEARNERS if f"{learner}, {name}" in results
    }
    return {learner: np.asarray(maps, int) for learner, maps in found.items()}


def told_of(cell, values):
    """A row of independent runs, with the interval of their mean in the note."""
    mean, error = study.mean(values)
    half = float(study.band(values)[1])
    return study.Row(cell, mean, error, note=f"{len(values)} runs; 95 % interval {mean - half:.2f} to {mean + half:.2f}")


def plot_figure(figure, sizes, results, rows):
    """Learning curves of the long-run profit; prices of both sellers under the optimum and the first run of each network."""
    figure.set_size_inches(15, 6.5)
    axes = figure.subplots(2, len(RIVALS), sharey="row")
    first = FIRST
    for number, (name, (curves, paths)) in enumerate(zip(RIVALS, axes.T, strict=True)):
        reward, answer = rewards(market(name)[1])
        _, best = optimum(reward, answer)
        mean = average(reward, answer, best, first)
        table = results["Q-learning"]
        grown = [[average(reward, answer, np.asarray(m, int), first) for m in point] for point in table["maps"][number]]
        grown = {"Q-learning": (table["periods"], 100 * np.array(grown).T / mean)}
        for learner in learners.LEARNERS:
            if f"{learner}, {name}" not in results:
                continue
            cell = results[f"{learner}, {name}"]
            largest = float(market(name)[1].value) / mean
            grown[learner] = np.asarray(cell["periods"])[:, 0], 100 * largest * np.asarray(cell["share"]).T
        for k, (learner, (periods, shares)) in enumerate(grown.items()):
            middle, half = study.band(shares)
            curves.fill_between(periods, middle - half, middle + half, color=f"C{k}", alpha=0.2, lw=0)
            curves.plot(periods, middle, "o-", ms=3, color=f"C{k}", label=learner)
        undercut = sellers(reward)["undercutting by one"]
        curves.axhline(100 * average(reward, answer, undercut, first) / mean, color="0.5", ls=":", label="undercutting")
        curves.axhline(100, color="k", lw=0.8, label="optimum of the discounted value")
        curves.set(title=name, xlabel="periods", ylim=(70, 103))
        shown = {"optimum": ("k", best)}
        held = learned_maps(results, number, name)
        shown |= {learner: (f"C{k}", held[learner][0]) for k, learner in enumerate(held) if learner in learners.LEARNERS}
        for seller, (colour, choices) in shown.items():
            steps = PRICES[path(answer, choices, first, 24)]
            paths.step(range(24), steps[:, 0], where="post", color=colour, lw=1.5, label=f"{seller}: seller")
            paths.step(np.arange(24) + 0.5, steps[:, 1], where="post", color=colour, lw=0.8, ls=":", label="its rival")
        paths.set(xlabel="period", ylim=(0, 51))
    axes[0, 0].set(ylabel="long-run profit, % of that of the optimum")
    axes[1, 0].set(ylabel="price")
    for axis in axes[:, 0]:
        axis.legend(fontsize=7, loc="lower right")


STUDY = study.Study(
    name="kastius_schlosser",
    title="Learners against a rival with a fixed rule, % of the exact optimum (Kastius and Schlosser 2022)",
    presets={
        "smoke": Sizes(2_000, 2_000, 2, 1, 2, rivals=1, cents=20),
        "default": Sizes(200_000, 60_000, 20, 4, 10, rivals=3),
        "full": Sizes(500_000, 500_000, 100, 20, 20),
    },
    cells=cells,
    rows=rows,
    plot_figure=plot_figure,
)

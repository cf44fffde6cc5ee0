"""Meta-learned pricing: what an agent that was trained on other products earns in the first sales of a new one.

    python -m experiments.meta_pricing                    # default: three training seeds; some forty minutes a distribution
    python -m experiments.meta_pricing --preset smoke     # seconds
    python -m experiments.meta_pricing --only logit stock

Each task distribution below is trained on once a seed and agent; then all sellers meet the same held-out markets and the
same buyers, drawn from the distribution itself and from shifted ones. A cell is the mean regret after 5, 10, 20, 50 and 100
sales, in percent of what the oracle earns in as many, and the difference to Thompson sampling with the true prior on the
same markets. Its interval is over markets and, for agents, over training seeds: the standard error has the spread between
seeds as one part and that of markets as the other. Regret is expected, not sampled.

| distribution | market | shifted to |
|---|---|---|
| logit, beta | posted price, ten prices | the other family; logit also linear demand, and twice the horizon |
| hierarchical | linear demand around that of a kind (Bastani, Simchi-Levi and Zhu) | another kind |
| valuations | linear in four features | - |
| stock | Bernoulli demand, a quarter of the horizon in stock | - |
| calibrated | one of the markets fitted to real purchases | - |

Agents, all with weights frozen and saved under `agents/` of the results (a run that is killed reads them back): "RL2
min_gru" is recurrent and reads the raw history; "stats" sees counts and sums of each price; both are trained by PPO with
expected rewards in the return, which a simulator has and data have not. "distilled" is the recurrent network, told on the
histories that it makes what is best under the posterior mean of the true prior. Ablations train the recurrent one without
memory, without its last action, and with another network. Thompson sampling with the true prior is `prior_thompson` with
2,000 markets; where demand has no table (features, stock) it is the policy made for the setting.
"""

import csv
import dataclasses
import functools
from pathlib import Path
from typing import Literal

import matplotlib.pyplot as plt
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

import jaxprice
from jaxprice import agents, policies
from jaxprice.agents import imitation, rl2

SALES = (5, 10, 20, 50, 100)
HORIZON = 100
LANES = {"smoke": 64, "default": 4000, "full": 20_000}
SCALE = {"smoke": 0.01, "default": 1.0, "full": 3.0}
HEADER = ("training", "market", "seller", "sales", "regret_percent", "se", "gap_percent", "gap_se", "seeds", "markets")


@dataclasses.dataclass(frozen=True)
class Options:
    """What to run."""

    preset: Literal["smoke", "default", "full"] = "default"
    """smoke: a hundredth of the updates, one seed; default: three seeds; full: three times the updates, five seeds."""
    only: tuple[str, ...] = ()
    """Task distributions; all by default."""
    ablations: bool = True
    """Also train the ablations, on the first distribution."""
    out: Path = Path("results/meta_pricing")
    """Results folder."""

    @property
    def seeds(self):
        """Seeds of training."""
        return list(range({"smoke": 1, "default": 3, "full": 5}[self.preset]))


@functools.cache
def market(name):
    """A task distribution by its label."""
    kinds = {
        "logit": ("PostedPrice", {"demand": "logit"}),
        "beta": ("PostedPrice", {"demand": "beta"}),
        "linear": ("PostedPrice", {"demand": "linear"}),
        "hierarchical": ("RelatedProducts", {"options": {"demand": "linear"}, "similarity": 0.7}),
        "another kind": ("RelatedProducts", {"options": {"demand": "linear"}, "similarity": 0.7, "kind": 7}),
        "valuations": ("LinearValuation", {"dimension": 4, "num_prices": 10}),
        "stock": ("FiniteInventory", {"horizon": HORIZON, "stock": HORIZON // 4}),
        "calibrated": ("apple", {}),
    }
    kind, options = kinds[name]
    return jaxprice.make(kind, **options)[0]


TASKS = {
    "logit": ("logit", "beta", "linear"),
    "beta": ("beta", "logit"),
    "hierarchical": ("hierarchical", "another kind"),
    "valuations": ("valuations",),
    "stock": ("stock",),
    "calibrated": ("calibrated",),
}
LONGER = ("logit",)  # also played for twice the horizon


def classics(env):
    """Sellers that are not trained, the benchmark of the gaps first."""
    try:
        prior = policies.prior_thompson(env), policies.prior_thompson(env, greedy=True)
        names = "Thompson, true prior", "greedy, true prior"
        return dict(zip(names, prior, strict=True)) | {"Thompson": policies.thompson(), "UCB1": policies.ucb1()}
    except ValueError:
        if env.name == "FiniteInventory":
            return {"TS-fixed": policies.ts_fixed(), "TS-update": policies.ts_update(), "Thompson": policies.thompson()}
        return {"logistic Thompson": policies.logistic_thompson(), "LinUCB": policies.lin_ucb()}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How an agent is trained.

    Attributes:
      network, settings, inputs: as for `networks.make`.
      updates, lanes, hyper: of training.
      distilled: whether it imitates the greedy policy under the true prior, instead of learning by PPO.
    """

    network: str
    settings: dict
    updates: int
    lanes: int
    hyper: agents.Hyper
    inputs: dict = dataclasses.field(default_factory=dict)
    distilled: bool = False


LONG = agents.Hyper(learning_rate=1e-3, entropy=0.02, trace=0.97, warm_up=0.05)
STATS = agents.Hyper(learning_rate=3e-3, entropy=0.01, trace=0.97)
IMITATION = agents.Hyper(learning_rate=2e-3, decay=1e-4, warm_up=0.1)
AGENTS = {
    "RL2 min_gru": Recipe("min_gru", {"size": 64}, 400, 128, LONG),
    "distilled": Recipe("min_gru", {"size": 64}, 500, 64, IMITATION, distilled=True),
    "stats": Recipe("stats", {"size": 32, "attention": True}, 300, 128, STATS),
}
ABLATIONS = {
    "without memory": Recipe("none", {"size": 64}, 400, 128, LONG),
    "without last action": Recipe("min_gru", {"size": 64}, 400, 128, LONG, {"action": False}),
    "RL2 gru": Recipe("gru", {"size": 64}, 400, 128, LONG),
}


def train(label, title, recipe, options):
    """The policies of one agent, one a seed; those that were trained before are read back."""
    env, inputs = market(label), agents.Inputs(grid=True, **recipe.inputs)
    actions, made = env.action_space().n, []
    network = agents.networks.make(recipe.network, actions=actions, inputs=inputs, **recipe.settings)
    updates = max(2, round(recipe.updates * SCALE[options.preset]))
    shared = {"horizon": HORIZON, "updates": updates, "lanes": recipe.lanes, "hyper": recipe.hyper}
    shared |= {"chunk": 50, "held_out": 256, "progress": True}
    for seed in options.seeds:
        told = {"name": title, "market": label, "horizon": HORIZON, "updates": updates, "lanes": recipe.lanes, "seed": seed}
        path = options.out / "agents" / f"{label}-{title}-{seed}.npz".replace(" ", "-")
        if not (path.exists() and agents.load_agent(path).told == told):
            if recipe.distilled:
                teacher = policies.prior_thompson(env, greedy=True)
                weights, _ = imitation.train(env, network, teacher, seeds=seed, **shared)
            else:
                weights, _ = rl2.train(env, network, seeds=seed, return_reward="mean", **shared)
            one = agents.Agent(recipe.network, actions, agents.one(weights), recipe.settings, inputs, told=told)
            agents.save(path, one)
        made.append(agents.load(path))
    return made


def regrets(env, sellers, horizon, lanes):
    """Regret of each seller at `SALES`, in percent of what the oracle earns: name -> `[sales, lanes]`."""
    times = [t for t in SALES if t <= horizon] + [horizon] * (horizon not in SALES)
    result = {}
    for name, policy in sellers.items():
        out = jaxprice.simulate(env, {name: policy}, seed=977, lanes=lanes, horizon=horizon, traces=True)
        regret, optimal = (np.cumsum(out[f"trace_{which}"].values.squeeze(), axis=0) for which in ("regret", "optimal"))
        result[name] = np.stack([100 * regret[t - 1] / optimal[t - 1].mean() for t in times])
    return times, result


def summary(runs):
    """Mean and standard error of lanes `[seeds, lanes]`: over markets, and over training seeds where there are several."""
    means = runs.mean(axis=1)
    variance = runs.mean(axis=0).var(ddof=1) / runs.shape[1]
    if len(means) > 1:
        variance += means.var(ddof=1) / len(means)
    return means.mean(), variance**0.5


def play(label, on, made, options, horizon=HORIZON):
    """Rows of one market: agents trained on `label`, and the classics."""
    env, lanes = market(on), LANES[options.preset]
    plain = classics(env)
    sellers = plain | {f"{name}/{seed}": p for name, ps in made.items() for seed, p in enumerate(ps)}
    times, lost = regrets(env, sellers, horizon, lanes)
    benchmark, rows = lost[next(iter(plain))], []
    where = on if horizon == HORIZON else f"{on}, {horizon} sales"
    for name in [*plain, *made]:
        runs = np.stack([lost[name]] if name in plain else [lost[f"{name}/{seed}"] for seed in range(len(made[name]))])
        for k, t in enumerate(times):
            (mean, se), (gap, gap_se) = summary(runs[:, k]), summary(runs[:, k] - benchmark[k])
            numbers = [f"{x:.4f}" for x in (mean, se, gap, gap_se)]
            rows.append(dict(zip(HEADER, (label, where, name, t, *numbers, len(runs), lanes), strict=True)))
    return rows


def show(rows, console):
    """One table a market: percent of the oracle's reward lost after so many sales, and the gap to the first seller."""
    for where in dict.fromkeys((row["training"], row["market"]) for row in rows):
        mine = [row for row in rows if (row["training"], row["market"]) == where]
        times = sorted({row["sales"] for row in mine})
        table = Table(title=f"trained on {where[0]}, played on {where[1]}: regret in % of the oracle (gap to the first)")
        for column in ("seller", *(str(t) for t in times)):
            table.add_column(column, justify="left" if column == "seller" else "right")
        for seller in dict.fromkeys(row["seller"] for row in mine):
            cells = {row["sales"]: row for row in mine if row["seller"] == seller}
            texts = [f"{float(cells[t]['regret_percent']):.1f} ({float(cells[t]['gap_percent']):+.1f} ± "
                     f"{1.96 * float(cells[t]['gap_se']):.1f})" for t in times]  # fmt: skip
            table.add_row(seller, *texts)
        console.print(table)


def draw(rows, path):
    """Regret over sales, one panel a market that agents were trained on."""
    labels = list(dict.fromkeys(row["training"] for row in rows))
    figure, panels = plt.subplots(1, len(labels), figsize=(4 * len(labels), 3.6), layout="constrained", squeeze=False)
    for axes, label in zip(panels[0], labels, strict=True):
        mine = [row for row in rows if row["training"] == row["market"] == label]
        for seller in dict.fromkeys(row["seller"] for row in mine):
            cells = [row for row in mine if row["seller"] == seller]
            x, y, e = ([float(row[key]) for row in cells] for key in ("sales", "regret_percent", "se"))
            axes.errorbar(x, y, 1.96 * np.asarray(e), label=seller, lw=1.2, capsize=2)
        axes.set(xscale="log", xlabel="sales", title=label, ylim=(0, None))
        axes.legend(fontsize=7)
    panels[0, 0].set_ylabel("regret, % of the oracle's reward")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main(options):
    """Train, play, print and write; rows of a distribution are written as soon as they are there."""
    console, rows = Console(), []
    for label in options.only:
        jaxprice.checks.choice("distribution", label, TASKS)
    options.out.mkdir(parents=True, exist_ok=True)
    for label in options.only or TASKS:
        recipes = AGENTS | (ABLATIONS if options.ablations and label == next(iter(TASKS)) else {})
        if label in ("valuations", "stock"):  # no table of demand: no posterior to imitate
            recipes = {name: recipe for name, recipe in recipes.items() if not recipe.distilled}
        made = {name: train(label, name, recipe, options) for name, recipe in recipes.items()}
        fresh = [row for on in TASKS[label] for row in play(label, on, made, options)]
        if label in LONGER:
            fresh += play(label, label, made, options, horizon=2 * HORIZON)
        show(fresh, console)
        rows += fresh
        with (options.out / "table.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, HEADER)
            writer.writeheader()
            writer.writerows(rows)
        draw(rows, options.out / "regret.png")
    console.print(f"{options.out}/table.csv, regret.png")


if __name__ == "__main__":
    main(tyro.cli(Options))

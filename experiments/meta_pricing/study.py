"""Meta-learned pricing: the loss of an agent, trained on other products, in the first sales of a new product.

    python -m experiments.meta_pricing                      # default: a quarter of an hour a distribution; ablations more
    python -m experiments.meta_pricing --preset smoke       # minutes, almost all of it compilation
    python -m experiments.meta_pricing --only logit stock   # only these; the table keeps the rows of other runs

Each agent is trained on each task distribution below, once a seed. Then all sellers meet the same held-out markets and the
same buyers, drawn from the distribution itself and from shifted ones. A number is the mean regret after 5, 10, 20, 50 and
100 sales, in percent of the oracle's reward over the same sales, and the difference to Thompson sampling with the true prior
on the same markets. Its interval is over markets and, for agents, over training seeds: the standard error combines the
variation between seeds and that between markets. Regret is expected, not sampled.

| distribution | market | also played on |
|---|---|---|
| logit | posted price, ten prices | beta valuations, linear demand, twice the horizon |
| beta | posted price, ten prices | logit valuations |
| hierarchical | linear demand around a common mean (Bastani, Simchi-Levi and Zhu) | another mean; a sequence of products |
| valuations | linear in a feature of the buyer, ten prices | twice the noise in valuations |
| stock | four prices, a quarter of the horizon in stock | an eighth |
| calibrated | five products fitted to real purchases | a sixth, not seen in training |

The weights of agents are frozen, and saved in `agents/` of the results. "RL2" is recurrent (GRU) and reads the raw history.
"stats" sees counts and sums of each price. Both learn by PPO from expected regret, which a simulator knows and data do not
contain. "distilled" is recurrent (minGRU) and learns, on the histories that it produces, the best action in the posterior
mean under the true prior. Thompson sampling with the true prior is `prior_thompson` with 2,000 markets drawn from the prior
(1,000 with stock, 500 with features); "greedy, true prior" is the same without exploration.

Ablations on the first distribution, five seeds: RL2 without its memory, without its last action among the inputs, without
either of its rewards, with other networks, and with a return of expected rewards instead of regret.

In the sequence of products, twenty products of one kind are sold in turn, a hundred sales each. `hierarchical_thompson` and
`meta_thompson` start without knowledge of the kind and learn it from product to product. Agents restart with each product,
but have learned the kind in training. Thompson sampling with the true prior restarts too, and knows the kind.
`meta_dynamic_pricing` posts any price of an interval, so it is not included.

All trained agents and results are saved, so that a killed run continues. After an edit of the code, the dependent parts are
trained and played again. Two runs with other distributions may share the folder.
"""

import dataclasses
import functools
import re
import time
import warnings
from pathlib import Path
from typing import Literal

from rich.console import Console

import jaxprice
from experiments.frame import saved
from experiments.meta_pricing import tables, tasks
from experiments.meta_pricing.tables import HORIZON
from experiments.meta_pricing.tasks import TASKS, Stage
from jaxprice import agents, files, fingerprint, manifest, policies, provenance
from jaxprice.agents import imitation, rl2

SHIPPED = {"pricing_rl2": "logit-RL2-3", "pricing_in_context": "logit-distilled-0"}  # agents in the package
LANES = {"smoke": 64, "default": 4000, "full": 20_000}
SCALE = {"smoke": 0.01, "default": 1.0, "full": 3.0}


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

    def seeds(self, many=False):
        """Seeds of training; `many`: for ablations, which are compared with the variation between seeds."""
        return range({"smoke": 1, "default": 5 if many else 3, "full": 10 if many else 5}[self.preset])


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The training of an agent.

    Attributes:
      network, settings, inputs: arguments of `networks.make`.
      updates, lanes, hyper, return_reward: arguments of training.
      distilled: whether it imitates the greedy seller with the true prior instead of learning by PPO.
    """

    network: str
    settings: dict
    updates: int
    hyper: agents.Hyper
    lanes: int = 128
    inputs: dict = dataclasses.field(default_factory=dict)
    return_reward: str = "regret"
    distilled: bool = False


RECURRENT = agents.Hyper(learning_rate=2e-3, entropy=0.05, trace=0.97, warm_up=0.05)
STATS = agents.Hyper(learning_rate=3e-3, entropy=0.05, trace=0.97, warm_up=0.05)
IMITATION = agents.Hyper(learning_rate=2e-3, decay=1e-4, warm_up=0.1)
RL2 = Recipe("gru", {"size": 64}, 800, RECURRENT)
AGENTS = {
    "RL2": RL2,
    "stats": Recipe("stats", {"size": 32, "attention": True}, 300, STATS),
    "distilled": Recipe("min_gru", {"size": 64}, 500, IMITATION, lanes=64, distilled=True),
}
ABLATIONS = {
    "without memory": dataclasses.replace(RL2, network="none"),
    "without last action": dataclasses.replace(RL2, inputs={"action": False}),
    "without demand and reward": dataclasses.replace(RL2, inputs={"demand": False, "reward": False}),
    "with an LSTM": dataclasses.replace(RL2, network="lstm"),
    "with a minGRU": dataclasses.replace(RL2, network="min_gru", updates=400),
    "return of rewards": dataclasses.replace(RL2, return_reward="mean"),
}


def train(label, title, recipe, seed, options):
    """One agent as a policy, trained now or loaded."""
    env = tasks.market(label)
    inputs = agents.Inputs(grid=True, past=label in TASKS["valuations"], **recipe.inputs)
    actions = env.action_space().n
    updates = max(2, round(recipe.updates * SCALE[options.preset]))
    told = {"name": title, "market": label, "horizon": HORIZON, "updates": updates, "lanes": recipe.lanes, "seed": seed}
    told |= {"method": "distil" if recipe.distilled else "ppo", "return_reward": recipe.return_reward}
    told |= {"hyper": {key: float(value) for key, value in vars(recipe.hyper).items()}}
    network = agents.networks.make(recipe.network, actions=actions, inputs=inputs, **recipe.settings)
    teacher = tasks.prior(label, greedy=True) if recipe.distilled else None
    told["code"] = fingerprint.of(imitation.train if recipe.distilled else rl2.train, env, network, teacher)
    path = options.out / "agents" / f"{label}-{title}-{seed}.npz".replace(" ", "-")
    if trained_so(path, recipe, inputs, told):
        return agents.load(path)
    shared = {"horizon": HORIZON, "updates": updates, "lanes": recipe.lanes, "hyper": recipe.hyper, "seeds": seed}
    shared |= {"chunk": max(1, updates // 10), "held_out": 1024, "progress": True}
    clocks = time.perf_counter(), time.process_time()
    if recipe.distilled:
        weights, curve = imitation.train(env, network, teacher, **shared)
    else:
        weights, curve = rl2.train(env, network, return_reward=recipe.return_reward, **shared)
    wall, cpu = (now - then for now, then in zip((time.perf_counter(), time.process_time()), clocks, strict=True))
    told |= {"held_out": curve["held_out"][:, 0].tolist(), "seconds": round(wall, 1), "cpu_seconds": round(cpu, 1)}
    one = agents.Agent(recipe.network, actions, agents.one(weights), recipe.settings, inputs, told=told)
    agents.save(path, one)
    return agents.load(path)


def trained_so(path, recipe, inputs, told):
    """Whether this code trained the agent of a file with this recipe; warns if not, and keeps damaged files."""
    if not path.exists():
        return False
    try:
        agent = agents.load_agent(path)
    except ValueError as error:
        warnings.warn(files.set_aside(path, str(error)), stacklevel=2)
        return False
    if not made_so(agent, recipe, inputs, told):
        warnings.warn(f"{path.name} is trained anew: its recipe or the code of its training was another", stacklevel=2)
        return False
    return True


def made_so(agent, recipe, inputs, told):
    """Whether an agent was trained with this recipe."""
    made = agent.name, agent.options, agent.inputs
    return made == (recipe.network, recipe.settings, inputs) and {key: agent.told.get(key) for key in told} == told


def stages(label, options):
    """The stages for agents trained on one distribution: `(stage, function that returns the sellers)`."""
    lanes = LANES[options.preset]

    @functools.cache
    def trained(*titles, many=False):
        recipes = {title: recipe for title, recipe in (AGENTS | ABLATIONS).items() if title in titles}
        if label in TASKS["valuations"]:  # counts of sales do not show the buyer
            recipes = {title: recipe for title, recipe in recipes.items() if recipe.network != "stats"}
        return {
            f"{title}/{seed}": train(label, title, recipe, seed, options)
            for title, recipe in recipes.items()
            for seed in options.seeds(many)
        }

    def all_on(where):
        return lambda: tasks.classics(where) | trained(*AGENTS)

    def in_sequence():
        apart = {"Thompson, true prior": tasks.prior(label), "Thompson": policies.thompson()}
        return apart | trained(*AGENTS) | tasks.learners(label)

    def ablated():
        return {"Thompson, true prior": tasks.prior(label)} | trained("RL2", *ABLATIONS, many=True)

    for where in TASKS[label]:
        yield Stage(where, tasks.market(where), lanes), all_on(where)
    if label in tasks.LONGER:
        yield Stage(f"{label}, {2 * HORIZON} sales", tasks.market(label), lanes, 2 * HORIZON), all_on(label)
    if label in tasks.SEQUENCE:
        yield tasks.in_sequence(label, max(16, lanes // 8)), in_sequence
    if options.ablations and label == next(iter(TASKS)):
        yield Stage(f"{label}, ablations", tasks.market(label), lanes), ablated


def main(options):
    """Train, play, print and write; rows of other runs in the folder stay in the table."""
    console = Console()
    for label in options.only:
        jaxprice.checks.choice("distribution", label, TASKS)
    jaxprice.use_cpu_cores()
    if options.preset == "smoke":
        jaxprice.devices.compile_quickly()
    out = saved.open_folder(options.out, {"study": "meta_pricing", "preset": options.preset, "lanes": LANES[options.preset]})
    options, walk, abouts = dataclasses.replace(options, out=out), fingerprint.Walk(narrow=True), {}
    write = tables.write if files.can_write(out) else lambda path, rows: None
    wanted = [(label, *stage) for label in options.only or TASKS for stage in stages(label, options)]
    for label, stage, sellers in wanted:
        with saved.resumable(out):
            lost = {}
            for name, policy in sellers().items():
                console.print(f"{label} -> {stage.name}: {name}", style="dim")
                title = f"{label}, {stage.name}, {name}"
                played = functools.partial(stage.play, policy)
                cell, abouts[title] = saved.load_or_make(
                    out / "cells", title, lambda played=played: {"lost": played()}, walk
                )
                lost[name] = cell["lost"]
            rows = tables.rows_of(label, stage.name, lost, tables.times(stage.horizon))
            slug = re.sub(r"\W+", "-", f"{label}-{stage.name}")
            write(out / "rows" / f"{slug}.csv", rows)
            tables.show(rows, console)
    if write is not tables.write:
        return
    rows = tables.gather(out / "rows", TASKS)
    write(out / "table.csv", rows)
    files.write(out / "table.md", tables.markdown(rows))
    tables.plot_figure(rows, out / "regret.png")
    before = (files.read_json(out / "manifest.json") or {}).get("cells", {})
    files.write_json(out / "manifest.json", {"revision": provenance.revision(), "cells": before | manifest.of_cells(abouts)})
    console.print(f"{out}/table.csv, table.md, regret.png")

"""Train bandit agents: those in the package, and those of the table of Duan et al.

    python -m experiments.train_agents                              # the agents of the package
    python -m experiments.train_agents --only n10_k5 --seeds 5      # one recipe, five runs
    python -m experiments.train_agents --only n100_k5_ppo --resume  # continues a killed run

A recipe specifies market, network and training of an agent. Every run is scored on 20,000 fresh lifetimes (for Bernoulli
bandits of up to 12 pulls also by the exact value over all reward paths). The run with the best held-out score during
training is kept. Files in `--out`: `<recipe>.npz` (the agent), `<recipe>.csv` (one line a run: seed, score, the paired gap
to the finite-horizon Gittins policy, and the seconds of all its starts), and `<recipe>.png` (learning curves). `SHIPPED`
maps names of agents in the package to recipes.
"""

import csv
import dataclasses
import functools
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np
from rich.console import Console

import jaxprice
from experiments.frame import command
from jaxprice import agents, checks, files, policies
from jaxprice.agents import imitation, lifetimes, rl2

SCORED = 20_000  # number of lifetimes
SHIPPED = {"bandit_rl2": "n10_k5", "bandit_in_context": "n100_k5_distilled"}  # agents for pricing: `meta_pricing`


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The training of one agent.

    Attributes:
      market, settings: arguments of `jaxprice.make`; the agent learns from its task distribution.
      horizon: number of periods of a lifetime.
      network, options, inputs: arguments of `networks.make`.
      method: "ppo", "a2c", "distil" (from the finite-horizon Gittins policy) or "dpt".
      updates, lanes, minibatches, hyper, return_reward: arguments of `rl2.train` and `imitation.train`.
    """

    market: str
    settings: dict
    horizon: int
    network: str
    method: str
    updates: int
    lanes: int
    hyper: agents.Hyper
    options: dict = dataclasses.field(default_factory=dict)
    inputs: agents.Inputs = dataclasses.field(default_factory=agents.Inputs)
    minibatches: int = 4
    return_reward: str = "posterior_mean"

    @property
    def env(self):
        """The market."""
        return jaxprice.make(self.market, **self.settings)[0]

    @property
    def actions(self):
        """Number of actions."""
        return self.env.action_space().n

    @property
    def built(self):
        """The network."""
        scale = 0.1 if self.method in ("distil", "dpt") else 0.01
        return agents.networks.make(self.network, actions=self.actions, inputs=self.inputs, head_scale=scale, **self.options)

    @property
    def deploy(self):
        """How the agent acts, "sample" or "argmax"."""
        return "sample" if self.method == "dpt" else "argmax"

    def train(self, seeds, **options):
        """`(weights, curve)` of the runs."""
        shared = {"horizon": self.horizon, "updates": self.updates, "seeds": seeds, "lanes": self.lanes}
        shared |= {"hyper": self.hyper} | options
        if self.method in ("ppo", "a2c"):
            shared |= {"minibatches": self.minibatches, "return_reward": self.return_reward}
            return rl2.train(self.env, self.built, algorithm=self.method, **shared)
        if self.method == "distil":
            return imitation.train(self.env, self.built, policies.gittins(horizon=self.horizon), **shared)
        return imitation.train(self.env, self.built, policies.oracle(), actor=policies.thompson(), **shared)


def bandit(arms, horizon, network, method, updates, lanes, **changes):
    """A recipe on Bernoulli arms with uniform means."""
    return Recipe("BernoulliBandit", {"num_arms": arms}, horizon, network, method, updates, lanes, **changes)


def recipes():
    """Name -> `Recipe`."""
    short = agents.Hyper(learning_rate=3e-3, entropy=0.02, trace=0.9)
    long = agents.Hyper(learning_rate=3e-3, entropy=0.05, trace=0.97, warm_up=0.05)
    stats = agents.Hyper(learning_rate=3e-3, entropy=0.01, trace=0.97)
    imitating = agents.Hyper(learning_rate=2e-3, decay=1e-4, warm_up=0.1)
    named = {f"n10_k{k}": bandit(k, 10, "gru", "ppo", 600, 1024, hyper=short) for k in (5, 10, 50)}
    named |= {f"n10_k{k}_distilled": bandit(k, 10, "gru", "distil", 800, 512, hyper=imitating) for k in (5, 10, 50)}
    for k in (5, 10):
        named |= {
            f"n100_k{k}_distilled": bandit(k, 100, "min_gru", "distil", 1000, 64, hyper=imitating),
            f"n100_k{k}_ppo": bandit(k, 100, "gru", "ppo", 1600, 256, hyper=long, return_reward="regret"),
            f"n100_k{k}_stats": bandit(k, 100, "stats", "ppo", 300, 256, hyper=stats),
        }
    return named


@dataclasses.dataclass(frozen=True)
class Options:
    """What to train."""

    only: tuple[str, ...] = tuple(SHIPPED.values())
    """Names of the recipes."""
    seeds: int = 3
    """Number of runs of each recipe."""
    first_seed: int = 0
    """Seed of the first run."""
    updates: int | None = None
    """Number of updates, instead of the recipe's."""
    together: bool = False
    """Train the runs in one vmap; otherwise one after another, each with its own time."""
    resume: bool = False
    """Store checkpoints in `--out`, and resume from existing ones."""
    out: Path = Path("results/agents")
    """Results folder."""

    def __post_init__(self):
        if not self.only:
            raise ValueError(f"only must name at least one recipe (allowed: {', '.join(recipes())})")
        for name in self.only:
            checks.choice("recipe", name, recipes())
        checks.positive_int("seeds", self.seeds)
        checks.whole("first_seed", self.first_seed, 0, 2**32 - self.seeds)
        if self.updates is not None:
            checks.positive_int("updates", self.updates)


def score(recipe, weights, actor=None):
    """Expected reward of every fresh lifetime under the agent, or under the policy `actor`, and of the oracle."""
    play = lifetimes.Play(recipe.env, recipe.built, recipe.horizon, deploy=recipe.deploy, actor=actor)
    live, parts = jax.jit(jax.vmap(play.live, (None, None, 0))), []
    for first in range(0, SCORED, 2000):
        lives = live(weights, lifetimes.streams(2**31), np.arange(first, first + 2000, dtype=np.uint32))
        parts.append([np.asarray(x.sum(axis=1), float) for x in (lives.expected, lives.optimal)])
    return np.concatenate(parts, axis=1)


@functools.lru_cache(maxsize=4)
def gittins(arms, horizon):
    """Reward of the finite-horizon Gittins policy in the same lifetimes, float `[SCORED]`."""
    recipe = bandit(arms, horizon, "none", "distil", 1, 1, hyper=agents.Hyper())
    weights = agents.networks.initial(
        recipe.built, jax.random.key(0), *lifetimes.Play(recipe.env, recipe.built, 1).example()
    )
    return score(recipe, weights, policies.gittins(horizon=horizon))[0]


def exact(recipe, agent):
    """Exact value of the agent of a short bandit, otherwise None."""
    if recipe.market != "BernoulliBandit" or recipe.horizon > 12:
        return None
    from jaxprice.oracles import reward_paths

    return float(reward_paths.value(recipe.env, agent.policy(), recipe.horizon))


def train(name, recipe, options, console):
    """Train the runs of one recipe, write its files, and return the rows."""
    if options.updates is not None:
        recipe = dataclasses.replace(recipe, updates=options.updates)
    seeds = list(range(options.first_seed, options.first_seed + options.seeds))
    rows, curves, trained = [], [], []
    for group in [seeds] if options.together else [[seed] for seed in seeds]:
        folder = options.out / "checkpoints" / f"{name}-{group[0]}-{len(group)}" if options.resume else None
        weights, curve = recipe.train(group, folder=folder, progress=True)
        wall, cpu = (float(curve[name][-1, 0]) for name in ("wall_s", "cpu_s"))  # summed over all starts
        curves.append(curve)
        for run, seed in enumerate(group):
            agent = agents.Agent(recipe.network, recipe.actions, agents.one(weights, run), recipe.options, recipe.inputs,
                                 recipe.deploy)  # fmt: skip
            earned, best = score(recipe, agent.weights)
            gap = earned - gittins(recipe.actions, recipe.horizon)
            row = {
                "recipe": name,
                "seed": seed,
                "updates": recipe.updates,
                "reward": earned.mean(),
                "regret": (best - earned).mean(),
            }
            row |= {"regret_se": (best - earned).std() / SCORED**0.5, "gap": gap.mean(), "gap_se": gap.std() / SCORED**0.5}
            row |= {"exact": exact(recipe, agent)}
            row |= {"wall_s": round(wall / len(group), 1), "cpu_s": round(cpu / len(group), 1)}
            console.print(" ".join(f"{key}={value:.5g}" if isinstance(value, float) else f"{key}={value}"
                                   for key, value in row.items()))  # fmt: skip
            rows.append(row)
            score_of = float(curve["held_out"][-1, run]), -float(curve["held_out_regret"][-1, run])
            trained.append((score_of, dataclasses.replace(agent, told=told(name, recipe, row))))
    agents.save(options.out / f"{name}.npz", best_of(trained))
    files.write_csv(options.out / f"{name}.csv", list(rows[0]), rows)
    plot_figure(name, recipe, curves, options.out / f"{name}.png")
    return rows


def best_of(trained):
    """The agent with the highest share of the oracle's reward or, if a run has no share, with the smallest regret.

    Args:
      trained: list of `((share, minus regret), agent)`, with both scores on held-out lifetimes.
    """
    by = 1 if any(np.isnan(share) for (share, _), _ in trained) else 0
    return max(trained, key=lambda one: one[0][by])[1]


def told(name, recipe, row):
    """The description of the training on the card of an agent."""
    about = {"name": name, "market": recipe.market, "settings": recipe.settings, "horizon": recipe.horizon}
    about |= {"method": recipe.method, "updates": recipe.updates, "lanes": recipe.lanes, "seed": row["seed"]}
    about |= {"hyper": {key: float(value) for key, value in vars(recipe.hyper).items()}}
    about |= {"return_reward": recipe.return_reward if recipe.method in ("ppo", "a2c") else None}
    return about | {
        "scores": {key: row[key] and float(row[key]) for key in ("reward", "regret", "regret_se", "gap", "gap_se", "exact")}
    }


def plot_figure(name, recipe, curves, path):
    """Learning curves: the held-out share of the oracle's reward."""
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for curve in curves:
        for run in range(curve["held_out"].shape[1]):
            axes.plot(curve["update"][:, run], curve["held_out"][:, run], lw=1)
    axes.set(xlabel="update", ylabel="share of the oracle's reward, held out", title=f"{name} ({recipe.method})")
    files.write_figure(path, figure, dpi=120)
    plt.close(figure)


def main(options):
    """Train the requested agents.

    Raises:
      ValueError: the results folder is read-only and does not hold the requested agents.
    """
    known, console = recipes(), Console()
    _, writable = files.open_folder(options.out, "out", "agents", lambda: True)
    for name in dict.fromkeys(options.only):
        if writable:
            train(name, known[name], options, console)
        else:
            stored(name, known[name], options, console)


def stored(name, recipe, options, console):
    """Show and return the rows of a trained recipe, from a read-only folder.

    Raises:
      ValueError: the folder holds no agent of this recipe, or not the requested runs.
    """
    path, updates = options.out / f"{name}.csv", options.updates or recipe.updates
    seeds = {str(options.first_seed + k) for k in range(options.seeds)}
    rows = []
    if path.is_file() and path.with_suffix(".npz").is_file():
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
    if not rows or {row["updates"] for row in rows} != {str(updates)} or {row["seed"] for row in rows} != seeds:
        wanted = f"where {name} was not trained with {updates} updates and the seeds {', '.join(sorted(seeds))}"
        raise ValueError(f"out must be a folder that can be written, got {options.out}, {wanted}")
    card = agents.load_agent(path.with_suffix(".npz")).told
    if card != told(name, dataclasses.replace(recipe, updates=updates), card | card["scores"]):
        raise ValueError(f"out must be a folder that can be written, got {options.out}, where {name} had another recipe")
    for row in rows:
        console.print(" ".join(f"{key}={value}" for key, value in row.items()))
    console.print(f"as saved: {options.out} cannot be written")
    return rows


if __name__ == "__main__":
    command.run(main, Options)

"""Speed of agents: tokens a second in training, and decisions a second in `simulate`, for every network.

    python -m experiments.agent_throughput
    python -m experiments.agent_throughput --out agents.jsonl

A token is a period of a lifetime. Training counts each token once, although PPO passes over it twice. The reference is
`plain_ppo`, a PPO like those of single-file baselines, with the same lanes, minibatches and epochs on the same bandit
(uniform means). It runs on one device, ours on all. It is measured with a GRU for every network of ours, and with the same
network if that has a cell (a minGRU needs about three and a half times the arithmetic of a GRU). Runs alternate, and the
best of each counts.
"""

import dataclasses
import datetime
import json
import math
import time
from pathlib import Path

import jax
from rich.console import Console
from rich.table import Table

import jaxprice
from experiments.frame import command
from experiments.references import plain_ppo
from jaxprice import agents, checks
from jaxprice.agents import learning, lifetimes, rl2
from jaxprice.envs.bernoulli_bandit import BernoulliBandit

CELLS = ("min_gru", "gru", "lstm")  # networks that the plain loop can step
NETWORKS = {
    "min_gru": {"size": 64},
    "gru": {"size": 64},
    "lstm": {"size": 64},
    "transformer": {"size": 64},
    "stats": {"size": 32},
}


@dataclasses.dataclass(frozen=True)
class Options:
    """What to measure."""

    networks: tuple[str, ...] = tuple(NETWORKS)
    """Which networks."""
    arms: int = 5
    """Arms of the bandit."""
    horizon: int = 100
    """Periods of a lifetime."""
    lanes: int = 256
    """Lifetimes of an update."""
    updates: int = 4
    """Updates of a timed run."""
    acting: int = 4096
    """Lanes that act."""
    repeats: int = 3
    """Number of runs; the best one counts."""
    out: Path | None = None
    """Append JSON lines to this file."""

    def __post_init__(self):
        if not self.networks:
            raise ValueError(f"networks must name at least one network (allowed: {', '.join(NETWORKS)})")
        for name in self.networks:
            checks.choice("network", name, NETWORKS)
        for name in ("arms", "horizon", "lanes", "updates", "acting", "repeats"):
            checks.positive_int(name, getattr(self, name))


def timed(run):
    """Seconds that a run takes."""
    start = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - start


def trainer(name, options):
    """A compiled function that trains for `updates` updates."""
    env = BernoulliBandit(num_arms=options.arms)
    network = agents.networks.make(name, actions=options.arms, **NETWORKS[name])
    play = lifetimes.Play(env, network, options.horizon)
    training = learning.Training(play, options.lanes, 4)
    return lambda: learning.run(
        training, rl2.PPO(), agents.Hyper(), 0, options.updates, chunk=options.updates, held_out=jax.local_device_count()
    )


def actor(name, options):
    """A function that plays a lifetime in every lane."""
    env = BernoulliBandit(num_arms=options.arms)
    network = agents.networks.make(name, actions=options.arms, **NETWORKS[name])
    weights = agents.networks.initial(network, jax.random.key(0), *lifetimes.Play(env, network, options.horizon).example())
    policy = agents.Agent(name, options.arms, weights, NETWORKS[name]).policy()
    play = {"lanes": options.acting, "horizon": options.horizon}
    return lambda: jaxprice.simulate(env, {name: policy}, **play)["regret"].values


def plain(core, options):
    """A compiled function that trains for `updates` updates with the plain PPO."""
    ppo = plain_ppo.PlainPPO(options.arms, options.horizon, options.lanes, core=core)
    state = ppo.start(jax.random.key(0))
    return lambda: ppo.train(state, options.updates)[1]


def measure(name, options):
    """A row of the table, as a dict."""
    runs = {"train": trainer(name, options), "act": actor(name, options), "gru": plain("gru", options)}
    if name in CELLS:
        runs["same"] = plain(name, options)
    compiling = {kind: timed(run) for kind, run in runs.items()}["train"]
    best = {kind: math.inf for kind in runs}
    for _ in range(options.repeats):
        best = {kind: min(best[kind], timed(run)) for kind, run in runs.items()}
    tokens = options.updates * options.lanes * options.horizon
    row = {"network": name, "arms": options.arms, "horizon": options.horizon, "lanes": options.lanes}
    row |= {"tokens_per_s": round(tokens / best["train"]), "plain_tokens_per_s": round(tokens / best["gru"])}
    row |= {"ratio": round(best["gru"] / best["train"], 2)}
    row |= {"ratio_same_network": round(best["same"] / best["train"], 2) if "same" in best else None}
    row |= {"decisions_per_s": round(options.acting * options.horizon / best["act"])}
    row |= {"compile_s": round(compiling - best["train"], 1), "device": jax.local_devices()[0].device_kind}
    return row | {"devices": jax.local_device_count(), "jax": jax.__version__, "date": datetime.date.today().isoformat()}


def open_file(out):
    """Create the file before the first measurement.

    Raises:
      ValueError: it is a folder, or cannot be written.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.open("a").close()
    except OSError as error:
        raise ValueError(f"out must be a file that can be written, got {out}: {error.strerror}") from error


def main(options):
    """Measure, print, and append to the file.

    Raises:
      ValueError: the file cannot be written.
    """
    jaxprice.use_cpu_cores()  # before anything starts the backend
    console = Console()
    if options.out is not None:
        open_file(options.out)
    table = Table(title=f"agents, {options.arms} arms, {options.horizon} periods: thousand tokens and decisions a second")
    for column in ("network", "training", "plain GRU", "ratio", "ratio, same network", "acting", "compile s"):
        table.add_column(column, justify="left" if column == "network" else "right")
    for name in options.networks:
        with console.status(name):
            row = measure(name, options)
        speeds = [f"{row[key] / 1e3:,.0f}" for key in ("tokens_per_s", "plain_tokens_per_s", "decisions_per_s")]
        same = row["ratio_same_network"]
        ratios = f"{row['ratio']:.1f}", "" if same is None else f"{same:.1f}"
        table.add_row(name, *speeds[:2], *ratios, speeds[2], f"{row['compile_s']:.1f}")
        if options.out is not None:
            with options.out.open("a") as file:
                file.write(json.dumps(row) + "\n")
    console.print(table)


if __name__ == "__main__":
    command.run(main, Options)

"""Speed of agents: tokens a second in training, and decisions a second in `simulate`, for each network.

    python -m experiments.agent_throughput
    python -m experiments.agent_throughput --out agents.jsonl

A token is a period of a lifetime; training counts each once, though PPO passes over it twice. The reference is `plain_ppo`,
a PPO with a GRU as single-file baselines have it, with the same lanes, minibatches and epochs on the same bandit (uniform
means); it runs on one device, ours on all. Runs take turns, and the best of each counts.
"""

import dataclasses
import json
import time
from pathlib import Path

import jax
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

import jaxprice
from experiments import plain_ppo
from jaxprice import agents
from jaxprice.agents import learning, lifetimes, rl2
from jaxprice.envs.bernoulli_bandit import BernoulliBandit

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
    """The best of so many runs counts."""
    out: Path | None = None
    """Append JSON lines to this file."""


def timed(run):
    """Seconds of a run."""
    start = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - start


def trainer(name, options):
    """A function that trains for `updates` updates, compiled."""
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


def main(options):
    """Measure, print, and append to the file."""
    jaxprice.use_cpu_cores()  # before anything starts the backend
    console, rows = Console(), []
    plain = plain_ppo.PlainPPO(options.arms, options.horizon, options.lanes)
    state = plain.start(jax.random.key(0))
    tokens = options.updates * options.lanes * options.horizon

    def reference():
        return plain.train(state, options.updates)[1]

    table = Table(title=f"agents, {options.arms} arms, {options.horizon} periods: thousand tokens and decisions a second")
    for column in ("network", "training", "plain PPO", "ratio", "acting", "compile s"):
        table.add_column(column, justify="left" if column == "network" else "right")
    timed(reference)
    for name in options.networks:
        jaxprice.checks.choice("network", name, NETWORKS)
        with console.status(name):
            train, act = trainer(name, options), actor(name, options)
            compiling = timed(train)
            timed(act)
            pairs = [(timed(train), timed(reference), timed(act)) for _ in range(options.repeats)]
        best, plain_best, acting = np.min(pairs, axis=0)
        row = {"network": name, "arms": options.arms, "horizon": options.horizon, "lanes": options.lanes}
        row |= {"tokens_per_s": round(tokens / best), "plain_tokens_per_s": round(tokens / plain_best)}
        row |= {"ratio": round(plain_best / best, 2), "decisions_per_s": round(options.acting * options.horizon / acting)}
        row |= {"compile_s": round(compiling - best, 1), "device": jax.local_devices()[0].device_kind}
        rows.append(row | {"devices": jax.local_device_count()})
        numbers = (row["tokens_per_s"] / 1e3, row["plain_tokens_per_s"] / 1e3, row["ratio"], row["decisions_per_s"] / 1e3)
        cells = [f"{x:,.0f}" if x > 100 else f"{x:.1f}" for x in numbers]
        table.add_row(name, *cells, f"{row['compile_s']:.1f}")
        if options.out is not None:
            options.out.parent.mkdir(parents=True, exist_ok=True)
            with options.out.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    console.print(table)


if __name__ == "__main__":
    main(tyro.cli(Options))

"""Speed of agents: tokens a second in training, and decisions a second in `simulate`, for every network; DQN and PPO.

    python -m experiments.agent_throughput
    python -m experiments.agent_throughput --out agents.jsonl

A token is a period of a lifetime. Training counts each token once, although PPO passes over it twice. The reference is
`plain_ppo`, a PPO like those of single-file baselines, with the same lanes, minibatches and epochs on the same bandit
(uniform means). It runs on one device, ours on all. It is measured with a GRU for every network of ours, and with the same
network if that has a cell (a minGRU needs about three and a half times the arithmetic of a GRU). The transformer of the
reference has no cache: it acts by attention over the whole lifetime in each period. Runs alternate, and the best of each
counts.

Beside the tokens stands the share of the machine's limit: arithmetic of the matrix products of a token (two for each weight
and each product of attention; one pass to act, and three in each epoch) by the speed of products of 1024 x 1024 matrices.

DQN and PPO train on a season of 30 periods with 10 units, one run a device. Their reference is `plain_loops`: a Python loop
over jitted steps, with the same network, lanes, batches and passes, and the same switches of DQN (double and dueling).
"""

import dataclasses
import datetime
import json
import math
import time
from pathlib import Path

import jax
import jax.numpy as jnp
from rich.console import Console
from rich.table import Table

import jaxprice
from experiments.frame import command
from experiments.references import plain_loops, plain_ppo
from jaxprice import agents, checks
from jaxprice.agents import dqn, learning, lifetimes, ppo, rl2
from jaxprice.envs.bernoulli_bandit import BernoulliBandit

CELLS = ("min_gru", "gru", "lstm", "transformer")  # networks that the plain loop has
EPOCHS = 2  # passes of PPO on lifetimes
PLAIN = {"double": True, "dueling": True, "prioritised": False, "n_step": 1}  # switches of the plain DQN
LEARNERS = ("dqn", "ppo")
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
    learners: tuple[str, ...] = LEARNERS
    """Which learners of markets with state."""
    arms: int = 5
    """Arms of the bandit."""
    horizon: int = 100
    """Periods of a lifetime."""
    lanes: int = 256
    """Lifetimes of an update."""
    updates: int = 4
    """Updates of a timed run."""
    periods: int = 32_768
    """Periods of a timed run of a learner of markets with state."""
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
        for name in self.learners:
            checks.choice("learner", name, LEARNERS)
        for name in ("arms", "horizon", "lanes", "updates", "periods", "acting", "repeats"):
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


def arithmetic(name, options):
    """Operations of the matrix products of a token: one pass to act, and three in each epoch."""
    env = BernoulliBandit(num_arms=options.arms)
    network = agents.networks.make(name, actions=options.arms, **NETWORKS[name])
    weights = agents.networks.initial(network, jax.random.key(0), *lifetimes.Play(env, network, options.horizon).example())
    count = sum(leaf.size for leaf in jax.tree.leaves(weights) if leaf.ndim == 2)
    if name == "transformer":
        core = network.core
        count += -core.longest * core.size + core.layers * core.size * options.horizon  # positions; half of two products
    return 2 * count * (1 + 3 * EPOCHS)


def products_per_second(size=1024, repeats=5):
    """Operations a second in products of square matrices, on all devices together; the best of some."""
    mesh = jaxprice.devices.mesh()
    spread = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(jaxprice.devices.AXIS))
    matrices = jax.device_put(jnp.ones((mesh.size, size, size), jnp.float32), spread)
    product = jax.jit(jax.vmap(lambda x: x @ x @ x @ x))
    product(matrices).block_until_ready()
    return 3 * 2 * mesh.size * size**3 / min(timed(lambda: product(matrices)) for _ in range(repeats))


def measure_learner(name, options):
    """A row of a learner of markets with state, as a dict: periods a second of one run a device, and of the plain loop."""
    env, params = jaxprice.make("FiniteInventory", horizon=30, stock=10)
    shape = {"dqn": {"lanes": 16, "length": 4}, "ppo": {"lanes": 32, "length": 32}}[name]
    runs = jax.local_device_count()
    updates = max(1, options.periods // (shape["lanes"] * shape["length"]))
    periods = updates * shape["lanes"] * shape["length"]
    trainer = {"dqn": dqn, "ppo": ppo}[name]
    told = {"steps": periods, "seeds": range(runs), "points": 2, "held_out": 1} | (PLAIN if name == "dqn" else {})
    plain = {"dqn": plain_loops.PlainDQN, "ppo": plain_loops.PlainPPO}[name](env, params, **shape)

    def ours():
        clock = trainer.train(env, params, **shape, **told).curve["wall_s"][:, 0]
        return 2 * float(clock[1] - clock[0])  # the second half, after compilation

    plain.train(1)
    best = {"ours": math.inf, "plain": math.inf}
    for _ in range(options.repeats):
        best["plain"] = min(best["plain"], timed(lambda: plain.train(updates)))
        best["ours"] = min(best["ours"], ours())
    row = {"learner": name, "market": "FiniteInventory", **shape, "runs": runs}
    row |= {"periods_per_s": round(runs * periods / best["ours"]), "plain_periods_per_s": round(periods / best["plain"])}
    return row | {"ratio": round(runs * best["plain"] / best["ours"], 2)} | of_machine()


def of_machine():
    """Where and when a row was measured."""
    where = {"device": jax.local_devices()[0].device_kind, "devices": jax.local_device_count()}
    return where | {"jax": jax.__version__, "date": datetime.date.today().isoformat()}


def measure(name, options, limit):
    """A row of the table, as a dict; `limit` are operations a second in matrix products."""
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
    row |= {"compile_s": round(compiling - best["train"], 1), "limit_gflops": round(limit / 1e9, 1)}
    row |= {"share_of_limit": round(arithmetic(name, options) * tokens / best["train"] / limit, 3)}
    return row | of_machine()


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
    columns = "network", "training", "plain GRU", "ratio", "ratio, same network", "acting", "compile s", "% of the limit"
    for column in columns:
        table.add_column(column, justify="left" if column == "network" else "right")
    limit = products_per_second() if options.networks else math.nan
    for name in options.networks:
        with console.status(name):
            row = measure(name, options, limit)
        speeds = [f"{row[key] / 1e3:,.0f}" for key in ("tokens_per_s", "plain_tokens_per_s", "decisions_per_s")]
        same = row["ratio_same_network"]
        ratios = f"{row['ratio']:.1f}", "" if same is None else f"{same:.1f}"
        table.add_row(name, *speeds[:2], *ratios, speeds[2], f"{row['compile_s']:.1f}", f"{100 * row['share_of_limit']:.0f}")
        keep(row, options.out)
    console.print(table)
    table = Table(title="markets with state: thousand periods a second in training")
    for column in ("learner", "training", "plain loop", "ratio"):
        table.add_column(column, justify="left" if column == "learner" else "right")
    for name in options.learners:
        with console.status(name):
            row = measure_learner(name, options)
        speeds = [f"{row[key] / 1e3:,.0f}" for key in ("periods_per_s", "plain_periods_per_s")]
        table.add_row(name, *speeds, f"{row['ratio']:.1f}")
        keep(row, options.out)
    if options.learners:
        console.print(table)


def keep(row, out):
    """Append a row to the file, if there is one."""
    if out is not None:
        with out.open("a") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    command.run(main, Options)

"""Smaller agents: int8 and float16 weights, and distillation into a narrower network, for the agents in the package.

    python -m experiments.smaller_agents                          # all agents: minutes of CPU time, most of it training
    python -m experiments.smaller_agents --only bandit_rl2 --widths

| variant | weights |
|---|---|
| float32 | as trained |
| float16 | rounded to float16, computed in float32 |
| int8 | matrices rounded to 127 levels on each side of zero, one scale for each output channel; biases float32 |
| width w | a network of width w that imitates the agent on histories of its own; float16 |

Every variant plays the same markets of the training distribution against the same buyers as the original. The gap is its
regret minus the original's, paired, with a 95 % interval; a loss is within noise if the interval reaches zero. Bytes are
those of the weights. Microseconds a decision are those of one lane in single compiled calls (`alone`), and of
1,024 lanes together (`wide`), below which a tenth of the calls stays. Weights are expanded to float32 when an agent is
loaded, so float16 and int8 change the size of the file and not the speed.

`--ship` also writes each agent into the package, in int8, float16 or float32, the smallest of these whose loss is within
noise. Reading is exact: float16 is a float32, and int8 times its scale is one multiplication. A narrower network is another
agent, and is not shipped.

Source of the scales for each channel: R. Krishnamoorthi (2018), "Quantizing deep convolutional networks for efficient
inference", arXiv:1806.08342.
"""

import dataclasses
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

import jaxprice
from experiments.agent_cards import PLACE, markets
from experiments.frame import command
from jaxprice import agents, checks, files, stats
from jaxprice.agents import agent_file, fitting, imitation
from jaxprice.types import Transition

HEADER = (
    *("agent", "variant", "weights", "bytes", "alone_us", "wide_us", "regret", "regret_se", "gap", "gap_low", "gap_high"),
    *("share", "lanes", "updates"),
)
SEED = 4242  # seed of the markets that are played
WIDE = 1024  # lanes that decide together


@dataclasses.dataclass(frozen=True)
class Options:
    """What to measure."""

    only: tuple[str, ...] = ()
    """Agents; all by default."""
    widths: tuple[int, ...] = (32,)
    """Widths of the narrower networks."""
    lanes: int = 4000
    """Markets that each variant plays."""
    updates: int = 300
    """Updates of a distillation."""
    ship: bool = False
    """Write the smallest weights that lose nothing into the package; then measure the cards anew."""
    out: Path = Path("results/smaller_agents")
    """Results folder."""

    def __post_init__(self):
        for name in self.only:
            checks.choice("agent", name, agents.list_agents())
        checks.whole("lanes", self.lanes, 2)
        checks.positive_int("updates", self.updates)
        for width in self.widths:
            checks.positive_int("widths", width)


def half(weights):
    """Flat weights rounded to float16, and their bytes: `(float32 weights, bytes)`."""
    small = {name: np.asarray(x).astype(np.float16) for name, x in weights.items()}
    return {name: x.astype(np.float32) for name, x in small.items()}, sum(x.nbytes for x in small.values())


def eighth(weights):
    """Flat weights with matrices rounded to int8 for each output channel, and their bytes."""
    small = fitting.packed(weights)
    return fitting.expanded(small), sum(x.nbytes for x in small.values())


def narrower(agent, env, width, updates):
    """The agent of this width that imitates `agent`."""
    options = agent.options | {"size": width}
    network = agents.networks.make(agent.name, actions=agent.actions, inputs=agent.inputs, head_scale=0.1, **options)
    shared = {"horizon": agent.told["horizon"], "updates": updates, "lanes": 64, "seeds": 0, "deploy": agent.deploy}
    weights, _ = imitation.train(env, network, agent.policy(), **shared)
    told = {key: agent.told[key] for key in ("market", "settings", "horizon") if key in agent.told}
    told |= {"method": "distil", "updates": updates, "lanes": 64, "seed": 0, "name": f"width {width}"}
    return dataclasses.replace(agent, weights=agents.one(weights), options=options, told=told)


def variants(agent, env, options):
    """Name -> `(agent, bytes, updates)`."""
    flat = agent.checked()
    found = {"float32": (agent, sum(x.nbytes for x in flat.values()), 0)}
    for name, smaller in (("float16", half), ("int8", eighth)):
        weights, size = smaller(flat)
        found[name] = dataclasses.replace(agent, weights=fitting.nested(weights)), size, 0
    for width in options.widths:
        small = narrower(agent, env, width, options.updates)
        weights, size = half(small.checked())
        found[f"width {width}"] = dataclasses.replace(small, weights=fitting.nested(weights)), size, options.updates
    return found


def microseconds(agent, env):
    """Microseconds a decision of one lane alone, and of `WIDE` lanes together."""
    params = jax.tree.map(jnp.asarray, env.default_params())
    seen, _ = env.reset_env(jax.random.key(0), params)
    problem, policy = env.problem(params).with_observation(seen), agent.policy()
    state = policy.init(jax.random.key(0), problem)
    price = jnp.asarray(problem.prices, jnp.float32)[0]
    sale = Transition(seen, jnp.int32(0), price, jnp.float32(1), price - problem.cost, seen)
    key = jax.random.key(1)

    def decide(state):
        state = policy.update(key, state, sale)
        return state, policy.act(key, state, seen)

    alone, wide = jax.jit(decide), jax.jit(jax.vmap(decide))
    many = jax.tree.map(lambda x: jnp.broadcast_to(x, (WIDE, *jnp.shape(x))), state)
    return typical(alone, state, 2000), typical(wide, many, 100) / WIDE


def typical(function, state, calls):
    """Microseconds that a tenth of the calls stays below: what the code takes where nobody interrupts it."""
    jax.block_until_ready(function(state))
    found = []
    for _ in range(calls):
        start = time.perf_counter()
        state, action = function(state)
        jax.block_until_ready(action)
        found.append(time.perf_counter() - start)
    return 1e6 * float(np.quantile(found, 0.1))


def rows(name, options):
    """The rows of an agent."""
    agent = agents.load_agent(name)
    if not isinstance(agent.told["horizon"], int):
        raise ValueError("its training is not that of one market with a horizon")
    env, _ = markets(agent.told)
    made = variants(agent, env, options)
    sellers = {key: one.policy() for key, (one, _, _) in made.items()}
    run = jaxprice.simulate(env, sellers, seed=SEED, lanes=options.lanes, horizon=agent.told["horizon"])
    last, lost = run.isel(time=-1), run["lane_regret"]
    original = lost.sel(policy="float32").values
    for key, (one, size, updates) in made.items():
        gap, se = stats.paired_difference(lost.sel(policy=key).values, original)
        low, high = stats.interval(gap, se, options.lanes)
        alone, wide = microseconds(one, env)
        numbers = last.sel(policy=key)
        told = (float(numbers["regret"]), float(numbers["regret_se"]), gap, low, high, float(numbers["share"]))
        count = sum(np.size(x) for x in jax.tree.leaves(one.weights))
        times = round(alone, 2), round(wide, 4)
        yield dict(zip(HEADER, (name, key, count, size, *times, *told, options.lanes, updates), strict=True))


def write(path, agent, variant):
    """Write an agent with weights in float32, float16 or int8."""
    flat = agent.checked()
    stored = {"float32": flat, "float16": {name: x.astype(np.float16) for name, x in flat.items()}, "int8": None}[variant]
    agent_file.write(path, agent.card, fitting.packed(flat) if stored is None else stored)


def smallest(table):
    """The variant with the fewest bytes whose loss is within noise, from the rows of an agent."""
    fit = [row for row in table if float(row["gap_low"]) <= 0]
    return min(fit, key=lambda row: int(row["bytes"]))["variant"]


def main(options):
    """Measure all variants and write the table."""
    console, found = Console(), []
    place = options.out / "table.csv"
    files.open_folder(options.out, "out", "the table of smaller agents", place.is_file)
    shown = Table("agent", "variant", "bytes", "alone, us", "wide, us", "regret", "gap (95 %)")
    for name in options.only or agents.list_agents():
        try:
            made = list(rows(name, options))
        except ValueError as error:
            console.print(f"{name}: left out, {error}")
            continue
        found += made
        files.write_csv(place, HEADER, found)
        for row in made:
            gap = f"{row['gap']:+.4f} ({row['gap_low']:+.4f} to {row['gap_high']:+.4f})"
            cells = f"{row['alone_us']:.1f}", f"{row['wide_us']:.2f}", f"{row['regret']:.4f}", gap
            shown.add_row(name, row["variant"], f"{row['bytes']:,}", *cells)
        console.print(f"{name}: the smallest within noise is {smallest(made)}")
        if options.ship:
            stored = smallest([row for row in made if not row["variant"].startswith("width")])
            write(PLACE / f"{name}.npz", agents.load_agent(name), stored)
    console.print(shown)
    return found


if __name__ == "__main__":
    command.run(main, Options, __doc__)

"""Wang et al. (2016), the informative bandit: an agent that learned to buy information, against policies that cannot.

    python -m experiments.studies.informative_bandit                   # default: two minutes on two cores
    python -m experiments.studies.informative_bandit --preset smoke    # seconds
    python -m experiments.studies.informative_bandit --preset full     # twenty training runs of each agent

There are eleven arms and five pulls. One of ten candidates pays 5 and nine pay 1. The last arm pays .1 to 1, and its payout
identifies the target (`jaxprice.envs.InformativeBandit`). Regret is relative to an oracle that knows the target and earns
25. Payouts are deterministic, so a deterministic policy has an exact regret, the mean over the ten bandits. Others are
simulated on bandits drawn from the prior, with the exact number beside.

| policy | description |
|---|---|
| optimum | the dynamic programme over the known payouts: the largest expected total of a seller who knows the prior |
| optimum without the last arm | the same, with candidates only |
| agents | RL^2: a recurrent network whose weights are trained on such bandits and frozen; greedy when scored |
| Thompson, true prior | pulls a target drawn from the posterior |
| Gittins, arms alone | finite-horizon indices of each arm by its own prior, without information about other arms |
| UCB1, random | those of the library; UCB1 pulls each arm once first, from arm 1 on |

The paper presents its results as Figure 3 and in words: the agent pulls the informative arm once and then the target;
Thompson sampling searches the candidates and stays with the target; UCB pulls every arm once even after finding the target.
The only printed numbers are the expected payouts of the first pull; statements in words are entered as the numbers they
imply.

Departures: the paper's agent is an LSTM of 48 units trained by A2C, the best five of a hundred runs with random learning
rate and discount. Here it is that network with fixed hyperparameters and all runs included, and a GRU trained by PPO. Both
see the last payout one-hot, as in the paper, and as a number. The weight of the entropy falls from 1 to zero. From .1, none
of five runs by A2C found a use for the last arm in 500 updates, because training abandons it before the network can use its
information.

Source: J. X. Wang, Z. Kurth-Nelson, D. Tirumala, H. Soyer, J. Z. Leibo, R. Munos, C. Blundell, D. Kumaran, M. Botvinick
(2016), "Learning to reinforcement learn", arXiv:1611.05763, section 3.1.3 and Figure 3.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

import jaxprice
from experiments.frame import study
from jaxprice import agents, policies
from jaxprice.agents import rl2
from jaxprice.types import Policy

ARMS, PULLS, PRIZE = 11, 5, 5.0
PAPER = "Wang et al. (2016), section 3.1.3"
NOTE = (
    "short training: the last arm is asked again for a target or two; a GRU trained by PPO with 300 x 256 bandits does not"
)
AGENTS = {  # network, its options, algorithm, updates, bandits in an update, hyperparameters
    "agent, LSTM by A2C": ("lstm", {"size": 48}, "a2c", 400, 128, agents.Hyper(learning_rate=5e-3, entropy=1.0, trace=1.0)),
    "agent, GRU by PPO": ("gru", {"size": 64}, "ppo", 100, 128, agents.Hyper(learning_rate=3e-3, entropy=1.0, trace=1.0)),
}


class Sizes(NamedTuple):
    """Number of bandits drawn, of agents trained, and of runs of each; and the share of its updates that a run makes."""

    lanes: int
    agents: int
    seeds: int
    share: float


@functools.cache
def market():
    """The environment."""
    return jaxprice.make("InformativeBandit", num_arms=ARMS, prize=PRIZE, horizon=PULLS)[0]


def every_bandit():
    """Params of the ten bandits, with a leading axis."""
    each = [market().params_of(target, PULLS) for target in range(ARMS - 1)]
    return jax.tree.map(lambda *x: np.stack(x), *each)


def optimum(arms=ARMS, pulls=PULLS, prize=PRIZE, informative=True):
    """Largest expected total of a seller who knows the prior, by dynamic programming over the candidates not yet tried.

    Args:
      arms, pulls, prize: of the bandit.
      informative: whether the last arm may be pulled.
    """
    n = arms - 1

    @functools.cache
    def value(untried, left):
        if not left:
            return 0.0
        size = len(untried)
        options = []
        if size < n:
            options.append(1 + value(untried, left - 1))
        for arm in untried:
            miss = 1 + value(untried - {arm}, left - 1) if size > 1 else 0.0
            options.append((prize * left + (size - 1) * miss) / size)
        if informative:
            options.append(sum(untried) / size / n + prize * (left - 1))
        return max(options)

    return value(frozenset(range(1, arms)), pulls)


def exact_thompson(arms=ARMS, pulls=PULLS, prize=PRIZE):
    """Expected regret of a search through the candidates in any order that stays with the target once it is found."""
    n = arms - 1
    return (prize - 1) * sum(min(place, pulls) for place in range(n)) / n


def exact_random(arms=ARMS, pulls=PULLS, prize=PRIZE):
    """Expected regret of uniformly random arms."""
    n = arms - 1
    return pulls * ((n - 1) * (prize - 1) + prize - (n + 1) / 2 / n) / arms


def gittins_alone(arms=ARMS, prize=PRIZE):
    """Finite-horizon Gittins indices of arms with constant payouts, each arm by its own prior.

    The index r of an untried arm with h pulls left is the sure payout that is worth as much: h r = E[x] + (h - 1) E[max(x,
    r)]. The index of a tried arm is its payout.
    """
    n = arms - 1
    payouts = np.zeros((arms, n))
    payouts[:n], payouts[np.arange(n), np.arange(n)], payouts[n] = 1, prize, np.arange(1, n + 1) / n

    def init(key, problem):
        del key
        return Tried(jnp.int32(0), jnp.zeros(arms, jnp.float32), problem.horizon)

    def act(key, state, observation):
        del key, observation
        fresh = jnp.asarray(untried)[jnp.clip(state.horizon - state.time, 1, PULLS) - 1]
        return jnp.argmax(jnp.where(state.payouts > 0, state.payouts, fresh)).astype(jnp.int32)

    def update(key, state, transition):
        del key
        seen = state.payouts.at[transition.action].set(transition.reward)
        return Tried(state.time + 1, seen, state.horizon)

    untried = np.array([[index(row, left) for row in payouts] for left in range(1, PULLS + 1)], np.float32)
    return Policy(init, act, update)


def index(payouts, left):
    """Index of an untried arm with equally likely payouts and the given number of pulls left; by fixed-point iteration."""
    sure = payouts.mean()
    for _ in range(200):
        sure = (payouts.mean() + (left - 1) * np.maximum(payouts, sure).mean()) / left
    return sure


@struct.dataclass
class Tried:
    """Number of pulls, int scalar; payout of each arm, zero before it is tried, float `[arms]`; and the horizon."""

    time: jax.Array
    payouts: jax.Array
    horizon: jax.Array


def played(policy, lanes=ARMS - 1, params=None):
    """Regret and arm of every pull in every lane: dict of `[pulls, lanes]`."""
    params = every_bandit() if lanes == ARMS - 1 and params is None else params
    out = jaxprice.simulate(market(), policy, lanes=lanes, horizon=PULLS, params=params, traces=True)
    return {"regret": out["trace_regret"].values[0], "arm": out["trace_action"].values[0]}


def learned(title, sizes, seed):
    """Train the runs of an agent and play the ten bandits: arrays `[runs, pulls, 10]`, and learning curves."""
    name, options, algorithm, updates, lanes, hyper = AGENTS[title]
    updates = max(2, round(updates * sizes.share))
    network = agents.networks.make(name, actions=ARMS, **options)
    weights, curve = rl2.train(
        market(),
        network,
        horizon=PULLS,
        updates=updates,
        seeds=[seed + run for run in range(sizes.seeds)],
        algorithm=algorithm,
        lanes=lanes,
        hyper=hyper,
        chunk=max(4, updates // 20),
    )
    runs = [played(agents.Agent(name, ARMS, agents.one(weights, run), options).policy()) for run in range(sizes.seeds)]
    told = {key: np.stack([run[key] for run in runs]) for key in runs[0]}
    return told | {"update": curve["update"][:, 0], "held_out": curve["held_out"]}


def cells(sizes, seed):
    """Name -> function that computes the cell."""
    drawn = {"Thompson, true prior": lambda: policies.prior_thompson(market()), "random": policies.random_price}
    fixed = {"UCB1": policies.ucb1, "Gittins, arms alone": gittins_alone}
    made = {title: functools.partial(learned, title, sizes, seed) for title in list(AGENTS)[: sizes.agents]}
    made |= {name: functools.partial(lambda make: played(make()), make) for name, make in fixed.items()}
    return made | {name: functools.partial(lambda make: played(make(), sizes.lanes), make) for name, make in drawn.items()}


def rows(sizes, results):
    """Exact numbers, and results of the policies."""
    best, means = PRIZE * PULLS, np.asarray(every_bandit().means, float).mean(axis=0) * PRIZE
    printed, words = {"source": PAPER, "kind": "printed"}, {"source": f"{PAPER}, in words", "kind": "derived"}
    made = [
        study.Row("first pull: payout of the informative arm", means[-1], 0.0, 0.55, digits=2, **printed),
        study.Row("first pull: payout of a candidate", means[0], 0.0, 1.4, digits=1, **printed),
        study.Row("regret: optimum", best - optimum(), 0.0),
        study.Row("regret: optimum without the last arm", best - optimum(informative=False), 0.0),
    ]
    exact = {"Thompson, true prior": exact_thompson(), "random": exact_random()}
    for name, cell in results.items():
        total = cell["regret"].sum(axis=-2, dtype=float)
        mean, se = study.mean(total.mean(axis=-1) if name in AGENTS else total)
        if name in exact:
            made.append(study.Row(f"regret: {name}", mean, se))
            made.append(study.Row(f"regret: {name}, exactly", exact[name], 0.0))
        else:
            made.append(study.Row(f"regret: {name}", mean, se if name in AGENTS else 0.0))
        if name in AGENTS:
            asked = study.mean((cell["arm"] == ARMS - 1).sum(axis=1).mean(axis=-1))
            reached = np.isclose(total.mean(axis=-1), best - optimum(), atol=1e-3)
            made.append(study.Row(f"pulls of the informative arm: {name}", *asked, published=1.0, note=NOTE, **words))
            made.append(study.Row(f"share of runs at the optimum: {name}", float(reached.mean()), 0.0))
    arms = np.sort(results["UCB1"]["arm"], axis=0)
    different = 1 + (np.diff(arms, axis=0) > 0).sum(axis=0).mean()
    made.append(study.Row("different arms in five pulls: UCB1", float(different), 0.0, published=5.0, **words))
    return made


def plot_figure(figure, sizes, results, rows):
    """Cumulative regret over the pulls of an episode, as Figure 3; and regret in training."""
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    pulls = np.arange(PULLS + 1)
    for name, cell in results.items():
        grown = np.cumsum(cell["regret"].astype(float), axis=-2).mean(axis=-1)
        grown = grown.mean(axis=0) if name in AGENTS else grown
        style = {"ls": ":", "ms": 8, "mfc": "none"} if name in ("Gittins, arms alone", "agent, GRU by PPO") else {"ms": 4}
        left.plot(pulls, np.append(0, grown), marker="o", lw=1.5, label=name, **style)
    least = PRIZE - np.asarray(every_bandit().means, float)[:, -1].mean() * PRIZE
    left.plot(pulls, [0.0] + [least] * PULLS, "k--", lw=1, label="optimum")
    left.set(xlabel="pull", ylabel="cumulative regret", title="an episode", xticks=pulls)
    left.legend(fontsize=8)
    for name in (name for name in AGENTS if name in results):
        cell = results[name]
        curve = PRIZE * PULLS * (1 - np.asarray(cell["held_out"], float))
        for run in range(curve.shape[1]):
            style = {"label": name} if run == 0 else {}
            right.plot(
                cell["update"] / cell["update"][-1], curve[:, run], lw=1, color=f"C{list(results).index(name)}", **style
            )
    right.axhline(PRIZE * PULLS - optimum(), ls="--", color="k", lw=1, label="optimum")
    right.axhline(exact_thompson(), ls=":", color="k", lw=1, label="Thompson, true prior")
    right.set(xlabel="share of the updates", ylabel="regret of an episode", title="training, every run", ylim=(0, None))
    right.legend(fontsize=8)


STUDY = study.Study(
    name="informative_bandit",
    title="The informative bandit: Wang et al. (2016), Learning to reinforcement learn",
    presets={
        "smoke": Sizes(lanes=500, agents=1, seeds=1, share=0.02),
        "default": Sizes(lanes=40_000, agents=2, seeds=3, share=1.0),
        "full": Sizes(lanes=1_000_000, agents=2, seeds=20, share=2.0),
    },
    cells=cells,
    rows=rows,
    plot_figure=plot_figure,
)

if __name__ == "__main__":
    study.command(STUDY)

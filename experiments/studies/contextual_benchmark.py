"""Contextual bandits as in Riquelme, Tucker and Snoek (2018): the wheel and tables, by linear and by neural policies.

    python -m experiments.studies.contextual_benchmark                   # default: minutes on two cores; needs scikit-learn
    python -m experiments.studies.contextual_benchmark --preset smoke    # seconds: the wheel alone, two policies
    python -m experiments.studies.contextual_benchmark --preset full     # 80,000 periods for all, for a GPU

A cell is the mean cumulative regret in percent of the expected loss of a uniformly random arm, which is known exactly: 100
is as bad as random. Regret is expected, not sampled. The wheel is `jaxprice.envs.WheelBandit`, with delta in .5, .7, .9,
.95, .99. The other markets are tables that scikit-learn contains (`jaxprice.envs.LabelledRows`; pip install
"jaxprice[benchmarks]"): one arm a label, reward one for the right label. We know no package with Mushroom, Statlog,
Covertype and the other data sets of the paper.

| policy | settings |
|---|---|
| LinFullPost | `bayesian_linear` with the paper's a = b = 6 and ridge 1/4 on raw rewards, and an intercept |
| LinUCB, epsilon-greedy, bootstrap | `lin_ucb`, `contextual_epsilon_greedy`, `bootstrapped` with default options |
| LinTS, NeuralLinear | `lin_ts`, `neural_linear` with a noise of 1/2, in units of the largest mean reward |
| NeuralLinear, small noise | `neural_linear` with the mean of LinFullPost's prior for the variance; only on the wheel |
| NeuralUCB, NeuralTS | `neural_ucb`, `neural_thompson` with default options |

Nothing is tuned for a cell. Departures: networks have 16 or 32 units and a bounded memory
(`jaxprice.policies.parts.network`) and the arm is an input, while those of the paper have 50 units, an output for each arm
and all data. No policy must pull every arm twice first. By default the wheel runs for 2,000 periods, the shorter of the two
horizons in the table of Ravi and Beatson; only `--preset full` has the 80,000 periods of the paper.

A published number is compared if wheel, periods and policy are the same. That holds for NeuralLinear at 80,000 periods, so
these cells are empty by default (the figure shows them as stars, for the shape). It also holds for the standard error of
Uniform over 50 wheels of 2,000 periods, which is known exactly and shows whether their wheels equal ours; its own error is
that of a standard error from 50 values, 10 %. Table 3 of Wen, Tran and Ba (2020), BatchEnsemble, has a wheel as well, but we
do not know its delta and its number of periods.

Sources: C. Riquelme, G. Tucker, J. Snoek (2018), "Deep Bayesian bandits showdown", arXiv:1802.09127; S. Ravi, A. Beatson
(2019), "Amortized Bayesian meta-learning", ICLR, Table 1 (NeuralLinear by the code of Riquelme et al.).
"""

import functools
import importlib.util
from typing import NamedTuple

import jax
import numpy as np

import jaxprice
from experiments.frame import study
from jaxprice import policies, stats
from jaxprice.envs import wheel_bandit

DELTAS = (0.5, 0.7, 0.9, 0.95, 0.99)
TRIALS, SHORT, LONG = 50, 2000, 80_000  # numbers of the printed table
PAPER = "Ravi and Beatson (2019), Table 1"
UNIFORM_SE = (0.25, 0.42, 0.79, 1.15, 1.88)  # n = 2,000
NEURAL_LINEAR = ((0.95, 0.02), (1.60, 0.03), (4.65, 0.18), (9.56, 0.36), (49.63, 2.41))  # n = 80,000
LINEAR = ("uniform", "LinFullPost", "LinTS", "LinUCB", "epsilon-greedy", "bootstrap")
SMALL_NOISE = "NeuralLinear, small noise"  # for the wheel, whose largest reward is 50
NEURAL = ("NeuralLinear", SMALL_NOISE, "NeuralUCB", "NeuralTS")
NOTE = "one small network with the arm as an input and a memory of 1,024 sales; theirs: an output an arm, all data"


class Sizes(NamedTuple):
    """The amount of simulation.

    Attributes:
      methods: names of the policies.
      periods: number of periods on a wheel.
      linear, neural: number of wheels of each delta, for policies of either kind.
      data: names of the tables.
      visits: number of periods on a table.
      linear_lanes, neural_lanes: number of runs on each table; the bootstrap has as many as networks.
    """

    methods: tuple
    periods: int
    linear: int
    neural: int
    data: tuple
    visits: int
    linear_lanes: int
    neural_lanes: int


def policy(name, unit=1.0):
    """A policy by its name in the table; `unit`: reward that makes a signal of one."""
    a, b, ridge = 6.0, 6.0 / unit**2, 0.25
    return {
        "uniform": policies.random_price,
        "LinFullPost": lambda: policies.bayesian_linear(a, b, ridge),
        "LinTS": lambda: policies.lin_ts(noise=0.5),
        "LinUCB": policies.lin_ucb,
        "epsilon-greedy": policies.contextual_epsilon_greedy,
        "bootstrap": policies.bootstrapped,
        "NeuralLinear": lambda: policies.neural_linear(noise=0.5, form="arms"),
        SMALL_NOISE: lambda: policies.neural_linear(noise=(b / (a - 1)) ** 0.5, form="arms"),
        "NeuralUCB": lambda: policies.neural_ucb(form="arms"),
        "NeuralTS": lambda: policies.neural_thompson(form="arms"),
    }[name]()


def wheels(name, lanes, periods, seed):
    """Regret on each wheel, `[deltas, lanes]`; all deltas run together."""
    env, _ = jaxprice.make("WheelBandit", horizon=periods)
    one_each = [env.params_of(delta) for delta in np.repeat(DELTAS, lanes)]
    params = jax.tree.map(lambda *x: np.stack(x), *one_each)
    out = jaxprice.simulate(
        env, policy(name, env.high), seed=seed, lanes=len(one_each), horizon=periods, params=params, checkpoints=[periods]
    )
    return {"regret": out["lane_regret"].values[0].reshape(len(DELTAS), lanes)}


def rows_of(data, name, lanes, visits, seed):
    """Regret of each run on a table, `[lanes]`, and the loss of a random arm."""
    env, params = jaxprice.make("LabelledRows", data=data, horizon=visits)
    played = policy(name)
    out = jaxprice.simulate(env, played, seed=seed, lanes=lanes, horizon=visits, params=params, checkpoints=[visits])
    return {"regret": out["lane_regret"].values[0], "uniform": visits * (1 - 1 / env.num_arms)}


def uniform_spread(delta, safe=1.2, low=1.0, high=50.0):
    """Standard deviation of a uniformly random arm's regret in a period, over its mean."""
    rim = ((high - safe) ** 2 + 3 * (high - low) ** 2) / 5
    square = 0.8 * delta**2 * (safe - low) ** 2 + (1 - delta**2) * rim
    mean = wheel_bandit.uniform_regret(delta, safe, low, high)
    return (square - mean**2) ** 0.5 / mean


def cells(sizes, seed):
    """Name -> function that computes the cell.

    Raises:
      ImportError: tables are requested, and scikit-learn is not installed.
    """
    if sizes.data and importlib.util.find_spec("sklearn") is None:
        raise ImportError('the tables need scikit-learn: pip install "jaxprice[benchmarks]"')
    made = {}
    for name in sizes.methods:
        made[f"wheel: {name}"] = functools.partial(wheels, name, runs(sizes, "wheel", name), sizes.periods, seed)
    for data in sizes.data:
        for name in on_tables(sizes):
            made[f"{data}: {name}"] = functools.partial(rows_of, data, name, runs(sizes, data, name), sizes.visits, seed)
    return made


def runs(sizes, where, name):
    """Number of wheels of each delta ("wheel"), or of runs on a table, for a policy."""
    if where == "wheel":
        return sizes.linear if name in LINEAR else sizes.neural
    return sizes.neural_lanes if name in (*NEURAL, "bootstrap") else sizes.linear_lanes


def on_tables(sizes):
    """Names of the policies that play the tables."""
    return [name for name in sizes.methods if name != SMALL_NOISE]


def rows(sizes, results):
    """Regret in percent of that of a random arm."""
    made = []
    for k, delta in enumerate(DELTAS):
        se, printed = 100 * uniform_spread(delta) / (TRIALS * SHORT) ** 0.5, UNIFORM_SE[k]
        label = f"wheel {delta:g}, standard error of Uniform, {TRIALS} wheels of {SHORT}"
        known = {"published": printed, "published_se": printed / (2 * (TRIALS - 1)) ** 0.5, "digits": 2, "kind": "printed"}
        made.append(study.Row(label, se, 0.0, source=f"{PAPER}, n = {SHORT:,}", **known))
    for name, cell in results.items():
        where, method = name.split(": ")
        if where == "wheel":
            for k, delta in enumerate(DELTAS):
                mean, se = relative(cell["regret"][k], sizes.periods * wheel_bandit.uniform_regret(delta))
                row = study.Row(f"wheel {delta:g}, {sizes.periods:,} periods: {method}", mean, se)
                if sizes.periods == LONG and method.startswith("NeuralLinear"):
                    value, error = NEURAL_LINEAR[k]
                    known = {"published": value, "published_se": error, "kind": "printed"}
                    row = row._replace(source=f"{PAPER}, n = {LONG:,}", note=NOTE, **known)
                made.append(row)
        else:
            mean, se = relative(cell["regret"], cell["uniform"])
            made.append(study.Row(f"{where}, {sizes.visits:,} periods: {method}", mean, se))
    return made


def relative(regret, uniform):
    """Mean and standard error in percent of the expected regret of a random arm."""
    return study.mean(100 * np.asarray(regret, float) / float(uniform))


def plot_figure(figure, sizes, results, rows):
    """Relative regret over delta, with the printed numbers; and on the tables."""
    held = {row.cell: row for row in rows}
    wide = [3, 2] if sizes.data else [1]
    panels = figure.subplots(1, len(wide), width_ratios=wide, squeeze=False)[0]
    styles = {name: {"color": f"C{k}", "ls": "--" if name in NEURAL else "-"} for k, name in enumerate(LINEAR + NEURAL)}
    place = np.arange(len(DELTAS))
    for name, style in styles.items():
        if f"wheel: {name}" in results:
            mine = [held[f"wheel {delta:g}, {sizes.periods:,} periods: {name}"] for delta in DELTAS]
            y, error = np.array([(row.ours, stats.critical(runs(sizes, "wheel", name)) * row.se) for row in mine]).T
            low = np.minimum(error, 0.9 * y)
            panels[0].errorbar(place, y, [low, error], marker="o", ms=4, lw=1.2, capsize=2, label=name, **style)
    printed, errors = np.array(NEURAL_LINEAR).T
    errors, label = stats.critical(TRIALS) * errors, "NeuralLinear, printed, 80,000 periods"
    panels[0].errorbar(place, printed, errors, fmt="k*", ms=8, capsize=2, label=label)
    panels[0].set_xticks(place, [f"{delta:g}" for delta in DELTAS])
    panels[0].set(
        yscale="log", xlabel="delta", ylabel="regret, % of a random arm's", title=f"wheel, {sizes.periods:,} periods"
    )
    panels[0].legend(fontsize=7, ncols=2)
    if sizes.data:
        names = [name for name in on_tables(sizes) if name != "uniform"]
        for j, data in enumerate(sizes.data):
            mine = [held[f"{data}, {sizes.visits:,} periods: {name}"] for name in names]
            at = np.arange(len(names)) + (j - (len(sizes.data) - 1) / 2) * 0.4
            reach = [stats.critical(runs(sizes, data, name)) * row.se for name, row in zip(names, mine, strict=True)]
            panels[1].barh(at, [row.ours for row in mine], 0.38, xerr=reach, label=data, capsize=2)
        panels[1].set_yticks(range(len(names)), names, fontsize=8)
        panels[1].invert_yaxis()
        panels[1].set(xlabel="regret, % of a random arm's", title=f"tables, {sizes.visits:,} periods", xlim=(0, None))
        panels[1].legend(fontsize=8)


STUDY = study.Study(
    name="contextual_benchmark",
    title="Contextual bandits: Riquelme, Tucker and Snoek (2018), Deep Bayesian bandits showdown",
    presets={
        "smoke": Sizes(("uniform", "LinFullPost"), 300, 20, 0, (), 0, 0, 0),
        "default": Sizes(LINEAR + NEURAL, SHORT, 100, 10, ("digits", "breast_cancer"), 2000, 20, 10),
        "full": Sizes(LINEAR + NEURAL, LONG, 200, 50, ("digits", "breast_cancer", "wine"), 20_000, 200, 50),
    },
    cells=cells,
    rows=rows,
    plot_figure=plot_figure,
)

if __name__ == "__main__":
    study.command(STUDY)

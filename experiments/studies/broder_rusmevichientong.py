"""Broder and Rusmevichientong (2012): greedy maximum likelihood on random markets, and the growth of regret of MLE-CYCLE.

    python -m experiments.studies.broder_rusmevichientong                   # two minutes on two cores
    python -m experiments.studies.broder_rusmevichientong --preset smoke

A buyer buys at price p in [1/2, 8] with probability 1 / (1 + exp(z1 p + z2)). R* is the best expected revenue of a period.

Table 2: MLE-GREEDY, z2 = 0 known, a first price U[1/2, 8]. Instances draw z1 in [.2, 2], with density
(10/9) cos^2((5 pi / 9) (z1 - 1.1)) in ensemble 1 and uniformly in ensemble 2. A cell is the mean of 100 regret(T) / (T R*)
over instances, T = 1000, ..., 5000, all from one run of 5000 periods. The paper has 100 instances and states a standard
error below .07. The error for z is that of a mean of 100 instances that vary as ours do. We do not have the paper's numbers
for ensemble 2. FP, one constant random price, is not simulated but integrated: the printed mean of 100 random prices is
noisy.

Fig. 3(a): MLE-CYCLE with exploration at 1/2 and 4.25, z = (1, -1), 100,000 periods. The cell is the slope of the log of mean
regret over log t. A batch of 50 trials corresponds to a run of the paper, so the variation of slopes over batches gives both
errors. We do not know the range of the paper's fit. Ours starts at t = 1000, because early cycles are mostly exploration; a
fit from t = 100 is beside it.

Fig. 3(b): mean regret of MLE-GREEDY with the first price 4.25 is a line in log t (a figure, no numbers). We do not know its
z; ours is (1, 0). The ratio of the growth from 1000 to 10,000 periods to that from 100 to 1000 is 1 for a line.

Table 1 (MLE-CYCLE and variants on random z) is left out: its levels depend on the maximisation of the likelihood, which the
paper does not describe. Estimates here are constrained to the paper's box [.2, 2] x [-1, 1].

Source: J. Broder, P. Rusmevichientong (2012), "Dynamic pricing under a general parametric choice model",
doi:10.1287/opre.1120.1057.
"""

import functools
import math
from typing import NamedTuple

import jax
import numpy as np

import jaxprice
from experiments.frame import study
from jaxprice import policies, stats

PUBLISHED = {1000: 1.20, 2000: 0.67, 3000: 0.48, 4000: 0.37, 5000: 0.30}  # Table 2, ensemble 1, per cent
INSTANCES, TRIALS = 100, 50  # numbers of the paper
LOW, HIGH = 0.2, 2.0  # z1
MARKET = (1.0, -1.0)  # z of Fig. 3(a)
ENSEMBLES = ("ensemble 1", "ensemble 2")


class Sizes(NamedTuple):
    """The amount of simulation.

    Attributes:
      instances: number of markets of each ensemble.
      trials: number of trials in a batch of Fig. 3.
      batches: number of batches of Fig. 3.
      cycle_periods, greedy_periods: number of periods of its two panels.
    """

    instances: int
    trials: int
    batches: int
    cycle_periods: int
    greedy_periods: int


def inverse_law(ensemble, u):
    """The quantile function of z1 at probabilities u, float64 like u."""
    if ensemble == "ensemble 2":
        return LOW + (HIGH - LOW) * u
    z = np.linspace(LOW, HIGH, 20_001)
    x = z - 1.1
    return np.interp(u, 0.5 + 5 / 9 * x + np.sin(10 * np.pi / 9 * x) / (2 * np.pi), z)


def fixed_price_loss(ensemble):
    """Exact mean and standard deviation of the loss of a constant price U[1/2, 8], per cent of R*."""
    z1 = inverse_law(ensemble, (np.arange(2000) + 0.5) / 2000)[:, None]
    price = 0.5 + 7.5 * (np.arange(4000) + 0.5) / 4000
    best = np.asarray(jaxprice.demand.Logit(1.0, 0.0).optimal_price(0.0, 0.0, 100.0), float) / z1
    loss = 100 * (1 - price / (1 + np.exp(z1 * price)) / (best / (1 + np.exp(z1 * best))))
    return float(loss.mean()), float(loss.std())


def ensemble_cell(ensemble, sizes, seed):
    """Loss at every T of the table, a share of T R*."""
    env, _ = jaxprice.make("ParametricDemand", family="logit")
    rng = np.random.default_rng([seed, ENSEMBLES.index(ensemble)])
    z1 = inverse_law(ensemble, rng.uniform(size=sizes.instances))
    z = np.stack([z1, np.zeros_like(z1)], axis=1).astype(np.float32)
    params = jax.tree.map(np.asarray, jax.vmap(env.params_at)(z))
    times = [*PUBLISHED]
    sellers = {"MLE-GREEDY": policies.mle_greedy(first=None)}
    out = jaxprice.simulate(
        env, sellers, seed=seed, lanes=sizes.instances, horizon=times[-1], params=params, checkpoints=times
    )
    return {"loss": 1 - out["share"][0], "se": out["share_se"][0]}


def batch_cell(seller, sizes, seed, batch):
    """Mean regret of a batch over time, in units of R*."""
    greedy = seller == "MLE-GREEDY"
    policy = policies.mle_greedy(first=0.5) if greedy else policies.mle_cycle(first=0.0, second=0.5)
    env, params = jaxprice.make("ParametricDemand", family="logit", parameters=(1.0, 0.0) if greedy else MARKET)
    price = env.best(params)
    best = float(price * env.mean_demand(price, params))
    horizon = sizes.greedy_periods if greedy else sizes.cycle_periods
    times = np.unique(np.round(np.geomspace(10, horizon, 8 * round(math.log10(horizon)) - 7)).astype(int))
    out = jaxprice.simulate(
        env, policy, seed=seed + 1000 * (batch + 1), lanes=sizes.trials, horizon=horizon, params=params, checkpoints=times
    )
    return {"time": times, "regret": out["regret"][0] / best}


def cells(sizes, seed):
    """The two ensembles, and the batches of the two panels."""
    out = {name: functools.partial(ensemble_cell, name, sizes, seed) for name in ENSEMBLES}
    for seller in ("MLE-CYCLE", "MLE-GREEDY"):
        for k in range(sizes.batches):
            out[f"{seller}, batch {k}"] = functools.partial(batch_cell, seller, sizes, seed, k)
    return out


def batches(seller, results):
    """`(times, regret [batches, times])` of a panel."""
    found = [result for name, result in results.items() if name.startswith(f"{seller}, batch")]
    return found[0]["time"], np.stack([result["regret"] for result in found])


def rows(sizes, results):
    """Table 2, the random constant price, the slope of Fig. 3(a), and the linearity of Fig. 3(b)."""
    out = []
    for name in ENSEMBLES:
        losses, errors = (100 * results[name][key] for key in ("loss", "se"))
        for time, loss, error in zip(PUBLISHED, losses, errors, strict=True):
            printed = {"source": "setting of Table 2 only"}
            if name == ENSEMBLES[0]:
                theirs = error * math.sqrt(sizes.instances / INSTANCES)
                printed = {"published": PUBLISHED[time], "published_se": theirs, "digits": 2}
                printed |= {"source": "Table 2", "kind": "printed"}
            out.append(study.Row(f"MLE-GREEDY, {name}, T={time}, loss %", float(loss), float(error), **printed))
    for name in ENSEMBLES:
        loss, spread = fixed_price_loss(name)
        printed = {"source": "setting of Table 2 only"}
        if name == ENSEMBLES[0]:
            printed = {"published": 65.2, "published_se": spread / math.sqrt(INSTANCES), "digits": 1}
            printed |= {"source": "Table 2", "kind": "printed"}
        out.append(study.Row(f"FP, {name}, loss %, exact", loss, 0.0, **printed))
    times, regret = batches("MLE-CYCLE", results)
    for start in (1000, 100):
        late = times >= start
        slopes = [stats.growth_exponent(times[late], row[late]) for row in regret]
        mean, error = study.mean(slopes)
        theirs = error * math.sqrt(len(slopes) * sizes.trials / TRIALS)
        printed = {}
        if start == 1000:
            printed = {"published": 0.49, "published_se": theirs, "digits": 2, "source": "Fig. 3(a)", "kind": "printed"}
        note = "" if printed else "the same, early cycles too"
        out.append(study.Row(f"MLE-CYCLE, slope of log regret, t >= {start}", mean, error, note=note, **printed))
    out.append(
        study.Row(f"MLE-CYCLE, regret / R* at {times[-1]}", *study.mean(regret[:, -1]), source="Fig. 3(a), no number")
    )
    times, regret = batches("MLE-GREEDY", results)
    at = [int(np.argmin(abs(times - times[-1] / scale))) for scale in (1, 10, 100)]
    straight = (regret[:, at[0]] - regret[:, at[1]]) / (regret[:, at[1]] - regret[:, at[2]]).mean()
    source = "Fig. 3(b), no number; 1 for a line in log t"
    out.append(study.Row("MLE-GREEDY, growth in the last decade / in the one before", *study.mean(straight), source=source))
    return out


def plot_figure(figure, sizes, results, rows):
    """Fig. 3(a), Fig. 3(b) and Table 2."""
    axes = figure.subplots(1, 3)
    for ax, seller in zip(axes, ("MLE-CYCLE", "MLE-GREEDY"), strict=False):
        times, regret = batches(seller, results)
        mean, error = study.band(regret)
        ax.plot(times, mean, "o-", ms=3, label=f"{seller}, mean")
        ax.fill_between(times, mean - error, mean + error, alpha=0.3, label="95 % interval")
        ax.set(xscale="log", xlabel="t", ylabel="regret / R*")
    times, regret = batches("MLE-CYCLE", results)
    slope = stats.growth_exponent(times[times >= 1000], regret.mean(axis=0)[times >= 1000])
    line = regret[:, -1].mean() * (times / times[-1]) ** 0.49
    axes[0].plot(times, line, "k:", label="slope .49 (published)")
    axes[0].set(yscale="log", title=f"Fig. 3(a): ours {slope:.3f}")
    axes[1].set_title("Fig. 3(b): ours at z = (1, 0)")
    thousands = [time / 1000 for time in PUBLISHED]
    axes[2].plot(thousands, [*PUBLISHED.values()], "kx", ms=8, label="ensemble 1, published", zorder=3)
    for name in ENSEMBLES:
        loss, error = (100 * results[name][key] for key in ("loss", "se"))
        error = stats.critical(sizes.instances) * error
        axes[2].errorbar(thousands, loss, error, marker="o", ms=3, capsize=3, label=f"{name}, ours")
    axes[2].set(title="Table 2: MLE-GREEDY", xlabel="T in thousands", ylabel="loss, % of T R*", ylim=(0, None))
    for ax in axes:
        ax.legend(fontsize=8)
        ax.grid(alpha=0.3)


STUDY = study.Study(
    name="broder_rusmevichientong",
    title="Broder and Rusmevichientong (2012), Table 2 and Fig. 3: maximum likelihood pricing",
    presets={
        "smoke": Sizes(16, 10, 2, 2_000, 1_000),
        "default": Sizes(2000, 50, 6, 100_000, 10_000),
        "full": Sizes(200_000, 50, 400, 100_000, 10_000),
    },
    cells=cells,
    rows=rows,
    plot_figure=plot_figure,
)

if __name__ == "__main__":
    study.command(STUDY)

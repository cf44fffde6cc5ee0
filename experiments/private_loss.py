"""What privacy costs: percentage regret of private and of non-private pricing over T.

    python -m experiments.private_loss                  # about three minutes on two cores
    python -m experiments.private_loss --preset smoke   # seconds
    python -m experiments.private_loss --preset full    # the paper's horizons, 33 times its runs: for a GPU

Chen, Miao and Wang (2023) print percentage regret of their two algorithms, with central and with local trust, for
T = 500, 2500, 12500, 62500 and epsilon = .01, .1, 1, 10, beside the first one without noise, in 30 runs. Demand is
.4 + .6 x1 + .6 x2 - .2 p + nu, nu ~ U[-.1, .1], features x ~ U[0, 1]^2, prices in [.5, 4.5]; the constants of the tests are
those of the experiments, c1 = .001 sqrt(log T), c1' = .01 c2, c2 = log(T)^2 / epsilon, k1 = .001 sqrt(log T),
k2 = .1 log T. Their numbers were not at hand. The theory says T^(2/3) + T^(1/3) / epsilon with central trust and
T^(3/4) / epsilon^(1/2) with local, with other constants.

A cell is one algorithm and epsilon (a row: and T): percentage regret is the mean over lanes of regret over the optimum's
expected revenue, in percent. An exponent is the slope of log regret over log T over all horizons; its error is over
`batches` groups of lanes.

A test with central trust waits for c2 buyers at each price of a cube, more than come to it where epsilon is small: the five
prices are then offered to the end, at a loss that is a closed form. Tests with local trust do not wait, and decide by the
noise.

Revenue. The algorithms learn from revenue in [0, 1], but in this market demand, as it is printed, falls to -.6 at high
prices. Ours are told revenue brought to [0, 1] by its largest and smallest value, 3.6125 and -2.7, so that nothing is cut.
"losses cut" is what comes of cutting them at zero, which is what `private_quadrisection` does by itself: to cubes of buyers
with low valuations all high prices look the same, and they go on offering them for ever. How the paper went about it is not
known to us. Other departures (trees for each price, J rounded to a square) are in the policy's own file.

Beside it the same comparison where the form of demand is known, in a market with demand .9 + .45 x1 + .45 x2 - .2 p, which
is never negative, and 41 prices: the linear policy of Chen, Simchi-Levi and Wang (2022), as `private_pricing` has it
(sqrt(T / epsilon) up to logs with central trust), LinUCB, which has no noise, and quadrisection.

Sources: X. Chen, S. Miao, Y. Wang (2023), "Differential privacy in personalized pricing with nonparametric demand models",
doi:10.1287/opre.2022.2347, arXiv:2109.04615; X. Chen, D. Simchi-Levi, Y. Wang (2022), "Privacy-preserving dynamic
personalized pricing with demand learning", arXiv:2009.12920.
"""

import dataclasses
import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxprice
from experiments import study
from jaxprice import Policy, policies, stats
from jaxprice.envs.glm_demand import GLMDemand
from jaxprice.policies.private_quadrisection import side_of

CUBES, LINEAR = "Chen, Miao and Wang (2023)", "Chen, Simchi-Levi and Wang (2022)"
LOW, HIGH, SLOPE, WIDTH = 0.5, 4.5, 0.2, 0.1  # prices, fall of demand, half-width of its noise
PAPER, POSITIVE = (0.4, 0.6, 0.6), (0.9, 0.45, 0.45)  # demand at price zero: constant, weight of each feature
GRID = 41
BOUNDS = {"features": 2, "lowest": 0.0, "highest": 3**-0.5}  # of the features as the market shows them


class Sizes(NamedTuple):
    """Horizons, epsilons, lanes, the groups of them for standard errors of exponents, and which panels are played."""

    horizons: tuple[int, ...]
    epsilons: tuple[float, ...]
    lanes: int
    batches: int
    panels: tuple[str, ...] = ("central", "local", "positive")


PRESETS = {
    "smoke": Sizes((300, 500), (1.0,), 6, 2, ("central",)),
    "default": Sizes((500, 2500, 12500), (0.01, 0.1, 1.0, 10.0), 30, 5),
    "full": Sizes((500, 2500, 12500, 62500), (0.01, 0.1, 1.0, 10.0), 1000, 10),
}


@dataclasses.dataclass(frozen=True)
class UniformNoise(GLMDemand):
    """`GLMDemand` whose linear demand has noise U[-WIDTH, WIDTH]."""

    def draw(self, key, state, mean, params):
        return mean + WIDTH * (2 * jax.random.uniform(key, (), jnp.float32) - 1)


@functools.cache
def market(demand, num_prices=None):
    """`(environment, params)` for demand at price zero (constant, and weights of two features in [0, 1])."""
    kind = {"link": "linear", "context": "uniform", "dimension": 3, "low": LOW, "high": HIGH}
    base, _ = jaxprice.make("GLMDemand", **kind, noise_scale=WIDTH / 3**0.5, num_prices=num_prices)
    env = UniformNoise(**dataclasses.asdict(base))
    constant, *weights = demand
    unit = 3**0.5  # features are shown in units of its inverse
    effects = [constant, *(weight * unit for weight in weights)], [SLOPE, 0.0, 0.0]
    return env, env.params_of(*(np.asarray(effect, np.float32) for effect in effects))


def revenues(demand):
    """Smallest and largest revenue of a period at any price, features and noise."""
    most, least = sum(demand) + WIDTH, demand[0] - WIDTH
    best = min(max(most / (2 * SLOPE), LOW), HIGH)
    return min(0.0, *(p * (least - SLOPE * p) for p in (LOW, HIGH))), best * (most - SLOPE * best)


def optimum(demand):
    """Mean revenue of a period of the seller who knows demand, whose prices are inside the interval."""
    constant, *weights = demand
    mean, variance = constant + sum(weights) / 2, sum(weight**2 for weight in weights) / 12
    return (mean**2 + variance) / (4 * SLOPE)


def unlearned(demand):
    """Percentage regret of a seller who offers the first five prices for ever."""
    prices = np.linspace(LOW, HIGH, 5)
    return 100 * (1 - np.mean(prices * (demand[0] + sum(demand[1:]) / 2 - SLOPE * prices)) / optimum(demand))


def told_losses(policy, least):
    """The policy, told revenue in excess of its smallest value."""

    def update(key, state, transition):
        return policy.update(key, state, transition.replace(reward=transition.reward - least))

    return Policy(policy.init, policy.act, update)


@functools.cache
def compiled(kind, trust, cubes, private, lanes):
    """A policy in its market as a compiled function, for any epsilon, horizon and demand with as many cubes.

    Args:
      kind: "cubes" (Chen, Miao and Wang) or "linear" (Chen, Simchi-Levi and Wang; LinUCB without noise).
      trust: "central" or "local".
      cubes: how many; 0 for the linear policies.
      private: whether there is noise.
      lanes: how many.

    Returns:
      `(seed, epsilon, horizon, params, least, most) -> percentage regret [lanes]`, with the smallest and largest revenue.
    """
    env, _ = market(PAPER, GRID if kind == "linear" else None)

    def seller(epsilon, least, most):
        epsilon = epsilon if private else None
        if kind == "cubes":
            made = policies.private_quadrisection(trust, epsilon, cubes=cubes, ceiling=most - least, **BOUNDS)
            return told_losses(made, least)
        largest, radius = sum(POSITIVE) + WIDTH - SLOPE * LOW, (1 + 2 / 3) ** 0.5
        if private:
            return policies.private_pricing(trust, epsilon, radius=radius, ceiling=largest)
        return policies.lin_ucb(form="joint")

    @jax.jit
    def loss(seed, epsilon, horizon, params, least, most):
        out = jaxprice.rollout(env, seller(epsilon, least, most), seed=seed, lanes=lanes, horizon=horizon, params=params)
        return 100 * out["regret"] / out["optimal"]

    return loss


def cubes_of(trust, epsilon, horizon):
    """Number of cubes by the theory, made a square."""
    return side_of(trust, epsilon, horizon, None, 2) ** 2


def play(sizes, seed, kind, demand, trust, epsilon, cut):
    """Percentage regret of each lane at each horizon, `[horizons, lanes]`."""
    _, params = market(demand, GRID if kind == "linear" else None)
    least, most = revenues(demand)
    numbers = [np.float32(x) for x in (0.0 if cut else least, most)]
    losses = []
    for horizon in sizes.horizons:
        cubes = cubes_of(trust, epsilon, horizon) if kind == "cubes" else 0
        run = compiled(kind, trust, cubes, epsilon is not None, sizes.lanes)
        losses.append(run(np.uint32(seed), np.float32(epsilon or 0.0), np.int32(horizon), params, *numbers))
    return {"loss": np.stack(losses)}


def series(sizes):
    """Name of a cell -> `(kind, demand, trust, epsilon, whether losses are cut)`, the last of `play`."""
    found = {}
    trusts = [trust for trust in ("central", "local") if trust in sizes.panels]
    for trust, epsilon in [("central", None), *((trust, epsilon) for trust in trusts for epsilon in sizes.epsilons)]:
        found[named(trust, epsilon)] = "cubes", PAPER, trust, epsilon, False
    found["no noise, losses cut"] = "cubes", PAPER, "central", None, True
    if "positive" not in sizes.panels:
        return found
    for epsilon in (None, sizes.epsilons[-1]):
        found[f"positive demand, {named('central', epsilon)}"] = "cubes", POSITIVE, "central", epsilon, False
    for epsilon in (None, *sizes.epsilons):
        name = "LinUCB" if epsilon is None else f"linear policy, {named('central', epsilon)}"
        found[f"positive demand, {name}"] = "linear", POSITIVE, "central", epsilon, False
    return found


def named(trust, epsilon):
    """How a trust and an epsilon are written."""
    return "no noise" if epsilon is None else f"{trust}, epsilon = {epsilon:g}"


def cells(sizes, seed):
    """Percentage regret of all series."""
    return {name: functools.partial(play, sizes, seed, *about) for name, about in series(sizes).items()}


def exponents(losses, horizons, batches):
    """Slope of log regret over log T of each group of lanes, from percentages `[horizons, lanes]`."""
    means = losses.reshape(len(horizons), batches, -1).mean(axis=2) * np.asarray(horizons)[:, None]
    return [stats.growth_exponent(horizons, np.maximum(group, 1e-9)) for group in means.T]


def rows(sizes, results):
    """Percentage regret by series and horizon, the exponent of each series, exact optima."""
    made = []
    for name, (kind, _, trust, _, _) in series(sizes).items():
        losses, source = results[name]["loss"], CUBES if kind == "cubes" else LINEAR
        for T, loss in zip(sizes.horizons, losses, strict=True):
            made.append(study.Row(f"{name}, T = {T}", *study.mean(loss), source=source))
        theory = "1/2" if kind == "linear" else {"central": "2/3", "local": "3/4"}[trust]
        slope = study.mean(exponents(losses, sizes.horizons, sizes.batches))
        made.append(study.Row(f"{name}: exponent of T", *slope, source=source, note=f"theory, as T grows: {theory}"))
    exact = {
        "optimum of a period, closed form": optimum(PAPER),
        "optimum of a period, positive demand, closed form": optimum(POSITIVE),
        "five prices for ever, closed form": unlearned(PAPER),
    }
    return made + [study.Row(name, value, 0.0) for name, value in exact.items()]


def draw(figure, sizes, results, rows):
    """Percentage regret over T: central trust, local trust, linear demand known."""
    figure.set_size_inches(13, 4.4)
    panels = dict(zip(sizes.panels, np.ravel(figure.subplots(1, len(sizes.panels), sharey=True)), strict=True))
    shades, last = {epsilon: f"C{i}" for i, epsilon in enumerate(sizes.epsilons)}, sizes.epsilons[-1]
    for trust, axes in panels.items():
        if trust != "positive":
            for epsilon in sizes.epsilons:
                band(axes, sizes, results[named(trust, epsilon)]["loss"], f"epsilon = {epsilon:g}", color=shades[epsilon])
            band(axes, sizes, results["no noise"]["loss"], "no noise", color="0.2", ls="--")
            axes.set_title(f"Quadrisection, {trust} trust")
    band(panels["central"], sizes, results["no noise, losses cut"]["loss"], "no noise, losses cut", color="0.6", ls=":")
    if "positive" in panels:
        axes = panels["positive"]
        for epsilon in sizes.epsilons:
            loss = results[f"positive demand, linear policy, {named('central', epsilon)}"]["loss"]
            band(axes, sizes, loss, f"linear policy, epsilon = {epsilon:g}", color=shades[epsilon])
        band(axes, sizes, results["positive demand, LinUCB"]["loss"], "LinUCB, no noise", color="0.2", ls=":")
        band(axes, sizes, results["positive demand, no noise"]["loss"], "quadrisection, no noise", color="0.2", ls="--")
        loss = results[f"positive demand, {named('central', last)}"]["loss"]
        band(axes, sizes, loss, f"quadrisection, epsilon = {last:g}", color=shades[last], ls="--")
        axes.set_title("Positive demand, central trust")
    panels["central"].set_ylabel("percentage regret")
    for axes in panels.values():
        axes.set(xscale="log", yscale="log", xlabel="horizon T")
        axes.legend(fontsize=7)


def band(axes, sizes, losses, name, **style):
    """A curve with its 95 % interval."""
    error = stats.Z95 * losses.std(axis=1, ddof=1) / math.sqrt(losses.shape[1])
    axes.errorbar(sizes.horizons, losses.mean(axis=1), error, marker="o", ms=3, capsize=2, lw=1.2, label=name, **style)


STUDY = study.Study(
    name="private_loss",
    title="What privacy costs in percent of revenue (Chen, Miao, Wang 2023; Chen, Simchi-Levi, Wang 2022)",
    presets=PRESETS,
    cells=cells,
    rows=rows,
    draw=draw,
)

if __name__ == "__main__":
    study.command(STUDY)

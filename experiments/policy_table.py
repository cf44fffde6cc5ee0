"""The table of all policies, for `jaxprice/policies/README.md`.

python -m experiments.policy_table --write
"""

import dataclasses
from pathlib import Path

from experiments import command
from jaxprice import files, policies

PAGE = Path(policies.__file__).with_name("README.md")
HEAD = """# Policies

One algorithm a file, named as its function: `jaxprice.policies.ucb1()` is in `ucb1.py`, whose docstring has the problem, the
update in formulas, the source, and where ours departs from it. `jaxprice.policies.cards()` gives this table in Python;
this page is written by `python -m experiments.policy_table --write`. Regret is the rate in the setting of the paper.

What several share is in `parts/`: `arms` (signals and sums over a price grid), `own_grid` (a grid on an interval),
`beta_law`, `beta_posterior`, `exponential` (weights), `recent` (windows and discounts), `falling_demand`, `price_process`
(Gaussian process over the price), `tabular` (states and their values), `features`, `linear_model`, `logistic_model`,
`network` (buyers with features), `line` (least squares in the price), `price_tests`, `stock` (linear programmes and
posteriors under limited stock), `sale_likelihood`, `price_effects`, `online_newton`, `bounded_mle` (likelihood of a sale),
`mnl_choice`, `price_ball` (several products), `related` (products in sequence), `rounds` (a loop that lanes leave one by
one), `combinators`. Policies of policies are `delayed`, `batched`, `guarded`, `per_context`, `per_product`, `mixture`,
`restart_on` (with `detectors`), `discounted`, `sellers`.

"""


@dataclasses.dataclass(frozen=True)
class Options:
    """What to do with the page."""

    write: bool = False
    """Write it, rather than print it."""


def page():
    """The page, as Markdown."""
    lines = ["| policy | family | paper | regret | learns from | hyperparameters |", "|---|---|---|---|---|---|"]
    for card in policies.cards():
        options = ", ".join(f"{name}={default!r}" for name, default in card.options.items())
        cells = (f"`{card.name}`", card.family, card.source, card.regret, card.feedback, options and f"`{options}`")
        lines.append("| " + " | ".join(cells) + " |")
    return HEAD + "\n".join(lines) + "\n"


def main(options):
    """Print the page, or write it."""
    if options.write:
        files.write(PAGE, page())
    else:
        print(page(), end="")


if __name__ == "__main__":
    command.run(main, Options)

"""Cards of the agents in the package: training, scores at home and away, reaction to a refusal.

    python -m experiments.agent_cards                        # all cards, beside the weights
    python -m experiments.agent_cards --only pricing_rl2 --lanes 500 --out cards

A card is `NAME.md` beside `NAME.npz` in `jaxprice/agents/weights/`. The tests compare the digest of the weights on the card
with that of the file, so a new agent needs a new card.
"""

import dataclasses
from pathlib import Path

from rich.console import Console

import jaxprice
from experiments.frame import command
from jaxprice import agents, checks, explain, files

PLACE = Path(agents.trained.__file__).parent / "weights"


@dataclasses.dataclass(frozen=True)
class Options:
    """Which cards."""

    only: tuple[str, ...] = ()
    """Agents; all by default."""
    lanes: int = 2000
    """Markets of a score."""
    out: Path = PLACE
    """Folder."""

    def __post_init__(self):
        for name in self.only:
            checks.choice("agent", name, agents.list_agents())
        checks.whole("lanes", self.lanes, 2)


def markets(told):
    """The market of an agent's training, and name -> other markets, from what its file tells.

    The seller for all markets learned on a mixture; its home here is the first of its markets.

    Raises:
      ValueError: the market of the training is not known here.
    """
    told = {"market": "logit"} | told if told.get("name") == "seller" else told
    if told["market"] == "BernoulliBandit":
        arms = told["settings"]["num_arms"]
        home = jaxprice.make("BernoulliBandit", **told["settings"])[0]
        return home, {"posted prices, logit": jaxprice.make("PostedPrice", demand="logit", num_prices=arms)[0]}
    checks.choice("market", told["market"], ("logit",))
    curves = {"beta valuations": "beta", "linear demand": "linear"}
    away = {name: jaxprice.make("PostedPrice", demand=curve)[0] for name, curve in curves.items()}
    away["products fitted to purchases"] = jaxprice.make("CalibratedProducts")[0]
    return jaxprice.make("PostedPrice", demand="logit")[0], away


def main(options):
    """Measure and write the cards."""
    console = Console()
    for name in options.only or agents.list_agents():
        agent = agents.load_agent(name)
        try:
            home, away = markets(agent.told)
        except ValueError as error:
            console.print(f"{name}: no card, {error}")
            continue
        horizon = agent.told["horizon"] if isinstance(agent.told["horizon"], int) else 100
        card = explain.card(agent, home, away=away, title=name, lanes=options.lanes, horizon=horizon)
        options.out.mkdir(parents=True, exist_ok=True)
        files.write(options.out / f"{name}.md", card.markdown())
        console.print(f"{name}: {options.out / f'{name}.md'}")


if __name__ == "__main__":
    command.run(main, Options, __doc__)

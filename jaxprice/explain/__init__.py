"""Why a policy posts a price: what it believes, what an agent looks at, how it behaves, and a rule that people can read."""

from jaxprice.explain.attribution import Attribution, Dependence, dependence, inputs
from jaxprice.explain.belief import Belief, belief
from jaxprice.explain.cards import Card, card
from jaxprice.explain.counterfactual import Answers, counterfactual
from jaxprice.explain.play import Decisions, decisions
from jaxprice.explain.rules import Rule, rule
from jaxprice.explain.sentences import bounds, of_action, sentence

__all__ = [
    "Answers",
    "Attribution",
    "Belief",
    "Card",
    "Decisions",
    "Dependence",
    "Rule",
    "belief",
    "bounds",
    "card",
    "counterfactual",
    "decisions",
    "dependence",
    "inputs",
    "of_action",
    "rule",
    "sentence",
]

"""The rivals of Kastius and Schlosser (2022), and exact values against them: of any map of prices, and of the best one.

A frozen seller is a map from places of the rival's price to places of its own, int `[50]`. Against a rival who looks at the
seller's price alone, its discounted value is V(p) = r(a, p) + discount V(R(a)) with a = map(p). Policy iteration finds the
optimal map (R. A. Howard 1960, "Dynamic Programming and Markov Processes").
"""

import functools

import numpy as np

import jaxprice

DISCOUNT = 0.9  # of the public code
FIRST = 29  # place of the rival's first price, 30
PRICES = np.arange(1, 51)
RIVALS = {
    "two bounds 5, 40": {"floor": 5, "ceiling": 40},
    "cartel 33": {"rule": "cartel", "at": 33},
    "fixed 20": {"rule": "fixed", "at": 20},
    "two bounds 25, 45": {"floor": 25, "ceiling": 45},
    "cartel 33, price war": {"rule": "cartel", "at": 33, "floor": 10, "ceiling": 20, "capped": True},
}


@functools.cache
def market(name, **options):
    """`(environment, params)` of one of `RIVALS`."""
    return jaxprice.make("ReactiveRival", **RIVALS[name], **options)


def rewards(params):
    """Expected profit of a period, float64 `[own, rival]`, and places of the rival's answers, int `[own]`."""
    prices, sales, answer = (np.asarray(x) for x in (params.prices, params.sales, params.answer))
    answer = answer[:, 0]  # the rivals ignore their old price
    sales = sales.astype(float)
    after = sales[np.arange(prices.size), answer][:, None]
    return prices[:, None] * (params.lag * sales + (1 - params.lag) * after), answer


def worth(reward, answer, choices):
    """Discounted value of a map `choices` `[rival]` at each price of the rival, float64 `[rival]`."""
    count = choices.size
    values, now, after = np.zeros(count), reward[choices, np.arange(count)], answer[choices]
    for _ in range(400):  # .9^400 is below the rounding of float64
        values = now + DISCOUNT * values[after]
    return values


def optimum(reward, answer):
    """Optimal values and map, `[rival]` each, by policy iteration."""
    choices = reward.argmax(axis=0)
    while True:
        values = worth(reward, answer, choices)
        q = reward + DISCOUNT * values[answer][:, None]
        if np.all(q.max(axis=0) <= values + 1e-9 * np.abs(values).max()):
            return values, choices
        choices = q.argmax(axis=0)


def average(reward, answer, choices, start):
    """Mean profit of the cycle that a map enters from a price of the rival."""
    seen, earned, rival = {}, [], start
    while rival not in seen:
        seen[rival] = len(earned)
        earned.append(reward[choices[rival], rival])
        rival = answer[choices[rival]]
    return float(np.mean(earned[seen[rival] :]))


def path(answer, choices, start, length):
    """Places of the seller's prices and of the rival's answers, `[length, 2]`."""
    rival, steps = start, []
    for _ in range(length):
        own = choices[rival]
        rival = answer[own]
        steps.append((own, rival))
    return np.array(steps)


def in_cents(name, grid=1):
    """Optimal value at 30 if the seller's prices, and so the rival's, are in cents, by policy iteration in blocks.

    Args:
      name: of the rival.
      grid: distance of two prices, in cents.

    Returns:
      a dict with "value", float.
    """
    rule = RIVALS[name]
    own = np.arange(100, 5001, grid)
    low, high, at = (100 * rule.get(key, usual) for key, usual in (("floor", 1), ("ceiling", 50), ("at", 0)))
    lower = own - 100
    answer = np.where(lower < low, high, np.minimum(lower, high) if rule.get("capped") else lower)
    if rule.get("rule") == "fixed":
        answer = np.full_like(own, at)
    elif rule.get("rule") == "cartel":
        answer = np.where(np.abs(own - at) < 50, own, answer)

    def half(a, p):  # mean profit of half a period
        return a / 100 * paper_sales(a / 100, p / 100) / 2

    rest, places = half(own, answer), (answer - own[0]) // grid
    values = np.zeros(own.size)
    while True:
        later = rest + DISCOUNT * values[places]
        blocks = np.array_split(own, 20)
        choices = np.concatenate([(half(own[:, None], block) + later[:, None]).argmax(axis=0) for block in blocks])
        now = half(own[choices], own) + rest[choices]
        better = now + DISCOUNT * values[places[choices]]
        if np.abs(better - values).max() <= 1e-9 * np.abs(better).max():
            return {"value": better[(100 * PRICES[FIRST] - own[0]) // grid]}
        for _ in range(400):
            values = now + DISCOUNT * values[places[choices]]


def paper_sales(a, p):
    """Mean sales of a period in float64 at prices of any currency unit, as in the public code."""
    rank = 1 + ((p < a) + (p <= a) * 1.0) / 2
    return 800 / (1 + np.exp(3.89 + 0.56 * rank + 0.01 * (a - p) - 0.07 + 0.03 * (a + p) / 2))

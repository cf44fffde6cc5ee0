"""The card of a trained agent: what it was trained on, what it scores at home and away, and how it behaves, as Markdown.

    print(explain.card("pricing_rl2", env, away={"beta valuations": other}).markdown())

| section | what is measured |
|---|---|
| Training | what the agent's file says |
| Scores | share of the optimum and regret with intervals, at home and away, beside Thompson sampling and a random price |
| Worst markets | the 5 % of home markets with the largest regret: what they have in common |
| Prices | quantiles of posted prices as shares of the grid |
| After a refusal | the next price after a refusal, against the one after a sale from the same state (`play`) |
| Groups | differences of prices between buyers with a low and a high first feature, if the agent sees features |

A refusal should not raise the price. The card counts how often it does: how often the price after a refusal is above the
posted one, and how often it is above the price after a sale. The first happens to every seller who explores.
"""

import dataclasses
import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxprice import checks, policies, random, stats
from jaxprice.agents import trained
from jaxprice.environment import Environment
from jaxprice.explain.play import decisions
from jaxprice.simulate import simulate

SECTIONS = ("Training", "Scores", "Worst markets", "Prices", "After a refusal", "Groups")
VERSION = 1
WORST = 0.05  # share of the markets
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclasses.dataclass(frozen=True)
class Card:
    """The card of an agent.

    Attributes:
      title: name of the agent.
      weights: digest of its weights and options, 16 hexadecimal digits.
      sections: title of a section -> its lines of Markdown, in the order of `SECTIONS`.
    """

    title: str
    weights: str
    sections: dict

    def markdown(self):
        """The card as text."""
        parts = [f"# {self.title}", "", f"Card of version {VERSION} for weights `{self.weights}`.", ""]
        for name in SECTIONS:
            parts += [f"## {name}", "", *self.sections[name], ""]
        return "\n".join(parts)


def digest(agent):
    """Sixteen hexadecimal digits of the network, inputs and weights of an `Agent`."""
    return hashlib.sha256(agent.description(agent.checked()).encode()).hexdigest()[:16]


def card(
    agent: Any, env: Environment, *, away: Any = None, title: str = "", lanes: int = 2000, horizon: Any = None, seed: int = 1
) -> Card:
    """Measure an agent.

    Args:
      agent: an `agents.Agent`, or the name or path of one.
      env: the market of its training; markets are drawn from its task distribution.
      away: name -> other markets.
      title: title of the card; by default the name of the agent.
      lanes: number of markets; 256 of them answer the questions about refusals.
      horizon: number of periods; by default that of the training.
      seed: seed of markets and buyers.

    Raises:
      ValueError: an argument is none of these, or the agent does not fit a market.
    """
    title = title or (agent if isinstance(agent, str) else "agent")
    agent = agent if isinstance(agent, trained.Agent) else trained.load_agent(agent)
    away = checks.options("away", away)
    for name, market in {"env": env, **away}.items():
        if not isinstance(market, Environment):
            raise ValueError(
                f"{name} must be an Environment, such as jaxprice.make returns first, got {checks.shown(market)}"
            )
    lanes = checks.whole("lanes", lanes, 2)
    horizon = checks.positive_int("horizon", agent.told.get("horizon", 100) if horizon is None else horizon)
    policy, settings = agent.policy(), {"seed": seed, "lanes": lanes, "horizon": horizon}
    runs = {name: _scores(market, policy, settings) for name, market in {env.name: env, **away}.items()}
    home = next(iter(runs.values()))
    asked = decisions(env, policy, lanes=min(lanes, 256), horizon=horizon, seed=seed)
    problem = env.problem(env.default_params())
    sections = {
        "Training": _training(agent, horizon),
        "Scores": _table(runs, horizon),
        "Worst markets": _worst(env, home, settings),
        "Prices": _prices(asked, problem),
        "After a refusal": _refusals(asked, problem),
        "Groups": _groups(asked, problem, agent),
    }
    return Card(title, digest(agent), sections)


def _scores(env, policy, settings):
    sellers = {"agent": policy, "random price": policies.random_price()}
    thompson = (
        policies.thompson() if env.problem(env.default_params()).noise == "bernoulli" else policies.gaussian_thompson()
    )
    return simulate(env, sellers | {"Thompson sampling": thompson}, **settings)


def _training(agent, horizon):
    told = agent.told
    weights = sum(np.size(x) for x in jax.tree.leaves(agent.weights))
    size = sum(np.asarray(x).nbytes for x in jax.tree.leaves(agent.weights))
    read = [name for name, on in dataclasses.asdict(agent.inputs).items() if on]
    where = told.get("market", "unknown")
    where += "".join(f", {key} = {value}" for key, value in told.get("settings", {}).items())
    facts = {
        "network": f"{agent.name}, {weights:,} weights, {size:,} bytes",
        "inputs": ", ".join(read),
        "actions": f"{agent.actions}, {'the likeliest one' if agent.deploy == 'argmax' else 'drawn'}",
        "market": where,
        "method": told.get("method", "unknown"),
        "updates": told.get("updates", "unknown"),
        "lifetimes of an update": told.get("lanes", "unknown"),
        "periods of a lifetime": told.get("horizon", horizon),
        "seed": told.get("seed", "unknown"),
    }
    return ["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in facts.items())]


def _table(runs, horizon):
    rows = ["| market | seller | share of the optimum | regret |", "| --- | --- | --- | --- |"]
    for market, run in runs.items():
        last = run.isel(time=-1)
        for seller in map(str, run["policy"].values):
            one = last.sel(policy=seller)
            share = stats.interval(float(one["share"]), float(one["share_se"]), run.attrs.get("lanes"))
            regret = stats.interval(float(one["regret"]), float(one["regret_se"]), run.attrs.get("lanes"))
            rows.append(
                f"| {market} | {seller} | {float(one['share']):.4f} ({share[0]:.4f} to {share[1]:.4f}) "
                f"| {float(one['regret']):.4g} ({regret[0]:.4g} to {regret[1]:.4g}) |"
            )
    note = f"After {horizon} periods; 95 % intervals over the markets; sellers meet the same markets and buyers."
    return [note, "", *rows]


def _worst(env, home, settings):
    lost = np.asarray(home["lane_regret"].sel(policy="agent"), float)
    count = max(1, round(WORST * lost.size))
    worst = np.argsort(-lost, kind="stable")[:count]
    words = random.stream(settings["seed"], "market")

    def best(number):
        params = env.draw_params(random.address(words, 0, number), jnp.int32(settings["horizon"]))
        reset = random.stream(settings["seed"], "reset")
        _, state = env.reset_env(random.address(reset, 0, number), params)
        action = env.optimal_action(state, params)
        return action, env.expected_reward(state, action, params), jnp.asarray(env.problem(params).prices)[action]

    action, reward, price = map(np.asarray, jax.jit(jax.vmap(best))(jnp.arange(lost.size, dtype=jnp.uint32)))
    said = {
        "regret": lost,
        "profit of the best price": reward,
        "best price": price,
        "place of it on the grid": action,
    }
    rows = ["| mean | worst markets | all markets |", "| --- | --- | --- |"]
    rows += [f"| {name} | {values[worst].mean():.4g} | {values.mean():.4g} |" for name, values in said.items()]
    share = lost[worst].sum() / max(lost.sum(), 1e-30)
    return [f"The worst {count} of {lost.size:,} home markets carry {share:.0%} of the regret.", "", *rows]


def _prices(asked, problem):
    if problem.one_price:
        return ["All actions have the same price."]
    low, high = float(problem.low), float(problem.high)
    found = np.quantile(asked.price, LEVELS)
    ends = ["lowest", *(f"{level:.0%}" for level in LEVELS), "highest"]
    row = [asked.price.min(), *found, asked.price.max()]
    used = np.unique(asked.action).size
    return [
        f"On a grid from {low:.4g} to {high:.4g}; {used} of {problem.num_prices} prices were posted.",
        "",
        "| " + " | ".join(ends) + " |",
        "|" + " --- |" * len(ends),
        "| " + " | ".join(f"{value:.4g}" for value in row) + " |",
    ]


def reactions(asked, problem):
    """Shares of decisions, `(share, standard error over markets)`: name -> both, from `play.Decisions`."""
    prices = np.asarray(problem.prices, float)
    arms = problem.one_price
    refused, sold, now = asked.after_refusal, asked.after_sale, asked.action
    if arms:
        found = {"a refusal changes the arm": refused != now, "a sale changes the arm": sold != now}
        found["the next arm depends on the outcome"] = refused != sold
    else:
        value = prices if prices.size else None
        refused, sold, now = (x if value is None else value[x] for x in (refused, sold, now))
        found = {
            "a refusal lowers the price": refused < now,
            "a refusal keeps the price": refused == now,
            "a refusal raises the price": refused > now,
            "a sale raises the price": sold > now,
            "the price after a refusal is above that after a sale": refused > sold,
        }
    each = {name: np.asarray(x, float).mean(axis=1) for name, x in found.items()}
    return {
        name: (float(x.mean()), float(x.std(ddof=1) / np.sqrt(x.size)) if x.size > 1 else 0.0) for name, x in each.items()
    }


def _refusals(asked, problem):
    rows = ["| decisions in which | share | standard error |", "| --- | --- | --- |"]
    rows += [f"| {name} | {share:.2%} | {se:.2%} |" for name, (share, se) in reactions(asked, problem).items()]
    lanes, horizon = asked.action.shape
    return [
        f"{lanes * horizon:,} decisions in {lanes} markets.",
        "",
        *rows,
    ]


def _groups(asked, problem, agent):
    reads = agent.inputs.observation or agent.name in ("stats", "seller")
    if not problem.context_size or not reads:
        return ["The agent sees no features of buyers: all buyers of a period get the same price."]
    rows = [
        "| feature | mean price below its median | above | difference | standard error |",
        "| --- | --- | --- | --- | --- |",
    ]
    for k in range(problem.context_size):
        feature = asked.observation[:, :, asked.observation.shape[2] - problem.context_size + k]
        high = feature > np.median(feature)
        both = [
            np.mean(np.where(which, asked.price, 0), axis=1) / np.maximum(which.mean(axis=1), 1e-9)
            for which in (~high, high)
        ]
        gap = both[1] - both[0]
        se = gap.std(ddof=1) / np.sqrt(gap.size)
        rows.append(f"| {k + 1} | {both[0].mean():.4g} | {both[1].mean():.4g} | {gap.mean():.4g} | {se:.2g} |")
    return rows

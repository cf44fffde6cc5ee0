"""Steps per second: jaxprice against NumPy vectorised over lanes, in one run.

    python -m experiments.throughput                       # two tables, about eight minutes on two cores
    python -m experiments.throughput --only ucb1 --out throughput.jsonl

Policies play a Bernoulli bandit with means evenly spaced from .1 to .9, or else the first market of `stages` that they
accept. In the table of markets a random seller plays. Ours is timed through `simulate`. The first call, which compiles, is
separate, in seconds on the clock and as CPU time of all cores (`compile_cpu_s`, which does not depend on the load of the
machine). The NumPy columns are the best that we could write (`experiments/references/`); only `ts_update` is compared with
one call of a solver a period, as it is usually written. They use one core, as NumPy does; ours uses all cores. Runs of both
alternate and the best of each counts, so that other load on the machine changes the ratio little. The NumPy markets also
check ours: `z` is the difference of the mean regrets in standard errors. `peak_mb` is the peak memory of the process.
"""

import contextlib
import dataclasses
import functools
import json
import resource
import time
from pathlib import Path
from typing import Literal

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

import jaxprice
from experiments.frame import command
from experiments.references import families, planning, pricing, private, products
from experiments.references import markets as numpy_markets
from experiments.references import policies as numpy_policies
from jaxprice import engine, policies

LONGEST = 2.0  # longest intended time of a timed run, in seconds


@dataclasses.dataclass(frozen=True)
class Options:
    """What to measure."""

    only: str | None = None
    """Measure only this row."""
    kind: Literal["all", "policies", "markets"] = "all"
    """Which of the two tables."""
    arms: int = 10
    """Arms of the bandit."""
    lanes: int = 4096
    """Lanes, for both."""
    horizon: int = 4000
    """Pulls of each lane, our policies."""
    numpy_horizon: int = 600
    """Pulls of each lane, NumPy's policies."""
    numpy_periods: int = 300
    """Periods of each lane in NumPy's markets; ours play `horizon`."""
    repeats: int = 6
    """Number of runs for both; the best one counts, and the faster of two compilations."""
    out: Path | None = None
    """Append JSON lines to this file."""

    def __post_init__(self):
        for name in ("arms", "lanes", "horizon", "numpy_horizon", "numpy_periods", "repeats"):
            jaxprice.checks.positive_int(name, getattr(self, name))


def policy_rows():
    """Name -> (our policy, NumPy's policy)."""
    references = {
        "ucb1": numpy_policies.NumpyUCB1,
        "ucb_tuned": numpy_policies.NumpyUCBTuned,
        "kl_ucb": numpy_policies.NumpyKLUCB,
        "epsilon_greedy": numpy_policies.NumpyEpsilonGreedy,
        "thompson": numpy_policies.NumpyThompson,
        "gaussian_thompson": numpy_policies.NumpyGaussianThompson,
        "exp3": numpy_policies.NumpyExp3,
        "discounted_ucb": numpy_policies.NumpyDiscountedUCB,
        "gp_ucb": numpy_policies.NumpyGPUCB,
        "lin_ucb": pricing.NumpyLinUCB,
        "lin_ts": pricing.NumpyLinTS,
        "logistic_thompson": pricing.NumpyLogisticThompson,
        "constrained_least_squares": pricing.NumpyConstrainedLeastSquares,
        "ellipsoid_pricing": pricing.NumpyEllipsoidPricing,
        "ts_update": pricing.LinprogTSUpdate,
        "q_learning": families.NumpyQLearning,
        "kleinberg_leighton": families.NumpyKleinbergLeighton,
        "private_pricing": private.NumpyPrivatePricing,
        "mnl_ucb": families.NumpyMNLUCB,
        "hierarchical_thompson": families.NumpyHierarchicalThompson,
    }
    return {name: (policies.make(name), references.get(name)) for name in policies.list() if name != "oracle"}


def stages(options):
    """Markets for the policies, plain bandits first: `(name, options)`."""
    return (
        ("BernoulliBandit", {"num_arms": options.arms}),
        ("PostedPrice", {"num_prices": options.arms}),
        ("GLMDemand", {"dimension": 10, "num_prices": options.arms}),
        ("ParametricDemand", {"family": "keskin_zeevi"}),
        ("ParametricDemand", {"family": "logit"}),
        ("LinearValuation", {"dimension": 10}),
        ("GLMDemand", {"dimension": 10}),
        ("FiniteInventory", {"horizon": options.horizon}),
        ("NetworkRevenue", {"horizon": options.horizon}),
        ("SegmentedValuation", {"num_segments": 100, "num_prices": 20}),
        ("LowRankDemand", {"num_products": 20, "rank": 2}),
        ("MNLPricing", {}),
        ("MNLAssortment", {}),
        ("RelatedProducts", {}),
    )


def stage(policy, options):
    """The first market of `stages` that a policy accepts: `(environment, params)`."""
    for name, settings in stages(options):
        env, params = market(name, tuple(settings.items()))
        problem = env.problem(params)  # its numbers are known: a policy may refuse prices that are all the same
        with contextlib.suppress(ValueError):
            jax.eval_shape(lambda key, problem=problem: policy.init(key, problem), jax.random.key(0))
            return env, params
    raise ValueError("no stage has what this policy needs")


@functools.cache
def market(name, settings):
    """`(environment, params)`, made once."""
    return jaxprice.make(name, **dict(settings))


def market_rows(horizon):
    """Name -> (name of the market, its options, NumPy's class)."""
    return {
        "posted price, grid": ("PostedPrice", {}, numpy_markets.Stationary),
        "posted price, interval": ("PostedPrice", {"num_prices": None}, numpy_markets.Interval),
        "linear valuation": ("LinearValuation", {}, numpy_markets.LinearValuation),
        "GLM demand": ("GLMDemand", {}, numpy_markets.GLMDemand),
        "fair pricing": ("FairPricing", {}, numpy_markets.FairPricing),
        "finite inventory": ("FiniteInventory", {"horizon": horizon}, planning.FiniteInventory),
        "network revenue": ("NetworkRevenue", {"horizon": horizon}, planning.NetworkRevenue),
        "season": ("NonStationary", {"kind": "season"}, numpy_markets.Season),
        "drift": ("NonStationary", {"kind": "drift"}, numpy_markets.Drift),
        "several products": ("MultiProduct", {"num_products": 3}, products.MultiProduct),
        "low rank, 100 products": ("LowRankDemand", {}, products.LowRankDemand),
        "MNL pricing": ("MNLPricing", {}, products.MNLPricing),
        "MNL assortment": ("MNLAssortment", {}, products.MNLAssortment),
        "reference price": ("ReferencePrice", {"num_prices": 10}, planning.ReferencePrice),
        "replenishment": ("Replenishment", {}, planning.Replenishment),
        "storefront": ("Storefront", {}, planning.Storefront),
        "logit oligopoly": ("LogitOligopoly", {"noise_scale": 0.1}, products.LogitOligopoly),
    }


def truths(env, params):
    """The numbers of the oracle that a NumPy market receives."""
    _, state = jax.jit(env.reset_env)(jax.random.key(0), params)
    told = {"optimal": np.float32(jax.jit(env.optimal_reward)(state, params))}
    if hasattr(state, "mean_demand"):
        told["means"] = np.asarray(state.mean_demand)
    if hasattr(env, "own_prices"):
        told["own"] = np.asarray(env.own_prices(params))
    if hasattr(state, "grid"):
        told["grid"] = np.asarray(state.grid)
    return told


def timed(run, seed):
    """Seconds that a run takes, and its result."""
    start = time.perf_counter()
    result = run(seed)
    return time.perf_counter() - start, result


def compilation(run):
    """Seconds by which a first call is slower than a second: on the clock, and of all cores; the faster of two trials."""
    trials = []
    for _ in range(2):
        engine.forget()
        clocks = time.perf_counter(), time.process_time()
        run(0)
        between = time.perf_counter(), time.process_time()
        run(0)
        after = time.perf_counter(), time.process_time()
        trials.append([2 * b - a - c for a, b, c in zip(clocks, between, after, strict=True)])
    return [max(min(pair), 0.0) for pair in zip(*trials, strict=True)]


def in_turns(ours, reference, repeats):
    """Seconds of the best run of each, in alternation, and the results of the first; `run(seed)` and a reference or None."""
    seconds, results = ([], []), None
    for seed in range(1, repeats + 1):
        pair = [run and timed(run, seed) for run in (ours, reference)]
        results = results or [x and x[1] for x in pair]
        for times, x in zip(seconds, pair, strict=True):
            times.append(x[0] if x else None)
    return [min(times) if times[0] is not None else None for times in seconds], results


def measure_policy(name, options):
    """One row of the first table, as a dict."""
    ours, reference = policy_rows()[name]
    env, params = stage(ours, options)
    play = functools.partial(jaxprice.simulate, env, {name: ours}, lanes=options.lanes, params=params)
    short = min(options.horizon, 50)
    compiling = compilation(lambda seed: play(seed=seed, horizon=short))
    horizon, seconds = short, timed(lambda seed: play(seed=seed, horizon=short), 0)[0]
    while horizon < options.horizon and seconds < LONGEST / 4:  # longer, until a run is long enough to be timed
        horizon = min(4 * horizon, options.horizon)
        seconds = timed(lambda seed, horizon=horizon: play(seed=seed, horizon=horizon), 0)[0]
    row = {"name": name, "kind": env.name, "arms": options.arms, "horizon": horizon}
    numpy_horizon = reference and max(1, round(options.numpy_horizon * reference.share))
    numpy_lanes = min(options.lanes, getattr(reference, "lanes", options.lanes))

    def play_numpy(seed):
        return reference(options.arms, numpy_lanes, numpy_horizon, seed).run(getattr(params, "means", 0.5))

    ours_runs = functools.partial(play, horizon=horizon)
    (best, numpy_best), _ = in_turns(lambda seed: ours_runs(seed=seed), reference and play_numpy, options.repeats)
    numpy_per_s = numpy_best and numpy_lanes * numpy_horizon / numpy_best
    return row | rates(options.lanes * horizon / best, numpy_per_s, compiling, options)


def measure_market(name, options):
    """One row of the second table, as a dict."""
    kind, settings, reference = market_rows(options.horizon)[name]
    env, params = jaxprice.make(kind, **settings)
    seller = {"random": policies.random_price()}
    horizon, compared = options.horizon, options.numpy_periods
    settings = {"lanes": options.lanes, "horizon": horizon, "checkpoints": [compared, horizon]}
    play = functools.partial(jaxprice.simulate, env, seller, params=params, **settings)
    compiling = compilation(lambda seed: play(seed=seed))
    made = dataclasses.replace(params, max_steps_in_episode=np.int32(horizon))
    made = jax.device_get(jax.jit(env.solve)(made))
    told = truths(env, made)

    def play_numpy(seed):
        return reference(env, made, told, options.lanes, horizon, seed).run(compared)

    (best, numpy_best), (result, numpy_regret) = in_turns(lambda seed: play(seed=seed), play_numpy, options.repeats)
    result = result.isel(policy=0, time=0)
    regret, error = float(result["regret"]), float(result["regret_se"])
    row = {"name": name, "kind": env.name, "horizon": horizon, "regret": regret, "regret_se": error}
    row |= {"numpy_regret": numpy_regret, "z": round((regret - numpy_regret) / max(2**0.5 * error, 1e-9), 2)}
    numpy_per_s = options.lanes * compared / numpy_best
    return row | rates(options.lanes * horizon / best, numpy_per_s, compiling, options)


def rates(ours_per_s, numpy_per_s, compiling, options):
    """The entries that both tables have."""
    return {
        "lanes": options.lanes,
        "ours_per_s": round(ours_per_s),
        "numpy_per_s": numpy_per_s and round(numpy_per_s),
        "ratio": numpy_per_s and round(ours_per_s / numpy_per_s, 2),
        "compile_s": round(compiling[0], 2),
        "compile_cpu_s": round(compiling[1], 2),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "device": jax.local_devices()[0].device_kind,
        "devices": jax.local_device_count(),
    }


def main(options):
    """Measure, print, and append to the file."""
    tables = {"policies": (measure_policy, policy_rows()), "markets": (measure_market, market_rows(1))}
    names = [name for _, rows in tables.values() for name in rows]
    if options.only is not None:
        jaxprice.checks.choice("row", options.only, names)
    console = Console()
    for kind, (measure, rows) in tables.items():
        chosen = [name for name in rows if options.only in (None, name) and options.kind in ("all", kind)]
        if not chosen:
            continue
        printed = Table(title=f"{kind}, {options.lanes:,} lanes: million steps a second")
        columns = ("ours", "NumPy", "ratio", "compile s", "of all cores") + (("z",) if kind == "markets" else ())
        for column in (kind, *columns):
            printed.add_column(column, justify="left" if column == kind else "right")
        for name in chosen:
            with console.status(name):
                row = measure(name, options)
            numpy = "" if row["numpy_per_s"] is None else f"{row['numpy_per_s'] / 1e6:.2f}"
            ratio = "" if row["ratio"] is None else f"{row['ratio']:.1f}"
            compiling = [f"{row[clock]:.1f}" for clock in ("compile_s", "compile_cpu_s")]
            cells = [f"{row['ours_per_s'] / 1e6:.2f}", numpy, ratio, *compiling]
            printed.add_row(name, *cells, *([f"{row['z']:.1f}"] if kind == "markets" else []))
            if options.out is not None:
                options.out.parent.mkdir(parents=True, exist_ok=True)
                with options.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")
        console.print(printed)


if __name__ == "__main__":
    command.run(main, Options)

"""Mutation testing: change one token of the package, run the tests that should detect it, and list the surviving changes.

    python -m tests.mutate --number 200

A mutant differs from the package in one token: an operator, a comparison, a constant, or a function such as `maximum`. It is
killed if a default test of its file fails or does not end in time. Each mutant runs in its own process, forked from one that
has loaded the libraries but not the package, and nothing is written to the source tree.

Mutations of one token are those of R. A. DeMillo, R. J. Lipton, F. G. Sayward (1978), "Hints on test data selection: help
for the practicing programmer", doi:10.1109/C-M.1978.218136.
"""

import ast
import concurrent.futures
import dataclasses
import importlib
import importlib.abc
import importlib.util
import io
import itertools
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
import tokenize
from pathlib import Path
from typing import NamedTuple

import tyro

ROOT = Path(__file__).resolve().parent.parent

# file of the package -> tests that pytest is asked to run; after a colon, part of the names of those that run first
_POLICIES = {
    "ucb1": ":ucb1",
    "kl_ucb": ":kl_ucb stochastic:kl_ucb",
    "thompson": ":thompson stochastic:thompson",
    "gaussian_thompson": ":gaussian_thompson",
    "exp3": ":exp3 adversarial:exp3",
    "exp3_p": "adversarial:exp3_p",
    "tsallis_inf": "adversarial:tsallis",
    "sliding_window_ucb": "nonstationary:sliding_window_ucb",
    "glr_kl_ucb": "nonstationary:glr",
    "lin_ucb": "contextual:lin_ucb",
    "lin_ts": "contextual:lin_ts",
    "q_learning": "tabular",
    "kleinberg_leighton": "posted_price:kleinberg",
    "ucb_pi": "posted_price:ucb_pi",
    "controlled_variance": "parametric:controlled_variance",
    "mle_cycle": "parametric:mle_cycle",
    "rmlp": "rmlp",
    "emlp": "contextual_pricing",
    "ts_update": "inventory:ts_update",
    "lp_resolving": "inventory:lp_resolving",
    "mnl_ucb": "several_products:mnl_ucb",
    "zooming": "gradient:zooming",
}
_TARGETS = {
    "jaxprice/agents/agent_file.py": "agents_files",
    "jaxprice/agents/imitation.py": "agents_formulas",
    "jaxprice/agents/learning.py": "agents_formulas agents_checkpoints",
    "jaxprice/agents/optimiser.py": "agents_formulas",
    "jaxprice/agents/rl2.py": "agents_formulas",
    "jaxprice/robust_stats.py": "robust_stats",
    "jaxprice/samplers.py": "samplers policies",
    "jaxprice/random.py": "random samplers",
    "jaxprice/stats.py": "stats simulate",
    "jaxprice/engine.py": "simulate rounds",
    "jaxprice/program_cache.py": "program_cache",
    "jaxprice/periods.py": "simulate rounds",
    "jaxprice/lanes/indexing.py": "lanes",
    "jaxprice/lanes/loops.py": "lanes",
    "jaxprice/lanes/moves.py": "lanes",
    "jaxprice/lanes/dependence.py": "lanes simulate",
    "jaxprice/demand/curve.py": "demand",
    "jaxprice/demand/families.py": "demand",
    "jaxprice/numerics.py": "numerics policies_contextual_pricing",
    "jaxprice/noise.py": "envs envs_oracles",
    "jaxprice/oracles/bandit_bound.py": "oracles_bandits:bound",
    "jaxprice/oracles/bayes_bandit.py": "oracles_bandits",
    "jaxprice/oracles/bayes_single_leg.py": "oracles_single_leg",
    "jaxprice/oracles/dynamic_programming.py": "oracles_planning envs_planning",
    "jaxprice/oracles/fluid_lp.py": "oracles_planning",
    "jaxprice/oracles/gittins.py": "oracles_bandits:gittins",
    "jaxprice/oracles/inventory.py": "oracles_planning envs_oracles",
    "jaxprice/oracles/lambert_w.py": "oracles_pricing",
    "jaxprice/oracles/linear_valuation.py": "oracles_pricing",
    "jaxprice/oracles/logit_pricing.py": "oracles_pricing",
    "jaxprice/oracles/network_dp.py": "oracles_network",
    "jaxprice/oracles/reference_price.py": "oracles_pricing envs_planning",
    "jaxprice/oracles/single_leg.py": "envs_airline",
    "jaxprice/oracles/replenishment.py": "oracles_planning envs_planning",
    "jaxprice/oracles/reward_paths.py": "oracles_bandits:reward",
    "jaxprice/envs/bernoulli_bandit.py": "envs_bandits envs",
    "jaxprice/envs/customers.py": "envs_planning",
    "jaxprice/envs/duopoly_tables.py": "envs_rival",
    "jaxprice/envs/fair_pricing.py": "envs_choice rules",
    "jaxprice/envs/airline_season.py": "rules envs_airline",
    "jaxprice/envs/finite_inventory.py": "rules envs_oracles allowed",
    "jaxprice/envs/finite_inventory_tables.py": "rules envs_oracles allowed",
    "jaxprice/envs/glm_demand.py": "envs_choice rules",
    "jaxprice/envs/informative_bandit.py": "envs_bandits",
    "jaxprice/envs/labelled_rows.py": "envs_bandits",
    "jaxprice/envs/linear_valuation.py": "envs_oracles rules",
    "jaxprice/envs/logit_oligopoly.py": "envs_choice envs_oracles",
    "jaxprice/envs/low_rank_demand.py": "envs_oracles",
    "jaxprice/envs/market.py": "envs_choice envs_oracles envs envs_bandits",
    "jaxprice/envs/mnl_assortment.py": "envs_choice",
    "jaxprice/envs/mnl_pricing.py": "envs_choice rules",
    "jaxprice/envs/multi_product.py": "envs_oracles rules",
    "jaxprice/envs/network_revenue.py": "envs_oracles rules",
    "jaxprice/envs/non_stationary.py": "paths rules",
    "jaxprice/envs/options.py": "make_arguments",
    "jaxprice/envs/paths.py": "paths",
    "jaxprice/envs/planning.py": "envs_planning",
    "jaxprice/envs/posted_price.py": "envs rules",
    "jaxprice/envs/reactive_rival.py": "envs_rival rules",
    "jaxprice/envs/reference_price.py": "envs_planning rules",
    "jaxprice/envs/related_products.py": "envs_oracles rules",
    "jaxprice/envs/replenishment.py": "envs_planning rules",
    "jaxprice/envs/replenishment_tables.py": "envs_planning rules",
    "jaxprice/envs/segmented_valuation.py": "envs rules",
    "jaxprice/envs/storefront.py": "envs_planning",
    "jaxprice/envs/unit_demand.py": "envs envs_planning",
    "jaxprice/envs/wheel_bandit.py": "envs_bandits",
}
_SWAPS = {
    "+": "-", "-": "+", "*": "/", "/": "*", "**": "*", "//": "/", "%": "//", "&": "|", "|": "&", "^": "|",
    ">>": "<<", "<<": ">>", "<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==", "+=": "-=", "-=": "+=",
    "and": "or", "or": "and", "True": "False", "False": "True", "max": "min", "min": "max", "maximum": "minimum",
    "minimum": "maximum", "argmax": "argmin", "argmin": "argmax", "mean": "sum", "any": "all", "all": "any", "ceil": "floor",
    "floor": "ceil", "sin": "cos", "cos": "sin", "exp": "expm1", "log": "log1p", "log1p": "log", "expm1": "exp",
    "sqrt": "square", "cumsum": "cumprod", "logical_and": "logical_or", "logical_or": "logical_and",
}  # fmt: skip


class Mutant(NamedTuple):
    """One token of a file, at line `line` from 1 and column `column` from 0, and what takes its place."""

    path: str
    line: int
    column: int
    before: str
    after: str

    def source(self):
        """The text of the file with the token changed."""
        lines = (ROOT / self.path).read_text().splitlines(keepends=True)
        text = lines[self.line - 1]
        lines[self.line - 1] = text[: self.column] + self.after + text[self.column + len(self.before) :]
        return "".join(lines)

    def __str__(self):
        text = (ROOT / self.path).read_text().splitlines()[self.line - 1].strip()
        return f"{self.path}:{self.line}:{self.column + 1}: {self.before} -> {self.after}    in {text}"


@dataclasses.dataclass(frozen=True)
class Options:
    """Change one token of the package at a time, and see whether a test notices."""

    number: int = 200
    """How many mutants, spread evenly over the files."""
    seed: int = 0
    """Which ones."""
    only: tuple[str, ...] = ()
    """Files whose path holds one of these words; all of them by default."""
    workers: int = 2
    """Processes at a time."""
    limit: int = 240
    """Seconds after which a mutant counts as dead: its tests take less."""
    checked: bool = False
    """Whether the tests are known to pass on the package as it is: they are not run on it first."""
    out: Path | None = None
    """File to which every result is written as a line of JSON; a second run continues from it."""


def mutants(path):
    """All mutants of a file of the package, a list of `Mutant`."""
    text = (ROOT / path).read_text()
    skipped = _skipped(ast.parse(text))
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    tokens = [token for token in tokens if token.type not in (tokenize.NL, tokenize.COMMENT)]
    found = []
    for k, token in enumerate(tokens):
        after = _after(token, tokens[k - 1] if k else None, tokens[k + 1] if k + 1 < len(tokens) else None)
        if after is None or any(first <= token.start and token.end <= last for first, last in skipped):
            continue
        found.append(Mutant(path, *token.start, token.string, after))
    return found


def _is_python(mutant):
    try:
        ast.parse(mutant.source())
    except SyntaxError:
        return False
    return True


def _after(token, before, after):
    """What takes the place of a token, None for a token that is left alone."""
    if token.type == tokenize.NUMBER:
        value = ast.literal_eval(token.string)
        return repr(value + 1) if isinstance(value, int) else repr(2 * value if value else 1.0)
    if token.type not in (tokenize.OP, tokenize.NAME) or token.string not in _SWAPS:
        return None
    if token.string in ("*", "**", "/", "-") and (before.string in "([{,=:" or before.string in ("lambda", "return", "in")):
        return None if token.string != "-" else ""  # arguments unpacked, and the sign of a number
    is_word = token.string in ("and", "or", "True", "False")
    if token.type == tokenize.NAME and not is_word and (before.string == "def" or after.string != "("):
        return None
    return _SWAPS[token.string]


def _skipped(tree):
    """Ranges of source without behaviour: imports, decorators, annotations, error messages, text."""
    nodes = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom | ast.Raise | ast.JoinedStr):
            nodes.append(node)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            nodes += node.decorator_list
            nodes += [node.returns] if getattr(node, "returns", None) else []
        elif isinstance(node, ast.arg | ast.AnnAssign) and node.annotation:
            nodes.append(node.annotation)
    return [((n.lineno, n.col_offset), (n.end_lineno, n.end_col_offset)) for n in nodes]


def tests_of(path):
    """What pytest is asked to run for a file, lists of arguments: the most telling tests, then all of their files."""
    asked = _TARGETS.get(path) or _POLICIES[Path(path).stem]
    first, whole = [], {}
    for word in asked.split():
        name, _, filtered = word.partition(":")
        prefix = "policies" if path not in _TARGETS else ""
        file = f"tests/{'_'.join(part for part in ('test', prefix, name) if part)}.py"
        first += [[file, "-k", filtered]] if filtered else []
        whole[file] = [file]
    for name in ("envs_details", "defaults") if "/envs/" in path or "noise" in path else ("details", "defaults"):
        whole.setdefault(f"tests/test_{name}.py", [f"tests/test_{name}.py"])
    return [*first, *whole.values()]


def targets():
    """Paths of the files that are changed."""
    found = {path.stem: str(path.relative_to(ROOT)) for path in (ROOT / "jaxprice" / "policies").rglob("*.py")}
    return [*_TARGETS, *(found[name] for name in _POLICIES)]


def chosen(options):
    """The mutants of a run: so many from every file in turn."""
    generator = random.Random(options.seed)
    paths = [path for path in targets() if not options.only or any(word in path for word in options.only)]
    if not paths:
        raise ValueError(f"only must name a file that is mutated, got {options.only} (files: {', '.join(targets())})")
    pools = [generator.sample(every, len(every)) for every in map(mutants, paths)]
    ordered = [pool[k] for k in range(max(map(len, pools))) for pool in pools if k < len(pool)]
    return list(itertools.islice(filter(_is_python, ordered), options.number))


class _Changed(importlib.abc.MetaPathFinder, importlib.abc.SourceLoader):
    """Loads one module of the package from a changed source."""

    def __init__(self, mutant):
        self.mutant, self.name = mutant, mutant.path.removesuffix(".py").replace("/", ".")

    def find_spec(self, name, path=None, target=None):
        return importlib.util.spec_from_loader(name, self, origin=self.get_filename(name)) if name == self.name else None

    def get_filename(self, name):
        return str(ROOT / self.mutant.path)

    def get_data(self, path):
        return self.mutant.source().encode()

    def path_stats(self, path):
        raise OSError  # nothing compiled is read or written


def _play(mutant, runs, output):
    """In a process of its own: run the tests on the changed package; exit code 0 if all pass."""
    os.setpgrp()
    with open(output, "w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    if mutant is not None:
        sys.meta_path.insert(0, _Changed(mutant))
    import pytest

    quiet = ["-x", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", "-o", "addopts=", "-m", "not slow"]
    for run in runs:
        code = pytest.main([*quiet, *run])
        if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            os._exit(int(code))
    os._exit(0)


def dies(mutant, runs, limit):
    """Whether a test notices ("failed", "late" or "survived"), the seconds it took, and what pytest printed."""
    handle, output = tempfile.mkstemp()
    os.close(handle)
    child = multiprocessing.get_context("fork").Process(target=_play, args=(mutant, runs, output))
    start = time.perf_counter()
    child.start()
    child.join(limit)
    if child.is_alive():
        os.killpg(child.pid, signal.SIGKILL)
        child.join()
        fate = "late"
    else:
        fate = "failed" if child.exitcode else "survived"
    text = Path(output).read_text()
    Path(output).unlink()
    return fate, time.perf_counter() - start, text


def main(options):
    """Run the mutants, print the survivors and the share that died.

    Returns:
      The share of mutants that died.

    Raises:
      ValueError: no file is chosen, or a test fails on the package as it is.
    """
    os.chdir(ROOT)
    picked = chosen(options)
    known = {}
    if options.out is not None and options.out.exists():
        rows = map(json.loads, options.out.read_text().splitlines())
        known = {Mutant(**row["mutant"]): row["fate"] for row in rows}
    for library in ("flax", "matplotlib.pyplot", "optax", "pytest", "scipy.optimize", "scipy.stats", "xarray"):
        importlib.import_module(library)
    with concurrent.futures.ThreadPoolExecutor(options.workers) as pool:
        left = [mutant for mutant in picked if mutant not in known]
        runs = {mutant.path: tests_of(mutant.path) for mutant in left}
        first = () if options.checked else runs
        unchanged = pool.map(lambda path: dies(None, runs[path], options.limit), first)
        for path, (fate, seconds, text) in zip(first, unchanged, strict=True):
            print(f"unchanged {seconds:4.0f} s  {path}", flush=True)
            if fate != "survived":
                raise ValueError(f"the tests of {path} do not pass on the package as it is ({fate}):\n{text}")
        changed = pool.map(lambda mutant: dies(mutant, runs[mutant.path], options.limit), left)
        for mutant, (fate, seconds, _) in zip(left, changed, strict=True):
            known[mutant] = fate
            print(f"{fate:8} {seconds:4.0f} s  {mutant}", flush=True)
            if options.out is not None:
                with options.out.open("a") as file:
                    file.write(json.dumps({"mutant": mutant._asdict(), "fate": fate}) + "\n")
    survivors = [mutant for mutant in picked if known[mutant] == "survived"]
    print(f"\n{len(picked) - len(survivors)} of {len(picked)} mutants die; survivors:", *survivors or ["none"], sep="\n")
    return 1 - len(survivors) / len(picked)


if __name__ == "__main__":
    main(tyro.cli(Options))

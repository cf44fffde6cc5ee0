"""Compiled code is shared by the processes of a test run, and cached for the next run of the same tests.

Most of the time of a run is spent compiling small programs that run once. So the tests compile without optimisation. Three
kinds of test are compiled with it: those marked `optimised`, which test the compiled code itself or run long; those marked
`slow`, unless they are also marked `many` (short tests in great number); and all tests under `--optimised`.

Tests that take two seconds or more of CPU time are listed in `long_tests.txt`. They are marked `long`: CI runs them, the
default run does not. `--seconds FILE` measures each test; `sort -rn FILE` shows which belong there.
"""

import collections
import gc
import os
import sys
from pathlib import Path

import pytest
import shapes

KEPT = {
    "JAX_COMPILATION_CACHE_DIR": str(Path(__file__).parent.parent / ".pytest_cache" / "compiled"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
LONG = frozenset((Path(__file__).parent / "long_tests.txt").read_text().splitlines())  # FILE::TEST, or one row of it
LONGEST = (  # files of tests, from the one that takes most CPU time
    *("test_policy_table", "test_agents_training", "test_experiments", "test_markets"),
    *("test_units_markets", "test_invariance", "test_fingerprint", "test_policies_scale"),
)
for name, value in KEPT.items():  # before jax is imported, and handed on to the processes that tests start
    os.environ.setdefault(name, value)
gc.set_threshold(200_000, 50, 100)  # tracing makes many objects that live: to look for cycles took a tenth of the time


def pytest_addoption(parser):
    parser.addoption("--seconds", metavar="FILE", help="append the CPU seconds of each test to a file")
    parser.addoption("--shapes", action="store_true", help="compare what functions take and return with their annotations")
    parser.addoption("--optimised", action="store_true", help="compile all tests as users have it compiled")


def pytest_configure(config):
    config.addinivalue_line("markers", "optimised: compiled as users have it compiled")
    config.addinivalue_line("markers", "long: takes two seconds or more of CPU time, see conftest.py; run by CI")
    config.addinivalue_line("markers", "many: slow as there are so many of them, each of them short")
    if config.getoption("shapes"):
        shapes.install()
    if not config.getoption("optimised"):
        from jaxprice import devices

        devices.compile_quickly()  # handed on to the processes that tests start


@pytest.hookimpl(tryfirst=True)
def pytest_itemcollected(item):
    name = item.nodeid.removeprefix("tests/")
    if name in LONG or name.partition("[")[0] in LONG:
        item.add_marker("long")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    start = os.times()
    yield
    if path := item.config.getoption("seconds"):
        seconds = sum(os.times()[:4]) - sum(start[:4])  # with those of processes that the test started
        with open(path, "a") as file:
            file.write(f"{seconds:.2f} {item.nodeid}\n")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Files that take longest come first, then those with many tests, so that both processes end at about the same time."""
    places, sizes = {name: k for k, name in enumerate(LONGEST)}, collections.Counter(item.path for item in items)
    items.sort(key=lambda item: (places.get(item.path.stem, len(places)), -sizes[item.path], item.path))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Before the fixtures of a test, which compile too."""
    import jax

    marks = {mark.name for mark in item.iter_markers()}
    long = "optimised" in marks or ("slow" in marks and "many" not in marks)
    jax.config.update("jax_disable_most_optimizations", not (long or item.config.getoption("optimised")))


@pytest.fixture(scope="module", autouse=True)
def forget_compiled_code():
    """After each file, let go of what was compiled and played for it: memory would grow to gigabytes."""
    yield
    from jaxprice import engine

    if "harness" in sys.modules:
        sys.modules["harness"].play.cache_clear()
    engine.forget()

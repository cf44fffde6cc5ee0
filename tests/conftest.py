"""Compiled code is kept between the processes of a test run, and for the next run of the same tests."""

import os
import sys
from pathlib import Path

import pytest

KEPT = {
    "JAX_COMPILATION_CACHE_DIR": str(Path(__file__).parent.parent / ".pytest_cache" / "compiled"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
for name, value in KEPT.items():  # before jax is imported, and handed on to the processes that tests start
    os.environ.setdefault(name, value)


@pytest.fixture(scope="module", autouse=True)
def forget_compiled_code():
    """After each file, let go of what was compiled and played for it: memory would grow to gigabytes."""
    yield
    from jaxprice import engine

    if "harness" in sys.modules:
        sys.modules["harness"].play.cache_clear()
    engine.forget()

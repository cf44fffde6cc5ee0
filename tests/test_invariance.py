"""Lanes give the same numbers, bit for bit, on any number of devices and in chunks of any size, compiled as users compile.

A separate process has eight devices. Policies play the first market of the harness that they accept. The default tests are
policies whose arithmetic XLA would rewrite differently for one device and for several.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxprice import policies

QUICK = ("controlled_variance", "discounted_least_squares")
APART = ["1 device", "37 on 8 devices"]  # other devices and other numbers of lanes at once
EXCEPT = ("etc_glm",)  # as README and `jaxprice.simulate` say
CASES = {
    "1 device": {"lanes": 100, "devices": 1},
    "8 devices": {"lanes": 100, "devices": 8},
    "37 lanes": {"lanes": 37, "devices": 1},
    "37 on 8 devices": {"lanes": 37, "devices": 8},
    "2 devices": {"lanes": 64, "devices": 2},
    "4 devices": {"lanes": 64, "devices": 4, "chunk": 40},
    "chunk 7": {"lanes": 20, "devices": 1, "chunk": 7},
}
PLAY = """
import json, sys
import jax, numpy as np
import jaxprice
from jaxprice import policies
from harness import market
from every_policy import first_fit

out = {}
for name in sys.argv[3].split(","):
    env, params = market(first_fit(name))
    horizon = min(200, env.longest or 200)
    for case in sys.argv[4].split(","):
        options = json.loads(sys.argv[2])[case]
        for kind, given in (("given", jax.device_get(params)), ("drawn", None)):
            result = jaxprice.simulate(
                env, policies.make(name), seed=3, horizon=horizon, checkpoints=[horizon // 3, horizon], params=given,
                **options,
            )
            out[f"{name}/{kind}/{case}"] = result["lane_regret"].values[0]
np.savez(sys.argv[1], **out)
"""


def play(path, names, cases):
    here = Path(__file__).parent
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "0",
        "PYTHONPATH": f"{here}{os.pathsep}{here.parent}",
    }
    done = subprocess.run(
        [sys.executable, "-c", PLAY, path, json.dumps(CASES), ",".join(names), ",".join(cases)],
        env=environment, capture_output=True, text=True, cwd=here.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return np.load(path)


def compare(lanes, name, cases):
    for kind in ("given", "drawn"):
        first = lanes[f"{name}/{kind}/{cases[0]}"]
        assert len(np.unique(first)) > 1
        for case in cases[1:]:
            other = lanes[f"{name}/{kind}/{case}"]
            np.testing.assert_array_equal(other, first[: other.size], err_msg=f"{name}, markets {kind}, {case}")


@pytest.mark.optimised
def test_lanes_of_one_device_are_those_of_eight(tmp_path):
    lanes = play(tmp_path / "lanes.npz", QUICK, APART)
    for name in QUICK:
        compare(lanes, name, APART)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in policies.list() if name != "oracle"])
def test_lanes_of_all_policies(name, tmp_path):
    lanes = play(tmp_path / "lanes.npz", [name], CASES)
    if name in EXCEPT:
        first, other = (lanes[f"{name}/given/{case}"] for case in ("1 device", "8 devices"))
        np.testing.assert_allclose(other, first, rtol=1e-3)
    else:
        compare(lanes, name, list(CASES))

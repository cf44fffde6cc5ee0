"""Programs that must compile once, and runs on several simulated devices. Chex counts traces and makes the devices."""

import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxprice
from jaxprice import agents, policies

PARAMS = {"means": [0.2, 0.5]}


@pytest.fixture(autouse=True)
def no_traces_yet():
    chex.clear_trace_counter()


def test_a_sweep_is_one_trace():
    """Seeds, hyperparameters and the numbers of a market are traced, so new values need no new program."""
    env, params = jaxprice.make("BernoulliBandit", **PARAMS)

    @jax.jit
    @chex.assert_max_traces(n=1)
    def regret(seed, scale, params):
        return jaxprice.rollout(env, policies.ucb1(scale), seed=seed, lanes=4, horizon=6, params=params)["regret"]

    others = [(0, 2.0), (1, 2.0), (0, 0.5)]
    played = [regret(jnp.uint32(seed), jnp.float32(scale), params) for seed, scale in others]
    chex.assert_tree_all_finite(played)
    chex.assert_trees_all_equal_shapes_and_dtypes(*played)
    assert not np.array_equal(played[0], played[1])


def test_a_loss_does_not_broadcast():
    """If the value of a network has one axis too many, training would use the mean of all pairs of periods."""
    from jaxprice.agents.inputs import Output

    class Wide(agents.networks.SequenceNetwork):
        def heads(self, hidden):
            says = super().heads(hidden)
            return Output(says.logits, says.value[..., None])

    env, _ = jaxprice.make("BernoulliBandit", **PARAMS)
    narrow = agents.networks.make("gru", actions=2, size=4)
    wide = Wide(narrow.core, narrow.actions, narrow.inputs)
    with pytest.raises(AssertionError, match="shape"):
        agents.rl2.train(env, wide, horizon=3, updates=1, lanes=4, minibatches=1)


MADE_UP = """
import chex
chex.set_n_cpu_devices(3)
import jax
import numpy as np
import jaxprice
from jaxprice import policies

env, params = jaxprice.make("BernoulliBandit", means=[0.2, 0.5])
jaxprice.use_cpu_cores()  # what the program chose stays
assert jax.local_device_count() == 3, jax.local_devices()
run = lambda devices: jaxprice.simulate(env, policies.ucb1(), lanes=5, horizon=9, params=params, devices=devices)
np.testing.assert_array_equal(run(3)["lane_regret"], run(1)["lane_regret"])
print("alike")
"""


def test_made_up_devices():
    done = subprocess.run([sys.executable, "-c", MADE_UP], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.strip() == "alike", done.stderr
